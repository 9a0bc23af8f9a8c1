"""The module `soma.models`: the weights of the config's models, mapped.

    model = soma.models.open()                          # predictor.models
    model["wte.weight"].numpy()                         # a view, nothing is copied
    net = soma.models.from_pretrained(GPT2LMHeadModel)  # transformers, from the mapping
"""
import os

from _soma import soma_module
from _soma.model_tensors import Model, Tensor

__all__ = ["Model", "Tensor", "from_pretrained", "load_into", "open"]


def _place(source):
    """What CONFIG says of one model, as a path. A text is a path of the project, as a config file has it."""
    path = source["path"] if isinstance(source, dict) else source
    if "://" in path:
        raise ValueError("%s has not been fetched: this Soma's daemon did not know of predictor.models; start it anew" % path)
    return os.path.join(soma_module.config()["project"], path)


def _places(models):
    """Paths by name; a model alone has the name None."""
    if models.get("path"):
        return {None: _place(models["path"])}
    if models.get("paths"):
        return {model["name"]: _place(model["path"]) for model in models["paths"]}
    folder = _place(models["dir"])
    return {n: os.path.join(folder, n) for n in sorted(os.listdir(folder)) if not n.startswith(".") and os.path.isdir(os.path.join(folder, n))}


def _pick(places, name):
    there = ", ".join(n for n in places if n is not None)
    if name in places:
        return places[name]
    if None in places:
        raise ValueError("predictor.models.path is one model, which has no name: call soma.models.open() without %r" % (name,))
    if name is not None:
        raise ValueError("there is no model %r: choose one of %s" % (name, there))
    if len(places) == 1:
        return next(iter(places.values()))
    raise ValueError("name is not given: choose one of %s" % there if places else "predictor.models.dir has no folders: give each model one")


def open(name=None):
    """The model of the config, or the one of that name where it has several. ValueError says what is wrong with it."""
    models = soma_module.config().get("models")
    if not models:
        raise ValueError("the api has no models: set predictor.models.path, paths or dir in its config file")
    return Model(_pick(_places(models), name))


def load_into(torch_module, model=None, strict=True):
    """Gives a torch module the model's tensors as its parameters and buffers, as views with the file's dtype, and returns it. It may have been made on the meta device. Names that only one of them has are a ValueError unless strict is False."""
    from _soma import model_torch

    return model_torch.load_into(torch_module, open() if model is None else model, strict)


def from_pretrained(cls, name=None, **kwargs):
    """cls.from_pretrained() of transformers, from the mapping: what it takes besides the weights is in kwargs."""
    from _soma import model_torch

    return model_torch.from_pretrained(cls, open(name), kwargs)

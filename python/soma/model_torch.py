"""The tensors of a model as torch's, and modules that have them as parameters.

What knows how a module is put together is torch's and Transformers' own code: it
is given views, and assigns them.
"""
import contextlib
import os
import warnings

from _soma.model_files import listed

# Of torch, by the name that safetensors has; the newer are not in every torch.
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32", "U64": "uint64",
    "I64": "int64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "float16", "BF16": "bfloat16", "F32": "float32",
    "F64": "float64", "C64": "complex64", "C128": "complex128",
}

# What asks transformers for weights of its own finding.
NOT_OURS = ("state_dict", "config", "gguf_file", "subfolder", "variant", "use_safetensors", "adapter_kwargs")


@contextlib.contextmanager
def _read_only():
    """Without torch's word that a view of read-only memory may be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
        yield


def _flat(torch, tensor, kind):
    if tensor.offset % tensor.itemsize:
        # Old safetensors may begin anywhere, and torch's loops count on alignment.
        end = tensor.offset + tensor.extent
        return torch.frombuffer(bytearray(tensor.buffer[tensor.offset : end]), dtype=kind)
    with _read_only():
        return torch.frombuffer(tensor.buffer, dtype=kind, count=tensor.extent // tensor.itemsize, offset=tensor.offset)


def view(tensor):
    import torch

    kind = getattr(torch, DTYPES[tensor.dtype], None)
    if kind is None:
        raise TypeError("the tensor %r has %s, which torch %s has not: take a newer torch" % (tensor.name, tensor.dtype, torch.__version__))
    if not tensor.extent:
        return torch.empty(tensor.shape, dtype=kind)
    flat = _flat(torch, tensor, kind)
    return flat.view(tensor.shape) if tensor.stride is None else torch.as_strided(flat, tensor.shape, tensor.stride)


def views(model):
    return {name: view(tensor) for name, tensor in model.items()}


# --- modules of torch ---------------------------------------------------------


def _places(module):
    """Names by the parameter or buffer that they have: tied ones have one."""
    names = {}
    for kind in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)):
        for name, value in kind:
            names.setdefault(id(value), []).append(name)
    return names.values()


def _fill_in(state, groups):
    """Safetensors keep one name of a tied tensor: the others have the same."""
    for names in groups:
        there = [name for name in names if name in state]
        for name in names if there else ():
            state.setdefault(name, state[there[0]])


def _tie(module, groups):
    for names in groups:
        one = _get(module, names[0])
        for name in names[1:]:
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, one)


def _get(module, name):
    owner, _, last = name.rpartition(".")
    return getattr(module.get_submodule(owner), last)


def load_into(module, model, strict):
    """Makes the parameters and buffers of the module views of the model's tensors."""
    groups = [names for names in _places(module) if len(names) > 1]
    state = views(model)
    given = set(state)
    _fill_in(state, groups)
    title = type(module).__name__
    try:
        missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    except TypeError as error:
        if "assign" not in str(error):
            raise
        import torch

        raise RuntimeError("soma.models.load_into() needs torch 2.1 or newer, and this is %s: pin a newer one in requirements.txt" % torch.__version__)
    except RuntimeError as error:  # shapes; it names each
        raise ValueError("%s does not fit %s: %s" % (model.path, title, error))
    _tie(module, groups)
    unexpected = [name for name in unexpected if name in given]
    if strict and (missing or unexpected):
        words = []
        if missing:
            words.append("%s has %d that the model has not (%s)" % (title, len(missing), listed(missing)))
        if unexpected:
            words.append("the model has %d that %s has not (%s)" % (len(unexpected), title, listed(unexpected)))
        raise ValueError("%s does not fit %s: %s; strict=False leaves them" % (model.path, title, ", and ".join(words)))
    return module


# --- classes of transformers --------------------------------------------------


def _class_for(cls, folder, more):
    """What an AutoModel... would make of the folder's config."""
    if not hasattr(cls, "_model_mapping"):
        return cls
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=more.get("trust_remote_code", False), local_files_only=True)
    mapping = cls._model_mapping
    if type(config) not in mapping:
        raise ValueError("%s: is no model for %s, but of %s (%s): name the class itself" % (folder, cls.__name__, type(config).__name__, listed(getattr(config, "architectures", None) or ["it names no architecture"])))
    found = mapping[type(config)]
    if not isinstance(found, (tuple, list)):
        return found
    named = [c for c in found if c.__name__ in (getattr(config, "architectures", None) or [])]
    return (named or list(found))[0]


def _generation_config(cls, folder):
    """As the class finds it beside its weights, or None."""
    can = getattr(cls, "can_generate", None)
    if can is None or not can():
        return None
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:
        return GenerationConfig.from_pretrained(folder, config_file_name="config.json", _from_model_config=True, local_files_only=True)


def _within(model):
    """Whether memory is of the model's mappings, by address."""
    import torch

    spans = []
    for buffer in {id(t.buffer): t.buffer for t in model.values()}.values():
        with _read_only():
            begin = torch.frombuffer(buffer, dtype=torch.uint8).data_ptr()
        spans.append((begin, begin + len(buffer)))
    return lambda address: any(begin <= address < end for begin, end in spans)


def _say_copies(loaded, model):
    """What transformers had to convert is not shared: whoever pays for it is to know."""
    is_view = _within(model)
    sizes = {p.data_ptr(): p.nbytes for p in loaded.parameters() if p.device.type == "cpu"}
    copied = sum(n for address, n in sizes.items() if not is_view(address))
    kinds = {DTYPES[t.dtype] for t in model.values() if t.dtype.startswith(("F", "BF"))}
    if copied * 10 > sum(sizes.values()) and len(kinds) == 1:
        warnings.warn("%s: %.1f of %.1f GiB were converted to another dtype, so each replica has a copy of its own: dtype=%r takes them as they are in the file" % (model.path, copied / 2**30, sum(sizes.values()) / 2**30, kinds.pop()), stacklevel=4)


def from_pretrained(cls, model, more):
    folder = model.path
    for name in NOT_OURS:
        if name in more:
            raise TypeError("soma.models.from_pretrained() takes no %s: the weights and the config are those of %s" % (name, folder))
    if not os.path.exists(os.path.join(folder, "config.json")):
        raise ValueError("%s: has no config.json, from which transformers makes a %s: put it there, or use soma.models.load_into()" % (folder, cls.__name__))
    made = _class_for(cls, folder, more)
    if not hasattr(made, "from_pretrained"):
        raise TypeError("%s has no from_pretrained: use soma.models.load_into(module)" % cls.__name__)
    if more.get("generation_config") is None:
        more["generation_config"] = _generation_config(made, folder)
    loaded = made.from_pretrained(None, config=folder, state_dict=views(model), local_files_only=True, **more)
    both = loaded[0] if isinstance(loaded, tuple) else loaded
    both.config.name_or_path = both.name_or_path = folder
    _say_copies(both, model)
    return loaded

"""The classes that a predictor may be, and what may be passed to their methods.

Cortex's: PythonPredictor and ONNXPredictor until 0.33, Handler in 0.34 and 0.35.
Arguments are passed by name, those alone that a method declares.
"""
import difflib
import inspect

from _soma.failure import Failure

REQUEST = ["payload", "query_params", "headers"]
HOOKS = {"pre_predict": REQUEST, "post_predict": ["response", *REQUEST]}
VERBS = ["POST", "GET", "PUT", "PATCH", "DELETE"]


class Kind:
    """One of the classes."""

    def __init__(self, name, key, init, client, methods, missing):
        self.name = name
        self.key = key  # the block of cortex.yaml
        self.init = init  # what __init__ may take
        self.client = client  # the argument of __init__ that gives the models
        self.methods = methods  # HTTP method: (method, what it may take)
        self.missing = missing  # what to define when there is none


KINDS = {
    "PythonPredictor": Kind(
        "PythonPredictor", "predictor", ["config", "python_client", "job_spec"], "python_client",
        {"POST": ("predict", [*REQUEST, "batch_id"])}, "define predict(self, payload)"),
    "ONNXPredictor": Kind(
        "ONNXPredictor", "predictor", ["config", "onnx_client", "job_spec"], "onnx_client",
        {"POST": ("predict", [*REQUEST, "batch_id"])}, "define predict(self, payload)"),
    "Handler": Kind(
        "Handler", "handler", ["config", "model_client", "metrics_client", "tensorflow_client", "proto_module_pb2", "job_spec"], "model_client",
        {verb: ("handle_" + verb.lower(), REQUEST) for verb in VERBS}, "define handle_post(self, payload)"),
}

# Arguments of __init__ that nothing is there for, and what to do.
REFUSED = {
    "tensorflow_client": ("for TensorFlow Serving, which this version does not run", "load the model with tensorflow in __init__(self, config)"),
    "proto_module_pb2": ("for gRPC, which this version does not serve", "take JSON in handle_post(self, payload)"),
}

# Methods of Cortex's for other kinds of apis.
OTHER_KINDS = {"handle_async": "an AsyncAPI", "handle_batch": "a BatchAPI"}


class Signatures:
    """What the methods of a class take: (positional names, keyword-only names, whether it is async) each."""

    def __init__(self, init, methods, hooks):
        self.init = init  # None: it has no __init__ of its own
        self.methods = methods  # HTTP method: (method, signature)
        self.hooks = hooks  # those it has, by name

    def wants(self, argument):
        return self.init is not None and argument in self.init[0] + self.init[1]


def _bad(path, message, remedy):
    return Failure("bad_signature", "%s: %s" % (path, message), remedy)


def _signature(path, cls, kind, method, allowed):
    """The names that a method takes without self, positional ones and keyword-only ones, and whether it is async."""
    raw = inspect.getattr_static(cls, method)
    function = getattr(cls, method)
    title = "%s.%s" % (kind.name, method)
    if not callable(function):
        raise _bad(path, "%s is not a method but a %s" % (title, type(function).__name__), "define it with def %s(self, ...)" % method)
    is_async = inspect.iscoroutinefunction(function)
    if is_async and method == "__init__":
        raise _bad(path, "%s is async" % title, "write def __init__, and asyncio.run(...) inside where it awaits")
    if (method in HOOKS or method == "__init__") and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
        raise _bad(path, "%s is a generator" % title, "return what predict is to get" if method == "pre_predict" else "write it without yield")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise _bad(path, "the arguments of %s cannot be read: %s" % (title, error), "wrap it in a plain def %s(self, ...)" % method)
    if not isinstance(raw, (staticmethod, classmethod)):
        if not parameters or parameters[0].kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            raise _bad(path, "%s does not take self" % title, "write def %s(self, ...)" % method)
        if parameters[0].kind != inspect.Parameter.VAR_POSITIONAL:
            if parameters[0].name in allowed:
                raise _bad(path, "%s does not take self: its first argument is %s" % (title, parameters[0].name), "write def %s(self, %s)" % (method, ", ".join(p.name for p in parameters)))
            parameters = parameters[1:]
    positional, keywords = [], []
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue  # nothing is passed there
        if p.name not in allowed:
            near = difflib.get_close_matches(p.name, allowed, 1)
            remedy = "arguments are passed by name: %s may take %s" % (method, ", ".join(allowed))
            raise _bad(path, "%s takes an argument %s%s" % (title, p.name, " (did you mean %s?)" % near[0] if near else ""), remedy)
        (keywords if p.kind == p.KEYWORD_ONLY else positional).append(p.name)
    return tuple(positional), tuple(keywords), is_async


def _check_methods(cls, kind, path):
    methods = {}
    for verb, (method, allowed) in kind.methods.items():
        if hasattr(cls, method):
            methods[verb] = (method, _signature(path, cls, kind, method, allowed))
    if methods:
        return methods
    names = [method for method, _ in kind.methods.values()]
    title = "no method %s" % names[0] if len(names) == 1 else "none of the methods %s" % ", ".join(names)
    for method, other in OTHER_KINDS.items():
        if hasattr(cls, method):
            raise _bad(path, "%s has %s, which is for %s" % (kind.name, method, other), "this is a RealtimeAPI: " + kind.missing)
    if kind.name == "Handler" and hasattr(cls, "predict"):
        raise _bad(path, "Handler has predict, and %s" % title, "rename predict to handle_post")
    raise _bad(path, "%s has %s" % (kind.name, title), kind.missing)


def _check_init(cls, kind, path, has_models):
    """What __init__ takes, and that the models have a way in."""
    block = "%s.%s" % (kind.key, "models" if kind.client == "onnx_client" else "multi_model_reloading")
    arguments = "config"
    init = None
    if cls.__init__ is not object.__init__:
        init = _signature(path, cls, kind, "__init__", kind.init)
    takes = init[0] + init[1] if init else ()
    for name in takes:
        if name in REFUSED:
            raise _bad(path, "%s.__init__ takes %s, which is %s" % (kind.name, name, REFUSED[name][0]), REFUSED[name][1])
    if kind.client == "onnx_client" or has_models:
        arguments = "%s, config" % kind.client
        if kind.client not in takes:
            raise _bad(path, "%s.__init__ does not take %s, which has the models of %s" % (kind.name, kind.client, block), "write def __init__(self, %s)" % arguments)
    if kind.client in takes and not has_models:
        remedy = "set %s.path" % block
        if kind.client != "onnx_client":
            remedy += ", or load the model in __init__(self, config)"
        raise _bad(path, "%s.__init__ takes %s, which needs %s" % (kind.name, kind.client, block), remedy)
    if has_models and kind.client != "onnx_client" and not hasattr(cls, "load_model"):
        raise _bad(path, "%s has no method load_model, which %s needs" % (kind.name, block), "define load_model(self, model_path), which returns the model")
    if init and "config" not in takes:
        raise _bad(path, "%s.__init__ does not take config" % kind.name, "write def __init__(self, %s)" % arguments)
    return init


def check(cls, kind, path, has_models):
    """Signatures of the class, or a Failure."""
    methods = _check_methods(cls, kind, path)
    init = _check_init(cls, kind, path, has_models)
    hooks = {}
    if kind.name != "Handler":
        hooks = {name: _signature(path, cls, kind, name, allowed) for name, allowed in HOOKS.items() if hasattr(cls, name)}
    return Signatures(init, methods, hooks)

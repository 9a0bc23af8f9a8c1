"""onnx_client of an ONNXPredictor: the models of the config in ONNX Runtime.

The newest version of each is loaded before __init__, so that what is wrong with
it is said then; others, and what comes later, when they are first asked for. With
a cache_size all are loaded when they are asked for, and no more are kept.
"""
import os
import sys

from _soma import onnx_external
from _soma.failure import Failure, short, trace_of
from _soma.model_cache import Cache

# Of ONNX; bfloat16 and the like are not numpy's.
NUMPY_TYPES = {
    "tensor(%s)" % onnx: numpy
    for onnx, numpy in [
        ("float16", "float16"), ("float", "float32"), ("double", "float64"), ("bool", "bool"), ("string", "object"),
        *[(name, name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")],
    ]
}

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


def _import_runtime():
    try:
        import numpy
        import onnxruntime
    except ImportError as error:
        package = "numpy" if error.name == "numpy" else "onnxruntime"
        if not isinstance(error, ModuleNotFoundError):
            raise Failure("import_error", "%s cannot be imported: %s" % (package, short(error)), "pin a version of it for this Python in requirements.txt", trace_of(error))
        raise Failure("import_error", "onnx_client needs %s, which is not installed for %s" % (package, sys.executable), "add %s to requirements.txt" % package)
    return onnxruntime, numpy


def _model_file(folder, title):
    files = sorted(name for name in os.listdir(folder) if name.endswith(".onnx"))
    if len(files) == 1:
        return os.path.join(folder, files[0])
    what = "no .onnx file" if not files else "%d .onnx files (%s)" % (len(files), ", ".join(files[:10]))
    raise Failure("missing_file", "%s has %s" % (title, what), "put exactly one .onnx file there, or name the file: path: ...model.onnx")


def _plain(text):
    """ONNX Runtime's words quote the model: nothing that controls a terminal is to come from there."""
    return "".join(c if c.isprintable() else " " if c == "\n" else "?" for c in text)


class OnnxClient:
    """Sessions over the models of a Store."""

    def __init__(self, store, say):
        self._runtime, self._numpy = _import_runtime()
        self._store = store
        self._signatures = {}  # key of a model: what was found of its inputs
        self.cache = Cache(store, self._load_late)
        for name, number in store.all():
            _model_file(store.path(name, number), store.title(name, number))
        if store.cache_size:
            return
        for name in store.names():
            say("loading %s" % store.title(name))
            self.cache.put(store.get(name, store.latest(name)), self._load)

    def _load(self, pick):
        title = self._store.title(*pick.key)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("SOMA_CPU_THREADS", 0))
        there = self._runtime.get_available_providers()
        file = _model_file(pick.folder, title)
        try:
            file, is_mapped = onnx_external.check(file, pick.home)
        except ValueError as error:
            what, _, remedy = str(error).rpartition(": ")
            raise Failure("init_error", "%s %s" % (title, what), remedy)
        except OSError as error:  # a link to nothing, a socket
            raise Failure("missing_file", "%s: %s cannot be opened: %s" % (title, os.path.basename(file), error.strerror), "put the model there")
        if is_mapped:
            # Else each replica would copy them all into another layout.
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            session = self._runtime.InferenceSession(file, options, providers=[p for p in PROVIDERS if p in there])
        except Exception as error:
            raise Failure("init_error", "%s is not a model that ONNX Runtime %s takes: %s" % (title, self._runtime.__version__, _plain(short(error))), "check the file: it may be truncated, or of an opset newer than this onnxruntime knows")
        signatures = session.get_inputs()
        self._signatures[pick.key] = {i.name: {"shape": list(i.shape), "type": NUMPY_TYPES.get(i.type, i.type)} for i in signatures}
        return {"session": session, "signatures": signatures, "input_signatures": self._signatures[pick.key]}

    def _load_late(self, pick):
        try:
            return self._load(pick)
        except Failure as failure:
            raise RuntimeError(failure.in_a_line())

    def get_model(self, model_name=None, model_version="latest"):
        """A dict: session (onnxruntime's), signatures (its inputs), input_signatures (name to shape and type)."""
        return self.cache.get(model_name, model_version)

    def predict(self, model_input, model_name=None, model_version="latest"):
        """All outputs as a list. model_input: input name to value; the value alone for a model of one input."""
        model = self.get_model(model_name, model_version)
        inputs = {i.name: i for i in model["signatures"]}
        if not isinstance(model_input, dict):
            if len(inputs) != 1:
                raise ValueError("the model has the inputs %s: give a dict with them" % ", ".join(inputs))
            model_input = {next(iter(inputs)): model_input}
        missing = [name for name in inputs if model_input.get(name) is None]
        if missing:
            raise ValueError("the model's input %s is missing; there is %s" % (", ".join(missing), ", ".join(map(str, model_input)) or "nothing"))
        return model["session"].run([], {name: self._array(model_input[name], i) for name, i in inputs.items()})

    def _array(self, value, signature):
        """numpy's array of the type and shape that an input wants."""
        numpy = self._numpy
        if not signature.type.startswith("tensor("):
            return value  # a sequence or map
        if signature.type not in NUMPY_TYPES:
            raise ValueError("the input %s is a %s, which numpy has not: give it to get_model()['session']" % (signature.name, signature.type))
        kind = numpy.dtype(NUMPY_TYPES[signature.type])
        if isinstance(value, numpy.ndarray):
            if numpy.issubdtype(value.dtype, numpy.number) != numpy.issubdtype(kind, numpy.number):
                raise ValueError("the input %s wants %s and got an array of %s" % (signature.name, kind, value.dtype))
            array = value.astype(kind, copy=False)
        else:
            try:
                array = numpy.array(value, dtype=kind)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError("the input %s wants %s: %s" % (signature.name, kind, error))
        shape = [size if isinstance(size, int) else -1 for size in signature.shape]
        if shape.count(-1) > 1:
            return array
        try:
            return array.reshape(shape)
        except ValueError:
            raise ValueError("the input %s wants the shape %s and got %s" % (signature.name, list(signature.shape), list(array.shape)))

    def metadata(self):
        answer = self._store.metadata()
        for name in answer:
            answer[name]["input_signatures"] = self._signatures.get((name, self._store.latest(name)), {})
        return answer

"""Loads the user's predictor, and says what is wrong with it."""
import difflib
import importlib.util
import json
import os
import re
import sys
import tempfile
import traceback

from _soma import _worker, classes, cortex_modules, soma_module, tasks
from _soma.failure import Failure, package_of, short, trace_of, user

# How long a hook that computes may keep predict from the GIL, a fifth of Python's own. A framework gives it back and asks for
# it anew with each of its operations, hundreds in a batch.
TURN_S = 0.001


class Predictor:
    """What the extension is given: a method is (callable, positional names, keyword names, whether it is async)."""

    def __init__(self, methods, hooks, summary):
        self.methods = methods  # by HTTP method: (name, method)
        self.pre_predict = hooks.get("pre_predict")
        self.post_predict = hooks.get("post_predict")
        self.summary = summary  # what a GET is answered, None: it is not


# --- the file -----------------------------------------------------------------


def _check_readable(project, path, file, kind):
    try:
        with open(file, "rb"):
            return
    except FileNotFoundError:
        pass
    except PermissionError:
        raise Failure("missing_file", "%s cannot be read by %s" % (file, user()), "make the file and the folders above it readable for that user (chmod o+rX)")
    except IsADirectoryError:
        raise Failure("missing_file", "the predictor %s is a folder" % path, "set %s.path to the Python file that defines %s" % (kind.key, kind.name))
    except OSError as error:
        raise Failure("missing_file", "the predictor %s cannot be read: %s" % (path, error.strerror), "check the file and deploy again")
    there = []
    for folder, folders, names in os.walk(project):
        folders[:] = [f for f in folders if not f.startswith(".")]
        there += [os.path.relpath(os.path.join(folder, n), project) for n in names if n.endswith(".py")]
        if len(there) > 1000:
            break
    near = difflib.get_close_matches(path, there, 1) or [p for p in there if os.path.basename(p) == os.path.basename(path)]
    remedy = "set %s.path to a file of the project" % kind.key
    if near:
        remedy += "; did you mean %s?" % near[0]
    elif there:
        remedy += "; its Python files are %s" % ", ".join(sorted(there)[:10])
    raise Failure("missing_file", "the predictor file %s is not in the project %s" % (path, project), remedy)


def _syntax_failure(error, project):
    name = error.filename or "?"
    if name.startswith(project + os.sep):
        name = os.path.relpath(name, project)
    where = "%s:%s" % (name, error.lineno) if error.lineno else name
    text = "".join(traceback.format_exception_only(type(error), error))
    return Failure("syntax_error", "%s: %s: %s" % (where, type(error).__name__, error.msg), "correct the line and deploy again; this is Python %d.%d" % sys.version_info[:2], text)


def _import_failure(error, path, project, kind):
    trace, name = trace_of(error), getattr(error, "name", None)
    if not isinstance(error, ModuleNotFoundError) or not name:
        remedy = "see the traceback; a package may be of another version than the code wants: pin it in requirements.txt"
        return Failure("import_error", "%s cannot be imported: %s" % (path, short(error)), remedy, trace)
    top = name.split(".")[0]
    if top in sys.modules and name != top:
        remedy = "the installed %s has no %s: pin the version that the code wants in requirements.txt" % (top, name)
        return Failure("import_error", "%s imports %s, which is not in the installed %s" % (path, name, top), remedy, trace)
    for folder, folders, names in os.walk(project):
        folders[:] = [f for f in folders if not f.startswith(".")]
        if top + ".py" in names or top in folders:
            relative = os.path.relpath(folder, project)
            if relative != ".":
                return Failure("import_error", "%s imports %s, which is in the folder %s of the project" % (path, name, relative), "set %s.python_path to %s" % (kind.key, relative), trace)
    remedy = "add %s to requirements.txt" % package_of(name)
    return Failure("import_error", "%s imports %s, which is not installed for %s" % (path, name, sys.executable), remedy, trace)


def _import(project, path, file, kind):
    name = os.path.splitext(os.path.basename(file))[0]
    if name in sys.modules or not name.isidentifier():
        name = "predictor_" + re.sub(r"\W", "_", name)
    spec = importlib.util.spec_from_file_location(name, file, loader=importlib.machinery.SourceFileLoader(name, file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise _syntax_failure(error, project)
    except ImportError as error:
        raise _import_failure(error, path, project, kind)
    except SystemExit as error:
        raise Failure("import_error", "%s called sys.exit(%s) while it was imported" % (path, "" if error.code is None else repr(error.code)), "move what is not a definition under if __name__ == '__main__':", trace_of(error))
    except BaseException as error:
        raise Failure("import_error", "%s raised while it was imported: %s" % (path, short(error)), "see the traceback, correct the file and deploy again", trace_of(error))
    return module


# --- the class ----------------------------------------------------------------


def _no_class_remedy(classes_there, kind):
    for name in classes_there:
        if name not in classes.KINDS:
            continue
        other = classes.KINDS[name]
        if other.key != kind.key:
            return "%s is what the block %s: is for: name it so in the config, with the same keys" % (name, other.key)
        return "set predictor.type to %s, or rename the class to %s" % ("onnx" if name == "ONNXPredictor" else "python", kind.name)
    near = difflib.get_close_matches(kind.name, classes_there, 1)
    if near:
        return "rename %s to %s" % (near[0], kind.name)
    method, _ = kind.methods["POST"]
    return "define class %s with __init__(self, %sconfig) and %s(self, payload)" % (kind.name, "onnx_client, " if kind.name == "ONNXPredictor" else "", method)


def _find_class(module, path, file, kind):
    with open(file, "rb") as f:
        lines = [n for n, line in enumerate(f, 1) if re.match(rb"class\s+%s\b" % kind.name.encode(), line)]
    if len(lines) > 1:
        raise Failure("missing_class", "%s defines %s %d times (lines %s)" % (path, kind.name, len(lines), ", ".join(map(str, lines))), "keep one of them")
    found = getattr(module, kind.name, None)
    if isinstance(found, type):
        return found
    there = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
    if found is not None:
        message = "%s has a %s that is not a class but a %s" % (path, kind.name, type(found).__name__)
    elif there:
        message = "%s defines no class %s; its classes are %s" % (path, kind.name, ", ".join(there))
    else:
        message = "%s defines no class" % path
    raise Failure("missing_class", message, _no_class_remedy(there, kind))


# --- the instance -------------------------------------------------------------


def _client(kind, signatures, store, say):
    """The argument that gives the models, or None."""
    if store is None or not signatures.wants(kind.client):
        return None
    if kind.client == "onnx_client":
        from _soma import onnx_client

        return onnx_client.OnnxClient(store, say)
    from _soma import model_client

    return model_client.ModelClient(store)


def _metrics_client(signatures):
    if not signatures.wants("metrics_client"):
        return None
    from _soma import metrics

    return metrics.MetricsClient()


def _permission_remedy(error):
    """Cortex's replicas had a /tmp of their own, so that many write to /tmp/model.pkl."""
    path, shared = error.filename2 or error.filename, tempfile.gettempdir()
    try:
        owner = os.stat(path).st_uid
    except (OSError, TypeError):
        owner = os.geteuid()
    if owner != os.geteuid() and os.path.dirname(path) == shared:
        return "another user of this machine has made it (uid %d), and %s is shared by all: remove it, and write to a file of your own (tempfile.mkstemp())" % (owner, shared)
    return "make it readable for %s" % user()


def _make(cls, signatures, arguments, path, kind):
    init, config = signatures.init, arguments["config"]
    try:
        if init is None:
            return cls()
        return cls(*[arguments.get(n) for n in init[0]], **{n: arguments.get(n) for n in init[1]})
    except SystemExit as error:
        raise Failure("init_error", "%s.__init__ called sys.exit(%s)" % (kind.name, "" if error.code is None else repr(error.code)), "raise an exception that says what is wrong instead", trace_of(error))
    except BaseException as error:
        remedy = "see the traceback, correct %s and deploy again" % path
        if isinstance(error, ModuleNotFoundError) and error.name:
            remedy = "add %s to requirements.txt" % package_of(error.name)
        elif isinstance(error, KeyError) and len(error.args) == 1 and error.args[0] not in config:
            remedy = "if it is a key of config: set %s.config.%s" % (kind.key, error.args[0])
        elif isinstance(error, PermissionError):
            remedy = _permission_remedy(error)
        elif type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            remedy = "give the api its credentials: env: {AWS_ACCESS_KEY_ID: {from_secret: ...}, AWS_SECRET_ACCESS_KEY: {from_secret: ...}} and soma secret set, or set them for the daemon"
        raise Failure("init_error", "%s.__init__ raised %s" % (kind.name, short(error)), remedy, trace_of(error))


def _set_up_paths(settings):
    project = settings["project"]
    try:
        os.chdir(project)
    except OSError as error:
        raise Failure("missing_file", "the project %s cannot be entered by %s: %s" % (project, user(), error.strerror), "make the folder and those above it readable for that user (chmod o+rX)")
    sys.path.insert(0, project)
    if settings.get("python_path"):
        # As PYTHONPATH: before what is installed.
        sys.path.insert(1, os.path.normpath(os.path.join(project, settings["python_path"])))


def _set_up_logging(level):
    """A level for user code that logs and has set nothing up."""
    logging = sys.modules.get("logging")
    if logging and not logging.root.handlers and logging.root.level == logging.WARNING:
        logging.basicConfig(level=getattr(logging, str(level).upper(), logging.INFO), format="%(levelname)s:%(name)s:%(message)s")


def _for_client(settings):
    """Whether the class gets the models by an argument: those of soma.models.open() it opens itself."""
    models = settings.get("models")
    return bool(models) and not models.get("open")


def _store(settings, kind, say):
    """The models of the config; None: it has none that it is given."""
    if not _for_client(settings):
        return None
    from _soma import models

    try:
        return models.Store(settings, kind, say)
    except OSError as error:
        raise Failure("init_error", "the models cannot be read by %s: %s" % (user(), error), "make them readable for that user (chmod -R o+rX)")


def _summary(kind, client):
    """What Cortex answered to a GET."""
    if kind.name == "Handler":
        return None
    answer = {"message": "make a prediction by sending a post request to this endpoint with a json payload"}
    if client is not None:
        answer["model_metadata"] = client.metadata()
    return json.dumps(answer, separators=(",", ":"), default=str)


def _comes_with_python(name):
    """Whether it does, and no file of the project or of a package has its name."""
    if name.partition(".")[0] not in getattr(sys, "stdlib_module_names", ()):  # from Python 3.10
        return False
    spec = getattr(sys.modules.get(name), "__spec__", None)
    origin = getattr(spec, "origin", None) or ""
    home = os.path.dirname(os.__file__) + os.sep
    return origin in ("built-in", "frozen") or (origin.startswith(home) and "-packages" + os.sep not in origin)


def _own_modules(count):
    """Of the modules that were imported last, those that come with Python: nothing that a program sets changes what they are."""
    names = list(sys.modules)  # a thread may go on importing
    return [name for name in names[len(names) - max(count, 0) :] if _comes_with_python(name)]


class Loading:
    """The predictor on its way, in steps: a zygote stops behind one of them, and its replicas go on from there."""

    STEPS = ["worker", "imports", "init"]  # each is done when it is behind us

    def __init__(self, settings, say, hand_over):
        self.settings = settings  # CONFIG; a replica's own after a fork
        self._say = say  # takes a word on progress
        self._hand_over = hand_over  # takes the Predictor
        self._done = []
        self.known = None  # a fork's first word, which the daemon knows without it
        self.tells = not settings.get("zygote")  # nor its forks
        self.imported = []  # modules of Python itself that __init__ has imported, where it tells

    def to(self, level):
        """Takes the steps up to this one that are still to be taken. Raises Failure."""
        for step in self.STEPS[len(self._done) : self.STEPS.index(level) + 1]:
            getattr(self, "_" + step)()
            self._done.append(step)

    def next_word(self):
        """What is begun next."""
        return "running __init__" if len(self._done) > self.STEPS.index("imports") else "importing %s" % self.settings["path"]

    def import_ahead(self, names):
        """What __init__ will import of Python itself, as another replica has told: then its forks need not."""
        for name in names:
            try:
                importlib.import_module(name)
            except BaseException:
                pass  # it is for __init__ to meet

    def _begin(self, word):
        self._say(word, word == self.known)
        self.known = None

    def _worker(self):
        settings = self.settings
        self._kind = classes.KINDS[settings.get("class") or "PythonPredictor"]
        _set_up_paths(settings)
        self._project = os.getcwd()
        self._file = os.path.join(self._project, settings["path"])
        sys.argv = [self._file]
        cortex_modules.install(settings.get("log_level", "info"))
        soma_module.install(lambda: self.settings)

    def _imports(self):
        path, kind = self.settings["path"], self._kind
        _check_readable(self._project, path, self._file, kind)
        self._begin("importing %s" % path)
        module = _import(self._project, path, self._file, kind)
        self._class = _find_class(module, path, self._file, kind)
        self._signatures = classes.check(self._class, kind, path, _for_client(self.settings))
        if self._signatures.hooks:
            sys.setswitchinterval(TURN_S)  # __init__ may set another

    def _init(self):
        settings, kind, signatures = self.settings, self._kind, self._signatures
        store = _store(settings, kind, self._begin)
        client = _client(kind, signatures, store, self._begin)
        self._begin("running __init__")
        arguments = {"config": settings.get("config") or {}, kind.client: client, "metrics_client": _metrics_client(signatures)}
        before = len(sys.modules)
        instance = _make(self._class, signatures, arguments, settings["path"], kind)
        if self.tells:
            self.imported = _own_modules(len(sys.modules) - before)
        if store is not None and kind.client != "onnx_client":
            client.load_model = instance.load_model
        _set_up_logging(settings.get("log_level", "info"))
        methods = {verb: (name, (getattr(instance, name), *signature)) for verb, (name, signature) in signatures.methods.items()}
        hooks = {name: (getattr(instance, name), *signature) for name, signature in signatures.hooks.items()}
        self._is_async = any(method[-1] for method in [*(method for _, method in methods.values()), *hooks.values()])
        if client is not None and kind.name != "Handler":
            client.cache.on_change = lambda: _worker.set_summary(_summary(kind, client))
        self._hand_over(Predictor(methods, hooks, _summary(kind, client)))

    def start(self):
        """What is left of the steps, and what is each process's own. Raises Failure."""
        self.to("init")
        self._run_hooks()
        if self._is_async:
            tasks.start()

    def _run_hooks(self):
        for hook in soma_module.on_start_hooks:
            name = getattr(hook, "__qualname__", repr(hook))
            try:
                hook()
            except SystemExit as error:
                raise Failure("init_error", "%s, which soma.on_start was given, called sys.exit(%s)" % (name, "" if error.code is None else repr(error.code)), "raise an exception that says what is wrong instead", trace_of(error))
            except BaseException as error:
                raise Failure("init_error", "%s, which soma.on_start was given, raised %s" % (name, short(error)), "see the traceback, correct %s and deploy again" % self.settings["path"], trace_of(error))

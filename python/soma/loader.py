"""Loads the user's predictor, and says what is wrong with it."""
import difflib
import importlib.util
import inspect
import os
import re
import sys
import traceback

CLASS = "PythonPredictor"
TRACEBACK_MAX = 24 * 1024  # characters: JSON makes up to six bytes of one, and a frame holds 160 KiB
MESSAGE_MAX = 1000

INIT_ARGUMENTS = ["config", "python_client", "job_spec"]
PREDICT_ARGUMENTS = ["payload", "query_params", "headers", "batch_id"]
POST_PREDICT_ARGUMENTS = ["response", "payload", "query_params", "headers"]

# Packages that are not called as their modules are.
PACKAGES = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "google.protobuf": "protobuf",
    "jwt": "pyjwt",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


class Failure(Exception):
    """Why the predictor cannot serve: what a FAILED frame says."""

    def __init__(self, code, message, remedy, trace=""):
        super().__init__(message)
        if len(message) > MESSAGE_MAX:
            message = message[:MESSAGE_MAX] + "..."
        self.code, self.message, self.remedy = code, message, remedy
        if len(trace) > TRACEBACK_MAX:
            trace = "...\n" + trace[-TRACEBACK_MAX:]
        self.trace = trace

    def as_dict(self):
        return {"code": self.code, "message": self.message, "traceback": self.trace, "remedy": self.remedy}

    def for_log(self):
        return "%ssoma: %s\nsoma: remedy: %s\n" % (self.trace, self.message, self.remedy)


class Predictor:
    """The methods as the extension calls them: (callable, positional names, keyword names)."""

    def __init__(self, predict, post_predict):
        self.predict, self.post_predict = predict, post_predict


# --- the file -----------------------------------------------------------------


def _trace(error):
    """The traceback from the user's first frame on: neither ours nor importlib's."""
    tb = error.__traceback__
    while tb is not None and (tb.tb_frame.f_code.co_filename == __file__ or "importlib" in tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb))


def _short(error):
    return traceback.format_exception_only(type(error), error)[-1].strip()


def _user():
    import pwd

    try:
        return "user %s" % pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "user %d" % os.geteuid()


def _check_readable(project, path, file):
    try:
        with open(file, "rb"):
            return
    except FileNotFoundError:
        pass
    except PermissionError:
        raise Failure("missing_file", "%s cannot be read by %s" % (file, _user()), "make the file and the folders above it readable for that user (chmod o+rX)")
    except IsADirectoryError:
        raise Failure("missing_file", "the predictor %s is a folder" % path, "set predictor.path to the Python file that defines %s" % CLASS)
    except OSError as error:
        raise Failure("missing_file", "the predictor %s cannot be read: %s" % (path, error.strerror), "check the file and deploy again")
    there = []
    for folder, folders, names in os.walk(project):
        folders[:] = [f for f in folders if not f.startswith(".")]
        there += [os.path.relpath(os.path.join(folder, n), project) for n in names if n.endswith(".py")]
        if len(there) > 1000:
            break
    near = difflib.get_close_matches(path, there, 1) or [p for p in there if os.path.basename(p) == os.path.basename(path)]
    remedy = "set predictor.path to a file of the project"
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


def _import_failure(error, path, project):
    trace, name = _trace(error), getattr(error, "name", None)
    if not isinstance(error, ModuleNotFoundError) or not name:
        remedy = "see the traceback; a package may be of another version than the code wants: pin it in requirements.txt"
        return Failure("import_error", "%s cannot be imported: %s" % (path, _short(error)), remedy, trace)
    top = name.split(".")[0]
    if top in sys.modules and name != top:
        remedy = "the installed %s has no %s: pin the version that the code wants in requirements.txt" % (top, name)
        return Failure("import_error", "%s imports %s, which is not in the installed %s" % (path, name, top), remedy, trace)
    for folder, folders, names in os.walk(project):
        folders[:] = [f for f in folders if not f.startswith(".")]
        if top + ".py" in names or top in folders:
            relative = os.path.relpath(folder, project)
            if relative != ".":
                return Failure("import_error", "%s imports %s, which is in the folder %s of the project" % (path, name, relative), "set predictor.python_path to %s" % relative, trace)
    remedy = "add %s to requirements.txt" % PACKAGES.get(name, PACKAGES.get(top, top))
    return Failure("import_error", "%s imports %s, which is not installed for %s" % (path, name, sys.executable), remedy, trace)


def _import(project, path, file):
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
        raise _import_failure(error, path, project)
    except SystemExit as error:
        raise Failure("import_error", "%s called sys.exit(%s) while it was imported" % (path, "" if error.code is None else repr(error.code)), "move what is not a definition under if __name__ == '__main__':", _trace(error))
    except BaseException as error:
        raise Failure("import_error", "%s raised while it was imported: %s" % (path, _short(error)), "see the traceback, correct the file and deploy again", _trace(error))
    return module


# --- the class ----------------------------------------------------------------


def _find_class(module, path, file):
    with open(file, "rb") as f:
        lines = [n for n, line in enumerate(f, 1) if re.match(rb"class\s+%s\b" % CLASS.encode(), line)]
    if len(lines) > 1:
        raise Failure("missing_class", "%s defines %s %d times (lines %s)" % (path, CLASS, len(lines), ", ".join(map(str, lines))), "keep one of them")
    found = getattr(module, CLASS, None)
    if isinstance(found, type):
        return found
    classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
    if found is not None:
        message = "%s has a %s that is not a class but a %s" % (path, CLASS, type(found).__name__)
    elif classes:
        message = "%s defines no class %s; its classes are %s" % (path, CLASS, ", ".join(classes))
    else:
        message = "%s defines no class" % path
    near = difflib.get_close_matches(CLASS, classes, 1)
    remedy = "rename %s to %s" % (near[0], CLASS) if near else "define class %s with __init__(self, config) and predict(self, payload)" % CLASS
    raise Failure("missing_class", message, remedy)


def _bad_signature(path, message, remedy):
    return Failure("bad_signature", "%s: %s" % (path, message), remedy)


def _parameters(path, cls, method, allowed):
    """The names that a method takes without self: positional ones, keyword-only ones."""
    raw = inspect.getattr_static(cls, method)
    function = getattr(cls, method)
    title = "%s.%s" % (CLASS, method)
    if not callable(function):
        raise _bad_signature(path, "%s is not a method but a %s" % (title, type(function).__name__), "define it with def %s(self, ...)" % method)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _bad_signature(path, "%s is async" % title, "write def %s, and asyncio.run(...) inside where it awaits" % method)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise _bad_signature(path, "the arguments of %s cannot be read: %s" % (title, error), "wrap it in a plain def %s(self, ...)" % method)
    if not isinstance(raw, (staticmethod, classmethod)):
        if not parameters or parameters[0].kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            raise _bad_signature(path, "%s does not take self" % title, "write def %s(self, ...)" % method)
        if parameters[0].kind != inspect.Parameter.VAR_POSITIONAL:
            if parameters[0].name in allowed:
                raise _bad_signature(path, "%s does not take self: its first argument is %s" % (title, parameters[0].name), "write def %s(self, %s)" % (method, ", ".join(p.name for p in parameters)))
            parameters = parameters[1:]
    positional, keywords = [], []
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue  # nothing is passed there
        if p.name not in allowed:
            near = difflib.get_close_matches(p.name, allowed, 1)
            remedy = "arguments are passed by name: %s may take %s" % (method, ", ".join(allowed))
            raise _bad_signature(path, "%s takes an argument %s%s" % (title, p.name, " (did you mean %s?)" % near[0] if near else ""), remedy)
        (keywords if p.kind == p.KEYWORD_ONLY else positional).append(p.name)
    return tuple(positional), tuple(keywords)


def _check_class(cls, path):
    """Parameters of __init__ (None: it has none of its own), predict and post_predict (None: there is none)."""
    if not hasattr(cls, "predict"):
        raise _bad_signature(path, "%s has no method predict" % CLASS, "define predict(self, payload)")
    init = None
    if cls.__init__ is not object.__init__:
        init = _parameters(path, cls, "__init__", INIT_ARGUMENTS)
        if "python_client" in init[0] + init[1]:
            raise _bad_signature(path, "%s.__init__ takes python_client, which needs multi_model_reloading; this version of Soma has none" % CLASS, "load the model in __init__(self, config) by itself")
        if "config" not in init[0] + init[1]:
            raise _bad_signature(path, "%s.__init__ does not take config" % CLASS, "write def __init__(self, config)")
    predict = _parameters(path, cls, "predict", PREDICT_ARGUMENTS)
    post = _parameters(path, cls, "post_predict", POST_PREDICT_ARGUMENTS) if hasattr(cls, "post_predict") else None
    return init, predict, post


def _make(cls, init, config, path):
    arguments = {"config": config, "job_spec": None}
    try:
        if init is None:
            return cls()
        return cls(*[arguments[n] for n in init[0]], **{n: arguments[n] for n in init[1]})
    except SystemExit as error:
        raise Failure("init_error", "%s.__init__ called sys.exit(%s)" % (CLASS, "" if error.code is None else repr(error.code)), "raise an exception that says what is wrong instead", _trace(error))
    except BaseException as error:
        remedy = "see the traceback, correct %s and deploy again" % path
        if isinstance(error, ModuleNotFoundError) and error.name:
            top = error.name.split(".")[0]
            remedy = "add %s to requirements.txt" % PACKAGES.get(top, top)
        elif isinstance(error, KeyError) and len(error.args) == 1 and error.args[0] not in config:
            remedy = "if it is a key of config: set predictor.config.%s" % (error.args[0],)
        elif isinstance(error, PermissionError):
            remedy = "make it readable for %s" % _user()
        raise Failure("init_error", "%s.__init__ raised %s" % (CLASS, _short(error)), remedy, _trace(error))


def _set_up_paths(settings):
    project = settings["project"]
    try:
        os.chdir(project)
    except OSError as error:
        raise Failure("missing_file", "the project %s cannot be entered by %s: %s" % (project, _user(), error.strerror), "make the folder and those above it readable for that user (chmod o+rX)")
    sys.path.insert(0, project)
    if settings.get("python_path"):
        # As PYTHONPATH: before what is installed.
        sys.path.insert(1, os.path.normpath(os.path.join(project, settings["python_path"])))


def _set_up_logging(level):
    """A level for user code that logs and has set nothing up."""
    logging = sys.modules.get("logging")
    if logging and not logging.root.handlers and logging.root.level == logging.WARNING:
        logging.basicConfig(level=getattr(logging, str(level).upper(), logging.INFO), format="%(levelname)s:%(name)s:%(message)s")


def load(settings, say):
    """Imports the file, makes the predictor. `say` takes a word on progress. Raises Failure."""
    path = settings["path"]
    _set_up_paths(settings)
    project = os.getcwd()
    file = os.path.join(project, path)
    sys.argv = [file]
    _check_readable(project, path, file)
    say("importing %s" % path)
    module = _import(project, path, file)
    cls = _find_class(module, path, file)
    init, predict, post = _check_class(cls, path)
    say("running __init__")
    instance = _make(cls, init, settings.get("config") or {}, path)
    _set_up_logging(settings.get("log_level", "info"))
    return Predictor((instance.predict, *predict), (instance.post_predict, *post) if post else (None, (), ()))

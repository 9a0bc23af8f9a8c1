"""Finds, checks and makes the user's predictor; every failure has a cause and a remedy."""
import importlib.util
import inspect
import os
import sys
import traceback

CLASS = "PythonPredictor"
INIT_ARGS = ("config", "python_client", "job_spec")
PREDICT_ARGS = ("payload", "query_params", "headers", "batch_id")
POST_ARGS = ("response", "payload", "query_params", "headers")


class LoadError(Exception):
    def __init__(self, code, message, remedy="", trace=""):
        super().__init__(message)
        self.code, self.message, self.remedy, self.traceback = code, message, remedy, trace

    def as_dict(self):
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "traceback": self.traceback[-20000:],
        }


def user_traceback(error):
    """The traceback from the user's first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__,):
        trace = trace.tb_next
    while trace is not None and "importlib" in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def import_file(path, shown):
    if not os.path.isfile(path):
        raise LoadError(
            "missing_file",
            "the project has no file '%s'" % shown,
            "check predictor.path in the config file",
        )
    name = os.path.splitext(os.path.basename(path))[0].replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = os.path.relpath(error.filename or path, os.getcwd())
        raise LoadError(
            "syntax_error",
            "%s:%s: %s: %s" % (where, error.lineno, error.msg, (error.text or "").strip()),
            "mend that line and deploy again",
            user_traceback(error),
        )
    except ImportError as error:
        missing = getattr(error, "name", None) or str(error)
        raise LoadError(
            "import_error",
            "importing %s failed: %s: %s" % (shown, type(error).__name__, error),
            "add the package that has '%s' to requirements.txt beside the config file"
            % missing.split(".")[0],
            user_traceback(error),
        )
    except SystemExit as error:
        raise LoadError(
            "import_error",
            "importing %s ended the program (exit %s)" % (shown, error.code),
            "remove the call of sys.exit at import",
            user_traceback(error),
        )
    except BaseException as error:
        raise LoadError(
            "import_error",
            "importing %s failed: %s: %s" % (shown, type(error).__name__, error),
            "",
            user_traceback(error),
        )
    return module


def find_class(module, shown):
    found = getattr(module, CLASS, None)
    if inspect.isclass(found):
        return found
    others = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]
    have = "it has the classes %s" % ", ".join(sorted(others)) if others else "it has no class"
    raise LoadError(
        "missing_class",
        "%s has no class %s; %s" % (shown, CLASS, have),
        "name the class %s" % CLASS,
    )


def arguments(function, what, allowed, required=()):
    """Names of the arguments a method takes, self aside; all must be known."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return list(allowed)
    names = []
    for parameter in parameters:
        if parameter.kind == parameter.VAR_KEYWORD:
            names.extend(name for name in allowed if name not in names)
        elif parameter.kind == parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in allowed:
            names.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise LoadError(
                "bad_signature",
                "%s.%s takes an argument '%s', which Soma does not know"
                % (CLASS, what, parameter.name),
                "it may take %s" % ", ".join(allowed),
            )
    for name in required:
        if name not in names:
            raise LoadError(
                "bad_signature",
                "%s.%s must take the argument '%s'" % (CLASS, what, name),
                "write: def %s(self, %s, ...)" % (what, name),
            )
    return names


def check_predict(cls):
    predict = getattr(cls, "predict", None)
    if not callable(predict):
        raise LoadError(
            "bad_signature",
            "%s has no method predict" % CLASS,
            "write: def predict(self, payload)",
        )
    if inspect.iscoroutinefunction(predict) or inspect.isgeneratorfunction(predict):
        raise LoadError(
            "bad_signature",
            "%s.predict is async or a generator, which this version does not run" % CLASS,
            "make it an ordinary method that returns its result",
        )


def make(cls, config):
    names = arguments(cls.__init__, "__init__", ("self",) + INIT_ARGS, ("config",))
    kwargs = {}
    if "python_client" in names:
        raise LoadError(
            "bad_signature",
            "%s.__init__ takes python_client, which this version has not" % CLASS,
            "load the model in __init__ from a path in config",
        )
    if "config" in names:
        kwargs["config"] = config
    if "job_spec" in names:
        kwargs["job_spec"] = None
    try:
        return cls(**kwargs)
    except SystemExit as error:
        raise LoadError(
            "init_error",
            "%s.__init__ ended the program (exit %s)" % (CLASS, error.code),
            "remove the call of sys.exit",
            user_traceback(error),
        )
    except BaseException as error:
        remedy = ""
        if isinstance(error, ImportError):
            remedy = "add the missing package to requirements.txt beside the config file"
        raise LoadError(
            "init_error",
            "%s.__init__ raised %s: %s" % (CLASS, type(error).__name__, error),
            remedy,
            user_traceback(error),
        )


def load(config, loading):
    project, shown = config["project"], config["path"]
    os.chdir(project)
    sys.path.insert(0, project)
    if config.get("python_path"):
        sys.path.append(os.path.join(project, config["python_path"]))
    sys.argv = [os.path.join(project, shown)]
    loading("importing %s" % shown)
    module = import_file(os.path.join(project, shown), shown)
    cls = find_class(module, shown)
    check_predict(cls)
    loading("running __init__")
    return make(cls, config.get("config") or {})


def hooks_of(predictor):
    """What the C extension needs to know of the class."""
    names = arguments(predictor.predict, "predict", PREDICT_ARGS)
    hooks = {"predict": predictor.predict, "post_predict": None}
    for name in PREDICT_ARGS:
        hooks[name] = name in names
    post = getattr(predictor, "post_predict", None)
    if callable(post):
        hooks["post_predict"] = post
        wanted = arguments(post, "post_predict", POST_ARGS)
        for name in POST_ARGS:
            hooks["post_" + name] = name in wanted
    return hooks

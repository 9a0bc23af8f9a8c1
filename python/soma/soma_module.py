"""The module `soma`, which the user's code may import in a replica.

Found only where nothing else has the name: it is installed nowhere.
"""
import importlib
import importlib.abc
import importlib.machinery
import sys

from _soma import _worker, streams


on_start_hooks = []
config = None  # a function: CONFIG, as it is now


def on_start(function):
    """Calls function() in every replica before its first request, after `__init__`. A replica may be a fork of a process that ran `__init__` long ago (a zygote): what is each process's own is made here. Also a decorator."""
    if not callable(function):
        raise TypeError("soma.on_start() wants a function, not %s" % type(function).__name__)
    on_start_hooks.append(function)
    return function


def cancelled():
    """Whether the client of the request that this thread handles has gone: its answer is wanted no more."""
    return _worker.cancelled()


def release_slot():
    """`yield soma.release_slot()`: the rest of this generator is no inference, and another request may have its slot."""
    return streams.RELEASE


class Response:
    """An answer with a status, headers and a content type of its own; `body` may be a generator."""

    def __init__(self, body=b"", status_code=200, headers=None, media_type=None):
        self.body = body
        self.status_code = status_code
        self.headers = dict(headers or {})
        self.media_type = media_type


def _submodule(name):
    """soma.models without an import of its own, for those alone who use it."""
    if name != "models":
        raise AttributeError("module 'soma' has no attribute %r" % name)
    return importlib.import_module("soma.models")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name == "soma":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        ours = getattr(getattr(sys.modules.get("soma"), "__spec__", None), "loader", None) is self
        return importlib.machinery.ModuleSpec(name, self) if name == "soma.models" and ours else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__ == "soma.models":
            from _soma import soma_models

            module.__doc__ = soma_models.__doc__
            vars(module).update({name: getattr(soma_models, name) for name in soma_models.__all__})
            return
        module.__doc__ = "What a replica of Soma offers its code."
        module.cancelled, module.release_slot, module.Response, module.on_start = cancelled, release_slot, Response, on_start
        module.__getattr__ = _submodule


def install(get_config):
    """Behind all other finders. get_config: a function that returns CONFIG."""
    global config
    config = get_config
    sys.meta_path.append(_Finder())

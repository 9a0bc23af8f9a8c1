"""The module `soma`, which the user's code may import in a replica.

Found only where nothing else has the name: it is installed nowhere.
"""
import importlib.abc
import importlib.machinery
import sys

from _soma import _worker, streams


on_start_hooks = []


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


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "soma" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__doc__ = "What a replica of Soma offers its code."
        module.cancelled, module.release_slot, module.Response, module.on_start = cancelled, release_slot, Response, on_start


def install():
    """Behind all other finders."""
    sys.meta_path.append(_Finder())

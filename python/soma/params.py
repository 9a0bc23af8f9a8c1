"""query_params, headers and forms as predict sees them.

Small classes of our own, so that nothing has to be imported; starlette's if the
user's code has imported it and may compare types.
"""
import sys
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode


class MultiDict(Mapping):
    """A dict whose keys may have several values: [] gives the last, getlist() all."""

    def __init__(self, pairs):
        self._pairs = list(pairs)
        self._one = dict(self._pairs)

    def __getitem__(self, key):
        return self._one[key]

    def __iter__(self):
        return iter(self._one)

    def __len__(self):
        return len(self._one)

    def getlist(self, key):
        return [v for k, v in self._pairs if k == key]

    def multi_items(self):
        return list(self._pairs)

    def __repr__(self):
        return "%s(%r)" % (type(self).__name__, self._pairs)


class QueryParams(MultiDict):
    """The part of the URL behind the question mark."""

    def __init__(self, text):
        super().__init__(parse_qsl(text, keep_blank_values=True))

    def __str__(self):
        return urlencode(self._pairs)


class Headers(MultiDict):
    """Headers by name, in any case: [] gives the first, getlist() all; keys(), values() and items() have each."""

    def __init__(self, raw):
        self.raw = raw
        super().__init__([(k.decode("latin-1"), v.decode("latin-1")) for k, v in raw])
        self._one = dict(reversed(self._pairs))

    def __getitem__(self, key):
        return self._one[key.lower()]

    def __contains__(self, key):
        return isinstance(key, str) and key.lower() in self._one

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self._pairs)

    def getlist(self, key):
        return super().getlist(key.lower())

    def keys(self):
        return [k for k, _ in self._pairs]

    def values(self):
        return [v for _, v in self._pairs]

    def items(self):
        return list(self._pairs)


class FormData(MultiDict):
    """A form: str values, and UploadFile for files."""


def _starlette():
    return sys.modules.get("starlette.datastructures")


def query_params(text):
    theirs = _starlette()
    return theirs.QueryParams(text) if theirs else QueryParams(text)


def headers(raw):
    theirs = _starlette()
    return theirs.Headers(raw=raw) if theirs else Headers(raw)


def form(content_type, body):
    """The payload of a form. ValueError says what is wrong with it."""
    from _soma import forms

    return forms.parse(content_type.decode("latin-1"), body)

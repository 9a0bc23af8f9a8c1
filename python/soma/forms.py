"""Forms: application/x-www-form-urlencoded and multipart/form-data.

Values are str or an UploadFile, in starlette's FormData where the user's
environment has starlette, else in our own. Each byte of a body is looked at a
fixed number of times, whatever a client makes of it.
"""
import codecs
import inspect
import io
import re
from urllib.parse import parse_qsl, unquote

from _soma.params import FormData

PARTS_MAX = 1000  # or fields; starlette's number
HEAD_MAX = 16 * 1024  # of one part
BOUNDARY_MAX = 70  # characters, RFC 2046


class TooLarge(OverflowError):
    """More than is taken: 413."""


class UploadFile:
    """A file of a form, in memory."""

    def __init__(self, file, filename, headers):
        self.file = file
        self.filename = filename
        self.headers = headers
        self.size = len(file.getbuffer())

    @property
    def content_type(self):
        return self.headers.get("content-type")

    def read(self, size=-1):
        return self.file.read(size)

    def write(self, data):
        self.file.write(data)

    def seek(self, offset):
        self.file.seek(offset)

    def close(self):
        self.file.close()

    def __repr__(self):
        return "UploadFile(filename=%r, size=%r, headers=%r)" % (self.filename, self.size, self.headers)


# --- headers ------------------------------------------------------------------


_FOLD = re.compile(r"\r\n[ \t]+")
# ; name="value" or ; name=value
_PARAMETER = re.compile(r""";\s*([^\s;="]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^;\s"]*))""", re.DOTALL)
# Browsers leave the backslashes of a path as they are.
_ESCAPE = re.compile(r"""\\(["\\])""")


def _headers(head):
    """A dict with lower-case names."""
    pairs = (line.partition(":") for line in _FOLD.sub(" ", head).split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parameters(value):
    """Those of a header such as form-data; name="a"; filename="b"."""
    found = {}
    for name, quoted, plain in _PARAMETER.findall(value):
        name, value = name.lower(), _ESCAPE.sub(r"\1", quoted) or plain
        if name.endswith("*"):  # RFC 8187: charset'language'text
            charset, _, text = value.partition("'")
            try:
                value = unquote(text.partition("'")[2], charset or "utf-8")
            except LookupError:
                continue
            found[name[:-1]] = value
        else:
            found.setdefault(name, value)
    return found


# --- multipart ----------------------------------------------------------------


# What ends the line of a boundary: the last one has two dashes more.
_EDGE_END = re.compile(rb"--|[ \t]*\r\n")


def _next_edge(body, edge, at):
    """Where the next line with the boundary begins and ends, from `at` on; the end is None for the last."""
    while True:
        at = body.find(edge, at)
        if at < 0:
            raise ValueError("the multipart body does not end in its boundary %s--" % edge[2:].decode("latin-1"))
        end = _EDGE_END.match(body, at + len(edge))
        if end:
            return at, None if end.group() == b"--" else end.end()
        at += len(edge)  # a longer boundary, of a form inside of this one


def _parts(body, boundary):
    """Head and content of each part."""
    edge = b"\r\n--" + boundary.encode("latin-1")
    first = _EDGE_END.match(body, len(edge) - 2) if body.startswith(edge[2:]) else None
    if first:
        start = None if first.group() == b"--" else first.end()
    else:
        _, start = _next_edge(body, edge, 0)
    count = 0
    while start is not None:
        count += 1
        if count > PARTS_MAX:
            raise TooLarge("the multipart body has more than %d parts" % PARTS_MAX)
        # The line before the first header, or the empty head's own end.
        end, following = _next_edge(body, edge, start - 2)
        head_end = body.find(b"\r\n\r\n", start - 2, min(end, start + HEAD_MAX))
        if head_end < 0:
            if end - start > HEAD_MAX:
                raise TooLarge("the head of a part of the multipart body is over %d bytes" % HEAD_MAX)
            raise ValueError("a part of the multipart body has no empty line behind its head")
        yield body[start:head_end], body[head_end + 4 : end]
        start = following


def _boundary(content_type):
    boundary = _parameters(content_type).get("boundary")
    if not boundary:
        raise ValueError("the content type names no boundary")
    if len(boundary) > BOUNDARY_MAX:
        raise ValueError("the boundary is longer than %d characters" % BOUNDARY_MAX)
    return boundary


# Of Python's codecs, those for names: no form is in them, and the first takes
# the square of a text's length.
_NO_CHARSETS = {"punycode", "idna"}


def _text(name, content, content_type):
    charset = _parameters(content_type).get("charset", "utf-8")
    try:
        if codecs.lookup(charset).name in _NO_CHARSETS:
            raise LookupError
        return content.decode(charset)
    except LookupError:
        raise ValueError("the part %r has the unknown charset %s" % (name, charset))


def _multipart(content_type, body, upload):
    for head, content in _parts(body, _boundary(content_type)):
        headers = _headers(head.decode("utf-8", "replace"))
        parameters = _parameters(headers.get("content-disposition", ""))
        name, filename = parameters.get("name"), parameters.get("filename")
        if name is None:
            raise ValueError("a part of the multipart body has no name")
        if filename is None:
            yield name, _text(name, content, headers.get("content-type", ""))
        else:
            yield name, upload(io.BytesIO(content), filename, headers)


# --- both ---------------------------------------------------------------------


def _their_upload(datastructures):
    """starlette's UploadFile, whose arguments have changed over time."""
    names = inspect.signature(datastructures.UploadFile.__init__).parameters

    def upload(file, filename, headers):
        values = {
            "file": file, "filename": filename, "size": len(file.getbuffer()),
            "headers": datastructures.Headers(headers), "content_type": headers.get("content-type", ""),
        }
        return datastructures.UploadFile(**{n: v for n, v in values.items() if n in names})

    return upload


def _urlencoded(body):
    if body.count(b"&") >= PARTS_MAX:
        raise TooLarge("the form has more than %d fields" % PARTS_MAX)
    return parse_qsl(body.decode("utf-8"), keep_blank_values=True)


def parse(content_type, body):
    """FormData of a body. ValueError says what is wrong with it, TooLarge what is too much."""
    try:
        from starlette import datastructures
    except ImportError:
        kind, upload = FormData, UploadFile
    else:
        kind, upload = datastructures.FormData, _their_upload(datastructures)
    if content_type.lower().startswith("multipart/form"):
        return kind(list(_multipart(content_type, body, upload)))
    return kind(_urlencoded(body))

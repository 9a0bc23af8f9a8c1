"""Forms: application/x-www-form-urlencoded and multipart/form-data.

Values are str or an UploadFile, in starlette's FormData where the user's
environment has starlette, else in our own.
"""
import io
from email.message import Message
from email.parser import HeaderParser
from urllib.parse import parse_qsl

from _soma.params import FormData

PARTS_MAX = 1000


class UploadFile:
    """A file of a form, in memory."""

    def __init__(self, file, filename, content_type):
        self.file = file
        self.filename = filename
        self.content_type = content_type

    def read(self, size=-1):
        return self.file.read(size)

    def __repr__(self):
        return "UploadFile(filename=%r, content_type=%r)" % (self.filename, self.content_type)


def _content_type(text):
    message = Message()
    message["content-type"] = text
    return message


def _parts(body, boundary):
    """Head and content of each part."""
    edge = b"--" + boundary.encode("latin-1")
    if body.startswith(edge):
        body = b"\r\n" + body
    pieces = body.split(b"\r\n" + edge)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the multipart body does not end in its boundary %s--" % edge.decode("latin-1"))
    if len(pieces) > PARTS_MAX:
        raise ValueError("the multipart body has more than %d parts" % PARTS_MAX)
    for piece in pieces[1:-1]:
        piece = piece.lstrip(b" \t")
        head, found, content = piece.partition(b"\r\n\r\n")
        if not found:
            raise ValueError("a part of the multipart body has no empty line behind its head")
        yield head.lstrip(b"\r\n"), content


def _multipart(content_type, body, upload):
    boundary = _content_type(content_type).get_param("boundary")
    if not boundary:
        raise ValueError("the content type names no boundary")
    for head, content in _parts(body, boundary):
        head = HeaderParser().parsestr(head.decode("utf-8", "replace") + "\r\n\r\n")
        name = head.get_param("name", header="content-disposition")
        if name is None:
            raise ValueError("a part of the multipart body has no name")
        if isinstance(name, tuple):  # RFC 2231
            name = name[2]
        filename = head.get_filename()
        if filename is None:
            charset = head.get_content_charset("utf-8")
            try:
                yield name, content.decode(charset)
            except LookupError:
                raise ValueError("the part %r has the unknown charset %s" % (name, charset))
        else:
            yield name, upload(io.BytesIO(content), filename, head.get("content-type"))


def _their_upload(datastructures):
    def upload(file, filename, content_type):
        headers = datastructures.Headers({"content-type": content_type} if content_type else {})
        try:
            return datastructures.UploadFile(file=file, filename=filename, headers=headers)
        except TypeError:  # before starlette 0.21
            return datastructures.UploadFile(filename, file, content_type or "")

    return upload


def parse(content_type, body):
    """FormData of a body. ValueError says what is wrong with it."""
    try:
        from starlette import datastructures
    except ImportError:
        kind, upload = FormData, UploadFile
    else:
        kind, upload = datastructures.FormData, _their_upload(datastructures)
    if content_type.lower().startswith("multipart/form"):
        return kind(list(_multipart(content_type, body, upload)))
    return kind(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=PARTS_MAX))

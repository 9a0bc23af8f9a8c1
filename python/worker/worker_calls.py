"""The seldom-walked parts of a request: query, headers, forms, errors, Response objects."""
import json
import sys
import traceback
from urllib.parse import parse_qsl

expose_tracebacks = False


class MultiDict(dict):
    """A dict of the last value of each key; getlist and multi_items have them all."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self._pairs = list(pairs)

    def getlist(self, key):
        return [value for name, value in self._pairs if name == key]

    def multi_items(self):
        return list(self._pairs)


class QueryParams(MultiDict):
    pass


class Headers(MultiDict):
    """Names are compared without regard to case, and kept in lower case."""

    def __init__(self, pairs):
        super().__init__([(name.lower(), value) for name, value in pairs])

    def __getitem__(self, key):
        return super().__getitem__(key.lower())

    def __contains__(self, key):
        return isinstance(key, str) and super().__contains__(key.lower())

    def get(self, key, default=None):
        return super().get(key.lower(), default)

    def getlist(self, key):
        return super().getlist(key.lower())


class FormData(MultiDict):
    pass


class UploadFile:
    """A file of a form: filename, content_type, and file (or read()) for its bytes."""

    def __init__(self, filename, content_type, data):
        import io

        self.filename, self.content_type = filename, content_type
        self.file = io.BytesIO(data)

    def read(self, size=-1):
        return self.file.read(size)


def starlette(name):
    """starlette's own class if the user's program has it loaded."""
    module = sys.modules.get("starlette.datastructures")
    return getattr(module, name, None)


def make_query(text):
    theirs = starlette("QueryParams")
    if theirs is not None:
        return theirs(text)
    return QueryParams(parse_qsl(text, keep_blank_values=True))


def make_headers(pairs):
    theirs = starlette("Headers")
    if theirs is not None:
        return theirs(
            raw=[(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs]
        )
    return Headers(pairs)


def parse_form(body, content_type):
    if content_type.lower().startswith("application/x-www-form-urlencoded"):
        return FormData(parse_qsl(body.decode("utf-8"), keep_blank_values=True))
    from email.parser import BytesParser
    from email.policy import HTTP

    head = ("Content-Type: %s\r\n\r\n" % content_type).encode("latin-1")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise ValueError("no parts")
    pairs = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        filename = part.get_filename()
        data = part.get_payload(decode=True) or b""
        if filename is None:
            pairs.append((name, data.decode("utf-8")))
        else:
            pairs.append((name, UploadFile(filename, part.get_content_type(), data)))
    return FormData(pairs)


def describe_error(kind, error, trace, request_id):
    """(status, content type, body, exit code or None) for what predict raised."""
    if trace is not None and error is not None:
        error = error.with_traceback(trace)
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        sys.stderr.write("predict ended the program: %r\n" % error)
        sys.stderr.flush()
        code = getattr(error, "code", 130)
        if code is None:
            code = 0
        return 500, "text/plain", b"", code if isinstance(code, int) else 1
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and 400 <= status < 600 and detail is not None:
        body = json.dumps({"detail": detail}, default=str).encode()
        return status, "application/json", body, None
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(text)
    sys.stderr.flush()
    told = {
        "code": "predict_error",
        "message": "%s: %s" % (kind.__name__, error),
        "type": kind.__name__,
        "request_id": request_id,
    }
    if expose_tracebacks:
        told["traceback"] = text
    body = json.dumps({"error": told}).encode("utf-8", "replace")
    return 500, "application/json", body, None


def unpack_response(response):
    """(status, header lines, body) of a Response of starlette's kind."""
    body = response.body
    if isinstance(body, str):
        body = body.encode("utf-8")
    raw = getattr(response, "raw_headers", None)
    if raw is None:
        headers = getattr(response, "headers", None) or {}
        raw = [(str(k).encode("latin-1"), str(v).encode("latin-1")) for k, v in headers.items()]
        media_type = getattr(response, "media_type", None)
        if media_type and not any(k.lower() == b"content-type" for k, _ in raw):
            raw.append((b"content-type", media_type.encode("latin-1")))
    lines = []
    for name, value in raw:
        if name.lower() in (b"content-length", b"transfer-encoding", b"connection"):
            continue
        if any(c in name + value for c in b"\r\n\0"):
            raise ValueError("header %r of the response has a line break" % name)
        lines.append(name + b": " + value + b"\r\n")
    return int(response.status_code), b"".join(lines), bytes(body or b"")

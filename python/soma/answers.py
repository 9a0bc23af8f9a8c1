"""Answers that are not plain results: exceptions, and objects like starlette's Response.

An answer is (status, header lines, body), the latter two as bytes.
"""
import json
import os
import sys
import traceback

from _soma import streams, tasks

expose_tracebacks = False


def _line(name, value):
    if isinstance(name, str):
        name = name.encode("latin-1")
    if isinstance(value, str):
        value = value.encode("latin-1")
    if any(c in name + value for c in b"\r\n\0") or b":" in name or not name:
        raise ValueError("a response has a header that HTTP cannot carry: %r" % (name + b": " + value))
    return name + b": " + value + b"\r\n"


# What the extension sets itself.
_OURS = {b"content-length", b"transfer-encoding", b"connection"}


def _lines(pairs):
    lines = []
    for name, value in pairs:
        line = _line(name, value)
        if line.split(b":", 1)[0].lower() not in _OURS:
            lines.append(line)
    return b"".join(lines)


def _json_answer(status, error, headers=()):
    body = json.dumps({"error": error}, separators=(",", ":")).encode("utf-8") + b"\n"
    return status, _lines([("content-type", "application/json"), *headers]), body


def _run_asgi(response):
    """The answer of a response that makes its body as it is sent (streams, files)."""
    status, headers, body = response.status_code, [], []

    async def receive():
        import asyncio

        await asyncio.Event().wait()  # the client never says anything more

    async def send(message):
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            body.append(bytes(message.get("body", b"")))

    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [], "extensions": {}}
    tasks.run(response(scope, receive, send))
    return status, _lines(headers), b"".join(body)


def _take_background(response):
    """starlette's background task, for after the answer; None: it has none."""
    task = getattr(response, "background", None)
    if task is None or not callable(response):
        return None
    response.background = None
    return task


def _start_streaming(response):
    """An ASGI response that makes its body bit by bit: the rest comes as it is sent."""
    chunks = streams.AsyncChunks(streams.asgi_messages(response))
    try:
        status, headers = next(chunks)
        return int(status), _lines(headers), b"", chunks
    except BaseException:
        chunks.close()
        raise


def _header_pairs(response):
    pairs = getattr(response, "raw_headers", None)
    if pairs is not None:
        return pairs
    headers = getattr(response, "headers", None) or {}
    pairs = list(headers.items() if hasattr(headers, "items") else headers)
    media_type = getattr(response, "media_type", None)
    if media_type and not any(str(name).lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", media_type))
    return pairs


def _answer(response):
    """Status, header lines, body, an iterator over the rest of it."""
    body = getattr(response, "body", None)
    if callable(response) and hasattr(response, "body_iterator"):
        return _start_streaming(response)
    if callable(response) and body is None:
        return (*_run_asgi(response), None)
    status, lines, chunks = int(response.status_code), _lines(_header_pairs(response)), None
    if body is None:
        body = b""
    elif isinstance(body, str):
        body = body.encode(getattr(response, "charset", "utf-8"))
    elif hasattr(body, "__anext__"):
        body, chunks = b"", streams.AsyncChunks(body)
    elif hasattr(body, "__next__"):
        body, chunks = b"", body
    return status, lines, bytes(body), chunks


def of_response(response):
    """The answer of an object with `status_code`, as it says. Two more items, or None: an iterator over the rest of its
    body, if that is streamed, and what is to be called after it."""
    background = _take_background(response)
    return (*_answer(response), background)


def _log(error, title):
    """The traceback without our own frames; there are none above the user's."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    sys.stderr.write(title + "\n" + text if title else text)
    return text


def _describe(error):
    """ValueError: what it says."""
    return traceback.format_exception_only(type(error), error)[-1].strip()


def end_process(error, where):
    """sys.exit() and Ctrl-C mean what they say."""
    if isinstance(error, KeyboardInterrupt):
        code, words = 130, "was interrupted"
    else:
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
        words = "called sys.exit(%s)" % ("" if error.code is None else repr(error.code))
    traceback.print_exception(type(error), error, error.__traceback__)
    sys.stderr.write("soma: %s %s: the process ends\n" % (where, words))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    from _soma import _worker

    _worker.end_lines()
    os._exit(code & 0xFF)


def _error(error, request_id, trace):
    """What the caller is told."""
    answer = {"code": "predict_error", "message": _describe(error), "type": type(error).__name__, "request_id": request_id}
    if expose_tracebacks:
        answer["traceback"] = trace
    return answer


def of_exception(error, request_id, method):
    """The answer of a method that raised."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        end_process(error, method)
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and 400 <= status <= 599 and hasattr(error, "detail"):
        headers = getattr(error, "headers", None) or {}
        if isinstance(detail, str):
            return status, _lines([("content-type", "text/plain; charset=utf-8"), *headers.items()]), detail.encode("utf-8", "replace")
        return status, _lines([("content-type", "application/json"), *headers.items()]), json.dumps({"detail": detail}, separators=(",", ":")).encode("utf-8")
    title = "pre_predict failed:" if method == "pre_predict" else ""
    return _json_answer(500, _error(error, request_id, _log(error, title)))


def of_stream_exception(error, request_id, method):
    """What a stream ends with whose generator raised: its head has left."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        end_process(error, method)
    text = _log(error, "%s failed in the middle of its stream:" % method)
    return _json_answer(500, _error(error, request_id, text))[2]


def of_late_exception(error, request_id, method):
    """What runs after the answer raised: its caller has had that, so the log is all there is."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        end_process(error, method)
    _log(error, "%s failed:" % method)

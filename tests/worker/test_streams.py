"""Answers that a generator makes: chunk by chunk, no faster than the client takes them, closed when it goes."""
import json
import socket
import time

import pytest

from harness import BYE, SLOT_FREE, STOP, STUCK
from soma.chunks import ChunkReader

PREDICTOR = """
    import asyncio, os, time
    import soma

    made = []

    def logged(*words):
        print("|".join(map(str, words)), flush=True)

    class Iterator:
        def __init__(self, chunks): self.chunks = list(chunks)
        def __iter__(self): return self
        def __next__(self):
            if not self.chunks: raise StopIteration
            return self.chunks.pop(0)

    def chunks(*values, pause=0, fail=None):
        for value in values:
            yield value
            time.sleep(pause)
        if fail: raise fail

    async def achunks(*values, pause=0, fail=None):
        for value in values:
            yield value
            await asyncio.sleep(pause)
        if fail: raise fail

    def until_closed(pause=0.005, chunk="x"):
        n = 0
        try:
            while True:
                yield chunk
                n += 1
                made.append(n)
                if pause:
                    time.sleep(pause)
        except GeneratorExit:
            logged("closed", time.monotonic(), n)
            raise
        finally:
            made.clear()

    def released_until_closed():
        yield soma.release_slot()
        yield from until_closed()

    async def async_until_closed():
        try:
            yield "begun"
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            logged("cancelled", time.monotonic())
            raise
        finally:
            logged("over", soma.cancelled())

    def polls():
        yield "begun"
        while not soma.cancelled():
            time.sleep(0.001)
        logged("noticed", time.monotonic())

    def released(pause=0.3):
        yield "slot"
        yield soma.release_slot()
        for i in range(3):
            time.sleep(pause / 3)
            yield "free%d" % i
        print("in the thread", flush=True)

    class PythonPredictor:
        def predict(self, payload, headers):
            return eval(payload)

        def post_predict(self, payload, response):
            if payload.startswith(("chunks", "released")): logged("after", type(response).__name__)
"""


@pytest.fixture(scope="module")
def worker():
    from harness import Worker

    with Worker(PREDICTOR) as w:
        yield w.ready()


@pytest.fixture
def two(serve):
    return serve(PREDICTOR, threads=2)


class Client(ChunkReader):
    """A connection that sees each chunk by itself."""

    def __init__(self, worker, expression, headers=(), method="POST", version="1.1"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(worker.socket)
        self.send(expression, headers, method, version)

    def send(self, expression, headers=(), method="POST", version="1.1"):
        body = expression.encode()
        lines = ["%s / HTTP/%s" % (method, version), "host: x", "content-type: text/plain", "content-length: %d" % len(body), *("%s: %s" % h for h in headers)]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        super().__init__(self.socket.makefile("rb"))

    def head(self):
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while True:
            line = self.file.readline().decode().strip()
            if not line:
                return self
            name, value = line.split(": ", 1)
            self.headers[name.lower()] = value

    def close(self):
        self.file.close()
        self.socket.close()


def ask(worker, expression, **headers):
    return worker.request(body=expression, headers={"content-type": "text/plain", "x-request-id": "r1", **headers})


SSE = {"accept": "text/html, text/event-stream;q=0.9"}


@pytest.mark.parametrize("expression, headers, content_type, chunks", [
    ("chunks('ä', '', 'b')", {}, "text/plain; charset=utf-8", ["ä".encode(), b"b"]),
    ("chunks(b'\\xff', 'b', [1])", {}, "application/octet-stream", [b"\xff", b"b", b"[1]\n"]),
    ("chunks({'a': 1}, 'b', None)", {}, "application/x-ndjson", [b'{"a":1}\n', b'"b"\n', b"null\n"]),
    ("achunks('a', 'b')", {}, "text/plain; charset=utf-8", [b"a", b"b"]),
    ("Iterator('ab')", {}, "text/plain; charset=utf-8", [b"a", b"b"]),
    ("chunks()", {}, "application/x-ndjson", None),
    ("chunks('a\\nb', 'c\\r\\n', '', {'d': 1})", SSE, "text/event-stream; charset=utf-8", [b"data: a\ndata: b\n\n", b"data: c\ndata: \n\n", b'data: {"d":1}\n\n']),
    ("chunks('data: a\\n\\n')", SSE, "text/event-stream; charset=utf-8", [b"data: data: a\ndata: \ndata: \n\n"]),
    ("chunks(b'RIFF')", SSE, "application/octet-stream", [b"RIFF"]),
    ("soma.Response(chunks('a', 'event: b\\n\\n'), media_type='text/event-stream')", {}, "text/event-stream", [b"data: a\n\n", b"data: event: b\ndata: \ndata: \n\n"]),
    ("soma.Response(chunks('data: a\\n', '\\n', {'b': 1}), media_type='text/event-stream')", {}, "text/event-stream", [b"data: a\n", b"\n", b'{"b":1}\n']),
    ("soma.Response(achunks(b'<p>'), media_type='text/html')", SSE, "text/html", [b"<p>"]),
])
def test_forms(worker, expression, headers, content_type, chunks):
    c = Client(worker, expression, headers.items()).head()
    assert (c.status, c.headers["content-type"]) == (200, content_type)
    if chunks is None:
        assert c.headers["content-length"] == "0"
    else:
        assert c.headers["transfer-encoding"] == "chunked" and c.rest() == [*chunks, b""]
    c.send("'the connection goes on'")
    assert c.head().status == 200
    c.close()


def test_status_and_headers_of_a_response(worker):
    c = Client(worker, "soma.Response(chunks('a'), 202, {'x-model': 'b', 'content-type': 'text/x'})").head()
    assert (c.status, c.headers["x-model"], c.headers["content-type"], c.rest()) == (202, "b", "text/x", [b"a", b""])


def test_streaming_response_of_starlette(serve):
    w = serve({"starlette/__init__.py": "", "starlette/responses.py": """
        class StreamingResponse:
            def __init__(self, content, status_code=200, media_type=None):
                self.body_iterator, self.status_code, self.media_type = content, status_code, media_type
                self.background = None
            async def __call__(self, scope, receive, send):
                await send({"type": "http.response.start", "status": self.status_code, "headers": [(b"content-type", self.media_type.encode())]})
                async for chunk in self.body_iterator:
                    await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                if self.background: await self.background()
        """, "predictor.py": """
        import asyncio
        from starlette.responses import StreamingResponse
        async def slowly(n):
            for i in range(n):
                yield "data: %d\\n\\n" % i
                await asyncio.sleep(0.2)
            if n == 1: raise ValueError("no more")
        async def background():
            await asyncio.sleep(0.2)
            print("background", flush=True)
        class PythonPredictor:
            def predict(self, payload):
                response = StreamingResponse(slowly(payload), 201, "text/event-stream")
                response.background = background
                return response
    """})
    c = Client(w, "")
    c.head()
    c.close()
    c = w.connect()
    c.request("POST", "/", b"3", {"content-type": "application/json"})
    begin, answer = time.monotonic(), c.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (201, "text/event-stream")
    assert answer.read1() == b"data: 0\n\n" and time.monotonic() - begin < 0.39
    assert answer.read() == b"data: 1\n\ndata: 2\n\n" and "background" not in w.log
    w.wait_log("background")
    answer = w.raw(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1")
    assert b"data: 0\n\n" in answer and b"event: error\n" in answer and b"ValueError: no more" in answer and not answer.endswith(b"0\r\n\r\n")


def test_chunks_leave_as_they_are_made(worker):
    for kind in ("chunks", "achunks"):
        c = Client(worker, "%s('a', 'b', 'c', pause=0.3)" % kind)
        begin = time.monotonic()
        c.head()
        for i, want in enumerate([b"a", b"b", b"c", b""]):
            assert c.chunk() == want
            assert 0.3 * i - 0.02 < time.monotonic() - begin < 0.3 * i + 0.25
        c.close()


def test_old_clients_read_until_close(worker):
    answer = worker.raw(b"POST / HTTP/1.0\r\ncontent-type: text/plain\r\ncontent-length: 16\r\n\r\nchunks('a', 'b')")
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding" not in head and b"connection: close" in head and body == b"ab"


def test_head_has_no_body(serve):
    w = serve("""
        class Handler:
            def handle_get(self):
                try:
                    yield "a"
                    yield "b"
                finally:
                    print("closed", flush=True)
    """, **{"class": "Handler"})
    c = Client(w, "", method="HEAD").head()
    assert (c.status, c.headers["transfer-encoding"]) == (200, "chunked")
    w.wait_log("closed")
    c.send("", method="GET")
    assert c.head().rest() == [b"a", b"b", b""]


def test_post_predict_comes_after_the_stream(worker):
    ask(worker, "chunks('a')", **{"x-request-id": "late"})
    worker.wait_log("\x1elate\x1fafter|generator\n")


# --- back-pressure


def test_the_generator_waits_for_the_client(two):
    chunk = 16 * 1024
    slow = Client(two, "until_closed(0, 'x' * %d)" % chunk)
    slow.head()
    time.sleep(0.3)
    counts = [int(ask(two, "len(made)").body) for _ in range(2)]  # a slow reader holds nobody else
    assert counts[0] == counts[1] and counts[0] * chunk < 1 << 20
    for _ in range(200):
        assert slow.chunk() == b"x" * chunk
    assert int(ask(two, "len(made)").body) > 100
    slow.close()
    two.wait_log("closed|")


def test_while_it_waits_the_only_slot_still_notices_all_else(serve):
    w = serve(PREDICTOR, predict_timeout_ms=300)
    slow = Client(w, "until_closed(0, 'x' * 65536)")
    slow.head()
    time.sleep(0.6)  # longer than predict_timeout: it is the client that takes it
    assert w.ping() < 0.2
    slow.close()
    w.wait_log("closed|", 1)
    assert ask(w, "'next'").body == b"next"


# --- release_slot


def test_released_slot_takes_the_next_request(worker):
    c = Client(worker, "released(1.5)", [("x-request-id", "free")])
    c.head()
    assert c.chunk() == b"slot"
    begin = time.monotonic()
    assert ask(worker, "'other'").body == b"other" and time.monotonic() - begin < 0.4
    assert c.rest() == [b"free0", b"free1", b"free2", b""]
    log = worker.wait_log("\x1efree\x1fafter|generator\n")
    assert "\x1efree\x1fin the thread\n" in log
    c.send("'the connection goes on'")
    assert c.head().status == 200


def test_released_before_the_first_chunk(worker):
    assert ask(worker, "chunks(soma.release_slot(), 'a', soma.release_slot(), 'b')").body == b"ab"
    answer = ask(worker, "chunks(soma.release_slot(), fail=ValueError('early'))")
    assert answer.status == 500 and answer.error == {"code": "predict_error", "message": "ValueError: early", "type": "ValueError", "request_id": "r1"}


def test_async_generator_goes_on_in_its_thread(worker):
    assert ask(worker, "achunks('a', soma.release_slot(), 'b', pause=0.01)").body == b"ab"


def test_stopping_waits_for_released_streams(serve):
    w = serve(PREDICTOR)
    c = Client(w, "released(0.6)")
    c.head()
    c.chunk()
    assert w.expect(SLOT_FREE)[1] == 1
    w.send(STOP, 5000)
    assert c.rest()[-1] == b""
    assert w.expect(SLOT_FREE)[1] == 0
    w.expect(BYE)
    assert w.wait() == 0


# --- generators that fail


def test_raises_before_the_first_chunk(worker):
    for kind in ("chunks", "achunks"):
        answer = ask(worker, "%s(fail=ValueError('early'))" % kind)
        assert answer.status == 500 and answer.error["message"] == "ValueError: early"
    answer = ask(worker, "chunks({1, 2})")
    assert answer.status == 500 and "set is not JSON serializable" in answer.error["message"]


@pytest.mark.parametrize("kind", ["chunks", "achunks"])
def test_raises_midway(worker, kind):
    request_id = "midway-" + kind
    c = Client(worker, "%s('a', fail=ValueError('mid'))" % kind, [("x-request-id", request_id)]).head()
    assert c.rest() == [b"a", None]  # no last chunk: the client knows
    worker.wait_log("\x1e%s\x1fValueError: mid\n" % request_id)
    assert "\x1e%s\x1fpredict failed in the middle of its stream:\n" % request_id in worker.log
    c = Client(worker, "%s('a', fail=ValueError('mid'))" % kind, [("x-request-id", request_id), *SSE.items()]).head()
    first, error, end = c.rest()
    assert (first, end) == (b"data: a\n\n", None)
    name, data = error.split(b"\n", 1)
    assert name == b"event: error"
    assert json.loads(data[len("data: "):])["error"] == {"code": "predict_error", "message": "ValueError: mid", "type": "ValueError", "request_id": request_id}
    assert ask(worker, "'next'").body == b"next"


def test_a_chunk_that_is_not_json_midway(worker):
    c = Client(worker, "chunks([1], [{2}])").head()
    assert c.rest() == [b"[1]\n", None]
    worker.wait_log("set is not JSON serializable; return a list of it (at result[0])")


def test_raises_when_it_is_closed(serve):
    w = serve("""
        def stubborn():
            while True:
                try:
                    yield "x"
                except GeneratorExit:
                    pass
        class PythonPredictor:
            def predict(self, payload): return stubborn()
    """)
    c = Client(w, "").head()
    c.chunk()
    c.close()
    w.wait_log("RuntimeError: generator ignored GeneratorExit")
    assert "closing the stream failed:" in w.log


def test_predict_timeout_is_for_each_chunk(serve):
    w = serve(PREDICTOR, predict_timeout_ms=400)
    assert Client(w, "chunks(*'abcdef', pause=0.15)").head().rest() == [b"a", b"b", b"c", b"d", b"e", b"f", b""]
    c = Client(w, "chunks('a', 'b', pause=30)", [("x-request-id", "hangs"), *SSE.items()]).head()
    first, error, end = c.rest()
    assert (first, end) == (b"data: a\n\n", None)
    assert json.loads(error.split(b"data: ")[1])["error"] == {"code": "timeout", "message": "predict ran longer than 400 ms without a chunk (predict_timeout); the process is replaced", "request_id": "hangs"}
    assert w.expect(STUCK)[2] == "hangs"


def test_predict_timeout_before_the_first_chunk(serve):
    w = serve(PREDICTOR, predict_timeout_ms=200)
    answer = ask(w, "(time.sleep(30) for i in range(2))")
    assert answer.status == 504 and answer.error["message"] == "predict ran longer than 200 ms (predict_timeout); the process is replaced"


# --- clients that go


def said_at(worker, word):
    """What is logged with a word: the time, and what follows it."""
    line = next(l for l in worker.wait_log(word + "|").splitlines() if word + "|" in l)
    return float(line.split(word + "|")[1].split("|")[0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("expression, word", [
    ("until_closed()", "closed"), ("until_closed(0, 'x' * 65536)", "closed"), ("async_until_closed()", "cancelled"), ("polls()", "noticed"),
    ("Iterator([1]) if made.append(1) else polls()", "noticed"), ("released_until_closed()", "closed"),
])
def test_a_client_that_goes_is_noticed_at_once(serve, threads, expression, word):
    w = serve(PREDICTOR, threads=threads)
    c = Client(w, expression).head()
    time.sleep(0.1)
    gone = time.monotonic()
    c.close()
    assert said_at(w, word) - gone < 1
    assert ask(w, "'next'").body == b"next"


def test_cancelled_is_for_plain_predicts_too(serve):
    w = serve(PREDICTOR)
    c = Client(w, "list(polls())")
    time.sleep(0.1)
    gone = time.monotonic()
    c.close()
    assert said_at(w, "noticed") - gone < 1
    assert ask(w, "soma.cancelled()").json() is False


def test_a_half_closed_client_is_served(worker):
    answer = worker.raw(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 28\r\n\r\nchunks('a', 'b', pause=0.05)", shut=True)
    assert answer.endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


def test_methods_that_are_generators(serve):
    w = serve("""
        class Handler:
            def handle_get(self):
                yield "a"
                yield "b"
            async def handle_post(self, payload):
                yield payload
                yield {"n": 2}
    """, **{"class": "Handler"})
    assert w.request("GET").body == b"ab"
    assert w.predict({"n": 1}).body == b'{"n":1}\n{"n":2}\n'


def test_users_own_soma_is_theirs(serve):
    w = serve({"soma.py": "x = 'mine'", "predictor.py": """
        import soma
        class PythonPredictor:
            def predict(self, payload): return soma.x
    """})
    assert w.predict(1).body == b"mine"

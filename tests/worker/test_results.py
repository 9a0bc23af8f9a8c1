"""Answers: results, exceptions, responses of other libraries, post_predict."""
import time

import pytest


@pytest.fixture(scope="module")
def evaluator():
    from harness import Worker

    with Worker("""
        import asyncio
        class HTTPException(Exception):
            def __init__(self, status_code, detail=None, headers=None):
                self.status_code, self.detail, self.headers = status_code, detail, headers
        class Response:
            media_type = None
            def __init__(self, body=b"", status_code=200, headers=(), **more):
                self.body, self.status_code, self.headers = body, status_code, dict(headers)
                vars(self).update(more)
        class Stream:
            status_code = 201
            async def __call__(self, scope, receive, send):
                await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"text/x"), (b"transfer-encoding", b"chunked")]})
                for i in range(3):
                    await asyncio.sleep(0)
                    await send({"type": "http.response.body", "body": b"%d" % i, "more_body": i < 2})
        def fail(e):
            raise e
        def inner():
            raise ValueError("ä is wrong")
        class PythonPredictor:
            def predict(self, payload): return eval(payload)
    """) as w:
        yield w.ready()


def ask(worker, expression):
    return worker.request(body=expression, headers={"content-type": "text/plain", "x-request-id": "r1"})


@pytest.mark.parametrize("expression, content_type, body", [
    ("'ä'", "text/plain; charset=utf-8", "ä".encode()), ("''", "text/plain; charset=utf-8", b""),
    ("b'\\x00\\xff'", "application/octet-stream", b"\x00\xff"), ("bytearray(b'x')", "application/octet-stream", b"x"), ("memoryview(b'yz')[1:]", "application/octet-stream", b"z"),
    ("None", "application/json", b"null"), ("[1]", "application/json", b"[1]"), ("True", "application/json", b"true"),
])
def test_types(evaluator, expression, content_type, body):
    answer = ask(evaluator, expression)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, content_type, body)


def test_responses(evaluator):
    answer = ask(evaluator, "Response(b'made', 202, {'x-a': 'ä', 'Content-Length': '99', 'content-type': 'a/b'})")
    assert (answer.status, answer.body, answer.headers["x-a"], answer.headers["content-length"], answer.headers["content-type"]) == (202, b"made", "ä", "4", "a/b")
    answer = ask(evaluator, "Response('text', media_type='text/html')")
    assert (answer.body, answer.headers["content-type"]) == (b"text", "text/html")
    answer = ask(evaluator, "Response(raw_headers=[(b'set-cookie', b'a=1'), (b'set-cookie', b'b=2')], status_code=204)")
    assert answer.status == 204 and answer.headers.get_all("set-cookie") == ["a=1", "b=2"] and "content-length" not in answer.headers
    answer = ask(evaluator, "Stream()")
    assert (answer.status, answer.body, answer.headers["content-type"], answer.headers["transfer-encoding"]) == (201, b"012", "text/x", None)


def test_background_comes_after_the_answer(serve):
    w = serve("""
        import asyncio
        class Response:
            status_code, body, headers = 200, b"answer", {}
            def __init__(self, background): self.background = background
            async def __call__(self, scope, receive, send): raise AssertionError("not needed")
        async def background():
            await asyncio.sleep(0.3)
            print("background", flush=True)
        class PythonPredictor:
            def predict(self, payload): return Response(background)
    """)
    assert w.predict(1).body == b"answer" and "background" not in w.log
    w.wait_log("background")


def test_response_splitting_is_refused(evaluator):
    answer = ask(evaluator, "Response(headers={'x': 'a\\r\\nset-cookie: b'})")
    assert answer.status == 500 and "a header that HTTP cannot carry" in answer.error["message"]


def test_exception(evaluator):
    answer = ask(evaluator, "inner()")
    assert answer.status == 500 and answer.headers["content-type"] == "application/json"
    assert answer.error == {"code": "predict_error", "message": "ValueError: ä is wrong", "type": "ValueError", "request_id": "r1"}
    log = evaluator.wait_log("\x1er1\x1fValueError: ä is wrong\n")
    assert "\x1er1\x1fTraceback (most recent call last):\n" in log and "in inner\n" in log


def test_traceback_for_the_client(serve):
    w = serve("class PythonPredictor:\n  def predict(self): raise KeyError('k')\n", expose_tracebacks=True)
    trace = w.predict().error["traceback"]
    assert trace.startswith("Traceback (most recent call last):\n") and trace.endswith("KeyError: 'k'\n") and "_soma" not in trace and "worker_main" not in trace


@pytest.mark.parametrize("expression, status, body, header", [
    ("fail(HTTPException(404, 'not here'))", 404, b"not here", "text/plain; charset=utf-8"),
    ("fail(HTTPException(422, {'a': [1]}))", 422, b'{"detail":{"a":[1]}}', "application/json"),
    ("fail(HTTPException(401, 'no', {'www-authenticate': 'Basic'}))", 401, b"no", "text/plain; charset=utf-8"),
])
def test_http_exceptions(evaluator, expression, status, body, header):
    answer = ask(evaluator, expression)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (status, body, header)


def test_odd_exceptions(evaluator):
    assert ask(evaluator, "fail(RecursionError('x'))").error["message"] == "RecursionError: x"
    assert ask(evaluator, "(lambda f: f(f))(lambda f: f(f))").error["type"] == "RecursionError"
    assert ask(evaluator, "fail(type('E', (Exception,), {'__str__': lambda s: 1/0})())").error["type"] == "E"
    assert ask(evaluator, "fail(MemoryError())").error["message"] == "MemoryError"
    assert ask(evaluator, "fail(GeneratorExit())").error["type"] == "GeneratorExit"
    assert ask(evaluator, "fail(ValueError('\\ud800'))").status == 500
    assert ask(evaluator, "fail(ExceptionGroup('g', [ValueError(1)])) if 'ExceptionGroup' in dir(__builtins__) else fail(ValueError())").status == 500
    assert ask(evaluator, "asyncio.run(asyncio.sleep(0, 5))").body == b"5"


POST = """
    import time
    class PythonPredictor:
        done = []
        def predict(self, payload):
            if payload == "seen":
                return self.done
            if payload == "raise":
                raise ValueError("predict")
            return {"p": payload}
        def post_predict(self, response, payload, query_params, headers):
            if payload in ("seen", "raise"):
                assert payload == "seen"
                return
            time.sleep(0.3)
            print("post")
            self.done.append([response, payload, query_params["a"], headers["x-request-id"]])
            if payload == "fail":
                raise RuntimeError("afterwards")
"""


def test_post_predict(serve):
    w = serve(POST)
    start = time.monotonic()
    assert w.predict("x", path="/?a=1", headers={"x-request-id": "r1"}).json() == {"p": "x"}
    assert time.monotonic() - start < 0.25  # the answer does not wait for it
    assert w.ping() < 0.1
    assert w.predict("raise").status == 500
    assert w.predict("fail", path="/?a=2", headers={"x-request-id": "r2"}).status == 200
    log = w.wait_log("RuntimeError: afterwards")
    seen = w.predict("seen").json()
    assert sorted(seen, key=str) == [[{"p": "fail"}, "fail", "2", "r2"], [{"p": "x"}, "x", "1", "r1"]]
    assert "\x1er1\x1fpost\n" in log and "\x1er2\x1fpost_predict failed:\n\x1er2\x1fTraceback" in log


def test_post_predict_alone_wants_the_payload(serve):
    w = serve("class PythonPredictor:\n  def predict(self): return 1\n  def post_predict(self, payload): print('got', payload)\n")
    assert w.predict({"a": 1}).body == b"1"
    w.wait_log("got {'a': 1}\n")

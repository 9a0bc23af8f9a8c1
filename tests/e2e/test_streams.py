"""Streams through the gateway: each chunk as it is made, both ways; their clients leave, lag and find out what failed."""

import http.client
import json
import re
import time

import pytest
import requests

from soma import projects
from soma.chunks import ChunkReader
from soma.client import Raw
from soma.projects import python_api, python_project
from soma.waiting import seconds, wait_for

PREDICTOR = '''
import asyncio
import threading
import time

import soma

steps = threading.Semaphore(0)
facts = {"closed": None, "made": 0}


def stepwise(n):
    for i in range(n):
        yield "part %d\\n" % i
        steps.acquire()


async def stepwise_async(n):
    for i in range(n):
        yield "part %d\\n" % i
        while not steps.acquire(blocking=False):
            await asyncio.sleep(0.001)


def endless(size, pause):
    facts.update(closed=None, made=0)
    try:
        while True:
            yield b"x" * size
            facts["made"] += 1
            if pause:
                time.sleep(pause)
    finally:
        facts["closed"] = time.monotonic()


async def endless_async():
    facts.update(closed=None)
    try:
        yield "begun"
        await asyncio.sleep(600)
    finally:
        facts["closed"] = time.monotonic()


def polls():
    facts.update(closed=None, made=1)
    while not soma.cancelled():
        time.sleep(0.001)
    facts["closed"] = time.monotonic()


def failing(value):
    yield value
    raise ValueError("no more")


def released():
    yield "first"
    yield soma.release_slot()
    steps.acquire()
    yield "last"


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return eval(payload)
'''


@pytest.fixture(scope="module")
def api(daemon):
    keys = {"processes_per_replica": 1, "threads_per_process": 3}
    daemon.admin.deploy(python_project(PREDICTOR, python_api("s", predictor=keys), python_api("one", predictor={**keys, "threads_per_process": 1})))
    return daemon


def ask(daemon, expression, name="s", **headers):
    return daemon.admin.post(f"/{name}", data=expression, headers={"Content-Type": "text/plain", **headers})


def facts(daemon, name="s"):
    return ask(daemon, "facts", name).json()


class Stream(ChunkReader):
    """An answer read chunk by chunk, by the bytes that the gateway sent."""

    def __init__(self, daemon, expression, name="s", headers=(), version="1.1"):
        self.raw = Raw(daemon.port)
        head = [f"POST /{name} HTTP/{version}", "Host: x", "Content-Type: text/plain", f"Content-Length: {len(expression)}", *headers]
        self.raw.send("\r\n".join(head).encode() + b"\r\n\r\n" + expression.encode())
        super().__init__(self.raw.sock.makefile("rb"))
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)

    def close(self):
        self.file.close()
        self.raw.sock.close()


@pytest.mark.parametrize("kind", ["stepwise", "stepwise_async"])
def test_a_chunk_arrives_before_the_next_is_made(api, kind):
    s = Stream(api, f"{kind}(5)")
    assert (s.status, s.headers["Transfer-Encoding"], s.headers["Content-Type"]) == (200, "chunked", "text/plain; charset=utf-8")
    for i in range(5):
        assert s.chunk() == b"part %d\n" % i
        ask(api, "steps.release()")
    assert s.chunk() == b""
    s.close()


def test_events_for_who_asks_for_them(api):
    s = Stream(api, "iter(['a\\nb', {'c': 1}])", headers=["Accept: text/event-stream"])
    assert s.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert b"".join(s.rest()[:-1]) == b'data: a\ndata: b\n\ndata: {"c":1}\n\n'
    s.close()


def test_old_clients_read_until_close(api):
    s = Stream(api, "iter('abc')", version="1.0")
    assert "Transfer-Encoding" not in s.headers and s.file.read() == b"abc"


def test_one_that_fails_midway_is_cut(api):
    s = Stream(api, "failing('a')", headers=["X-Request-Id: midway"])
    assert s.rest() == [b"a", None]
    s = Stream(api, "failing('a')", headers=["X-Request-Id: midway", "Accept: text/event-stream"])
    *chunks, end = s.rest()
    assert end is None
    first, error = b"".join(chunks).split(b"event: error\ndata: ")
    assert first == b"data: a\n\n"
    assert json.loads(error)["error"] == {"code": "predict_error", "message": "ValueError: no more", "type": "ValueError", "request_id": "midway"}
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask(api, "failing('a')")
    old = Stream(api, "failing('a')", version="1.0")
    with pytest.raises(ConnectionResetError):
        while old.file.read(1):
            pass
    wait_for("the exception is in the log", lambda: [l for l in api.admin.logs("s") if l.get("request_id") == "midway" and "ValueError: no more" in json.dumps(l)])


def test_a_slow_reader_holds_nobody_else(api):
    slow = Stream(api, "endless(65536, 0)")
    wait_for("it has begun", lambda: facts(api)["made"] > 0)
    time.sleep(1)
    made = facts(api)["made"]
    time.sleep(0.3)
    assert facts(api)["made"] == made  # the generator waits: what is on its way is bounded
    assert made * 65536 < 32 << 20
    quick = Stream(api, "iter('abc')")
    assert b"".join(quick.rest()[:-1]) == b"abc"
    quick.close()
    for _ in range(2 * made):
        slow.chunk()
    assert facts(api)["made"] > made
    slow.close()
    wait_for("its generator is closed", lambda: facts(api)["closed"])


@pytest.mark.parametrize("name", ["one", "s"])
@pytest.mark.parametrize("expression", ["endless(10, 0.005)", "endless(65536, 0)", "endless_async()", "polls()"])
def test_a_client_that_leaves_is_noticed_at_once(api, name, expression):
    if expression == "polls()":
        raw = Raw(api.port)
        raw.send(f"POST /{name} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\npolls()".encode())
        time.sleep(0.2)
        gone = time.monotonic()
        raw.sock.close()
    else:
        s = Stream(api, expression, name)
        s.chunk()
        gone = time.monotonic()
        s.close()
    closed = wait_for("the generator is closed", lambda: facts(api, name)["closed"])
    assert closed - gone < 0.1


def test_released_slots_serve_others(api):
    """More streams than the gate would send to a replica of one slot."""
    streams = [Stream(api, "released()", "one") for _ in range(8)]
    assert [s.chunk() for s in streams] == [b"first"] * 8
    assert ask(api, "'other'", "one").text == "other"
    ask(api, "steps.release(8)", "one")
    for s in streams:
        assert s.rest() == [b"last", b""]
        s.close()


def counts(daemon, name):
    """Requests that are over, by class."""
    found = re.findall(r'soma_requests_total\{api="%s",code="([^"]+)"\} (\d+)' % name, daemon.admin.call("GET", "/metrics").text)
    return {code: int(n) for code, n in found}


def test_clients_that_left_are_counted_apart_from_errors(daemon):
    daemon.admin.deploy(python_project(PREDICTOR, python_api("counted")))
    for expression in ("endless(10, 0.005)", "endless_async()"):
        s = Stream(daemon, expression, "counted")
        s.chunk()
        s.close()
    assert Stream(daemon, "failing('a')", "counted").rest() == [b"a", None]
    assert Stream(daemon, "iter('abc')", "counted").rest()[-1] == b""
    wait_for("they are counted", lambda: counts(daemon, "counted") == {"client_gone": 2, "5xx": 1, "2xx": 1})


SERVER = '''
import os, socket
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as listener:
    while True:
        sock = listener.accept()[0]
        f = sock.makefile("rwb", 0)
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            byte = f.read(1)
            if not byte:
                break
            head += byte
        if b"POST" not in head:
            f.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n")
            sock.close()
            continue
        f.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        while True:
            line = f.readline()
            piece = b""
            while len(piece) < int(line, 16) + 2:
                piece += f.read(int(line, 16) + 2 - len(piece))
            f.write(line + piece)
            if int(line, 16) == 0:
                break
        sock.close()
'''


def test_both_ways_at_once(daemon):
    """Each piece of the request comes back before the next is sent."""
    config = {"name": "mirror", "predictor": {"type": "command", "command": [projects.PYTHON, "server.py"]}}
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([config]), "server.py": SERVER})
    with Raw(daemon.port) as raw:
        raw.send(b"POST /mirror HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        raw.until(b"\r\n\r\n")
        raw.sock.settimeout(seconds(5))
        for i in range(50):
            raw.send(b"9\r\npiece %03d\r\n" % i)
            assert raw.until(b"piece %03d\r\n" % i) == b"9\r\npiece %03d\r\n" % i
        raw.send(b"0\r\n\r\n")
        assert raw.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_small_chunks_are_not_held_for_more(api):
    """Nagle's wait would be 40 ms a chunk, and what came meanwhile the next. On a busy machine some do come together."""
    s = Stream(api, "endless(1, 0.002)")
    sizes, begin = [], time.monotonic()
    while time.monotonic() - begin < 1:
        sizes.append(len(s.chunk()))
    s.close()
    assert sorted(sizes)[len(sizes) // 2] < 10

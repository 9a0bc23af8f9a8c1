"""Many requests over many connections: every answer is its own."""
import gzip
import http.client
import json
import os
import socket
import threading

import pytest

from harness import PYTHON

ECHO = "class PythonPredictor:\n  def predict(self, payload): return {'sum': sum(payload['x']), 'id': payload['id']}\n"


def hammer(worker, connections, requests, start=0):
    """Each connection keeps one request under way; returns what went wrong."""
    wrong = []

    def run(first):
        s = socket.socket(socket.AF_UNIX)
        s.connect(worker.socket)
        f = s.makefile("rb")
        for i in range(first, first + requests):
            body = json.dumps({"x": [i, 1], "id": "n%d" % i}).encode()
            s.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            status, length = f.readline(), 0
            while True:
                line = f.readline()
                if line in (b"\r\n", b""):
                    break
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            got = f.read(length)
            if status != b"HTTP/1.1 200 OK\r\n" or json.loads(got) != {"sum": i + 1, "id": "n%d" % i}:
                wrong.append((i, status, got))
        s.close()

    threads = [threading.Thread(target=run, args=(start + n * requests,)) for n in range(connections)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return wrong


@pytest.mark.parametrize("threads", [1, 4])
def test_right_answers(serve, threads):
    w = serve(ECHO, threads=threads)
    assert hammer(w, 100, 100) == []


@pytest.mark.parametrize("threads", [1, 4])
def test_leads_change_hands_under_load(serve, threads):
    """Predicts around the watchdog's tick, so that the lead goes back and forth."""
    w = serve("import random, time\n" + ECHO.replace("return", "time.sleep(random.choice([0, 0, 0.0005, 0.001, 0.002])); return"), threads=threads)
    assert hammer(w, 20, 100) == []


def test_memory_stays_flat(serve):
    w = serve("""
        class PythonPredictor:
            def predict(self, payload, headers, query_params):
                if payload["id"].endswith("7"):
                    try:
                        raise ValueError(payload)
                    except ValueError:
                        pass
                return {'sum': sum(payload['x']), 'id': payload['id']}
    """)
    assert hammer(w, 10, 1000) == []
    before = w.rss_kib()
    assert hammer(w, 10, 2000, 10000) == []
    assert w.rss_kib() - before < 2000


@pytest.mark.soak
def test_memory_stays_flat_for_long(serve):
    w = serve(ECHO)
    assert hammer(w, 10, 1000) == []
    before = w.rss_kib()
    assert hammer(w, 10, 20000, 10000) == []
    assert w.rss_kib() - before < 4000


def test_errors_do_not_leak(serve):
    w = serve("class PythonPredictor:\n  def predict(self, payload): return {'a': [object()]} if payload else 1/0\n")
    c = w.connect()

    def round_(n):
        for i in range(n):
            assert w.predict(i % 2, connection=c).status == 500
            assert w.predict(raw="[1e999]", connection=c).status == 400

    round_(500)
    before = w.rss_kib()
    round_(2000)
    assert w.rss_kib() - before < 2000


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_other_interpreters(serve, version):
    """Whatever is there, beside the one that all tests run with."""
    import glob

    there = glob.glob(os.path.expanduser("~/.pyenv/versions/%s.*/bin/python" % version))
    if not there or there[0] == PYTHON:
        pytest.skip("no Python " + version)
    w = serve(ECHO, python=there[0])
    assert hammer(w, 4, 50) == []


def test_a_bomb_takes_no_memory(serve):
    w = serve("class PythonPredictor:\n  def predict(self, payload): return len(payload)\n")
    before = w.rss_kib()
    for _ in range(3):
        answer = w.request(body=gzip.compress(bytes(1 << 20) * 200, 9), headers={"content-encoding": "gzip"})
        assert answer.status == 413
    assert w.rss_kib() - before < 16 * 1024


def test_a_stream_that_is_always_ahead_costs_no_memory(serve):
    w = serve("""
        class PythonPredictor:
            def predict(self, payload):
                while True:
                    yield b"x" * 4096
    """)
    connection = w.connect()
    connection.request("POST", "/")
    answer = connection.getresponse()
    answer.read(10 << 20)
    before = w.rss_kib()
    answer.read(100 << 20)
    assert w.rss_kib() - before < 2000
    connection.close()


def test_streams_do_not_leak(serve):
    w = serve("""
        import soma
        def plain(last):
            yield "a"
            yield {"b": 1}
            if last: raise last
        def released(last):
            yield soma.release_slot()
            yield from plain(last)
        async def later(last):
            for chunk in plain(last):
                yield chunk
        class PythonPredictor:
            def predict(self, payload):
                return globals()[payload["kind"]](HTTPError() if payload["fails"] else None)
        class HTTPError(Exception):
            status_code, detail = 400, "no"
        """)

    def round_(n):
        for i in range(n):
            body = {"kind": ("plain", "released", "later")[i % 3], "fails": i % 2}
            try:
                assert w.predict(body, headers={"accept": "text/event-stream"}).body.count(b"data: ") == 2
            except http.client.IncompleteRead as answer:
                assert body["fails"] and b"event: error" in answer.partial

    round_(600)
    before = w.rss_kib()
    round_(3000)
    assert w.rss_kib() - before < 2000

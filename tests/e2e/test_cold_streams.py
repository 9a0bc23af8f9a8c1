"""A client that takes events hears that it waits for a replica; the answer follows, as events."""

import json
import socket
import time

import pytest

from soma import projects
from soma.projects import predictor, python_api, python_project
from soma.waiting import seconds, wait_for

HASTY = {"max_wait": "100ms", "wait_worth": 0}
END = b"\r\n0\r\n\r\n"  # of a chunked answer
SLOW = "import time; time.sleep(7)"  # longer than who waits is left without a word


def deploy(daemon, source, name="py", **keys):
    daemon.admin.deploy(python_project(source, python_api(name, predictor={"zygote": "none", "freeze": "never"},
                                                          autoscaling={"min_replicas": 0, **HASTY}, **keys)))
    wait_for("it has none", lambda: daemon.admin.api(name)["replicas"] == [], 60)


class Stream:
    """One request, read as it comes."""

    def __init__(self, daemon, name="py", accept="text/event-stream", body=b"1", more=""):
        self.sock = socket.create_connection(("127.0.0.1", daemon.port), seconds(60))
        self.sock.sendall(f"POST /{name} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Type: application/json\r\n{more}"
                          f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.got, self.begun = b"", time.monotonic()

    def until(self, end):
        while end not in self.got:
            piece = self.sock.recv(65536)
            assert piece, self.got
            self.got += piece
        return time.monotonic() - self.begun

    def text(self):
        """Its body, all chunks of it."""
        head, _, rest = self.got.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            if int(size, 16) == 0:
                assert rest == b"\r\n"
                return body.decode()
            body, rest = body + rest[:int(size, 16)], rest[int(size, 16):]
            assert rest[:2] == b"\r\n"
            rest = rest[2:]


def test_events_come_behind_the_comment(own_daemon):
    deploy(own_daemon, predictor("def events():\n    for i in range(3):\n        yield {'event': 'n', 'data': i}\nreturn events()", SLOW))
    s = Stream(own_daemon, body=json.dumps(1).encode())
    assert 4 < s.until(b": waiting for a replica\n\n") < 7 + seconds(1)
    assert s.got.startswith(b"HTTP/1.1 200 OK\r\n") and b"content-type: text/event-stream\r\n" in s.got.lower()
    s.until(END)
    text = s.text()
    assert text.startswith(": waiting for a replica\n\n") and "event: error" not in text, text
    assert text.count("data: ") == 3
    # The connection goes on, and a replica is there.
    s.got = b""
    s.sock.sendall(b"POST /py HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nContent-Length: 1\r\n\r\n1")
    s.until(END)
    assert "waiting" not in s.text()


def test_an_answer_that_is_no_stream_is_one_event(own_daemon):
    deploy(own_daemon, predictor('return {"a": "line\\n two"}', SLOW))
    s = Stream(own_daemon)
    s.until(END)
    _, _, event = s.text().partition("\n\n")
    assert event.startswith("data: ") and event.endswith("\n\n") and event.count("\n") == 2
    assert json.loads(event.removeprefix("data: ")) == {"a": "line\n two"}


def test_an_error_is_one_event(own_daemon):
    deploy(own_daemon, predictor("raise ValueError('no')", SLOW))
    s = Stream(own_daemon)
    s.until(END)
    _, _, event = s.text().partition("\n\n")
    kind, data = event.strip().split("\n")
    assert kind == "event: error" and json.loads(data.removeprefix("data: "))["error"]


def test_a_deadline_ends_the_stream(own_daemon):
    deploy(own_daemon, predictor("return 1", SLOW.replace("7", "20")), request_timeout="8s")
    s = Stream(own_daemon)
    s.until(END)
    assert '"code":"unavailable"' in s.text() and "has no ready replica" in s.text()


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_others_hear_nothing_before_the_answer(own_daemon, accept):
    deploy(own_daemon, predictor("return 'x'", SLOW))
    s = Stream(own_daemon, accept=accept)
    s.until(b"\r\n\r\n")
    assert b"waiting" not in s.got and b"content-length: 1\r\n" in s.got.lower()

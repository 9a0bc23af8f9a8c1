"""Who is let in when: places of a replica, and the queue before it."""

import contextlib
import socket

import pytest

from soma import projects
from soma.waiting import seconds, wait_for

BIG = 48 << 20  # more than all buffers on the way hold


@contextlib.contextmanager
def slow_reader(daemon, path, body="null"):
    """A client that has read the head of its answer, and no more."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(seconds(20))
        s.connect(("127.0.0.1", daemon.port))
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        reader = s.makefile("rb")
        assert reader.readline().split()[1] == b"200"
        yield reader


def rest(reader):
    """The body of the answer that is being read."""
    while reader.readline() != b"\r\n":
        pass
    return reader.read()


# --- the place at the head ---------------------------------------------------


def test_slow_readers_hold_no_place(daemon):
    """One slot, which takes three at once: three clients that do not read leave it to the fourth."""
    source = projects.predictor(f"return bytes({BIG}) if payload is None else payload")
    daemon.admin.deploy(projects.python_project(source, projects.python_api("drain")))
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(slow_reader(daemon, "/drain")) for _ in range(3)]
        assert daemon.admin.api("drain")["in_flight"] == 3
        for i in range(10):
            assert daemon.admin.post("/drain", json=i, timeout=seconds(5)).json() == i
        assert daemon.admin.api("drain")["in_flight"] == 3, "their answers are still on their way"
        assert len(rest(readers[0])) == BIG


def test_a_replica_that_leaves_ends_its_answers_first(daemon):
    source = projects.predictor(f"return bytes({BIG})")
    daemon.admin.deploy(projects.python_project(source, projects.python_api("leaves")))
    (pid,) = daemon.admin.pids("leaves")
    with slow_reader(daemon, "/leaves") as reader:
        daemon.admin.deploy(projects.python_project(source + "\n", projects.python_api("leaves")))
        wait_for("it is leaving", lambda: daemon.admin.pids("leaves", "draining") == [pid])
        assert len(rest(reader)) == BIG
    wait_for("it is gone", lambda: len(daemon.admin.api("leaves")["replicas"]) == 1)

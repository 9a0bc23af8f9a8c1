"""Request bodies in a Content-Encoding, through the whole path: gateway, replica, answer."""

import gzip
import json
import os
import zlib

import pytest

from soma import procs, projects
from soma.client import Raw, error_of
from soma.waiting import seconds, wait_for

MIB = 1 << 20
# What a bomb of 1 MiB may unpack to at most (python/soma/unpack.c), and what
# the replica may have besides.
FREE, ROOM = 64 * MIB, 32 * MIB
BODY = json.dumps({"x": [1, 2, 3], "text": "words " * 1000}).encode()


def bare_deflate(data):
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return z.compress(data) + z.flush()


@pytest.fixture(scope="module")
def echo(daemon):
    daemon.admin.deploy(projects.python_project(projects.predictor(
        "return {'payload': payload, 'length': headers.get('content-length'), 'coding': headers.get('content-encoding')}"),
        projects.python_api(autoscaling={"max_replica_concurrency": 64})))
    return daemon


def send(daemon, data, coding="gzip", **headers):
    return daemon.admin.post("/echo", data=data, headers={
        "Content-Type": "application/json", "Content-Encoding": coding, **headers})


@pytest.mark.parametrize("coding, pack", [
    ("gzip", gzip.compress), ("GZIP", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress),
    ("deflate", bare_deflate), ("identity", bytes), ("gzip", lambda d: gzip.compress(d[:100]) + gzip.compress(d[100:]))],
    ids=["gzip", "GZIP", "x-gzip", "zlib", "bare deflate", "identity", "members"])
def test_predict_gets_what_was_packed(echo, coding, pack):
    told = send(echo, pack(BODY), coding).json()
    assert told["payload"] == json.loads(BODY)
    assert told["coding"] in (None, "identity") and told["length"] == str(len(BODY))


def test_in_chunks(echo):
    packed = gzip.compress(BODY)
    answer = send(echo, (packed[i:i + 7] for i in range(0, len(packed), 7)))
    assert answer.json()["payload"] == json.loads(BODY)


@pytest.mark.parametrize("body, coding, status, words", [
    (b"{}", "gzip", 400, "the body is not valid gzip: incorrect header check"),
    (gzip.compress(BODY, mtime=0)[:-9], "gzip", 400, "the gzip body ends too early, after "),
    (gzip.compress(BODY, mtime=0) + b"tail", "gzip", 400, "the body is not valid gzip: incorrect header check"),
    (gzip.compress(BODY, mtime=0)[:-6] + b"\0" * 6, "gzip", 400, "the body is not valid gzip: incorrect data check"),
    (zlib.compress(BODY) + b"x", "deflate", 400, "the body is not valid deflate: bytes follow its end"),
    (b"\xff\xff", "deflate", 400, "the body is not valid deflate: invalid"),
    (BODY, "br", 415, "Content-Encoding 'br' is not one that is unpacked here: send the body as gzip"),
    (gzip.compress(gzip.compress(BODY, mtime=0), mtime=0), "gzip, gzip", 415, "Content-Encoding 'gzip, gzip'"),
    (gzip.compress(b"{'x'}", mtime=0), "gzip", 400, "request body is not valid JSON"),
], ids=["not gzip", "cut", "tail", "checksum", "behind the end", "not deflate", "br", "twice", "not JSON inside"])
def test_what_is_wrong_is_said(echo, body, coding, status, words):
    answer = send(echo, body, coding)
    error = error_of(answer, status, "invalid" if status == 400 else "unsupported_encoding")
    assert words in error["message"], error
    assert send(echo, gzip.compress(b"1")).json()["payload"] == 1


def test_a_bomb_is_refused_before_it_is_in_memory(echo):
    bomb = gzip.compress(bytes(1 << 30), 9)
    assert len(bomb) < 2 * MIB
    pid, = echo.admin.pids("echo")
    before, daemon_before = procs.rss(pid), procs.rss(echo.daemon_pid)
    peak = peak_rss(pid)
    for _ in range(3):
        error = error_of(send(echo, bomb), 413, "too_large")
        assert "the gzip body unpacks to more than 64 MiB, the most that is taken" in error["message"]
    # A buffer grows by doubling.
    assert peak_rss(pid) < max(peak, before) + 2 * FREE + ROOM
    assert procs.rss(echo.daemon_pid) < daemon_before + ROOM
    assert echo.admin.pids("echo") == [pid]


def peak_rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def test_what_is_large_and_no_bomb_is_taken(echo):
    """Random text packs by little: more than the free size is then no reason to refuse."""
    text = os.urandom(40 * MIB).hex()
    packed = gzip.compress(json.dumps(text).encode(), 1)
    assert len(text) > FREE
    answer = echo.admin.post("/echo", data=packed, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
                             timeout=120)
    assert answer.status_code == 200 and answer.json()["payload"] == text


def test_a_client_that_goes_away_inside_is_forgotten(echo):
    packed = gzip.compress(BODY)
    with Raw(echo.port) as raw:
        raw.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(packed) + packed[:20])
    wait_for("it is forgotten", lambda: echo.admin.api("echo")["in_flight"] == 0, seconds(10))
    assert send(echo, packed).status_code == 200


def test_a_program_gets_it_as_it_was_sent(echo):
    echo.admin.deploy(projects.probe_project())
    packed = gzip.compress(BODY)
    told = echo.admin.post("/probe/echo", data=packed, headers={"Content-Encoding": "gzip"}).json()
    assert told["body"].encode("latin-1") == packed and ["Content-Encoding", "gzip"] in told["headers"]

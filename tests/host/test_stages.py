"""STAGES: what the host says of its slots, and when it says nothing."""
import json
import select
import threading
import time

import pytest

from harness import QUERY, STAGES


def frames(h, quiet=0.4, timeout=10):
    """The payloads of all STAGES until none comes for `quiet` seconds."""
    got, end = [], time.monotonic() + timeout
    while select.select([h.control], [], [], quiet)[0]:
        assert time.monotonic() < end, "it says something all the time: %r" % got[-3:]
        frame = h.receive()
        if frame[0] == STAGES:
            got.append(json.loads(frame[2]))
    return got


def echo(serve, delay_ms, **more):
    return serve(engine_options={"inputs": "x:int64[-1]", "delay_ms": delay_ms}, **more)


def at_once(h, n, **more):
    threads = [threading.Thread(target=h.predict, args=[{"x": [i]}], kwargs=more) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_request_did_is_told_and_then_nothing(serve, threads):
    h = echo(serve, 300, threads=threads)
    assert frames(h) == [], "nothing has happened yet"
    assert h.predict({"x": [1]}).json() == {"x": [1]}
    got = frames(h)
    last = got[-1]
    assert {"pre": 0, "ready": 0, "predict": 0, "post": 0, "busy": 0}.items() <= last.items()
    assert (last["calls"], last["requests"], last["sizes"]) == (1, 1, [1])
    assert 0.3e9 <= last["calls_ns"] == last["busy_ns"] < 0.4e9
    assert any(p["predict"] == p["busy"] == 1 for p in got)
    assert len(got) <= 3, "while it ran there was nothing to say"


def test_at_most_every_50_ms_however_many_requests_there_are(serve):
    h = echo(serve, 0)
    c, n, began = h.connect(), 0, time.monotonic()
    while time.monotonic() - began < 1:
        assert h.predict({"x": [n]}, connection=c).json() == {"x": [n]}
        n += 1
    got = frames(h)
    assert 2 <= len(got) <= 22
    assert got[-1]["calls"] == got[-1]["requests"] == n


def test_who_waits_and_who_runs(serve):
    h = echo(serve, 400, threads=2)
    at_once(h, 5)
    got = frames(h)
    assert any((p["ready"], p["predict"], p["busy"]) == (3, 2, 2) for p in got), got
    assert got[-1]["calls"] == 5 and 2e9 <= got[-1]["busy_ns"] < 2.5e9


def test_batches_are_counted_by_size(serve):
    h = echo(serve, 200, max_batch_size=8, batch_interval_ms=100)
    at_once(h, 12)
    last = frames(h)[-1]
    assert last["requests"] == 12 and last["calls"] == sum(last["sizes"]) < 12
    assert 0.2e9 * last["calls"] <= last["busy_ns"] < 0.25e9 * last["calls"]


def test_clients_that_went_away(serve):
    h = echo(serve, 500)
    both = [h.connect(), h.connect()]
    for c in both:
        c.request("POST", "/", body=json.dumps({"x": [1]}))
        time.sleep(0.1)
    for c in reversed(both):
        c.sock.close()
        c.close()
        time.sleep(0.05)
    last = frames(h, 0.8)[-1]
    assert (last["gone_predict"], last["gone_ready"]) == (1, 1)


def test_a_new_daemon_is_told_again(serve):
    h = echo(serve, 0)
    assert h.predict({"x": [1]}).status == 200
    told = frames(h)[-1]
    h.send(QUERY)
    assert frames(h) == [told]


@pytest.mark.parametrize("more, word", [({}, "ready"), ({"max_batch_size": 4, "batch_interval_ms": 10}, "batch")])
def test_how_long_a_request_was_where_is_said_to_who_asks(serve, more, word):
    h = echo(serve, 200, **more)
    assert "soma-timing" not in h.predict({"x": [1]}).headers
    parts = dict(p.split("=") for p in h.predict({"x": [1]}, headers={"soma-timing": "1"}).headers["soma-timing"].split())
    assert list(parts) == [word, "predict"]
    assert 200000 <= int(parts["predict"]) < 300000 and int(parts[word]) < 100000


def test_warm_up_requests_are_not_counted(serve):
    h = echo(serve, 100)
    for _ in range(3):
        assert h.predict({"x": [1]}, headers={"X-Soma-Warmup": "1"}).json() == {"x": [1]}
    assert all(p.get("calls", 0) == p.get("requests", 0) == 0 for p in frames(h))
    assert h.predict({"x": [1]}).json() == {"x": [1]}
    last = frames(h)[-1]
    assert (last["calls"], last["requests"], last["sizes"]) == (1, 1, [1]) and last["calls_ns"] < 0.2e9

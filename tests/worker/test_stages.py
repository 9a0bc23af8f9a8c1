"""STAGES: what the worker says of its stages, and when it says nothing."""
import json
import select
import threading
import time

import pytest

from harness import QUERY, STAGES

SLEEPS = """
    import time

    class PythonPredictor:
        def predict(self, payload):
            time.sleep(payload.get("sleep", 0))
            return payload["x"]

        def post_predict(self, payload):
            time.sleep(payload.get("post", 0))
            if payload.get("raise"):
                raise ValueError("no database")
"""


def frames(w, quiet=0.4, timeout=10):
    """[(when, payload)] of all STAGES until none comes for `quiet` seconds."""
    got, end = [], time.monotonic() + timeout
    while select.select([w.control], [], [], quiet)[0]:
        assert time.monotonic() < end, "it says something all the time: %r" % got[-3:]
        frame = w.receive()
        if frame[0] == STAGES:
            got.append((time.monotonic(), json.loads(frame[2])))
    return got


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_request_did_is_told_and_then_nothing(serve, threads):
    w = serve(SLEEPS, threads=threads)
    assert frames(w) == [], "nothing has happened yet"
    assert w.predict({"x": 1, "sleep": 0.3, "post": 0.2}).json() == 1
    got = [payload for _, payload in frames(w)]
    last = got[-1]
    assert {"pre": 0, "ready": 0, "predict": 0, "post": 0, "busy": 0}.items() <= last.items()
    assert (last["calls"], last["requests"], last["sizes"]) == (1, 1, [1])
    assert 0.3e9 <= last["calls_ns"] < 0.4e9 and last["busy_ns"] == last["calls_ns"]
    assert 0.3e9 <= last["predict_ns"] < 0.4e9
    assert any(p["predict"] == p["busy"] == 1 for p in got), "it was in a slot"
    assert any(p["post"] == 1 and p["predict"] == 0 for p in got), "then after its answer"
    # While predict ran there was nothing to say: time passes by itself.
    assert len(got) <= 4


def test_at_most_every_50_ms_however_many_requests_there_are(serve):
    w = serve(SLEEPS)
    c, n, began = w.connect(), 0, time.monotonic()
    while time.monotonic() - began < 1:
        assert w.predict({"x": n}, connection=c).json() == n
        n += 1
    got = frames(w)
    assert 2 <= len(got) <= 22
    # What the reader sees late comes closer together.
    gaps = [b - a for (a, _), (b, _) in zip(got, got[1:])]
    assert all(g >= 0 for g in gaps)
    assert got[-1][1]["calls"] == got[-1][1]["requests"] == n


def test_who_waits_and_who_runs(serve):
    w = serve(SLEEPS, threads=2)
    threads = [threading.Thread(target=w.predict, args=[{"x": x, "sleep": 0.5}]) for x in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    got = [payload for _, payload in frames(w)]
    assert any((p["ready"], p["predict"], p["busy"]) == (3, 2, 2) for p in got), got
    assert got[-1]["calls"] == 5 and 2.5e9 <= got[-1]["busy_ns"] < 3e9


def test_a_running_predict_counts_up_to_now(serve):
    w = serve(SLEEPS, threads=2)
    thread = threading.Thread(target=w.predict, args=[{"x": 1, "sleep": 1}])
    thread.start()
    time.sleep(0.5)
    assert w.predict({"x": 2}).json() == 2
    time.sleep(0.2)
    assert 0.4e9 <= frames(w, 0.1)[-1][1]["busy_ns"] < 1e9
    thread.join()
    assert 1e9 <= frames(w)[-1][1]["busy_ns"] < 1.1e9


def test_batches_are_counted_by_size(serve):
    w = serve("""
        import time
        class PythonPredictor:
            def predict(self, payload):
                time.sleep(0.2)
                return payload
        """, max_batch_size=8, batch_interval_ms=100)
    threads = [threading.Thread(target=w.predict, args=[x]) for x in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    got = [payload for _, payload in frames(w)]
    last = got[-1]
    assert last["requests"] == 8 and last["calls"] == sum(last["sizes"]) < 8
    assert max(p["busy"] for p in got) == 1
    assert 0.2e9 * last["calls"] <= last["busy_ns"] < 0.25e9 * last["calls"]
    assert any(p["ready"] and p["predict"] for p in got) or last["calls"] == 1


def test_a_stream_holds_its_slot_to_its_end_or_its_release(serve):
    w = serve("""
        import time, soma
        class PythonPredictor:
            def predict(self, payload):
                yield "a"
                time.sleep(0.3)
                if payload:
                    yield soma.release_slot()
                time.sleep(0.3)
                yield "b"
        """)
    assert w.predict(False).status == 200
    first = frames(w)[-1][1]
    assert first["calls"] == 1 and 0.6e9 <= first["busy_ns"] < 0.75e9
    assert w.predict(True).status == 200
    second = frames(w)[-1][1]
    assert second["calls"] == 2 and 0.3e9 <= second["busy_ns"] - first["busy_ns"] < 0.45e9


def test_failed_posts_and_clients_that_went_away(serve):
    w = serve(SLEEPS)
    assert w.predict({"x": 1, "raise": True}).json() == 1
    body = json.dumps({"x": 2, "sleep": 0.5})
    for _ in range(2):
        c = w.connect()
        c.request("POST", "/", body=body, headers={"content-type": "application/json"})
        time.sleep(0.1)
        c.sock.close()
        c.close()
    last = frames(w, 0.8)[-1][1]
    assert last["post_errors"] == 1
    assert (last["gone_predict"], last["gone_ready"]) == (1, 1)


def test_a_new_daemon_is_told_again(serve):
    w = serve(SLEEPS)
    assert w.predict({"x": 1}).json() == 1
    told = frames(w)[-1][1]
    w.send(QUERY)
    assert [payload for _, payload in frames(w)] == [told]


def test_how_long_a_request_was_where_is_said_to_who_asks(serve):
    w = serve(SLEEPS)
    assert "soma-timing" not in w.predict({"x": 1}).headers
    thread = threading.Thread(target=w.predict, args=[{"x": 1, "sleep": 0.4}])
    thread.start()
    time.sleep(0.1)
    answer = w.predict({"x": 2, "sleep": 0.2}, headers={"soma-timing": "1"})
    thread.join()
    parts = dict(p.split("=") for p in answer.headers["soma-timing"].split())
    assert set(parts) == {"ready", "predict"}
    assert 200000 <= int(parts["predict"]) < 280000 and 200000 <= int(parts["ready"]) < 350000


def test_warm_up_requests_are_not_counted(serve):
    w = serve(SLEEPS)
    for _ in range(3):
        assert w.predict({"x": 1, "sleep": 0.1}, headers={"X-Soma-Warmup": "1"}).json() == 1
    assert all(p.get("calls", 0) == p.get("requests", 0) == 0 for _, p in frames(w))
    assert w.predict({"x": 1}).json() == 1
    last = frames(w)[-1][1]
    assert (last["calls"], last["requests"], last["sizes"]) == (1, 1, [1]) and last["calls_ns"] < 0.1e9

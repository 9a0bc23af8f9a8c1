"""Predicts that run long: the process stays answerable, and they end in time for their callers."""
import http.client
import threading
import time

import pytest

from harness import READY, QUERY, STUCK

SLEEPS = """
    import ctypes, time
    hold = ctypes.PyDLL(None).usleep  # sleeps with the GIL held
    class PythonPredictor:
        def predict(self, payload):
            kind, seconds = payload
            if kind == "hold":
                hold(int(seconds * 1e6))
            elif kind == "sleep":
                time.sleep(seconds)
            elif kind == "spin":
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    pass
            return payload
"""


def later(worker, value, **more):
    """Sends a predict; its answer, or the exception, comes from the function returned."""
    result = []

    def run():
        try:
            result.append(worker.predict(value, **more))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def get(timeout=20):
        thread.join(timeout)
        return result[0]

    return get


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["hold", "sleep", "spin"])
def test_ping_and_get_are_answered_meanwhile(serve, kind, threads):
    w = serve(SLEEPS, threads=threads)
    w.predict(["", 0])
    time.sleep(0.2)  # the watchdog dozes
    answer = later(w, [kind, 1.5])
    time.sleep(0.1)
    start = time.monotonic()
    for i in range(20):
        assert w.ping(i) < 0.2
        assert w.request("GET").status == 200
    assert w.predict(raw="x", headers={"content-type": "application/json"}, method="PUT").status == 405
    assert time.monotonic() - start < 1
    assert answer().json() == [kind, 1.5]
    assert w.predict(["", 0]).status == 200


def test_requests_wait_their_turn(serve):
    w = serve(SLEEPS)
    answers = [later(w, ["hold", 0.05]) for _ in range(10)]
    assert all(a().json() == ["hold", 0.05] for a in answers)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["hold", "sleep"])
def test_predict_timeout(serve, kind, threads):
    w = serve(SLEEPS, threads=threads, predict_timeout_ms=500)
    assert w.predict([kind, 0.1]).status == 200
    start = time.monotonic()
    answer = w.predict([kind, 3], headers={"x-request-id": "r7"})
    assert 0.4 < time.monotonic() - start < 1.2
    assert answer.status == 504
    assert answer.error["code"] == "timeout" and answer.error["request_id"] == "r7"
    assert answer.error["message"].startswith("predict ran longer than 500 ms (predict_timeout)")
    kind_, ms, request = w.expect(STUCK)
    assert 500 <= ms < 1000 and request == "r7"
    assert w.ping() < 0.2
    w.send(QUERY)
    w.expect(READY)
    assert w.expect(STUCK)[2] == "r7"


def test_stuck_process_takes_nothing_more(serve):
    w = serve(SLEEPS, predict_timeout_ms=500)
    stuck = later(w, ["sleep", 2.0])
    time.sleep(0.2)
    queued = later(w, ["", 0])
    assert stuck().status == 504
    # Its request has not begun, and the daemon is told so.
    answer = queued()
    assert answer.status == 503
    assert answer.headers["soma-not-begun"] == "1"
    assert w.predict(["", 0]).status == 503
    time.sleep(1.8)  # the predict has returned by now: too late
    assert w.predict(["", 0]).status == 503
    assert w.ping() < 0.2


def test_other_slots_go_on(serve):
    w = serve(SLEEPS, threads=2, predict_timeout_ms=400)
    assert w.predict(["sleep", 1.0]).status == 504
    for _ in range(20):
        assert w.predict(["", 0]).status == 200
    time.sleep(0.8)
    answers = [later(w, ["sleep", 0.15]) for _ in range(2)]
    start = time.monotonic()
    assert all(a().status == 200 for a in answers)
    assert time.monotonic() - start > 0.2  # the late slot is not taken again


def test_threads_run_at_once(serve):
    w = serve(SLEEPS, threads=4)
    start = time.monotonic()
    answers = [later(w, ["sleep", 0.5]) for _ in range(4)]
    assert all(a().status == 200 for a in answers)
    assert time.monotonic() - start < 1.2


def test_busy_python_thread_beside(serve):
    """User code that computes in the background delays a request, and not the heartbeat."""
    w = serve("""
        import threading
        def spin():
            while True: pass
        class PythonPredictor:
            def __init__(self, config):
                threading.Thread(target=spin, daemon=True).start()
            def predict(self, payload): return payload
    """)
    for i in range(20):
        assert w.ping() < 0.2
        assert w.predict(i).json() == i

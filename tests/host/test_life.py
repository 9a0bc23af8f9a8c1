"""The host process: start, heartbeat, time limits, end."""
import signal
import threading
import time

import pytest
from hosts import host_program

from harness import BYE, LOADING, PING, PONG, QUERY, READY, STOP, STUCK, Worker
from soma.waiting import SLOW


def later(host, value, **more):
    """Posts in a thread; calling the result waits for the answer or the exception."""
    result = []

    def go():
        try:
            result.append(host.predict(value, **more))
        except Exception as e:
            result.append(e)

    thread = threading.Thread(target=go)
    thread.start()

    def answer(timeout=30):
        thread.join(timeout)
        assert result, "no answer"
        return result[0]

    return answer


def test_serves_and_stops(serve):
    h = serve()
    assert h.frames[0][0] == LOADING and h.frames[0][2] == "loading echo"
    assert h.predict({"x": [1, 2]}).json() == {"x": [1, 2]}
    h.send(STOP, 5000)
    h.expect(BYE)
    assert h.wait() == 0


def test_sigterm_is_a_stop(serve):
    h = serve()
    h.process.send_signal(signal.SIGTERM)
    h.expect(BYE)
    assert h.wait() == 0


def test_ends_with_the_daemon(serve):
    h = serve()
    h.control.close()
    assert h.wait() == 0


def test_requests_before_it_is_ready(start):
    h = start(engine_options={"load_ms": 300})
    answer = later(h, {"x": 1})
    h.ready()
    assert answer().json() == {"x": 1}
    assert "echo waits before it is ready" in [f[2] for f in h.frames if f[0] == LOADING]


def test_ping_while_it_loads_and_runs(start):
    h = start(engine_options={"load_ms": 700, "delay_ms": 700})
    h.expect(LOADING)
    assert h.ping() < 0.4
    h.send(QUERY)
    assert h.expect(LOADING)
    h.expect(READY)
    answer = later(h, {"x": 1})
    time.sleep(0.1)
    assert h.ping() < 0.4
    assert h.request("GET").status == 200
    assert answer().status == 200


def test_stop_while_loading(start):
    h = start(engine_options={"load_ms": 60000})
    h.expect(LOADING)
    h.send(STOP, 1000)
    h.expect(BYE)
    assert h.wait() == 0


def test_stop_finishes_requests(serve):
    h = serve(engine_options={"delay_ms": 400})
    answer = later(h, {"x": 1})
    time.sleep(0.1)
    h.send(STOP, 5000)
    assert answer().json() == {"x": 1}
    h.expect(BYE)
    assert h.wait() == 0


def test_grace_period_ends(serve):
    h = serve(engine_options={"delay_ms": 60000})
    answer = later(h, {"x": 1})
    time.sleep(0.2)
    h.send(STOP, 300)
    assert h.wait() == 1
    assert isinstance(answer(), Exception)


def test_slots_run_side_by_side(serve):
    h = serve(threads=4, engine_options={"delay_ms": 400})
    start = time.monotonic()
    answers = [later(h, {"x": i}) for i in range(4)]
    assert [a().json() for a in answers] == [{"x": i} for i in range(4)]
    assert time.monotonic() - start < 1.5


def test_one_slot_runs_one_after_another(serve):
    h = serve(engine_options={"delay_ms": 200})
    start = time.monotonic()
    answers = [later(h, {"x": i}) for i in range(3)]
    assert [a().status for a in answers] == [200] * 3
    assert time.monotonic() - start > 0.59


def test_timeout_cancels_and_goes_on(serve):
    h = serve(predict_timeout_ms=200, engine_options={"delay_ms": 5000})
    start = time.monotonic()
    answer = h.predict({"x": 1})
    assert answer.status == 504 and time.monotonic() - start < 3
    assert answer.error["code"] == "timeout"
    assert answer.error["message"] == "predict ran longer than 200 ms (predict_timeout)"
    # The run was told to end, so that its slot is free again.
    assert h.predict({"x": 1}).status == 504
    h.send(PING, 3)
    h.expect(PONG)
    assert STUCK not in [f[0] for f in h.frames]


def test_timeout_of_what_cannot_be_cancelled(serve):
    h = serve(predict_timeout_ms=100, engine_options={"delay_ms": 60000, "deaf": 1})
    slow = h.connect(timeout=5)  # its body comes when all is stuck
    slow.putrequest("POST", "/")
    slow.putheader("Content-Length", "7")
    slow.endheaders()
    first, second = later(h, {"x": 1}, headers={"x-request-id": "me"}), None
    time.sleep(0.05)
    second = later(h, {"x": 2})
    assert first().status == 504
    stuck = h.expect(STUCK)
    assert stuck[1] >= 100 and stuck[2] == "me"
    late = second()
    assert late.status == 503 and late.headers["soma-not-begun"] == "1"
    after = h.predict({"x": 3})
    assert after.status == 503 and after.headers["soma-not-begun"] == "1"
    slow.send(b'{"x":1}')
    answer = slow.getresponse()
    assert answer.status == 503 and answer.headers["soma-not-begun"] == "1"
    h.send(QUERY)
    assert h.expect(READY) and h.expect(STUCK)[2] == "me"
    assert h.ping() < 1
    h.send(STOP, 2000)
    h.expect(BYE)
    assert h.wait() == 0


def test_a_client_that_goes_takes_its_run_along(serve):
    h = serve(engine_options={"delay_ms": 60000})
    c = h.connect()
    c.request("POST", "/", b'{"x":1}')
    time.sleep(0.2)
    c.close()
    h.send(STOP, 5000)
    h.expect(BYE)
    assert h.wait() == 0


def test_a_client_that_goes_takes_what_waits_along(serve):
    h = serve(engine_options={"delay_ms": 300})
    first = later(h, {"x": 1})
    time.sleep(0.05)
    for _ in range(20):
        c = h.connect()
        c.request("POST", "/", b'{"x":1}')
        c.close()
    start = time.monotonic()
    assert first().status == 200
    assert h.predict({"x": 2}).status == 200
    assert time.monotonic() - start < 2


def test_many_clients(serve):
    for threads in (1, 3):
        h = serve(threads=threads)
        bad = []

        def client(number):
            c = h.connect()
            for i in range(200):
                answer = h.predict({"x": [number, i]}, connection=c)
                if answer.json() != {"x": [number, i]}:
                    bad.append(answer.body)
            c.close()

        clients = [threading.Thread(target=client, args=(n,)) for n in range(8)]
        for t in clients:
            t.start()
        for t in clients:
            t.join()
        assert bad == []
        h.send(STOP, 5000)
        h.expect(BYE)
        assert h.wait() == 0


@pytest.mark.skipif(SLOW > 1, reason="a sanitizer has memory of its own")
def test_threads_that_cannot_be_made():
    little = ["sh", "-c", 'ulimit -v 1000000 && exec "$0"', str(host_program())]
    h = Worker({}, program=little, engine="echo", engine_options={}, model=None, threads=1024)
    try:
        assert h.failed()["message"] == (
            "1024 threads (threads_per_process) cannot be made; take fewer, or allow more: Resource temporarily unavailable")
    finally:
        h.close()


def test_methods(serve):
    h = serve()
    about = h.request("GET").json()
    assert about == {"name": "test", "engine": "echo", "inputs": [], "outputs": [], "open": True}
    assert h.request("HEAD").status == 200
    answer = h.request("PUT", b"{}")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.error["code"] == "method_not_allowed"


def test_body_limit(serve):
    h = serve(max_body=100)
    assert h.predict({"x": "a" * 50}).status == 200
    answer = h.predict({"x": "a" * 200})
    assert answer.status == 413 and answer.error["code"] == "too_large"


def test_many_clients_and_slow_runs(serve):
    """Slots, watchdog and leader change places: runs of all lengths, and clients that leave."""
    h = serve(threads=3, predict_timeout_ms=2000, engine_options={"delay_ms": 3})
    bad = []

    def client(number):
        for i in range(30):
            c = h.connect()
            if (number + i) % 5 == 0:
                c.request("POST", "/", b'{"x":1}')
                c.close()
            elif h.predict({"x": [number, i]}, connection=c).json() != {"x": [number, i]}:
                bad.append((number, i))
            c.close()

    clients = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    assert bad == [] and h.ping() < 2
    h.send(STOP, 5000)
    h.expect(BYE)
    assert h.wait() == 0

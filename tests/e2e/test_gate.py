"""Who is let in when: places of a replica, and the queue before it."""

import collections
import concurrent.futures
import contextlib
import re
import socket
import time

import pytest
import requests

from soma import projects
from soma.client import error_of, plain
from soma.waiting import SLOW, seconds, wait_for

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


# --- the caller's deadline ---------------------------------------------------


@pytest.fixture(scope="module")
def busy(daemon):
    """An api whose only place is taken, and what frees it."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("busy", predictor={"max_concurrency": 1})))
    port = daemon.admin.get("/busy/env").json()["PORT"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.get, "/busy/hold")
        wait_for("it is held", lambda: daemon.admin.api("busy")["in_flight"] == 1)
        yield daemon.admin
        plain("POST", f"http://127.0.0.1:{port}/go")
        assert held.result().status_code == 200


@pytest.mark.parametrize("value, ms", [("0.25", 250), ("250ms", 250), ("1", 1000), ("0.5s", 500)])
def test_a_deadline_while_it_waits(busy, value, ms):
    begun = time.monotonic()
    error = error_of(busy.get("/busy/seen", headers={"X-Request-Timeout": value}), 504, "timeout")
    took = time.monotonic() - begun
    assert ms / 1000 - 0.01 < took < ms / 1000 + seconds(1)
    assert "no replica of 'busy' had room within" in error["message"] and "(X-Request-Timeout)" in error["message"]
    assert "no replica has seen it" in error["message"]
    assert busy.api("busy")["in_flight"] == 1


def test_a_deadline_in_the_past(busy):
    for value in ("0", "0s", "0.0"):
        begun = time.monotonic()
        error = error_of(busy.get("/busy/seen", headers={"X-Request-Timeout": value}), 504, "timeout")
        assert time.monotonic() - begun < seconds(1)
        assert "its time was over before it came" in error["message"]


@pytest.mark.parametrize("value", ["soon", "-1", "1e3", "1 h", "", "nan", "\xe95", "5x", "9" * 400])
def test_a_deadline_that_is_none(busy, value):
    error = error_of(busy.get("/busy/seen", headers={"X-Request-Timeout": value}), 400, "invalid")
    assert "X-Request-Timeout '" in error["message"] and "1.5" in error["message"] and "250ms" in error["message"]
    assert error["message"].isascii()


def test_the_least_deadline_wins(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("least", request_timeout="400ms")))
    for value, key in (("60", "request_timeout"), ("0.1", "X-Request-Timeout")):
        begun = time.monotonic()
        error = error_of(daemon.admin.get("/least/hold", headers={"X-Request-Timeout": value}), 504, "timeout")
        assert f"no answer within" in error["message"] and f"({key})" in error["message"]
        assert (time.monotonic() - begun >= 0.39) == (key == "request_timeout")


def counted(admin, name, api, **labels):
    """A number of /metrics."""
    text = admin.call("GET", "/metrics").text
    labels = ",".join(f'{k}="{v}"' for k, v in {"api": api, **labels}.items())
    return float(re.search(rf"^{name}{{{labels}}} (\S+)$", text, re.M)[1])


def test_drops_are_counted(busy):
    before = counted(busy, "soma_deadline_drops_total", "busy")
    busy.get("/busy/seen", headers={"X-Request-Timeout": "0.5"})
    busy.get("/busy/seen", headers={"X-Request-Timeout": "0"})
    assert counted(busy, "soma_deadline_drops_total", "busy") == before + 2


def test_clients_that_leave_are_counted_apart(busy):
    """In the queue, with the replica, and while they read."""
    stages = {"queue": "/busy/seen", "replica": "/free/hold", "answer": "/free/stream"}
    busy.deploy(projects.probe_project(projects.probe_api("free")))
    for stage, path in stages.items():
        api = path.split("/")[1]
        before = busy.api(api)["in_flight"]
        with socket.create_connection(("127.0.0.1", int(busy.data_url.rsplit(":", 1)[1]))) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            wait_for("it is there", lambda: busy.api(api)["in_flight"] == before + 1)  # noqa: B023
            if stage == "answer":
                s.recv(10)
            if stage == "queue":
                wait_for("it is the oldest", lambda: counted(busy, "soma_queue_oldest_seconds", "busy") > 0.05)
        wait_for("it is over", lambda: busy.api(api)["in_flight"] == before)  # noqa: B023
        assert {k: counted(busy, "soma_cancelled_requests_total", api, stage=k) for k in stages} == {
            **{k: 0 for k in stages}, stage: 1, **({"replica": 1} if stage == "answer" else {})}
    assert counted(busy, "soma_queue_oldest_seconds", "busy") == 0


# --- priorities --------------------------------------------------------------


def test_the_queue_is_by_priority_then_arrival(daemon):
    """Eleven wait, of three classes: high ones first, but the eighth turn is for the oldest of the others."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("order", predictor={"max_concurrency": 1})))
    port = daemon.admin.get("/order/env").json()["PORT"]
    order = []

    def ask(name, priority):
        headers = {"X-Soma-Priority": priority} if priority else {}
        assert daemon.admin.post("/order/hold", data=name, headers=headers).json()["held"] == name
        order.append(name)

    asked = [("low", "low"), ("normal", None), *((f"high{i}", "HIGH" if i == 3 else "high") for i in range(9))]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        pool.submit(ask, "first", None)
        wait_for("it is held", lambda: daemon.admin.api("order")["in_flight"] == 1)
        for n, (name, priority) in enumerate(asked):
            pool.submit(ask, name, priority)
            wait_for("it waits", lambda: daemon.admin.api("order")["queued"] == n + 1)  # noqa: B023
        for n in range(12):
            plain("POST", f"http://127.0.0.1:{port}/go")
            wait_for("it is answered", lambda: len(order) == n + 1)  # noqa: B023
    assert order == ["first", *(f"high{i}" for i in range(7)), "low", "high7", "high8", "normal"]


@pytest.mark.parametrize("value", ["urgent", "", "1", "high,low"])
def test_a_priority_that_is_none(busy, value):
    error = error_of(busy.get("/busy/seen", headers={"X-Soma-Priority": value}), 400, "invalid")
    assert error["message"] == f"X-Soma-Priority '{value}' is unknown; give high, normal or low"


# --- when to come again ------------------------------------------------------


def test_retry_after_is_the_time_of_the_queue(daemon):
    """One slot, a second each: with six there the seventh is told to come in six."""
    source = projects.predictor("import time\ntime.sleep(payload)")
    daemon.admin.deploy(projects.python_project(source, projects.python_api(
        "again", autoscaling={"max_replica_concurrency": 6})))
    daemon.admin.post("/again", json=1)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        held = [pool.submit(daemon.admin.post, "/again", json=1) for _ in range(6)]
        wait_for("six are there", lambda: daemon.admin.api("again")["in_flight"] == 6)
        answer = daemon.admin.post("/again", json=1)
        error_of(answer, 503, "overloaded")
        assert 6 <= int(answer.headers["Retry-After"]) <= 9
        assert [h.result().status_code for h in held] == [200] * 6


# --- keys --------------------------------------------------------------------


def test_max_queue_length(daemon):
    """One in the replica, two that wait; the third is refused at once, and never was in the queue."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api(
        "short", predictor={"max_concurrency": 1}, max_queue_length=2)))
    port = daemon.admin.get("/short/env").json()["PORT"]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [pool.submit(daemon.admin.post, "/short/hold") for _ in range(3)]
        wait_for("two wait", lambda: daemon.admin.api("short")["queued"] == 2)
        for priority in ("normal", "high"):
            begun = time.monotonic()
            answer = daemon.admin.get("/short/echo", headers={"X-Soma-Priority": priority})
            assert time.monotonic() - begun < seconds(1)
            error = error_of(answer, 503, "overloaded")
            assert error["message"] == "2 requests wait for a replica of 'short', as many as may (max_queue_length)"
            assert int(answer.headers["Retry-After"]) >= 1
            assert daemon.admin.api("short")["queued"] == 2
        assert counted(daemon.admin, "soma_overload_refusals_total", "short") == 2
        plain("POST", f"http://127.0.0.1:{port}/go?n=3")
        assert [h.result().status_code for h in held] == [200] * 3
    assert daemon.admin.get("/short/echo").status_code == 200


def test_max_in_flight(daemon):
    """Two at most are sent to the process, though it would take three."""
    source = projects.predictor("import time\ntime.sleep(payload)\nreturn 'done'")
    daemon.admin.deploy(projects.python_project(source, projects.python_api("two", predictor={"max_in_flight": 2})))
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        sent = [pool.submit(daemon.admin.post, "/two", json=0.5 * SLOW) for _ in range(5)]
        wait_for("all are there", lambda: daemon.admin.api("two")["in_flight"] == 5)
        api = daemon.admin.api("two")
        assert [r["in_flight"] for r in api["replicas"]] == [2] and api["queued"] == 3
        assert [s.result().text for s in sent] == ["done"] * 5


@pytest.mark.parametrize("most, shares", [(5, [2, 2, 1]), (2, [1, 1, 1])])
def test_max_in_flight_of_several_processes(daemon, most, shares):
    """It is the replica's: each process has a share, and one at least."""
    source = projects.predictor("import time\ntime.sleep(payload)\nreturn 'done'")
    daemon.admin.deploy(projects.python_project(source, projects.python_api(
        "shared", predictor={"max_in_flight": most, "processes_per_replica": 3})))
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        sent = [pool.submit(daemon.admin.post, "/shared", json=0.5 * SLOW) for _ in range(9)]
        wait_for("all are there", lambda: daemon.admin.api("shared")["in_flight"] == 9)
        api = daemon.admin.api("shared")
        assert [r["in_flight"] for r in api["replicas"] if r["state"] == "ready"] == shares and api["queued"] == 9 - sum(shares)
        assert [s.result().text for s in sent] == ["done"] * 9


# --- overload ----------------------------------------------------------------


def test_a_slow_first_answer_sends_nobody_away(daemon):
    """As of a model that is loaded when it is first asked: after one answer of a second, sixty would take a minute."""
    source = projects.predictor("if not self.asked:\n    self.asked = True\n    time.sleep(1)\ntime.sleep(0.02)\nreturn payload", "self.asked = False",
                                "import time")
    daemon.admin.deploy(projects.python_project(source, projects.python_api("cold", request_timeout="30s")))
    assert daemon.admin.post("/cold", json=0).json() == 0
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        assert list(pool.map(lambda x: daemon.admin.post("/cold", json=x).json(), range(60))) == list(range(60))


def test_overload_keeps_the_slot_at_work_for_those_it_can_serve(daemon):
    """Ten times as many as it can, all with a deadline: who comes too late is refused at once, the others are in time."""
    service = 0.02 * SLOW
    source = projects.predictor(f"import time\ntime.sleep({service})\nreturn 'done'")
    daemon.admin.deploy(projects.python_project(source, projects.python_api("crowd")))
    for _ in range(20):
        daemon.admin.post("/crowd", json=1)
    codes = collections.Counter()
    end = time.monotonic() + 4

    def client():
        with requests.Session() as s:
            s.trust_env = False
            while time.monotonic() < end:
                answer = s.post(daemon.url + "/crowd", json=1, headers={"X-Request-Timeout": str(10 * service)}, timeout=30)
                codes[answer.status_code] += 1
                if answer.status_code == 503:
                    assert error_of(answer, 503, "overloaded")["message"].endswith("too long for its X-Request-Timeout")
                    assert int(answer.headers["Retry-After"]) >= 1
                    time.sleep(service)

    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        for done in [pool.submit(client) for _ in range(30)]:
            done.result()
    assert set(codes) <= {200, 503, 504} and codes[503] > codes[200], codes
    assert codes[200] >= 0.8 * 4 / service, codes
    assert codes[504] <= 0.05 * codes[200], codes

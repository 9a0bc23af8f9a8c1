"""What a shadow does, or does not do, is nothing to those who ask the api."""

import os
import signal
import socket
import threading
import time

import pytest
import requests

from soma.client import Raw
from soma.metrics import Metrics
from soma.projects import PYTHON, probe_api, probe_project
from soma.splitters import compared, project, shares, splitter, target, who
from soma.waiting import seconds, wait_for

COPIES_MAX = 64      # at once
SLOW_S = seconds(1)  # generous, where an answer takes milliseconds


@pytest.fixture(scope="module")
def split(daemon):
    daemon.admin.deploy(project(target("main", tells=False, says="x")))
    return daemon


def slowest(daemon, path, n, **keys):
    """Of n requests, each of which is answered right, in seconds."""
    worst = 0
    with requests.Session() as http:
        http.trust_env = False
        for i in range(n):
            begin = time.monotonic()
            answer = http.post(daemon.url + path, json={"i": i}, timeout=30, **keys)
            worst = max(worst, time.monotonic() - begin)
            assert answer.status_code == 200 and answer.json()["payload"] == {"i": i}, answer.text
    return worst


def ends(daemon, name, shadow, n, timeout=30):
    """What became of n copies, when all are over."""
    def over():
        t = shares(daemon, name)[shadow]
        return t if t["dropped"] + t["failed"] + t["compared"] + t["not_compared"] + t["missing"] == n else None
    return wait_for(f"{n} copies are over", over, timeout)


def test_one_that_is_slow_or_hangs(split):
    """It takes 30 s. The copies are given up after ten; those beyond the bound are dropped."""
    split.admin.deploy(project(target("slow", sleep=0.2, tells=False, says="x"), target("hangs", sleep=30)))
    split.admin.deploy(project(splitter("with-slow", ("main", 100), ("slow", 100, True)),
                               splitter("with-hanging", ("main", 100), ("hangs", 100, True))))
    assert slowest(split, "/with-slow", 20) < SLOW_S
    assert slowest(split, "/with-hanging", 200) < SLOW_S
    t = shares(split, "with-hanging")["hangs"]
    assert 0 < t["copies"] <= COPIES_MAX and t["copies"] + t["dropped"] == 200
    t = ends(split, "with-hanging", "hangs", 200, seconds(25))
    assert t["failed"] == t["copies"] and t["compared"] == 0
    assert ends(split, "with-slow", "slow", 20)["differ"] == 0
    api = split.admin.api("with-hanging")
    assert (api["requests"]["2xx"], api["requests"]["5xx"]) == (200, 0)
    # There is room again.
    assert slowest(split, "/with-hanging", 1) < SLOW_S
    assert shares(split, "with-hanging")["hangs"]["copies"] == t["copies"] + 1
    assert Metrics(split.admin, "with-hanging")["soma_shadow_dropped_total", "hangs"] == t["dropped"]


def test_one_that_cannot_start(split):
    broken = project(target("broken"), source="class PythonPredictor:\n    def __init__(self, config):\n        raise ValueError('no')\n")
    split.admin.deploy_failing(broken)
    split.admin.deploy(project(splitter("with-broken", ("main", 100), ("broken", 100, True))))
    assert slowest(split, "/with-broken", 50) < SLOW_S
    assert ends(split, "with-broken", "broken", 50)["compared"] == 0


CRASHES = """\
import os


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        print("ran", payload["i"], flush=True)
        os._exit(3)
"""


def test_one_that_crashes_runs_no_copy_twice(split):
    """Though it says that any request may run twice."""
    split.admin.deploy(project(target("crashes", {"retry": "safe"}), source=CRASHES))
    split.admin.deploy(project(splitter("with-crash", ("main", 100), ("crashes", 100, True))))
    assert slowest(split, "/with-crash", 5) < SLOW_S
    t = ends(split, "with-crash", "crashes", 5, seconds(40))
    assert t["failed"] == t["copies"] == 5
    ran = [line["line"] for line in split.admin.logs("crashes") if line["line"].startswith("ran ")]
    assert len(ran) == len(set(ran)), ran


def test_one_at_zero_is_woken(split):
    split.admin.deploy(project(target("asleep", {"autoscaling": {"min_replicas": 0, "keep_idle": "1s"}}, tells=False, says="x")))
    split.cli("scale", "asleep", "0", check=0)
    wait_for("it is at zero", lambda: not split.admin.pids("asleep"))
    split.admin.deploy(project(splitter("with-zero", ("main", 100), ("asleep", 100, True))))
    assert slowest(split, "/with-zero", 3) < SLOW_S
    t = ends(split, "with-zero", "asleep", 3)
    assert (t["compared"], t["differ"]) == (3, 0)


def test_numbers_by_their_difference(split):
    """Within the tolerance they are the same; the largest difference is told in any case."""
    split.admin.deploy(project(target("is", tells=False, says="x", y=3), target("near", tells=False, says="x", y=3.0000003),
                               target("far", tells=False, says="x", y=4)))
    split.admin.deploy(project(splitter("close", ("is", 100), ("near", 100, True)), splitter("wide", ("is", 100), ("far", 100, True))))
    for name, shadow, differ, by in (("close", "near", 0, 1e-7), ("wide", "far", 5, 0.25)):
        who(split, f"/{name}", 5)
        t = compared(split, name, shadow)
        assert (t["compared"], t["differ"]) == (5, differ) and t["largest_difference"] == pytest.approx(by, rel=1e-3)
        assert f"of 5 compared answers {differ} differ, numbers by {by:g} at most" in split.cli("get", name, check=0).out
        told = Metrics(split.admin, name)
        assert told["soma_shadow_differ_total", shadow] == differ
        assert told["soma_shadow_largest_difference", shadow] == pytest.approx(by, rel=1e-3)


def test_large_answers_are_compared_too(split):
    """Beyond 64 KiB on other threads; beyond a mebibyte not, which is counted."""
    split.admin.deploy(project(target("twin", tells=False, says="x"), target("off", tells=False, says="x", y=1)))
    split.admin.deploy(project(splitter("same", ("main", 100), ("twin", 100, True)),
                               splitter("other", ("main", 100), ("off", 100, True))))
    numbers = {"numbers": [i / 7 for i in range(20000)]}
    for path, name, differ in (("/same", "twin", 0), ("/other", "off", 1)):
        assert split.admin.post(path, json=numbers).status_code == 200
        t = compared(split, path[1:], name)
        assert (t["compared"], t["differ"], t["largest_difference"]) == (1, differ, differ)
    assert split.admin.post("/same", json={"text": "x" * (900 << 10)}).status_code == 200
    assert compared(split, "same", "twin")["compared"] == 2
    many = [threading.Thread(target=split.admin.post, args=("/other",), kwargs={"json": numbers}) for _ in range(10)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    assert compared(split, "other", "off")["compared"] == 11
    half = {"text": "é" * (400 << 10)}  # as JSON of Python's six times as long
    assert split.admin.post("/same", data=('{"text":"%s"}' % half["text"]).encode(),
                            headers={"Content-Type": "application/json"}).status_code == 200
    t = compared(split, "same", "twin")
    assert t["compared"] + t["not_compared"] == t["copies"] == 3
    assert split.admin.post("/same", json={"text": "x" * (2 << 20)}).status_code == 200
    assert shares(split, "same")["twin"]["dropped"] == 1


# Answers as soon as half of the body is there; the shadow's asks for all.
EARLY = """\
import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        first = self.rfile.read(5)
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(first)
        self.wfile.flush()
        self.wfile.write(self.rfile.read(5))

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def early(name):
    return {"name": name, "predictor": {"type": "command", "command": [PYTHON, "early.py"]}}


def test_the_body_is_passed_on_as_it_comes(split):
    """The api has what has come although the rest has not: with a shadow as without one."""
    split.admin.deploy({"early.py": EARLY}, config=[early("early"), early("late")])
    split.admin.deploy(project(splitter("half", ("early", 100), ("late", 100, True))))
    with Raw(split.port) as client:
        client.send(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        assert client.until(b"hello")
        client.send(b"world")
        assert client.until(b"world")
    t = compared(split, "half", "late")
    assert (t["copies"], t["compared"], t["differ"]) == (1, 1, 0)


def test_a_body_in_chunks(split):
    split.admin.deploy(project(target("twin", tells=False, says="x")))
    split.admin.deploy(project(splitter("chunks", ("main", 100), ("twin", 100, True))))
    answer = split.admin.post("/chunks", data=iter([b'{"a"', b": 1}"]), headers={"Content-Type": "application/json"})
    assert answer.json()["payload"] == {"a": 1}
    t = compared(split, "chunks", "twin")
    assert (t["copies"], t["compared"], t["differ"]) == (1, 1, 0)


def test_what_is_no_copy(split):
    """A request with a key is one run, whoever sends it; a copy makes no copies."""
    split.admin.deploy(project(target("mirror", tells=False, says="x")))
    split.admin.deploy(project(splitter("once", ("main", 100), ("mirror", 100, True))))
    for header in ("Idempotency-Key", "amz-sdk-invocation-id"):
        assert slowest(split, "/once", 2, headers={header: "a"}) < SLOW_S
    assert (shares(split, "once")["mirror"]["copies"], shares(split, "once")["mirror"]["dropped"]) == (0, 4)


def test_clients_that_leave(split):
    """In the middle of their request: nothing is left of the copy, and nothing is wrong with the next."""
    split.admin.deploy(project(target("takes-long", sleep=0.5, says="x", tells=False), target("watches", says="x", tells=False)))
    split.admin.deploy(project(splitter("left", ("takes-long", 100), ("watches", 100, True))))
    for part in (b"POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{\"a\"", b"POST /left HTTP/1.1\r\nHost: a\r\n"
                 b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}") * 3:
        with socket.create_connection(("127.0.0.1", split.port)) as client:
            client.sendall(part)
            time.sleep(0.1)
    t = ends(split, "left", "watches", 6)
    assert (t["dropped"], t["compared"]) == (3, 0)
    assert who(split, "/left", 1) == {"x": 1}
    wait_for("it is compared", lambda: shares(split, "left")["watches"]["compared"] == 1)


def test_a_daemon_that_ends_with_copies_under_way(own_daemon):
    """Killed, or told to end: nothing hangs (own_daemon's end is checked)."""
    own_daemon.admin.deploy(project(target("main", says="x", tells=False), target("hangs", sleep=30, keys={"grace_period": "1s"})))
    own_daemon.admin.deploy(project(splitter("s", ("main", 100), ("hangs", 100, True))))
    assert slowest(own_daemon, "/s", 20) < SLOW_S
    os.kill(own_daemon.daemon_pid, signal.SIGKILL)
    wait_for("it is back", own_daemon.admin.is_ready)
    own_daemon.admin.wait_live("s")
    assert slowest(own_daemon, "/s", 20) < 30


def test_targets_change_under_load(split):
    """A target's new revision, other weights by patch, and a splitter that goes: no request fails."""
    def both(says):
        return [target("one", says=says), target("two", says=says)]

    def pair(first, second):
        return splitter("pair", ("one", first), ("two", second), ("main", 50, True))
    split.admin.deploy(project(*both("old")))
    split.admin.deploy(project(pair(50, 50)))
    ending, failed, said = threading.Event(), [], set()

    def client():
        with requests.Session() as http:
            http.trust_env = False
            while not ending.is_set():
                answer = http.post(split.url + "/pair", json={}, timeout=30)
                said.add(answer.json().get("name"))
                if answer.status_code != 200:
                    failed.append(answer.text)
    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        split.admin.deploy(project(*both("new")))
        request, _ = split.admin.request_of({}, config=[pair(10, 90)])
        request.pop("files")
        split.admin.ok("POST", "/v1/patch", json=request)
        wait_for("the weights are others", lambda: shares(split, "pair")["two"]["weight"] == 90)
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert not failed and said == {"old", "new"}
    assert split.cli("delete", "one").code != 0
    split.admin.delete("pair")
    assert split.admin.post("/pair", json={}).status_code == 404
    split.admin.delete("one")


def test_a_target_at_zero_is_woken(split):
    split.admin.deploy(project(target("rests", {"autoscaling": {"min_replicas": 0, "keep_idle": "1s"}}, says="x")))
    split.admin.deploy(project(splitter("wakes", ("rests", 100))))
    split.cli("scale", "rests", "0", check=0)
    wait_for("it is at zero", lambda: not split.admin.pids("rests"))
    assert who(split, "/wakes", 2) == {"x": 2}


def test_a_program_has_copies_of_all_methods(split):
    split.admin.deploy(probe_project(probe_api("p1"), probe_api("p2")))
    split.admin.deploy(project(splitter("probes", ("p1", 100), ("p2", 100, True))))
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert split.admin.call_data(method, "/probes?x=1").status_code == 200
    t = compared(split, "probes", "p2")
    assert (t["copies"], t["compared"]) == (4, 4)

"""The same call once more: it runs once, whoever gave up before."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from soma import projects
from soma.client import error_of
from soma.waiting import seconds, wait_for

# Runs until a file is there; says which run of its id it was, from 1.
SOURCE = projects.predictor("""
with open(self.runs, "a+") as f:
    f.write(f"{payload['id']}\\n")
    f.seek(0)
    runs = f.read().split().count(payload["id"])
while payload.get("hold") and not os.path.exists(payload["hold"]):
    time.sleep(0.002)
return {"id": payload["id"], "runs": runs, "pad": "x" * payload.get("pad", 0)}
""", init='self.runs = config["runs"]', imports="import os, time")


@pytest.fixture(scope="module")
def api(daemon):
    # Where another user may write, too.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soma-calls-"))
    folder.chmod(0o777)
    (folder / "runs").touch()
    (folder / "runs").chmod(0o666)
    daemon.admin.deploy(projects.python_project(SOURCE, projects.python_api(
        "calls", predictor={"config": {"runs": str(folder / "runs")}, "threads_per_process": 4})))
    yield Api(daemon, folder)
    shutil.rmtree(folder)


class Caller(http.client.HTTPConnection):
    """A connection on which an answer need not be waited for."""

    def __init__(self, port):
        super().__init__("127.0.0.1", port, timeout=seconds(20))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def post(self, path, body, **headers):
        self.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})

    def answer(self):
        answer = self.getresponse()
        return answer.status, json.loads(answer.read())


class Api:
    def __init__(self, daemon, folder):
        self.daemon, self.folder, self.runs = daemon, folder, folder / "runs"

    def held(self, id, **more):
        """A body whose run ends once the file is there, and the file."""
        path = self.folder / f"go-{id}"
        return {"id": id, "hold": str(path), **more}, path

    def count(self, id):
        return self.runs.read_text().split().count(id)

    def leave(self, body, key, header="Idempotency-Key", path="/calls"):
        """Asks, and goes away once that runs."""
        with Caller(self.daemon.port) as caller:
            caller.post(path, body, **{header: key})
            wait_for("it runs", lambda: self.count(body["id"]) == 1)

    def ask(self, body, key, header="Idempotency-Key", **more):
        return self.daemon.admin.post("/calls", json=body, headers={header: key, **more})


@pytest.mark.parametrize("header", ["Idempotency-Key", "amz-sdk-invocation-id"])
def test_who_left_and_comes_again_has_the_answer_of_the_first_run(api, header):
    body, go = api.held(f"left-{header}")
    api.leave(body, "k1", header)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.ask, body, "k1", header, **{"X-Request-Id": "the-second"})
        wait_for("it is there", lambda: api.daemon.admin.api("calls")["in_flight"] == 1)
        go.touch()
        told = answer.result()
    assert told.json()["runs"] == 1 and told.headers["X-Request-Id"] == "the-second"
    assert api.count(body["id"]) == 1


@pytest.mark.parametrize("pad", [10, 300_000])
def test_an_answer_that_came_while_nobody_was_there_waits(api, pad):
    body, go = api.held(f"waits-{pad}", pad=pad)
    api.leave(body, "k2")
    go.touch()
    time.sleep(seconds(0.3))
    told = api.ask(body, "k2")
    assert told.json() == {"id": body["id"], "runs": 1, "pad": "x" * pad}
    # That was its end: the key is free again.
    assert api.ask(body, "k2").json()["runs"] == 2


def test_of_two_who_are_there_the_last_has_the_answer(api):
    body, go = api.held("both")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(api.ask, body, "k3")
        wait_for("it runs", lambda: api.count("both") == 1)
        second = pool.submit(api.ask, body, "k3")
        assert "has come once more" in error_of(first.result(), 409, "conflict")["message"]
        third = pool.submit(api.ask, body, "k3")
        error_of(second.result(), 409, "conflict")
        go.touch()
        assert third.result().json()["runs"] == 1
    wait_for("nobody is left", lambda: api.daemon.admin.api("calls")["in_flight"] == 0)


def test_connections_that_changed_places_go_on(api):
    body, go = api.held("goes-on")
    with Caller(api.daemon.port) as a, Caller(api.daemon.port) as b:
        a.post("/calls", body, **{"Idempotency-Key": "k4"})
        wait_for("it runs", lambda: api.count("goes-on") == 1)
        b.post("/calls", body, **{"Idempotency-Key": "k4"})
        assert a.answer()[0] == 409
        go.touch()
        assert b.answer()[1]["runs"] == 1
        for caller in (a, b):
            caller.post("/calls", {"id": "next"})
            assert caller.answer()[1]["id"] == "next"


def test_another_body_path_key_or_credential_is_another_call(api):
    body, go = api.held("other")
    api.leave(body, "k5")
    go.touch()
    assert api.ask({**body, "pad": 0}, "k5").json()["runs"] == 2
    assert api.ask(body, "k6").json()["runs"] == 3
    assert api.daemon.admin.post("/calls?a=b", json=body, headers={"Idempotency-Key": "k5"}).json()["runs"] == 4
    assert api.daemon.admin.post("/calls", json=body).json()["runs"] == 5
    assert api.ask(body, "k5", **{"Authorization": "Bearer x"}).json()["runs"] == 6
    assert api.ask(body, "k5", **{"Cookie": "a=b"}).json()["runs"] == 7
    assert api.ask({**body, "id": "second"}, "k5").json()["id"] == "second"
    assert api.ask(body, "k5").json()["runs"] == 1


def test_what_is_not_all_here_is_no_call(api):
    body, _ = api.held("half")
    del body["hold"]
    text = json.dumps(body)
    with Caller(api.daemon.port) as caller:
        caller.putrequest("POST", "/calls")
        for name, value in {"Content-Type": "application/json", "Content-Length": len(text), "Idempotency-Key": "k11"}.items():
            caller.putheader(name, str(value))
        caller.endheaders(text[:3].encode())
        wait_for("it is there", lambda: api.daemon.admin.api("calls")["in_flight"] == 1)
        assert api.ask(body, "k11").json()["runs"] == 1
        caller.send(text[3:].encode())
        assert caller.answer()[1]["runs"] == 2


def test_answers_that_wait_are_in_nobodys_way(api):
    """The replica has room for eight."""
    for i in range(12):
        body, go = api.held(f"way-{i}")
        api.leave(body, f"k12-{i}")
        go.touch()
    assert api.ask({"id": "way"}, "k13").json()["runs"] == 1
    assert all(api.ask(api.held(f"way-{i}")[0], f"k12-{i}").json()["runs"] == 1 for i in range(12))


def test_its_place_in_the_queue_is_kept(api):
    """Whoever waited behind those that run, left, and comes again, is still before those who came later."""
    def wait_for_queue(n):
        wait_for(f"{n} wait", lambda: api.daemon.admin.api("calls")["queued"] == n)

    holders = [api.held(f"holder-{i}") for i in range(8)]
    with ThreadPoolExecutor(12) as pool:
        running = [pool.submit(api.daemon.admin.post, "/calls", json=body) for body, _ in holders]
        wait_for("all are there", lambda: api.daemon.admin.api("calls")["in_flight"] == 8)
        with Caller(api.daemon.port) as caller:
            caller.post("/calls", {"id": "queued"}, **{"Idempotency-Key": "k7"})
            wait_for_queue(1)
        later = pool.submit(api.daemon.admin.post, "/calls", json={"id": "later"})
        wait_for_queue(2)
        again = pool.submit(api.ask, {"id": "queued"}, "k7", **{"X-Request-Id": "again"})
        wait_for("it has come", lambda: api.daemon.admin.api("calls")["in_flight"] == 10)
        # All but three end, one behind the other: one slot is left for both.
        for _ in range(5):
            answer, go = wait_for("one runs", lambda: next(
                ((answer, go) for answer, (body, go) in zip(running, holders) if api.count(body["id"]) and not go.exists()), None))
            go.touch()
            assert answer.result().status_code == 200
        assert again.result().json()["runs"] == 1 and later.result().json()["runs"] == 1
        assert again.result().headers["X-Request-Id"] == "again"
        for _, go in holders:
            go.touch()
        assert all(each.result().status_code == 200 for each in running)
    order = api.runs.read_text().split()
    assert order.index("queued") < order.index("later")


def test_the_replica_dies_while_nobody_is_there(api):
    body, go = api.held("dies")
    api.leave(body, "k8")
    (pid,) = api.daemon.admin.pids("calls")
    os.kill(pid, signal.SIGKILL)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.ask, body, "k8")
        wait_for("it runs again", lambda: api.count("dies") == 2)
        go.touch()
        assert answer.result().json()["runs"] == 2


def test_the_newest_time_counts(api):
    body, go = api.held("time")
    with Caller(api.daemon.port) as caller:
        caller.post("/calls", body, **{"Idempotency-Key": "k9", "X-Request-Timeout": str(seconds(60))})
        wait_for("it runs", lambda: api.count("time") == 1)
    error_of(api.ask(body, "k9", **{"X-Request-Timeout": str(seconds(0.3))}), 504, "timeout")
    go.touch()


def test_nobody_comes(api):
    """It ends after a while, as one that was cancelled; a daemon that is told to stop does not wait for that."""
    body, go = api.held("nobody")
    api.leave(body, "k10")
    assert api.daemon.admin.api("calls")["in_flight"] == 1
    wait_for("it is given up", lambda: api.daemon.admin.api("calls")["in_flight"] == 0, 30)
    go.touch()
    assert api.ask(body, "k10").json()["runs"] == 2


def test_a_stop_does_not_wait_for_it(own_daemon):
    own_daemon.admin.deploy(projects.python_project(projects.predictor("time.sleep(3600)", imports="import time"),
                                                    projects.python_api("sleeps", grace_period="1s")))
    with Caller(own_daemon.port) as caller:
        caller.post("/sleeps", {"id": 1}, **{"Idempotency-Key": "k"})
        wait_for("it is there", lambda: own_daemon.admin.api("sleeps")["in_flight"] == 1)
    begun = time.monotonic()
    own_daemon.stop()
    assert time.monotonic() - begun < seconds(9)

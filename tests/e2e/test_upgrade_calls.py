"""The same call once more (Idempotency-Key), to the daemon that has taken over from the one that runs it: it runs once."""

import os
import pathlib
import shutil
import signal
import tempfile

import pytest

from soma import procs, projects
from soma.client import error_of
from soma.daemon import Daemon
from soma.upgrades import ask, daemons, upgrade
from soma.waiting import seconds, wait_for

# Runs until a file is there; says which run of its id it was, from 1.
SOURCE = projects.predictor("""
with open(self.runs, "a+") as f:
    f.write(f"{payload['id']}\\n")
    f.seek(0)
    runs = f.read().split().count(payload["id"])
while payload.get("hold") and not os.path.exists(payload["hold"]):
    time.sleep(0.002)
return {"id": payload["id"], "runs": runs}
""", init='self.runs = config["runs"]', imports="import os, time")


class Calls:
    def __init__(self, daemon, folder):
        self.daemon, self.folder, self.runs = daemon, folder, folder / "runs"

    def deploy(self, threads=4):
        keys = {"config": {"runs": str(self.runs)}, "threads_per_process": threads, "max_in_flight": threads}
        self.daemon.admin.deploy(projects.python_project(SOURCE, projects.python_api("calls", predictor=keys)))

    def body(self, id):
        return {"id": id, "hold": str(self.folder / f"go-{id}")}

    def go(self, id):
        (self.folder / f"go-{id}").touch()

    def count(self, id):
        return self.runs.read_text().split().count(id)

    def ask(self, id, header="Idempotency-Key", **more):
        return ask(self.daemon, "/calls", method="POST", json=self.body(id), headers={header: f"key-{id}", **more})

    def begin(self, id, **more):
        """It runs."""
        asked = self.ask(id, **more)
        wait_for("it runs", lambda: self.count(id) == 1)
        return asked

    def leave(self, id, runs=1):
        """Asks, and goes away once it runs, or waits."""
        with pytest.raises(Exception):
            self.daemon.admin.http.post(f"{self.daemon.url}/calls", json=self.body(id), headers={"Idempotency-Key": f"key-{id}"}, timeout=seconds(0.5))
        assert self.count(id) == runs


@pytest.fixture
def calls():
    # Where another user may write, too.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soma-calls-"))
    folder.chmod(0o777)
    (folder / "runs").touch()
    (folder / "runs").chmod(0o666)
    with Daemon() as daemon:
        yield Calls(daemon, folder)
    shutil.rmtree(folder)


def answer_of(asked):
    asked.join(seconds(30))
    assert asked.answer is not None and not isinstance(asked.answer, Exception), asked.answer
    return asked.answer


def runs_once(calls, id, asked):
    calls.go(id)
    told = answer_of(asked)
    assert told.status_code == 200 and told.json() == {"id": id, "runs": 1}, told.text
    assert calls.count(id) == 1
    return told


@pytest.mark.parametrize("header", ["Idempotency-Key", "amz-sdk-invocation-id"])
@pytest.mark.parametrize("upgrades", [1, 2])
def test_who_is_still_there_is_told(calls, header, upgrades):
    calls.deploy()
    first = calls.begin("a", header=header)
    for _ in range(upgrades):
        upgrade(calls.daemon)
    second = calls.ask("a", header=header, **{"X-Request-Id": "the-second"})
    error_of(answer_of(first), 409, "conflict")
    third = calls.ask("a", header=header, **{"X-Request-Id": "the-third"})
    error_of(answer_of(second), 409, "conflict")
    assert runs_once(calls, "a", third).headers["X-Request-Id"] == "the-third"
    wait_for("the old ones have ended", lambda: daemons(calls.daemon) == [calls.daemon.daemon_pid], 20)
    # The key is free again.
    assert answer_of(calls.ask("a", header=header)).json()["runs"] == 2


def test_each_daemon_has_its_own(calls):
    calls.deploy()
    asked = []
    for id in ("a", "b", "c"):
        asked.append(calls.begin(id))
        if id != "c":
            upgrade(calls.daemon)
    again = [calls.ask(id) for id in ("a", "b", "c")]
    for first in asked:
        error_of(answer_of(first), 409, "conflict")
    new = calls.begin("d")
    for id, second in zip("abcd", [*again, new]):
        runs_once(calls, id, second)


def test_who_left_before_the_upgrade_comes_again_behind_it(calls):
    """A call whose client has left goes on for 10 s, in the old daemon as well."""
    calls.deploy()
    calls.leave("a")
    upgrade(calls.daemon)
    second = calls.ask("a")
    wait_for("it is there", lambda: calls.daemon.admin.api("calls")["in_flight"] == 1)
    runs_once(calls, "a", second)


def test_an_answer_that_came_meanwhile_waits(calls):
    calls.deploy()
    calls.leave("a")
    upgrade(calls.daemon)
    calls.go("a")
    runs_once(calls, "a", calls.ask("a"))


def test_one_that_waited_and_whose_client_had_left(calls):
    """It is passed on all the same."""
    calls.deploy(threads=1)
    slow = calls.begin("slow")
    calls.leave("a", runs=0)
    upgrade(calls.daemon)
    second = calls.ask("a")
    calls.go("slow")
    answer_of(slow)
    runs_once(calls, "a", second)


def test_another_body_is_another_call(calls):
    calls.deploy()
    first = calls.begin("a")
    upgrade(calls.daemon)
    other = ask(calls.daemon, "/calls", method="POST", json={**calls.body("a"), "more": 1}, headers={"Idempotency-Key": "key-a"})
    wait_for("it runs for itself", lambda: calls.count("a") == 2)
    calls.go("a")
    assert {answer_of(t).json()["runs"] for t in (first, other)} <= {1, 2}


def test_the_time_of_who_asks_is_over(calls):
    """As of any call that was taken over."""
    calls.deploy()
    first = calls.begin("a")
    upgrade(calls.daemon)
    error_of(answer_of(calls.ask("a", **{"X-Request-Timeout": "0.3"})), 504, "timeout")
    error_of(answer_of(first), 409, "conflict")
    calls.go("a")


def test_the_old_daemon_is_killed(calls):
    """What it had is lost; the key says that it may run again, one of AWS's does not."""
    calls.deploy()
    firsts = [calls.begin("a"), calls.begin("b", header="amz-sdk-invocation-id")]
    old = calls.daemon.daemon_pid
    upgrade(calls.daemon)
    again = [calls.ask("a"), calls.ask("b", header="amz-sdk-invocation-id")]
    for first in firsts:
        error_of(answer_of(first), 409, "conflict")
    os.kill(old, signal.SIGKILL)
    calls.go("a")
    assert answer_of(again[0]).json()["runs"] == 2
    error_of(answer_of(again[1]), 502, "replica_failed")
    wait_for("it has ended", lambda: not procs.alive(old))
    assert not [name for name in os.listdir(calls.daemon.data / "run/s") if name.startswith(".calls")]
    calls.go("b")

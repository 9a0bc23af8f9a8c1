"""kill -9 at each step of a rollout: it ends in the old or the new revision, whole, by itself.

`soma deploy` brings the next version under a light load; somebody is killed at
a moment of its rollout, and nothing is done by hand but that Soma is started
again where its keeper was. What a deploy has acknowledged is never lost.
"""

import contextlib
import os
import random
import signal
import socket
import threading

import pytest

from soma import procs, projects, rollout
from soma.daemon import Daemon
from soma.load import Load
from soma.rollout import Moment, Versions, newborn
from soma.waiting import seconds, wait_for

SEED = int(os.environ.get("SOMA_TEST_SEED", "20261128"))
DISK = ["blob", "project", "commit"]
BUILD = ["env_start", "env_output", "env_ready"]
EVENTS = ["deploy", "replica_start", "replica_loading", "replica_ready", "live", "leaving"]


def kill(*pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Rounds:
    """A daemon whose api `roll` is at some version; each round brings the next one."""

    def __init__(self, daemon, rng, load, target):
        self.d, self.rng, self.load, self.target = daemon, rng, load, target
        self.at, self.kills, self.outcomes = 0, 0, {"old": 0, "new": 0}

    # --- who is killed ---

    def daemon(self):
        old = self.d.daemon_pid
        kill(old)
        wait_for("the next daemon", lambda: self.d.daemon_pid != old and self.d.admin.is_ready(), 30)

    def keeper(self):
        """With all that it has; Soma is started again."""
        kill(self.d.keeper_pid)
        self.d.process.wait(seconds(10))
        self.d.start(self.d.url.partition("//")[2], self.d.admin_url.partition("//")[2])

    def launcher(self):
        """Whatever process of the new revision is the youngest: a build, `soma box`, a replica."""
        pids = []
        with contextlib.suppress(AssertionError):
            pids = wait_for("one is there", lambda: newborn(self.d, self.old), 1)
        kill(*pids[-1:])

    def zygote(self):
        """And a replica of the old revision, which would be forked anew from it."""
        kill(self.old_zygote, self.rng.choice(self.old_pids))

    def replicas(self):
        """Some of the old revision, or all of the new one."""
        kill(*(newborn(self.d, self.old) or self.old_pids[:self.rng.randrange(1, 3)]))

    # --- a round ---

    def settle(self):
        """What is there before the deploy."""
        api = wait_for("a zygote", lambda: (a := rollout.whole(self.d))["zygote"] and a["zygote"]["state"] == "ready" and a, 30)
        self.old, self.old_zygote = api["revision"], api["zygote"]["pid"]
        self.old_pids = [r["pid"] for r in api["replicas"]]

    def run(self, victim, moment):
        self.settle()
        new = self.at + 1
        self.target.allowed = {self.at, new}
        path = projects.write(self.d.parent / "project", rollout.version(new, environment=moment in BUILD))
        nth = self.rng.randrange(1, 3) if str(moment).startswith("replica_") else 1
        at = Moment(self.d, self.old, self.old_pids, moment, nth, lambda: self.strike(victim))
        at.start()
        self.said = None
        deploying = threading.Thread(target=self._deploy, args=(path,))
        deploying.start()
        deploying.join()
        if at.is_alive() and self.said.code == 0:
            wait_for("the moment, or the end of it all", lambda: not at.is_alive() or rollout.whole(self.d, 5), 30)
        at.end()
        self.kills += at.came
        self.check(victim, moment, new)

    def strike(self, victim):
        pause = self.rng.choice([0, 0, self.rng.random() * 0.02])
        threading.Event().wait(pause)
        getattr(self, victim)()

    def _deploy(self, path):
        self.said = self.d.cli("deploy", path, timeout=120)

    def check(self, victim, moment, new):
        words = f"{victim} killed at {moment}, seed {SEED}: {self.said}"
        api = rollout.whole(self.d)
        told = rollout.answers(self.d)
        assert len(told) == 1, f"{told}; {words}"
        version, revision = told.pop()
        assert version in (self.at, new) and revision == api["revision"], words
        came = version == new
        rows = rollout.history(self.d)
        assert [r["revision"] for r in rows if r["state"] == "live"] == [revision], f"{rows}; {words}"
        assert all(r["state"] in ("live", "replaced", "failed", "never live") for r in rows), f"{rows}; {words}"
        if self.said.code == 0:
            assert came, f"it said that it is live; {words}"
        elif not came and "updating roll" in self.said.out:
            assert rows[0]["state"] == "failed" and rows[0]["why"], f"what was acknowledged is lost: {rows}; {words}"
        rollout.store_is_whole(self.d)
        self.outcomes["new" if came else "old"] += 1
        if not came:
            self.again(words)
        self.at = new

    def again(self, words):
        """The same deploy, by the same command."""
        self.d.cli("deploy", self.d.parent / "project", check=0, timeout=120)
        rollout.whole(self.d)
        assert {v for v, _ in rollout.answers(self.d)} == {self.at + 1}, words


def run(daemon, plan, refused=True):
    """plan: of (victim, moment)."""
    rng, target = random.Random(SEED), Versions()
    daemon.admin.deploy(rollout.version(0))
    target.allowed = {0}
    with Load(daemon.port, [target], clients=2, seed=SEED, again=True, deadline=60, pause=0.02) as load:
        rounds = Rounds(daemon, rng, load, target)
        for victim, moment in plan(rng):
            rounds.run(victim, moment)
    print(f"{rounds.kills} kills, {rounds.outcomes}, {load.right} right, {len(load.refused)} refused, {load.retried} again")
    assert load.wrong == [], f"seed {SEED}"
    assert refused or load.refused == [], f"seed {SEED}"
    # Where nobody dies all is as ever.
    path = projects.write(daemon.parent / "project", rollout.version(rounds.at + 1))
    daemon.cli("deploy", path, check=0)
    rollout.whole(daemon)
    assert {v for v, _ in rollout.answers(daemon)} == {rounds.at + 1}
    assert procs.zombies_of(daemon.keeper_pid) == []
    return rounds


def at_each(victim, *moments):
    """And twice at a moment of no name, while it lasts."""
    return lambda rng: [(victim, m) for m in (*moments, rng.uniform(0, 0.3), rng.uniform(0.2, 0.8))]


def test_the_daemon(own_daemon):
    rounds = run(own_daemon, at_each("daemon", *DISK, *EVENTS, "env_output"))
    assert rounds.kills >= 10 and rounds.outcomes["new"]


def free_port(rng):
    """None that the kernel gives to clients: who asks where nobody listens could get it, and be connected to itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        end = int(f.read().split()[0])
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port := rng.randrange(end // 2, end))):
            return f"127.0.0.1:{port}"


@pytest.fixture
def fixed_daemon():
    """Whose ports are the same after its end."""
    rng = random.Random()
    with Daemon().start(free_port(rng), free_port(rng)) as d:
        yield d


def test_the_keeper_and_all(fixed_daemon):
    rounds = run(fixed_daemon, at_each("keeper", "project", "commit", "deploy", "replica_start", "replica_ready", "live"))
    assert rounds.kills >= 6 and rounds.outcomes["new"]


def test_the_launcher_and_the_build(own_daemon):
    """Neither costs an answer: nothing of it serves yet."""
    rounds = run(own_daemon, at_each("launcher", "deploy", "env_output", "replica_start", "replica_loading"))
    assert rounds.kills >= 4


def test_the_zygote(own_daemon):
    rounds = run(own_daemon, at_each("zygote", "commit", "replica_start", "replica_ready", "live"))
    assert rounds.kills >= 4


def test_replicas(own_daemon):
    rounds = run(own_daemon, at_each("replicas", "deploy", "replica_start", "replica_loading", "replica_ready", "live"))
    assert rounds.kills >= 5


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_any_of_them_at_any_time(fixed_daemon):
    def plan(rng):
        victims = ["daemon", "keeper", "launcher", "zygote", "replicas"]
        for _ in range(200):
            moment = rng.choice([*DISK, *EVENTS, *EVENTS, rng.uniform(0, 1), rng.choice(BUILD)])
            yield rng.choice(victims), moment
    rounds = run(fixed_daemon, plan)
    assert rounds.kills >= 150 and rounds.outcomes["new"] and rounds.outcomes["old"]

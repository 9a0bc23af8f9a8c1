"""Roll-outs and upgrades under a steady load at 70% of what the machine sustains: no call is refused, fails or is answered by a revision that
may not, and no stream is cut.

    SOMA_SOAK=1 python -m pytest -m soak test_changes_load.py      # 100 roll-outs, 20 upgrades; SOMA_TEST_SEED
"""

import os
import random

import pytest

from soma import projects
from soma.steady import Steady, project
from soma.upgrades import daemons
from soma.waiting import wait_for

SEED = int(os.environ.get("SOMA_TEST_SEED", "20261128"))
FEW, MANY = 40, 200  # streams
# For how many seconds it is found out what the machine sustains, and calls a second at most.
SHORT, LONG = (1.5, 1000), (8, 5000)


class Changes:
    """What is done to a daemon under the load, and how that went."""

    def __init__(self, daemon, folder, streams):
        self.daemon, self.folder, self.streams, self.rng = daemon, folder, streams, random.Random(SEED)
        self.load = Steady(daemon.port, streams, SEED)
        self.daemon.admin.deploy(project(1, streams), timeout=120)

    def roll_out(self):
        self.folder(project(self.load.begun(), self.streams))
        self.daemon.cli("deploy", "project", check=0, timeout=300, cwd=self.folder.at)
        self.load.live()

    def upgrade(self):
        old = self.daemon.daemon_pid
        self.daemon.cli("upgrade", check=0, timeout=120).says("upgraded from")
        assert self.daemon.daemon_pid != old

    def run(self, capsys, pace, n, change, name):
        with self.load:
            can = self.load.settle(*pace)
            self.load.more(self.load.sent)
            calm = self.load.report()
            self.load.say("mark")
            for _ in range(n):
                change()
                self.load.more(self.rng.randrange(1, max(2, self.load.sent // 4)))
            busy = self.load.report()
        told = self.load.told
        with capsys.disabled():
            print(f"\n{n} {name} at {self.load.sent} calls/s of {can:.0f}: {told['right']} calls right, {told['streams']} streams whole "
                  f"({told['events']} lines), {told['refused']} refused, {told['failed']} failed, {told['cut']} cut; {told['connections']} "
                  f"connections, {told['revisions']} revisions; p99 {calm['p99_us'] / 1000:.1f} ms before, {busy['p99_us'] / 1000:.1f} ms "
                  f"meanwhile, the longest {busy['longest_us'] / 1000:.0f} ms (seed {SEED})", flush=True)
        assert told["words"] == [], f"seed {SEED}"
        assert (told["refused"], told["failed"], told["cut"]) == (0, 0, 0)
        assert told["asked"] == told["right"] + told["streams"] and told["streams"] >= self.streams
        return told


@pytest.fixture
def changes(own_daemon, tmp_path):
    def make(streams):
        def folder(files):
            projects.write(tmp_path / "project", files)
        folder.at = tmp_path
        return Changes(own_daemon, folder, streams)
    return make


def one_is_left(daemon):
    wait_for("those that have yielded have ended", lambda: daemons(daemon) == [daemon.daemon_pid], 30)


def roll_outs(changes, capsys, pace, n, streams):
    under = changes(streams)
    told = under.run(capsys, pace, n, under.roll_out, "roll-outs")
    assert told["revisions"] == n + 1
    for name in ("call", "stream"):
        wait_for("only the last revision is left", lambda name=name: len(under.daemon.admin.pids(name, None)) == 2, 90)
        assert under.daemon.admin.api(name)["revision"] == n + 1
        assert under.daemon.admin.api(name)["restarts"] == 0


def in_turns(changes, capsys, pace, n, streams):
    """The revisions that leave have streams of one daemon after the other."""
    under = changes(streams)

    def both():
        under.roll_out()
        under.upgrade()
    told = under.run(capsys, pace, n, both, "roll-outs and upgrades")
    assert told["revisions"] == n + 1
    one_is_left(under.daemon)


def upgrades(changes, capsys, pace, n, streams):
    under = changes(streams)
    pids = {name: under.daemon.admin.pids(name) for name in ("call", "stream")}
    under.run(capsys, pace, n, under.upgrade, "upgrades")
    for name, were in pids.items():
        wait_for("the replicas are known", lambda name=name: len(under.daemon.admin.pids(name)) == 2, 30)
        assert under.daemon.admin.pids(name) == were
    one_is_left(under.daemon)


def test_roll_outs(changes, capsys):
    roll_outs(changes, capsys, SHORT, 2, FEW)


def test_upgrades(changes, capsys):
    upgrades(changes, capsys, SHORT, 2, FEW)


def test_roll_outs_and_upgrades_in_turns(changes, capsys):
    in_turns(changes, capsys, SHORT, 2, FEW)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_100_roll_outs(changes, capsys):
    roll_outs(changes, capsys, LONG, 100, MANY)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_20_upgrades(changes, capsys):
    upgrades(changes, capsys, LONG, 20, MANY)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_20_of_both_in_turns(changes, capsys):
    in_turns(changes, capsys, LONG, 20, MANY)

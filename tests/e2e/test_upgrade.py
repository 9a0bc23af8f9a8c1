"""`soma upgrade`: another daemon takes over, and no client notices.

Each connection of the load is kept and used again and again, and none may break:
a broken one counts as wrong.
"""

import json
import os
import random
import shutil
import signal
import socket
import threading
import time

import pytest

from soma import procs, projects
from soma.daemon import BIN
from soma.load import Load, Target
from soma.waiting import seconds, wait_for

SEED = int(os.environ.get("SOMA_TEST_SEED", "20260302"))
REPLICAS = 2


def deploy(daemon):
    keys = {"autoscaling": {"min_replicas": REPLICAS}}
    daemon.admin.deploy(projects.probe_project(projects.probe_api("cmd", **keys)))
    daemon.admin.deploy(projects.python_project(projects.predictor("return payload"), projects.python_api("py", **keys)))
    return [Target("cmd", False, False), Target("py", True, False)]


def pids_of(daemon, targets):
    def ready():
        found = {t.name: sorted(daemon.admin.pids(t.name)) for t in targets}
        return found if all(len(p) == REPLICAS for p in found.values()) else None
    return wait_for("all replicas are ready", ready, 30)


def upgrade(daemon, *args, check=0):
    """Returns what the command said; the daemon is another one behind it."""
    old = daemon.daemon_pid
    said = daemon.cli("upgrade", *args, check=check)
    assert daemon.daemon_pid != old
    wait_for("it is ready", daemon.admin.is_ready)
    return said


def daemons(daemon):
    """Pids of all that the keeper has, those that have yielded among them."""
    mark = f"--data {daemon.data} "
    return [p for p in procs.children(daemon.keeper_pid) if mark in procs.command_line(p)]


def run(daemon, upgrades):
    rng = random.Random(SEED)
    targets = deploy(daemon)
    pids = pids_of(daemon, targets)
    keeper_fds = procs.fd_count(daemon.keeper_pid)
    with Load(daemon.port, targets, seed=SEED) as load:
        for _ in range(upgrades):
            wait_for("answers", lambda n=load.answered + 20 + rng.randrange(40): load.answered > n)
            upgrade(daemon).says("upgraded from")
        wait_for("answers after the last", lambda n=load.answered: load.answered > n + 50)
        assert pids_of(daemon, targets) == pids, "replicas did not keep their pids"
    print(f"{upgrades} upgrades, {load.right} right")
    assert load.wrong == [] and load.refused == [], f"seed {SEED}"
    wait_for("those that have yielded have ended", lambda: daemons(daemon) == [daemon.daemon_pid], 30)
    assert procs.fd_count(daemon.keeper_pid) <= keeper_fds + 4
    assert procs.zombies_of(daemon.keeper_pid) == []


def test_3_upgrades_under_load(own_daemon):
    run(own_daemon, 3)

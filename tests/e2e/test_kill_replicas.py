"""kill -9 of replicas under load: nothing is lost that may be repeated.

What may run twice goes to another replica and is answered right. Anything else
is answered right or fails once, typed, within its deadline. Every time the
capacity comes back, and at the end nothing has piled up anywhere.
"""

import os
import random
import signal

import pytest

from soma import procs, projects
from soma.load import Load, Target
from soma.waiting import SLOW, seconds, wait_for

REPLICAS = 3
REQUEST_TIMEOUT = 10
SEED = int(os.environ.get("SOMA_TEST_SEED", "20260102"))


def deploy(daemon):
    """An api that says `retry: safe` and one that doesn't, of each type."""
    keys = {"autoscaling": {"min_replicas": REPLICAS}, "request_timeout": f"{int(REQUEST_TIMEOUT * SLOW)}s"}
    daemon.admin.deploy(projects.probe_project(
        projects.probe_api("cmd-safe", retry="safe", **keys), projects.probe_api("cmd-plain", **keys)))
    daemon.admin.deploy(projects.python_project(
        projects.predictor("return payload"),
        projects.python_api("py-safe", retry="safe", **keys), projects.python_api("py-plain", **keys)))
    return [Target("cmd-safe", False, True), Target("cmd-plain", False, False),
            Target("py-safe", True, True), Target("py-plain", True, False)]


def all_ready(daemon):
    apis = daemon.admin.apis()
    return apis if all(a["ready"] == REPLICAS for a in apis) else None


def kill_some(daemon, rng, most):
    """kill -9 of up to `most` replicas, each of another api; how many."""
    apis = rng.sample(daemon.admin.apis(), most)
    for api in apis:
        pid = rng.choice([r["pid"] for r in api["replicas"] if r["state"] == "ready"])
        os.kill(pid, signal.SIGKILL)
    return len(apis)


def leaf_groups(instance):
    return {name for top in procs.cgroups_of(instance)
            for name in os.listdir(top) if os.path.isdir(os.path.join(top, name)) and name != ".main"}


def run(daemon, kills):
    rng = random.Random(SEED)
    targets = deploy(daemon)
    with Load(daemon.port, targets, seed=SEED) as load:
        wait_for("the load is on", lambda: load.answered > 200)
    daemon_pid = daemon.daemon_pid
    before = {pid: procs.fd_count(pid) for pid in (daemon_pid, daemon.keeper_pid)}

    killed = 0
    with Load(daemon.port, targets, seed=SEED + 1) as load:
        while killed < kills:
            killed += kill_some(daemon, rng, min(rng.choice([1, 1, 2]), kills - killed))
            # Not 'ready' of before the death was noticed:
            wait_for("the deaths are counted",
                     lambda n=killed: sum(a["restarts"] for a in daemon.admin.apis()) >= n)
            wait_for("the capacity is back", lambda: all_ready(daemon), 60)
        wait_for("some more answers", lambda n=load.answered: load.answered > n + 100)

    assert load.wrong == [], f"{len(load.wrong)} wrong of {load.answered}; seed {SEED}"
    for name, error, took in load.refused:
        assert name in ("cmd-plain", "py-plain"), f"{name} says retry: safe, but gave up: {error}"
        assert error["code"] == "replica_failed" and error["cause"] == "signal 9 (SIGKILL)", error
        assert error["api"] == name and error["request_id"], error
        assert took < seconds(REQUEST_TIMEOUT), f"{took} s for {error}"
    print(f"{killed} kills, {load.right} right, {len(load.refused)} refused")

    assert daemon.daemon_pid == daemon_pid, "the daemon was restarted"
    assert sum(a["restarts"] for a in daemon.admin.apis()) == killed
    replicas = [pid for a in daemon.admin.apis() for pid in daemon.admin.pids(a["name"])]
    assert len(replicas) == REPLICAS * len(targets)
    wait_for("only the replicas are left", lambda: set(procs.marked(daemon.instance)) == set(replicas))
    assert procs.zombies_of(daemon.keeper_pid) == [] and procs.zombies_of(daemon_pid) == []
    sockets = [name for name in os.listdir(daemon.data / "run/s") if not name.startswith(".")]  # those are the daemons' own
    assert len(sockets) == REPLICAS * 2, sockets  # of the python apis
    wait_for("control groups are those of the living",
             lambda: len(leaf_groups(daemon.instance)) in (0, len(replicas)))
    for pid, count in before.items():
        wait_for(f"descriptors of {procs.command_line(pid)} are back at {count}",
                 lambda p=pid, n=count: procs.fd_count(p) <= n + 12, 20)


def test_60_kills(own_daemon):
    run(own_daemon, 60)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_1000_kills(own_daemon):
    run(own_daemon, 1000)

"""`soma upgrade`, and somebody hangs or dies: whoever it is and whenever, somebody serves."""

import concurrent.futures
import os
import random
import signal
import time

import pytest

from soma import procs, projects
from soma.daemon import Daemon
from soma.load import Load, Target
from soma.upgrades import ask, daemons, peer, script, text_of, there, upgrade
from soma.waiting import SLOW, wait_for

SEED = int(os.environ.get("SOMA_TEST_SEED", "20261128"))
LONGEST_S = 0.15 * SLOW  # about as long as an upgrade takes


# --- who hangs ---


def hangs(daemon, program, *words):
    """It is refused with these words, and the daemon that was there serves on, also meanwhile."""
    daemon.admin.deploy(projects.probe_project())
    before = daemon.daemon_pid
    said = daemon.cli("upgrade", "--binary", program, check=1, timeout=120)
    said.says(*words)
    assert daemons(daemon) == [before]
    assert daemon.admin.get("/probe/echo").status_code == 200
    upgrade(daemon)


def test_a_program_that_does_not_say_what_it_is(own_daemon, tmp_path):
    hangs(own_daemon, script(tmp_path / "soma-new", "#!/bin/sh\nsleep 1000\n"), "did not say within 15 s what it is", "it was ended")


@pytest.mark.soak
def test_a_program_that_is_never_ready(own_daemon, tmp_path):
    hangs(own_daemon, peer(tmp_path / "soma-new", "time.sleep(1000)"), "the new daemon took too long and was ended before it could take over")


@pytest.mark.soak
def test_a_program_that_hangs_when_all_is_its(own_daemon, tmp_path):
    """Whoever comes meanwhile waits, and is answered by one of the program from before."""
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    pids = daemon.admin.pids("probe")
    program = peer(tmp_path / "soma-new", "ready(); keeper.recv(100); time.sleep(1000)")
    old = daemon.daemon_pid
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(daemon.cli, "upgrade", "--binary", program, check=1, timeout=120)
        wait_for("it has taken over", lambda: daemon.daemon_pid != old, 20)
        text_of(ask(daemon, "/probe/echo"))
        done.result().says("took too long to take over and was ended", "the program that served before")
    wait_for("the replica is known", lambda: daemon.admin.pids("probe") == pids, 30)
    upgrade(daemon)


@pytest.mark.soak
def test_the_old_one_hangs(own_daemon):
    """Nobody takes its place by force: it may go on, and then lets another take over."""
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    old = daemon.daemon_pid
    os.kill(old, signal.SIGSTOP)
    os.kill(daemon.keeper_pid, signal.SIGUSR2)
    wait_for("it is given up", lambda: "did not let another take over within 40 s" in daemon.log(), 90)
    assert daemons(daemon) == [old]
    os.kill(old, signal.SIGCONT)
    wait_for("another serves", lambda: daemon.daemon_pid != old and there(daemon), 30)
    assert daemon.admin.get("/probe/echo").status_code == 200
    wait_for("it has ended", lambda: not procs.alive(old), 20)


# --- who is killed ---


def victims(daemon, who):
    current = daemon.daemon_pid
    if who == "old":
        return [current]
    return [p for p in daemons(daemon) if p != current and ("--check" in procs.command_line(p) or "--take-over" in procs.command_line(p))]


def kills(daemon, rounds):
    rng, targets, killed = random.Random(SEED), [Target("cmd", False, False), Target("py", True, False)], []
    keys = {"autoscaling": {"min_replicas": 2}}
    daemon.admin.deploy(projects.probe_project(projects.probe_api("cmd", **keys)))
    daemon.admin.deploy(projects.python_project(projects.predictor("return payload"), projects.python_api("py", **keys)))
    pids = {t.name: sorted(daemon.admin.pids(t.name)) for t in targets}
    with Load(daemon.port, targets, seed=SEED, again=True) as load:
        for _ in range(rounds):
            who, wait_s = rng.choice(["new", "old", "either"]), rng.uniform(0, LONGEST_S)
            os.kill(daemon.keeper_pid, signal.SIGUSR2)
            time.sleep(wait_s)
            found = daemons(daemon) if who == "either" else victims(daemon, who)
            for pid in found[:1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(who)
                except ProcessLookupError:
                    pass  # it has just ended
            wait_for(f"somebody serves (seed {SEED}, {killed})", lambda: there(daemon), 40)
            wait_for("answers", lambda n=load.answered: load.answered > n + 20, 40)
            wait_for("one is left", lambda: daemons(daemon) == [daemon.daemon_pid], 40)
    print(f"{rounds} rounds, killed {len(killed)}: {killed}; {load.right} right, {load.retried} tried again (seed {SEED})")
    assert load.wrong == [] and load.refused == [], f"seed {SEED}"
    assert len(killed) > rounds / 3
    wait_for("all replicas are there", lambda: {t.name: sorted(daemon.admin.pids(t.name)) for t in targets} == pids, 30)
    upgrade(daemon)


def test_one_of_both_is_killed_at_any_time(own_daemon):
    kills(own_daemon, 8)


@pytest.mark.soak
def test_one_of_both_is_killed_a_hundred_times(own_daemon):
    kills(own_daemon, 100)


def test_the_keeper_is_killed_at_any_time():
    """Then all end, whoever was there; Soma is started again, and serves."""
    rng = random.Random(SEED)
    with Daemon() as daemon:
        daemon.admin.deploy(projects.probe_project())
        for _ in range(4):
            os.kill(daemon.keeper_pid, signal.SIGUSR2)
            time.sleep(rng.uniform(0, LONGEST_S))
            both = daemons(daemon)
            daemon.process.kill()
            daemon.process.wait()
            wait_for("all have ended", lambda: not any(map(procs.alive, both)) and not procs.marked(daemon.instance), 30)
            daemon.start()
            daemon.admin.wait_live("probe")
            assert daemon.admin.get("/probe/echo").status_code == 200

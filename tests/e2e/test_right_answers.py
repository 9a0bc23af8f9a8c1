"""Each answer belongs to its request, whatever is killed, spoiled and given up around it.

The requests come from a seed: SOMA_TEST_SEED=N runs the same ones again. What
is wrong is told with its number in that seed.
"""

import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from soma import procs, questions
from soma.waiting import seconds, wait_for

HERE = pathlib.Path(__file__).parent
REPLICAS = 2
PROGRAMS = 2  # that ask
CLIENTS = 32  # each of them
POOLED = PROGRAMS * CLIENTS * REPLICAS * len(questions.APIS)  # connections that the daemon may keep for later


def ask(port, seed, first, last, kill_every):
    """Programs that ask the questions first..last."""
    todo = {"port": port, "seed": seed, "clients": CLIENTS, "kill_every": kill_every}
    share = (last - first) // PROGRAMS
    for n in range(PROGRAMS):
        program = subprocess.Popen([sys.executable, "-m", "soma.crowd"], cwd=HERE, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        begin = first + n * share
        program.stdin.write(json.dumps({**todo, "first": begin, "last": last if n == PROGRAMS - 1 else begin + share}))
        program.stdin.close()
        yield program


def kill_one(daemon, rng):
    """kill -9 of a replica whose api has all of them; whether there was one."""
    api = rng.choice(daemon.admin.apis())
    pids = [r["pid"] for r in api["replicas"] if r["state"] == "ready"]
    if len(pids) < REPLICAS:
        return False
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
    except ProcessLookupError:  # a question has killed it since
        return False
    return True


def run(daemon, count, kill_every, pause):
    """count: questions; one of kill_every kills its process; pause: seconds between kills from outside."""
    seed = int(os.environ.get("SOMA_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    rng = random.Random(seed)
    questions.deploy(daemon.admin, REPLICAS)
    daemon_pid, begun, killed = daemon.daemon_pid, time.monotonic(), 0
    before = procs.fd_count(daemon_pid)
    programs = list(ask(daemon.port, seed, 0, count, kill_every))
    try:
        while any(program.poll() is None for program in programs):
            time.sleep(pause * rng.random() * 2)
            killed += kill_one(daemon, rng)
        told = [json.loads(program.stdout.read()) for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.wait()
    took = time.monotonic() - begun
    ends, wrong = collections.Counter(), [w for t in told for w in t["wrong"]]
    for t in told:
        ends.update(t["ends"])
    slowest = max(t["slowest"] for t in told)
    print(f"{count} requests in {took:.0f} s, {killed} kills from outside, the slowest {slowest[0]:.1f} s ({slowest[1]})")
    for what, n in sorted(ends.items()):
        print(f"  {what:<24} {n}")
    assert not wrong, f"seed {seed}:\n" + "\n".join(map(str, wrong))
    assert sum(ends.values()) == count
    for api in questions.APIS:
        assert ends[f"{api} right"] > 0.5 * sum(n for what, n in ends.items() if what.startswith(api)), f"seed {seed}"
    check_nothing_left(daemon, daemon_pid, before)


def check_nothing_left(daemon, daemon_pid, fds):
    """Whoever left has left nothing behind."""
    assert daemon.daemon_pid == daemon_pid, "the daemon was restarted"
    wait_for("nothing is in flight", lambda: all(a["in_flight"] == a["queued"] == 0 for a in daemon.admin.apis()))
    wait_for("all replicas are back", lambda: all(a["ready"] == REPLICAS for a in daemon.admin.apis()), 60)
    wait_for("its descriptors are closed", lambda: procs.fd_count(daemon_pid) <= fds + POOLED, 20)


def test_12_thousand(own_daemon):
    run(own_daemon, 12000, 1500, seconds(0.4))


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_million(own_daemon):
    run(own_daemon, 1000000, 6000, seconds(1))

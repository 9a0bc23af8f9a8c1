"""Twelve models on memory for five, for an hour, and what must never happen: the seven invariants of docs/memory.md, wrong answers, ends for
want of memory.

    SOMA_SOAK=1 python -m pytest test_swap_soak.py      # SOMA_SOAK_S=600: for ten minutes

The last line but pytest's own is the verdict.
"""

import collections
import concurrent.futures
import os
import random
import time

import pytest

from soma import procs
from soma.daemon import Daemon
from soma.projects import python_project
from soma.swapping import MIB, SOURCE, Kills, Notes, Watch, api, nothing_was_killed
from soma.waiting import seconds, wait_for

MODELS, FIT, CLIENTS = 12, 5, 8
HOLDS_MIB, MEM_MIB = 80, 120
RUNS_S = float(os.environ.get("SOMA_SOAK_S", "3600"))
LONGEST_S = 60


def one(name, notes):
    return api(name, mib=HOLDS_MIB, mem=MEM_MIB, config={"notes": str(notes.folder)}, request_timeout="5m", autoscaling={"keep_idle": "1m", "max_wait": "500ms"})


class Asked:
    """What came of all that one client has asked."""

    def __init__(self):
        self.right, self.wrong, self.longest = collections.Counter(), [], (0, "")


def client(daemon, names, notes, seed, until):
    """The k-th model is asked a k-th as often as the first."""
    rng, told, number = random.Random(seed), Asked(), 0
    weights = [1 / (k + 1) for k in range(len(names))]
    while time.monotonic() < until:
        name = rng.choices(names, weights)[0]
        number += 1
        begun = time.monotonic()
        notes.sends(name, f"{seed}-{number}")
        answer = daemon.admin.post(f"/{name}", json=[f"{seed}-{number}", rng.choice([0, 0, 0.01, 0.1])], timeout=400)
        took = time.monotonic() - begun
        if answer.status_code == 200 and answer.json() == [name, f"{seed}-{number}", HOLDS_MIB * MIB]:
            told.right[name] += 1
        else:
            told.wrong.append((name, answer.status_code, answer.text[:300]))
        told.longest = max(told.longest, (took, name))
        time.sleep(rng.expovariate(20))
    return told


def run(daemon, names, notes):
    """What the clients were told, and what was seen meanwhile."""
    with Watch(daemon) as watch, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        until = time.monotonic() + RUNS_S
        return list(pool.map(lambda s: client(daemon, names, notes, s, until), range(CLIENTS))), watch


@pytest.mark.soak
@pytest.mark.timeout(RUNS_S + 900)
def test_twelve_models_on_memory_for_five(capsys):
    names = [f"m{k}" for k in range(MODELS)]
    limit = FIT * MEM_MIB + MEM_MIB // 2
    kills = Kills()
    with Daemon(args=["--memory", f"{limit}Mi"]) as daemon:
        notes = Notes(daemon)
        daemon.admin.deploy(python_project(SOURCE, *(one(n, notes) for n in names)), timeout=300)
        daemon_pid, since = daemon.daemon_pid, time.monotonic()
        told, watch = run(daemon, names, notes)
        killed = kills.count()
        right = sum((t.right for t in told), collections.Counter())
        wrong = [w for t in told for w in t.wrong]
        longest = max(t.longest for t in told)
        swaps = sum(daemon.admin.api(n)["memory"]["swaps"] for n in names)
        numbers = (f"{RUNS_S:.0f} s, {MODELS} models on memory for {FIT}: {sum(right.values())} right answers, {len(wrong)} wrong, {swaps} swaps, "
                   f"{killed} ended by the kernel as the machine was full, {watch.most} there at once at most, {watch.bytes // MIB} of {limit} MiB, "
                   f"in {watch.looks} looks, the longest took {longest[0]:.1f} s ({longest[1]})")
        with capsys.disabled():
            print(f"\n{numbers}", flush=True)
        assert wrong == []
        assert killed == 0
        assert set(right) == set(names), "one was never answered"
        assert longest[0] < seconds(LONGEST_S)
        assert watch.most <= FIT and watch.starting <= 1 and watch.bytes <= limit * MIB and watch.looks > RUNS_S
        assert swaps > RUNS_S / 60
        nothing_was_killed(daemon, names)
        assert daemon.daemon_pid == daemon_pid, "the daemon was restarted"
        wait_for("nothing is in flight", lambda: all(a["in_flight"] == 0 for a in daemon.admin.apis()))
        lives = notes.check(since)
        assert lives >= swaps
        assert procs.zombies_of(daemon.keeper_pid) == []
    with capsys.disabled():
        print(f"verdict: all seven hold, over {lives} loads", flush=True)

"""Twelve models on memory for five, for an hour: SOMA_SOAK_S says how many seconds."""

import collections
import concurrent.futures
import os
import random
import time

import pytest

from soma import procs
from soma.daemon import Daemon
from soma.projects import python_api, python_project
from soma.waiting import seconds, wait_for
from test_swap import MIB, SOURCE, Watch, nothing_was_killed

MODELS, FIT, CLIENTS = 12, 5, 8
HOLDS_MIB, MEM_MIB = 80, 120
RUNS_S = float(os.environ.get("SOMA_SOAK_S", "3600"))
LONGEST_S = 60


def api(name):
    return python_api(name, predictor={"config": {"name": name, "mib": HOLDS_MIB}, "zygote": "none", "freeze": "never"},
                      compute={"mem": f"{MEM_MIB}Mi"}, request_timeout="5m",
                      autoscaling={"min_replicas": 0, "max_replicas": 1, "max_wait": "500ms"})


class Asked:
    """What came of all that one client has asked."""

    def __init__(self):
        self.right, self.wrong, self.longest = collections.Counter(), [], (0, "")


def client(daemon, names, seed, until):
    """The k-th model is asked a k-th as often as the first."""
    rng, told, number = random.Random(seed), Asked(), 0
    weights = [1 / (k + 1) for k in range(len(names))]
    while time.monotonic() < until:
        name = rng.choices(names, weights)[0]
        number += 1
        begun = time.monotonic()
        answer = daemon.admin.post(f"/{name}", json=[f"{seed}-{number}", rng.choice([0, 0, 0.01, 0.1])], timeout=400)
        took = time.monotonic() - begun
        if answer.status_code == 200 and answer.json() == [name, f"{seed}-{number}", HOLDS_MIB * MIB]:
            told.right[name] += 1
        else:
            told.wrong.append((name, answer.status_code, answer.text[:300]))
        told.longest = max(told.longest, (took, name))
        time.sleep(rng.expovariate(20))
    return told


@pytest.mark.soak
@pytest.mark.timeout(RUNS_S + 900)
def test_twelve_models_on_memory_for_five():
    names = [f"m{k}" for k in range(MODELS)]
    with Daemon(args=["--memory", f"{FIT * MEM_MIB + MEM_MIB // 2}Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(api(n) for n in names)), timeout=300)
        daemon_pid = daemon.daemon_pid
        with Watch(daemon) as watch, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            until = time.monotonic() + RUNS_S
            told = list(pool.map(lambda s: client(daemon, names, s, until), range(CLIENTS)))
        right = sum((t.right for t in told), collections.Counter())
        wrong = [w for t in told for w in t.wrong]
        longest = max(t.longest for t in told)
        swaps = sum(daemon.admin.api(n)["memory"]["swaps"] for n in names)
        print(f"{sum(right.values())} right answers, {len(wrong)} wrong, {swaps} swaps, "
              f"{watch.most} there at once at most in {watch.looks} looks, the longest took {longest[0]:.1f} s ({longest[1]})")
        assert wrong == []
        assert set(right) == set(names), "one was never answered"
        assert longest[0] < seconds(LONGEST_S)
        assert watch.most <= FIT and watch.looks > RUNS_S
        assert swaps > RUNS_S / 60
        nothing_was_killed(daemon, names)
        assert daemon.daemon_pid == daemon_pid, "the daemon was restarted"
        wait_for("nothing is in flight", lambda: all(a["in_flight"] == 0 for a in daemon.admin.apis()))
        assert procs.zombies_of(daemon.keeper_pid) == []

"""Memory that cannot hold all: replicas give way to requests that wait."""

import concurrent.futures
import os
import random
import re
import signal
import threading
import time

import pytest

from soma import procs
from soma.client import error_of
from soma.daemon import Daemon
from soma.metrics import Metrics
from soma.projects import predictor, python_api, python_project
from soma.swapping import MIB, SOURCE, Watch, api, nothing_was_killed, there
from soma.waiting import SLOW, seconds, wait_for

def ask(daemon, name, number, takes=0.0, mib=300, **kwargs):
    """The seconds that it took; the answer is right."""
    begun = time.monotonic()
    answer = daemon.admin.post(f"/{name}", json=[number, takes], **kwargs)
    assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
    assert answer.json() == [name, number, mib * MIB]
    return time.monotonic() - begun


FOUR = ["a", "b", "c", "d"]


def test_four_on_memory_for_two():
    """Each is asked now and then: all answers are right, whoever was there."""
    with Daemon(args=["--memory", "700Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(api(n) for n in FOUR)), timeout=120)

        def client(seed):
            rng = random.Random(seed)
            return max(ask(daemon, rng.choice(FOUR), seed * 1000 + i) for i in range(12))

        with Watch(daemon) as watch, concurrent.futures.ThreadPoolExecutor(3) as pool:
            longest = max(pool.map(client, range(3)))
        print(f"the longest took {longest:.1f} s")
        assert longest < seconds(30)
        assert watch.looks > 10 and 1 <= watch.most <= 2
        nothing_was_killed(daemon, FOUR)
        swaps = sum(Metrics(daemon.admin, n)["soma_swaps_total"] for n in FOUR)
        assert swaps >= 4
        assert swaps == sum(daemon.admin.api(n)["memory"]["swaps"] for n in FOUR)
        for name in FOUR:
            told = daemon.admin.api(name)["memory"]
            assert (told["from"], told["own_bytes"] + told["shared_bytes"]) == ("compute.mem", 340 * MIB)
        out = next(n for n in FOUR if not daemon.admin.api(n)["replicas"])
        daemon.cli("explain", out, check=0).says("its next request claims some again")
        texts = [e["text"] for n in FOUR for e in daemon.admin.events(n) if e["type"] == "swap"]
        assert any(re.match(r"it has nothing to do, and leaves: requests of '[a-d]' wait for its ", t) for t in texts), texts


def test_nobody_starves_below_a_load_that_never_ends():
    """Three of them are asked all the time, on memory for one: each has its turn."""
    names, stop = ["a", "b", "c"], threading.Event()
    taken = {n: [] for n in names}
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(api(n) for n in names)), timeout=120)

        def client(name, seed):
            number = seed
            while not stop.is_set():
                taken[name].append(ask(daemon, name, number, 0.1))
                number += 10

        with Watch(daemon) as watch, concurrent.futures.ThreadPoolExecutor(15) as pool:
            clients = [pool.submit(client, n, s) for n in names for s in range(5)]
            time.sleep(seconds(20))
            stop.set()
            for c in clients:
                c.result()
        print({n: (len(t), round(max(t), 1)) for n, t in taken.items()})
        for name in names:
            assert len(taken[name]) > 10, f"{name} had {len(taken[name])} answers"
            assert max(taken[name]) < seconds(20)
        assert watch.most == 1
        nothing_was_killed(daemon, names)
        texts = [e["text"] for n in names for e in daemon.admin.events(n) if e["type"] == "swap"]
        assert any("takes no new requests: those of" in t for t in texts), texts


def test_a_request_under_way_is_never_cut():
    """One that takes long ends first, whoever waits; meanwhile it is said for what."""
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, api("long"), api("short")), timeout=120)
        ask(daemon, "long", 1)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            long = pool.submit(ask, daemon, "long", 2, seconds(6))
            wait_for("it is there", lambda: daemon.admin.api("long")["in_flight"] == 1)
            short = pool.submit(ask, daemon, "short", 3)
            wait_for("it is sent nothing new", lambda: daemon.admin.api("long")["memory"]["yielding"])
            told = wait_for("it waits", lambda: daemon.admin.api("short")["memory"]["waits"])
            assert "it is number 1 of 1 that wait for memory: 'long' is sent nothing new" in told
            daemon.cli("get", "long", check=0).says("it is sent nothing new: others wait for its memory")
            daemon.cli("get", "short", check=0).says("another replica needs", "number 1 of 1 that wait for memory")
            daemon.cli("explain", "short", check=0).says("Fewer are there than wanted", "'long' is sent nothing new")
            assert not short.done()
            assert long.result() >= seconds(6)
            short.result()
        nothing_was_killed(daemon, ["long", "short"])


def test_what_can_never_fit_is_refused_with_numbers():
    """At once, not after request_timeout; and it has its turn when others are gone."""
    with Daemon(args=["--memory", "700Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, api("large", mib=10, mem=300)))
        ask(daemon, "large", 1, mib=10)
        daemon.admin.deploy(python_project(SOURCE, api("keeper", mib=10, mem=500, least=1)))
        assert daemon.admin.api("large")["replicas"] == []
        begun = time.monotonic()
        error = error_of(daemon.admin.post("/large", json=[2, 0]), 503, "unavailable")
        assert time.monotonic() - begun < seconds(10)
        for part in ("a replica needs 300", "it can have 200", "'keeper' keeps 500", "min_replicas: 0", "the setting `memory`"):
            assert part in error["message"], error
        refused = daemon.admin.send(python_project(SOURCE, api("whale", mib=10, mem=800)))
        assert "whale: a replica needs 800" in error_of(refused, 422, "unprocessable")["message"]
        daemon.admin.delete("keeper")
        wait_for("it has its turn", lambda: daemon.admin.post("/large", json=[3, 0]).status_code == 200, 30)


def test_a_rollout_takes_the_memory_of_idle_ones():
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        for name in ("a", "b"):
            daemon.admin.deploy(python_project(SOURCE, api(name)), timeout=60)
        assert daemon.admin.api("b")["ready"] == 1 and daemon.admin.api("a")["replicas"] == []
        # A new revision of the same api makes no claim on others.
        daemon.admin.deploy(python_project(SOURCE, api("b", mib=200, mem=340)), timeout=60)
        ask(daemon, "b", 1, mib=200)
        ask(daemon, "a", 2)
        # Nor is it in the way of a new one that its older one has left.
        assert daemon.admin.api("b")["replicas"] == []
        daemon.admin.deploy(python_project(SOURCE, api("b")), timeout=60)
        ask(daemon, "b", 3)
        nothing_was_killed(daemon, ["a", "b"])


def test_the_setting_may_change(tmp_path):
    """With more memory both are there."""
    conf = tmp_path / "soma.conf"
    conf.write_text("memory: 400Mi\n")
    with Daemon(args=["--config", conf]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, api("a"), api("b")), timeout=60)
        ask(daemon, "a", 1)
        ask(daemon, "b", 2)
        assert there(daemon.admin.apis()) == ["b"]
        conf.write_text("memory: 800Mi\n")
        os.kill(daemon.keeper_pid, signal.SIGHUP)
        # Asked before, 'a' would still get the memory of 'b'.
        wait_for("it is read", lambda: "memory: 400Mi -> 800Mi" in daemon.log(), 30)
        ask(daemon, "a", 3)
        ask(daemon, "b", 4)
        assert sorted(there(daemon.admin.apis())) == ["a", "b"]


@pytest.mark.skipif(SLOW > 1, reason="memory is measured without sanitizers (SOMA_TEST_SLOW)")
def test_a_zygote_that_was_asked_for_leaves_for_a_replica():
    """It is a help for starts: it is not in the way of one, and comes back when there is room."""
    with Daemon(args=["--memory", "500Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, api("helped", mib=200, predictor={"zygote": "init"})), timeout=60)
        wait_for("it has a zygote", lambda: daemon.admin.api("helped")["zygote"]["state"] == "ready", 30)
        daemon.cli("scale", "helped", "0", check=0)
        wait_for("it is at zero", lambda: daemon.admin.api("helped")["replicas"] == [])
        daemon.admin.deploy(python_project(SOURCE, api("large")), timeout=60)
        ask(daemon, "large", 1)
        told = daemon.admin.api("helped")["zygote"]
        assert (told["state"], told["pid"], told["why"]) == ("none", 0, "replicas need the memory")
        assert any(e["text"].startswith("the zygote leaves: replicas need its memory") for e in daemon.admin.events("helped") if e["type"] == "zygote")
        ask(daemon, "helped", 2, mib=200)
        assert there(daemon.admin.apis()) == ["helped"]
        wait_for("it has one again", lambda: daemon.admin.api("helped")["zygote"]["state"] == "ready", 60)
        nothing_was_killed(daemon, ["helped", "large"])


# --- out of memory ------------------------------------------------------------


GREEDY = predictor("return len(b'x' * (payload << 20))")


def skip_without_limits(daemon):
    if not procs.cgroups_of(daemon.instance):
        pytest.skip("no control groups: mem_limit is not enforced")


def test_out_of_memory_is_counted_and_learned_from(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(python_project(GREEDY, python_api("greedy", predictor={"zygote": "none"}, compute={"mem_limit": "150Mi"})))
    skip_without_limits(daemon)
    wait_for("it is measured", lambda: daemon.admin.api("greedy")["memory"]["own_bytes"], 30)
    before = daemon.admin.api("greedy")["memory"]
    assert before["from"] == "as measured" and before["own_bytes"] < 100 * MIB
    assert daemon.admin.post("/greedy", json=1).json() == MIB
    error = error_of(daemon.admin.post("/greedy", json=400), 502, "replica_failed")
    assert error["cause"] == "out of memory" and "the request was not repeated" in error["message"]
    told = daemon.admin.api("greedy")["memory"]
    assert told["out_of_memory"] == 1 and told["from"] == "since one ran out of memory"
    assert before["own_bytes"] < told["own_bytes"] <= 150 * MIB
    assert Metrics(daemon.admin, "greedy")["soma_replica_out_of_memory_total"] == 1
    # What it needs is known after a restart of the daemon, too.
    assert wait_for("another", lambda: daemon.admin.post("/greedy", json=2).json() == 2 * MIB, 30)
    daemon.cli("get", "greedy", check=0).says("out of memory: 1 time", "since one ran out of memory")


def test_only_what_may_run_twice_does(own_daemon):
    """Out of memory, a request that may be repeated is, once, alone; then it is refused."""
    daemon = own_daemon
    daemon.admin.deploy(python_project(GREEDY, python_api("greedy", retry="safe", predictor={"zygote": "none"}, compute={"mem_limit": "150Mi"})))
    skip_without_limits(daemon)
    error = error_of(daemon.admin.post("/greedy", json=400, timeout=60), 502, "replica_failed")
    assert error["cause"] == "out of memory" and "2 replicas of 'greedy' died" in error["message"]
    assert daemon.admin.api("greedy")["memory"]["out_of_memory"] == 2
    assert wait_for("another", lambda: daemon.admin.post("/greedy", json=2).json() == 2 * MIB, 30)


@pytest.mark.skipif(SLOW > 1, reason="memory is measured without sanitizers (SOMA_TEST_SLOW)")
def test_what_is_learned_is_used():
    """None says what it takes; the first starts tell."""
    with Daemon(args=["--memory", "500Mi"]) as daemon:
        for name in ("a", "b"):
            plain = api(name, mib=200)
            del plain["compute"]
            daemon.admin.deploy(python_project(SOURCE, plain), timeout=60)
            wait_for("it is measured", lambda name=name: daemon.admin.api(name)["memory"]["looks"], 30)
            told = daemon.admin.api(name)["memory"]
            assert told["from"] == "as measured" and 200 * MIB < told["own_bytes"] + told["shared_bytes"] < 300 * MIB
        # Room for two of these, not for a third that says it needs as much.
        daemon.admin.deploy(python_project(SOURCE, api("c", mib=200)), timeout=60)
        assert len(there(daemon.admin.apis())) <= 2
        for i, name in enumerate(["a", "b", "c", "a"]):
            ask(daemon, name, i, mib=200)
            assert len(there(daemon.admin.apis())) <= 2

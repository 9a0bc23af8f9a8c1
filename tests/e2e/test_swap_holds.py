"""What never happens while apis share memory that cannot hold all (docs/memory.md), for real; in simulated time: tests/unit/swap_simulation.h."""

import concurrent.futures
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from soma import procs
from soma.daemon import Daemon
from soma.projects import predictor, python_api, python_project
from soma.swapping import MIB, SOURCE, Notes, Watch, api, nothing_was_killed, there
from soma.waiting import SLOW, seconds, wait_for

FOUR = ["a", "b", "c", "d"]
GROUPS = pathlib.Path("/sys/fs/cgroup/memory")


def noting(name, notes, **keys):
    return api(name, config={"notes": str(notes.folder), "loads_s": keys.pop("loads_s", 0)}, **keys)


def ask(daemon, name, number, takes=0.0, notes=None, **kwargs):
    if notes:
        notes.sends(name, number)
    answer = daemon.admin.post(f"/{name}", json=[number, takes], **kwargs)
    assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
    assert answer.json()[:2] == [name, number]


def test_slow_loads_below_a_crowd():
    """1 to 6: each model takes a second to load, on memory for two, and there is always somebody who wants another one."""
    with Daemon(args=["--memory", "700Mi"]) as daemon:
        notes = Notes(daemon)
        daemon.admin.deploy(python_project(SOURCE, *(noting(n, notes, loads_s=0.7) for n in FOUR)), timeout=120)
        since, until = time.monotonic(), time.monotonic() + seconds(20)

        def client(seed):
            rng, n = random.Random(seed), 0
            while time.monotonic() < until:
                n += 1
                ask(daemon, rng.choices(FOUR, [4, 3, 2, 1])[0], seed * 10000 + n, rng.choice([0, 0.05, 0.3]), notes)

        with Watch(daemon) as watch, concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(client, range(6)))
        lives = notes.check(since)
        swaps = sum(daemon.admin.api(n)["memory"]["swaps"] for n in FOUR)
        print(f"{lives} loads, {swaps} swaps, {watch.bytes // MIB} MiB at most")
        assert swaps > 4 and lives >= swaps
        assert watch.most <= 2 and watch.starting == 1
        assert 300 * MIB < watch.bytes <= 700 * MIB
        nothing_was_killed(daemon, FOUR)


def test_a_load_is_worth_more_than_one_request():
    """Two clients ask one after the other, each its own model, on memory for one: it is not loaded for each request."""
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        notes = Notes(daemon)
        daemon.admin.deploy(python_project(SOURCE, *(noting(n, notes, loads_s=1) for n in "ab")), timeout=120)
        since, until, asked = time.monotonic(), time.monotonic() + seconds(15), {"a": 0, "b": 0}

        def client(name):
            while time.monotonic() < until:
                asked[name] += 1
                ask(daemon, name, asked[name], notes=notes)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(client, "ab"))
        lives = [life for life in notes.lives() if life.load > since]
        print(f"{asked} requests, {len(lives)} loads")
        assert notes.check(since) and len(lives) >= 3
        assert min(asked.values()) > 20 * len(lives)


# --- 7: out of memory ---------------------------------------------------------


# The first run of all takes more than it may have.
ONCE = predictor("""
import os
if not os.path.exists(self.flag):
    open(self.flag, "w").close()
    return len(b"x" * (400 << 20))
return "small"
""".strip(), init="self.flag = config['flag']")


def once(daemon, **keys):
    flag = daemon.parent / "flag"
    flag.mkdir()
    flag.chmod(0o777)
    return python_api("once", predictor={"config": {"flag": str(flag / "first")}, "zygote": "none", "freeze": "never"}, compute={"mem_limit": "250Mi"},
                      autoscaling={"min_replicas": 0, "max_replicas": 1, "keep_idle": "10m", "max_wait": "100ms"}, **keys)


@pytest.mark.skipif(SLOW > 1, reason="memory is measured without sanitizers (SOMA_TEST_SLOW)")
@pytest.mark.parametrize("retry", ["safe", "never"])
def test_what_ran_out_runs_again_when_others_have_made_room(retry):
    """It is taken to need more than is left beside the idle one, which goes before it is started again."""
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        if not procs.cgroups_of(daemon.instance):
            pytest.skip("no control groups: mem_limit is not enforced")
        daemon.admin.deploy(python_project(SOURCE, api("idle")), timeout=60)
        daemon.admin.deploy(python_project(ONCE, once(daemon, **({"retry": "safe"} if retry == "safe" else {}))), timeout=60)
        wait_for("it is measured", lambda: daemon.admin.api("once")["memory"]["looks"], 30)
        assert sorted(there(daemon.admin.apis())) == ["idle", "once"]
        answer = daemon.admin.post("/once", json={}, timeout=60)
        told = daemon.admin.api("once")["memory"]
        assert (told["out_of_memory"], told["from"]) == (1, "since one ran out of memory")
        assert told["own_bytes"] + told["shared_bytes"] >= 240 * MIB
        if retry == "safe":
            assert (answer.status_code, answer.text) == (200, "small")
        else:
            assert answer.status_code == 502 and answer.json()["error"]["cause"] == "out of memory"
            assert wait_for("its next one", lambda: daemon.admin.post("/once", json={}, timeout=60).text == "small", 30)
        assert daemon.admin.api("idle")["memory"]["swaps"] == 1
        assert there(daemon.admin.apis()) == ["once"]
        assert daemon.admin.api("once")["memory"]["out_of_memory"] == 1


# --- a neighbour ----------------------------------------------------------------


# Takes or gives back so many MiB, a line each.
NEIGHBOUR = """
import sys
held = []
for line in sys.stdin:
    n = int(line)
    held = held + [bytearray(b"x") * (n << 20)] if n else []
    print("done", flush=True)
"""


class Group:
    """A control group with a limit of its own, for a daemon and for its neighbour."""

    def __init__(self, limit):
        here = next((line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if ":memory:" in line), None)
        if here is None or not GROUPS.is_dir():
            pytest.skip("no memory controller of version 1")
        parent = GROUPS / here.lstrip("/")
        self.path = (parent if parent.is_dir() else GROUPS) / f"soma-neighbour-{os.getpid()}"
        try:
            self.path.mkdir()
            (self.path / "memory.limit_in_bytes").write_text(str(limit))
        except OSError as e:
            pytest.skip(f"no control group of our own: {e}")
        self.prefix = ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        wait_for("its group is empty", lambda: (self.path / "cgroup.procs").read_text() == "", 30)
        for folder, _, _ in os.walk(self.path, topdown=False):  # a daemon that was ended leaves its own
            os.rmdir(folder)

    def kills(self):
        return int((self.path / "memory.oom_control").read_text().split("oom_kill ")[1])


class Neighbour:
    def __init__(self, group):
        self.process = subprocess.Popen([*group.prefix, sys.executable, "-c", NEIGHBOUR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, mib):
        """0: gives all back."""
        self.process.stdin.write(f"{mib}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def sleep(daemon, name):
    daemon.cli("scale", name, "0", check=0)
    wait_for("it has ended", lambda: daemon.admin.api(name)["replicas"] == [])


@pytest.mark.skipif(SLOW > 1, reason="memory is measured without sanitizers (SOMA_TEST_SLOW)")
def test_a_neighbour_fills_the_memory():
    """What it has nobody starts into; what it leaves is shared; nothing is killed, and nobody is forgotten."""
    names = ["a", "b"]
    with Group(1300 * MIB) as group, Neighbour(group) as neighbour, Daemon(prefix=group.prefix) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(api(n) for n in names)), timeout=120)
        for name in names:
            ask(daemon, name, 1)
        assert sorted(there(daemon.admin.apis())) == names
        sleep(daemon, "b")  # so that there is room for the neighbour
        neighbour.take(700)
        with Watch(daemon) as watch:
            for i in range(6):
                ask(daemon, names[i % 2], 10 + i, timeout=60)
        assert watch.running == 1  # one that ends has given its memory back a little before it is gone
        sleep(daemon, "b")
        # Beside what it has now there is no room for any, though none is reserved.
        neighbour.take(300)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waits = pool.submit(ask, daemon, "a", 20, timeout=120)
            wait_for("it says what for", lambda: "others have the rest" in daemon.cli("get", "a", check=0).out, 30)
            daemon.cli("get", "a", check=0).says("another replica needs 340 MiB (compute.mem)", "of this machine is free")
            assert not waits.done() and there(daemon.admin.apis()) == []
            neighbour.take(0)
            waits.result()
        ask(daemon, "b", 21)
        assert sorted(there(daemon.admin.apis())) == names
        assert group.kills() == 0
        nothing_was_killed(daemon, names)

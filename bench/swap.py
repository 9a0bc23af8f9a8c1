"""Twelve models on memory for six: Soma's swapping beside a fresh process for each switch."""
import collections
import concurrent.futures
import itertools
import json
import random
import re
import threading
import time
import urllib.request

from kit import machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS
from kit.peers import Server

TITLE = "Twelve models on memory for six"
MODELS, ROOM = 12, 6
CALLERS = 3         # at the same time, each with one request
REQUESTS, QUICK_REQUESTS = 400, 40
SKEW = 1.0          # of Zipf's law: the nth model is asked 1/n as often as the first
SOMA, FRESH = "Soma", "a fresh process for each switch (FastAPI)"


def zipf(n, seed):
    """So many numbers of models, the first asked most."""
    weights = [1 / (i + 1) ** SKEW for i in range(MODELS)]
    return random.Random(seed).choices(range(MODELS), weights, k=n)


# --- Soma --------------------------------------------------------------------


def _total_bytes():
    """What this machine has for replicas, as the daemon sees it: its own limit, if it has one."""
    memory = int(re.search(r"^MemTotal: +(\d+)", open("/proc/meminfo").read(), re.M)[1]) << 10
    limits = [memory]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(open(path).read()))
        except (OSError, ValueError):
            pass
    return min(limits)


class Apis:
    """Twelve apis, each of which reserves so much that six have room. A zygote with the weights would be a thirteenth's memory, so there is none
    beyond the imports."""

    def __init__(self, soma):
        self.soma, self.names = soma, [f"model-{i}" for i in range(MODELS)]
        each = _total_bytes() // (ROOM + 1) + (64 << 20)
        python = peers.install_environment("cold") / "bin/python"
        soma.deploy({"predictor.py": APPS / "swap/predictor.py"}, [
            {"name": name, "predictor": {"type": "python", "path": "predictor.py", "python": str(python), "zygote": "imports",
                                           "config": {"weights": str(zero.weights())}},
             "compute": {"mem": f"{each >> 20}Mi"}, "autoscaling": {"min_replicas": 0, "max_replicas": 1}} for name in self.names])

    def ask(self, i):
        """Whether it had to be brought in."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.soma.port}/{self.names[i]}", zero.BODY.encode(),
                                         {"Content-Type": "application/json", "X-Soma-Cold": "1", "X-Request-Timeout": "120"})
        with urllib.request.urlopen(request, timeout=zero.PATIENCE_S) as answer:
            if json.loads(answer.read()) != zero.RIGHT:
                raise RuntimeError("a wrong answer")
            return answer.headers.get("X-Soma-Cold", "none") != "none"


# --- a fresh process for each switch -----------------------------------------


class Fresh:
    """At most six servers; the one asked longest ago that has nothing to do ends for the one that is wanted."""

    def __init__(self):
        self.home, self.changed = peers.install_environment("cold"), threading.Condition()
        self.there, self.busy = collections.OrderedDict(), collections.Counter()  # {model: its server, None while it starts}

    def _start(self, i):
        port = peers.free_port()
        server = Server(f"swap {i}", [self.home / "bin/uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log"], port,
                        cwd=APPS / "swap", env={"WEIGHTS": str(zero.weights()), "PYTHONDONTWRITEBYTECODE": "1"}, core=machine.ALL_CORES)
        return server.start(Case(f"swap-{i}", "POST", "/", zero.BODY, lambda body: json.loads(body) == zero.RIGHT))

    def _take(self, i):
        """(its server, None), or (None, who has to end first or None) when the caller is to start it."""
        with self.changed:
            while True:
                if self.there.get(i):
                    self.busy[i] += 1
                    self.there.move_to_end(i)
                    return self.there[i], None
                idle = [j for j, server in self.there.items() if server and not self.busy[j]]
                if i not in self.there and (len(self.there) < ROOM or idle):
                    old = self.there.pop(idle[0]) if len(self.there) >= ROOM else None
                    self.there[i], self.busy[i] = None, 1
                    return None, old
                self.changed.wait()

    def _has_started(self, i, server):
        """None: it could not."""
        with self.changed:
            self.there[i] = server
            if not server:
                del self.there[i]
            self.changed.notify_all()

    def ask(self, i):
        server, old = self._take(i)
        fresh = server is None
        if fresh:
            try:
                if old:
                    old.stop()
                server = self._start(i)
            finally:
                self._has_started(i, server)
        try:
            Case(f"swap-{i}", "POST", "/", zero.BODY, lambda body: json.loads(body) == zero.RIGHT).check(server.port)
        finally:
            with self.changed:
                self.busy[i] -= 1
                self.changed.notify_all()
        return fresh

    def stop(self):
        for server in self.there.values():
            if server:
                server.stop()


# --- the bench ---------------------------------------------------------------


def _load(ask, sequence):
    """Some callers at once, each with the next of the sequence as soon as it has its answer."""
    next_of, lock, told = iter(sequence), threading.Lock(), []

    def caller():
        while True:
            with lock:
                i = next(next_of, None)
            if i is None:
                return
            begun = time.perf_counter()
            fresh = ask(i)
            told.append(((time.perf_counter() - begun) * 1e3, fresh))
    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(caller) for _ in range(CALLERS)]:
            done.result()
    return {"s": time.perf_counter() - begun, "ms": [ms for ms, _ in told], "switches": sum(fresh for _, fresh in told)}


def run(options):
    n, told, watch = QUICK_REQUESTS if options.quick else REQUESTS, {"rounds_of": {SOMA: [], FRESH: []}}, rounds.Watch()
    told["requests"] = n

    def keep(name, ask, seed):
        _load(ask, itertools.chain(range(MODELS), zipf(MODELS, seed)))  # nobody begins with an empty memory
        with watch:
            now = _load(ask, zipf(n, seed))
        told["rounds_of"][name].append(now)
        rounds.progress(f"{name}: {n} requests in {now['s']:.1f} s, {now['switches']} switches")

    for i in range(options.rounds):
        with peers.all_ended() as started:
            soma = peers.Soma(core=machine.ALL_CORES)
            started.append(soma)
            soma.start(Case("soma-up", "GET", "/healthz"))
            keep(SOMA, Apis(soma).ask, i)
        with peers.all_ended() as started:
            fresh = Fresh()
            started.append(fresh)
            keep(FRESH, fresh.ask, i)
    rounds.progress("")
    return {**told, "busy": watch.record()}


def render(told):
    rows = []
    for name, each in told["rounds_of"].items():
        rows.append([name, results.spread([told["requests"] / one["s"] for one in each]), results.spread([one["switches"] / told["requests"] * 100 for one in each], 0),
                     *(results.spread([results.quantile(one["ms"], q) for one in each]) for q in (0.5, 0.9, 0.99))])
    ours, theirs = (told["rounds_of"][name] for name in (SOMA, FRESH))
    faster = [theirs_one["s"] / ours_one["s"] for ours_one, theirs_one in zip(ours, theirs)]
    return [f"{MODELS} models, each of which reads 100 MiB of weights into NumPy when it starts, where there is room for {ROOM}: by what each reserves (`compute.mem`), and by "
            f"count. {CALLERS} callers at once, {told['requests']} requests, models by Zipf's law (the nth is asked 1/n as often as the first), the same sequence for both. Switches: of a hundred "
            "requests those for which a model had to be brought in. Milliseconds; medians of the rounds, least to most.", "",
            *results.table(["", "requests/s", "switches, %", "p50", "p90", "p99"], rows), "",
            f"The same requests take {results.spread(faster)} times as long with fresh processes."]

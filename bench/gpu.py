"""A GPU that is kept busy: an encoder of RoBERTa-large's shape, in batches, with and without waiting around it."""
import json
import math
import os
import random
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from kit import machine, peers, results, rounds
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "On a GPU"
HERE, FOLDER, SITE = APPS / "gpu", WORK / "gpu", WORK / "gpu" / "site"
PYTHON = os.environ.get("BENCH_GPU_PYTHON") or shutil.which("python3")  # one with torch and transformers
# Beside torch; pip's own settings say where they come from.
PACKAGES = [*peers.ENVIRONMENTS["fastapi"], "litserve==0.2.19"]
MAX_BATCH, WAIT_S = int(os.environ.get("BENCH_GPU_BATCH", 128)), 0.005
SIZES = [2 ** i for i in range(9) if 2 ** i <= 2 * MAX_BATCH]  # of the offline loop's batches
CLIENTS = {"plain": (1, 2 * MAX_BATCH), "hooks": (4 * MAX_BATCH,)}
ODD_SIZES = [size for size in (3, 23, 77, 111, 127) if size < MAX_BATCH]  # which no server has tried when it starts
LOOP, ALONE, RIVAL = "offline loop", "Soma, no batching", "FastAPI, by hand"
TOKENS, VOCABULARY = 128, 50265
# The others' cores: of all but the load's.
CORES = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)) if core != machine.LOAD_CORE) or machine.SERVER_CORE


def requests():
    rng = random.Random(1)
    return [json.dumps({"ids": [0, *(rng.randrange(4, VOCABULARY) for _ in range(TOKENS - 2)), 2]}) for _ in range(2 * MAX_BATCH)]


class Gpu:
    """What the driver says of the first GPU, ten times a second."""

    def __init__(self):
        self.samples = []  # (when, share of the time in which a kernel ran, watts)
        command = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu,power.draw", "--format=csv,noheader,nounits",
                   "-lms", "100"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            share, watts = line.split(",")
            self.samples.append((time.monotonic(), float(share) / 100, float(watts)))

    def between(self, begin, end):
        """(share, watts), means; the driver's own share is of the last fraction of a second, so the first half one is left out."""
        inside = [s for s in self.samples if begin + 0.5 <= s[0] <= end]
        return tuple(sum(s[i] for s in inside) / len(inside) if inside else 0.0 for i in (1, 2))

    def stop(self):
        self.process.terminate()
        self.process.wait()


def name():
    """"MODEL, driver VERSION" of the first GPU; None when there is none."""
    try:
        told = subprocess.run(["nvidia-smi", "-i", "0", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                              capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.strip().replace(", ", ", driver ")


# --- servers -----------------------------------------------------------------


def environment(**more):
    return {"MAX_BATCH": str(MAX_BATCH), "MAX_WAIT_S": str(WAIT_S), "PYTHONPATH": f"{HERE}:{SITE}", "PYTHONDONTWRITEBYTECODE": "1",
            **{k: v for k, v in os.environ.items() if k.startswith(("GPU_", "CUDA_", "LD_LIBRARY"))}, **more}


class App:
    """A server, and what it has of the cases "plain" and "hooks"."""

    def __init__(self, server, paths, start=None):
        self.server, self.paths, self._start = server, paths, start

    def case(self, kind, bodies, right):
        return Case(re.sub(r"[^a-z0-9]+", "-", f"gpu-{kind}-{self.server.name.lower()}"), "POST", self.paths[kind], bodies[0],
                    lambda answer: right(0, json.loads(answer)["row"]), more=bodies[1:])

    def start(self, case):
        begin = time.monotonic()
        if self._start:
            self.server.start(Case("soma-up", "GET", "/healthz"))
            self._start()
            self.server.wait(case)
        else:
            self.server.start(case)
        return time.monotonic() - begin

    def check(self, kind, bodies, right):
        """All requests at once: to each the answer to it."""
        def ask(i):
            Case("gpu-check", "POST", self.paths[kind], bodies[i],
                 lambda answer: right(i, json.loads(answer)["row"])).check(self.server.port)

        with ThreadPoolExecutor(len(bodies)) as clients:
            list(clients.map(ask, range(len(bodies))))


def soma(title, source, kind="plain", **keys):
    server = peers.Soma(title)
    server.core = CORES
    predictor = {"type": "python", "path": source, "python": str(PYTHON), "env": environment(), **keys}
    files = {file: HERE / file for file in (source, "encoder.py", "waits.py")}
    return App(server, {kind: "/encoder"}, lambda: server.deploy(files, [{"name": "encoder", "predictor": predictor}]))


def python_server(title, command, paths):
    port = peers.free_port()
    command = [PYTHON, *(str(port) if word == "PORT" else word for word in command)]
    return App(Server(title, command, port, cwd=HERE, env=environment(), core=CORES), paths)


BATCHES = {"threads_per_process": 2 * MAX_BATCH, "server_side_batching": {"max_batch_size": MAX_BATCH,
                                                                          "batch_interval": f"{WAIT_S * 1000:.0f}ms"}}
SERVERS = [
    lambda: soma("Soma", "soma_batched.py", **BATCHES),
    lambda: soma("Soma, batching: auto", "soma_batched.py", batching="auto"),
    lambda: soma("Soma, batching: auto, two slots", "soma_batched.py", batching="auto", threads_per_process=2),
    lambda: soma(ALONE, "soma_plain.py"),
    lambda: soma("Soma, hooks", "soma_hooks.py", "hooks", **BATCHES),
    lambda: python_server(RIVAL, ["-m", "uvicorn", "rival:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                                  "--host", "127.0.0.1", "--port", "PORT"], {"plain": "/plain", "hooks": "/hooks"}),
    lambda: python_server("LitServe", ["lit.py", "PORT"], {"plain": "/predict"}),
]


def install():
    peers.install_programs(("wrk",))
    if (SITE / "fastapi").exists():
        return
    done = subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", SITE, *PACKAGES])
    if done.returncode:
        raise RuntimeError("pip could not install the peers: see above")


class Loop:
    """The offline loop, a process that waits until it is asked."""

    def __init__(self, path):
        self.process = subprocess.Popen(machine.pinned(CORES, [PYTHON, HERE / "loop.py", path]), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={**os.environ, **environment()})

    def ask(self, question):
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the offline loop failed: see above")
        return json.loads(answer)

    def stop(self):
        self.process.kill()
        self.process.wait()


# --- measuring ---------------------------------------------------------------


def run(options):
    gpu_name = name()
    if not gpu_name:
        raise RuntimeError("there is no GPU here: nvidia-smi does not answer")
    FOLDER.mkdir(parents=True, exist_ok=True)
    install()
    bodies, path, seconds = requests(), FOLDER / "bodies.json", max(2, options.seconds)
    path.write_text(json.dumps(bodies))
    offline, started, apps = {}, {}, []
    with peers.all_ended() as servers:
        servers.append(offline_loop := Loop(path))
        rows = offline_loop.ask("rows")
        first = {size: offline_loop.ask(f"first {size}") for size in ODD_SIZES}
        rounds.progress(f"{LOOP}, first and second batch of a size: " + text_of_first(first))

        def right(i, row):
            """In half precision, and batches of other sizes are added up in another order."""
            return len(row) == len(rows[i]) and all(math.isclose(a, b, abs_tol=0.05) for a, b in zip(row, rows[i]))

        for make in SERVERS:
            app = make()
            servers.append(app.server)
            started[app.server.name] = app.start(app.case(next(iter(app.paths)), bodies, right))
            rounds.progress(f"{app.server.name}: first answer after {started[app.server.name]:.1f} s")
            apps.append(app)
        measured = rounds.Rounds([app.server for app in apps], options.rounds, seconds)
        servers.append(gpu := Gpu())
        check(apps, bodies, right)
        for _ in range(options.rounds):
            for size in SIZES:
                offline.setdefault(size, []).append(offline_loop.ask(f"0.5 {size}"))
            rounds.progress(f"{LOOP}: " + ", ".join(f"{size}: {told[-1]:.0f}/s" for size, told in offline.items()))
            for kind, clients in CLIENTS.items():
                for connections in clients:
                    for app in apps:
                        if kind in app.paths:
                            measure(app, kind, connections, bodies, right, measured, gpu)
        check(apps, bodies, right)
    rounds.progress("")
    return {"seconds": seconds, "cells": measured.record(), "gpu": gpu_name, "offline": offline, "started_s": started, "max_batch": MAX_BATCH,
            "first": first}


def text_of_first(first):
    return ", ".join(f"{size}: {a * 1000:.0f} and {b * 1000:.0f} ms" for size, (a, b) in first.items())


def check(apps, bodies, right):
    for app in apps:
        for kind in app.paths:
            app.check(kind, bodies, right)


def measure(app, kind, connections, bodies, right, measured, gpu):
    case, begin = app.case(kind, bodies, right), time.monotonic()
    told = measured.measure(app.server, kind, connections,
                            lambda: app.server.load(case, connections, measured.seconds))
    told["gpu_share"], told["watts"] = gpu.between(begin, time.monotonic())
    rounds.progress(f"{app.server.name}, {kind}, c={connections}: {told['rps']:.0f}/s, p50 {told['p50_us'] / 1000:.1f} ms, p99 "
                    f"{told['p99_us'] / 1000:.1f} ms, GPU {told['gpu_share']:.0%} {told['watts']:.0f} W, {told['bad']} bad")


# --- the page ----------------------------------------------------------------


def render(told):
    cells = results.Cells(told["cells"])
    medians = {int(size): results.quantile(rps, 0.5) for size, rps in told["offline"].items()}
    best = max(medians, key=medians.get)
    text = [f"{told['gpu']}. An encoder of RoBERTa-large's shape in half precision, 128 tokens a request, batches of at most "
            f"{told['max_batch']}.", "",
            "The offline loop, rows a second by the size of its batches: "
            + ", ".join(f"{size}: {rps:.0f}" for size, rps in medians.items()) + ".", "",
            f"A size that has not been run before costs more once, first and second batch: {text_of_first(told['first'])}.", "",
            "Share of the loop is answers per second ÷ the loop's best. GPU busy is the share of the time in which some kernel "
            "ran, as the driver says; milliseconds are of closed clients. `hooks`: "
            "each request waits 20 ms before its prediction and 50 ms after.", ""]
    rows = []
    for (server, case, c) in cells.of:
        rows.append([server, case, c, cells.spread(server, case, c, "rps", 0),
                     f"{cells.median(server, case, c, 'rps') / medians[best]:.0%}",
                     f"{cells.median(server, case, c, 'p50_us') / 1000:.1f} / {cells.median(server, case, c, 'p99_us') / 1000:.1f}",
                     f"{cells.median(server, case, c, 'gpu_share'):.0%}", f"{cells.median(server, case, c, 'watts'):.0f}",
                     f"{cells.median(server, case, c, 'cpu_us'):.0f}"])
    text += results.table(["", "case", "clients", "answers/s", f"of the loop ({best})", "p50 / p99 ms", "GPU busy", "watts",
                           "CPU µs"], rows)
    text += ["", "Seconds from the start to the first answer, with the imports and the model's making: "
             + ", ".join(f"{server} {seconds:.0f}" for server, seconds in told["started_s"].items()) + "."]
    return text

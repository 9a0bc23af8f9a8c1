"""From zero to the first answer: a Python class with NumPy and 100 MiB of mapped weights."""
import json
import os
import signal
import socket
import statistics
import subprocess
import time

from kit import machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "Cold starts"
STARTS = 100       # from zero, in a round
SLOW_STARTS = 5    # of processes with the class, in a round
FLOOR, FASTAPI, INIT = "floor (bare fork)", "FastAPI, its process", "Soma, forked after `__init__`"
FROZEN, WARM, THAW = "Soma, frozen", "Soma, a replica that runs", "a bare echo, stopped: what it takes longer to answer"
FROZEN_STARTS = 20  # in a round: each waits until it is stopped
LEVELS = {"init": INIT, "imports": "Soma, forked after the imports", "frozen": FROZEN, "none": "Soma, its process"}
ONLY_INIT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import predictor
begun = time.perf_counter()
predictor.PythonPredictor({"weights": sys.argv[2]})
print((time.perf_counter() - begun) * 1e3)
"""


# --- Soma --------------------------------------------------------------------


def _starts(apis, times):
    """Milliseconds from a request, on a connection that is there, to its answer; each from zero."""
    told = []
    with socket.create_connection(("127.0.0.1", apis.soma.port), zero.PATIENCE_S) as s:
        for _ in range(times):
            apis.to_zero()
            begun = time.perf_counter()
            s.sendall(zero.request(apis.names[0]))
            answer = s.recv(65536)
            told.append((time.perf_counter() - begun) * 1e3)
            if not zero.is_right(answer, apis.tier()):
                raise RuntimeError(f"a wrong answer, or not from {apis.tier()}: {answer[:500]!r}")
    return told


def _warm(apis, times):
    """The same from a replica that is there."""
    told = []
    with socket.create_connection(("127.0.0.1", apis.soma.port), zero.PATIENCE_S) as s:
        for _ in range(times + 1):
            begun = time.perf_counter()
            s.sendall(zero.request(apis.names[0]))
            answer = s.recv(65536)
            told.append((time.perf_counter() - begun) * 1e3)
            if not zero.is_right(answer):
                raise RuntimeError(f"a wrong answer: {answer[:500]!r}")
            time.sleep(0.01)
    return told[1:]


def _init():
    """Of the class's __init__ alone."""
    command = [peers.install_environment("cold") / "bin/python", "-c", ONLY_INIT, APPS / "cold", zero.weights()]
    done = subprocess.run(machine.pinned(machine.SERVER_CORE, command), check=True, capture_output=True, text=True,
                          env={"PYTHONDONTWRITEBYTECODE": "1"})
    return float(done.stdout)


# --- beside it ---------------------------------------------------------------


def _thaw(times):
    """Milliseconds that a program takes longer to answer from being stopped: the signal, and what the kernel does then."""
    port, told = peers.free_port(), []
    with peers.all_ended() as started:
        floor = Server("floor echo", [peers.build_floor(), "echo", str(port)], port)
        started.append(floor)
        floor.start(Case("cold-echo", "GET", "/30"))
        with socket.create_connection(("127.0.0.1", port), zero.PATIENCE_S) as s:
            for _ in range(times):
                took = [_echo(s, floor.process.pid, stopped) for stopped in (False, True)]
                told.append(took[1] - took[0])
    return told


def _echo(s, pid, stopped):
    if stopped:
        os.kill(pid, signal.SIGSTOP)
        zero.until("it is stopped", lambda: open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "T")
    time.sleep(0.01)
    begun = time.perf_counter()
    if stopped:
        os.kill(pid, signal.SIGCONT)
    s.sendall(b"GET /30 HTTP/1.1\r\nHost: a\r\n\r\n")
    if not s.recv(65536).startswith(b"HTTP/1.1 200"):
        raise RuntimeError("the floor does not answer")
    return (time.perf_counter() - begun) * 1e3


def _peer(name, environment, program, words, path="/", **env):
    port, home = peers.free_port(), peers.install_environment(environment)
    command = [home / "bin" / program, *(str(port) if word == "PORT" else word for word in words)]
    env = {"WEIGHTS": str(zero.weights()), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return Server(name, command, port, cwd=APPS / "cold", env=env), path


SLOWEST = [
    lambda: _peer("LitServe, its process", "litserve", "python", ["lit.py", "PORT"], "/predict"),
    lambda: _peer("BentoML, its process", "bentoml", "bentoml", ["serve", "bento:Rows", "--host", "127.0.0.1", "--port", "PORT"],
                  BENTOML_DO_NOT_TRACK="True", BENTOML_HOME=str(WORK / "bentoml-home")),
    lambda: _peer("Ray Serve, its process", "ray", "python", ["rayserve.py", "PORT"], RAY_USAGE_STATS_ENABLED="0"),
]


def _process(server, path="/"):
    """Milliseconds from the start of the program to its first right answer."""
    with peers.all_ended() as started:
        started.append(server)
        begun = time.perf_counter()
        server.start(Case("cold-process", "POST", path, zero.BODY, lambda body: json.loads(body) == zero.RIGHT))
        return (time.perf_counter() - begun) * 1e3


# --- the bench ---------------------------------------------------------------


def run(options):
    starts, slow = (10, 2) if options.quick else (STARTS, SLOW_STARTS)
    few = min(starts, FROZEN_STARTS)
    times = {"none": slow, "frozen": few}
    told, watch = {"ms": {}, "init_ms": [], "tier": {}, "held": {}}, rounds.Watch()

    def keep(name, measure):
        with watch:
            values = measure()
        told["ms"].setdefault(name, []).extend(values)
        rounds.progress(f"{name}: {statistics.median(values):.2f} ms")

    with peers.all_ended() as started:
        soma = peers.Soma()
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        apis = {level: zero.Apis(soma, [f"cold-{level}"], level) for level in LEVELS}
        for level, name in LEVELS.items():
            apis[level].to_zero()
            told["tier"][name], told["held"][name] = apis[level].tier(), apis[level].held()
        for _ in range(options.rounds):
            keep(FLOOR, lambda: zero.floor(starts))
            for level, name in LEVELS.items():
                keep(name, lambda: _starts(apis[level], times.get(level, starts)))
            keep(WARM, lambda: _warm(apis["frozen"], starts))
            keep(THAW, lambda: _thaw(few))
            told["init_ms"] += [_init() for _ in range(slow)]
            keep(FASTAPI, lambda: [_process(zero.fastapi(FASTAPI, peers.free_port())) for _ in range(slow)])
            for make in SLOWEST:
                server, path = make()
                keep(server.name, lambda: [_process(server, path)])
    rounds.progress("")
    return {**told, "busy": watch.record()}


def _frozen(ms):
    if FROZEN not in ms:
        return []
    frozen, warm, thaw = (results.quantile(ms[name], 0.5) for name in (FROZEN, WARM, THAW))
    return [f"Frozen: {frozen:.2f} ms, where a replica that runs takes {warm:.2f} ms and a bare echo that is stopped {thaw:.2f} ms longer: "
            f"{frozen / (2 * warm + thaw):.2f} of twice the one and the other.", ""]


def render(told):
    floor, fastapi = told["ms"][FLOOR], results.quantile(told["ms"][FASTAPI], 0.5)
    rows = []
    for name, values in told["ms"].items():
        if name in (WARM, THAW):
            continue  # no starts
        p50, p99 = (results.quantile(values, q) for q in (0.5, 0.99))
        held = told["held"].get(name)
        rows.append([name, told["tier"].get(name, ""), f"{held['mib']:.0f} ({held['own_mib']:.1f})" if held else "", len(values),
                     f"{p50:.2f}", f"{p99:.2f}", f"{p50 / results.quantile(floor, 0.5):.1f}",
                     f"{p99 / results.quantile(floor, 0.5):.1f}", f"{fastapi / p50:.3g}"])
    return ["Request in to answer out, no process of the api being there but its zygote; of a server's own process: from its "
            "start. Held: what is there of the api at zero, in MiB (PSS), and in brackets without the weights. The floor's median is what the "
            "columns before the last are times of; the last says how many times as long FastAPI's process takes, by the medians.", "",
            *results.table(["", "tier", "held", "starts", "p50, ms", "p99, ms", "p50, floors", "p99, floors", "FastAPI ÷"], rows), "",
            *_frozen(told["ms"]), f"`__init__` alone takes {results.spread(told['init_ms'], 2)} ms."]

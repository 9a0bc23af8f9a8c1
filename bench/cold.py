"""From zero to the first answer: a Python class with NumPy and 100 MiB of mapped weights."""
import array
import json
import re
import selectors
import socket
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

from kit import machine, peers, results, rounds
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "Cold starts"
STARTS = 100       # from zero, in a round
SLOW_STARTS = 5    # of whole processes
CROWD = 100        # apis that are asked at once
WEIGHTS_MB, ROW = 100, 1024
HEAP_MB, DIRTY_PAGES = 24, 100  # of the floor: what the zygote has, what a small C program would write to
FLOOR, FASTAPI = "floor (bare fork)", "FastAPI, its process"
LEVELS = {"init": "Soma, forked after `__init__`", "imports": "Soma, forked after the imports", "none": "Soma, its process"}
PATIENCE_S = 120
RIGHT = {"sum": float(ROW)}


def _weights():
    path = WORK / "weights-100m"
    if not path.exists() or path.stat().st_size != WEIGHTS_MB << 20:
        WORK.mkdir(parents=True, exist_ok=True)
        path.write_bytes(array.array("f", [1.0] * ROW).tobytes() * (WEIGHTS_MB << 20 >> 12))
    path.chmod(0o644)
    return path


def _until(what, condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.002)
    return value


# --- Soma --------------------------------------------------------------------


class Apis:
    """The class under several names, in one Soma."""

    def __init__(self, soma, names, level):
        self.soma, self.names, self.level = soma, names, level
        predictor = {"path": "predictor.py", "python": str(peers.install_environment("cold") / "bin/python"),
                     "config": {"weights": str(_weights())}, "zygote": level, "start_timeout": "5m"}
        soma.deploy({"predictor.py": APPS / "cold/predictor.py"},
                    [{"name": name, "predictor": predictor, "autoscaling": {"min_replicas": 0, "max_replicas": CROWD}} for name in names])
        if level != "none":
            for name in names:
                _until(f"{name} has a zygote", lambda name=name: self.api(name)["zygote"]["state"] == "ready")

    def api(self, name):
        token = (self.soma.home / "data/admin.token").read_text().strip()
        request = urllib.request.Request(f"{self.soma.admin}/v1/apis/{name}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def scale(self, name, replicas):
        done = subprocess.run([peers.SOMA, "scale", name, str(replicas), "--admin", self.soma.admin], capture_output=True, text=True,
                              env={"HOME": str(self.soma.home)})
        if done.returncode:
            raise RuntimeError(f"soma scale failed: {done.stdout}{done.stderr}")

    def to_zero(self):
        for name in self.names:
            self.scale(name, 0)
        for name in self.names:
            _until(f"{name} is at zero", lambda name=name: not self.api(name)["replicas"])

    def tier(self):
        return "process" if self.level == "none" else f"zygote-{self.level}"


def _request(name, body=b'{"row": 7}'):
    return (f"POST /{name} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Soma-Cold: 1\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def _check(answer, tier):
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head[:20] or json.loads(body) != RIGHT or f"x-soma-cold: {tier};".encode() not in head.lower():
        raise RuntimeError(f"a wrong answer, or not from {tier}: {answer[:500]!r}")


def _starts(apis, times):
    """Milliseconds from a request, on a connection that is there, to its answer; each from zero."""
    told = []
    with socket.create_connection(("127.0.0.1", apis.soma.port), PATIENCE_S) as s:
        for _ in range(times):
            apis.to_zero()
            begun = time.perf_counter()
            s.sendall(_request(apis.names[0]))
            answer = s.recv(65536)
            told.append((time.perf_counter() - begun) * 1e3)
            _check(answer, apis.tier())
    return told


def _crowd(apis):
    """The same of all apis, asked at once."""
    apis.to_zero()
    told, waiting = [], selectors.DefaultSelector()
    for name in apis.names:
        waiting.register(socket.create_connection(("127.0.0.1", apis.soma.port), PATIENCE_S), selectors.EVENT_READ, name)
    begun = time.perf_counter()
    for key in list(waiting.get_map().values()):
        key.fileobj.sendall(_request(key.data))
    while waiting.get_map():
        ready = waiting.select(PATIENCE_S)
        if not ready:
            raise RuntimeError(f"{len(waiting.get_map())} of a crowd of {len(apis.names)} were not answered")
        for key, _ in ready:
            answer = key.fileobj.recv(65536)
            told.append((time.perf_counter() - begun) * 1e3)
            _check(answer, apis.tier())
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    return told


def _added_mib(apis, replicas):
    """Of each of so many replicas: its share of memory, the weights left out."""
    apis.scale(apis.names[0], replicas)
    _until("all are ready", lambda: apis.api(apis.names[0])["ready"] == replicas)
    for _ in range(replicas * 3):
        Case("cold", "POST", f"/{apis.names[0]}", '{"row": 7}').check(apis.soma.port)
    return statistics.mean(_pss_mib(r["pid"]) for r in apis.api(apis.names[0])["replicas"])


def _pss_mib(pid):
    """A process's share of memory, but for the weights."""
    kb, counts = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counts = not line.endswith(_weights().name)
        elif line.startswith("Pss:") and counts:
            kb += int(line.split()[1])
    return kb / 1024


# --- beside it ---------------------------------------------------------------


def _floor(times):
    program = peers.build_program("floor_fork", ["floor_fork.c"], ["-O2", "-D_GNU_SOURCE"])
    command = [program, _weights(), HEAP_MB, DIRTY_PAGES, times]
    done = subprocess.run(machine.pinned(machine.SERVER_CORE, command), check=True, capture_output=True, text=True)
    return [float(line) / 1e3 for line in done.stdout.split()]


def _fastapi():
    """From the start of the program to its first right answer."""
    port, home = peers.free_port(), peers.install_environment("cold")
    server = Server(FASTAPI, [home / "bin/uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log"], port,
                    cwd=APPS / "cold", env={"WEIGHTS": str(_weights())})
    with peers.all_ended() as started:
        started.append(server)
        begun = time.perf_counter()
        server.start(Case("cold-fastapi", "POST", "/", '{"row": 7}', lambda body: json.loads(body) == RIGHT))
        return (time.perf_counter() - begun) * 1e3


# --- the bench ---------------------------------------------------------------


def run(options):
    quick = options.quick
    starts, slow, crowd = (10, 2, 10) if quick else (STARTS, SLOW_STARTS, CROWD)
    told = {"ms": {}, "crowd_ms": [], "added_mib": None, "crowd": crowd}

    def keep(name, values):
        told["ms"].setdefault(name, []).extend(values)
        rounds.progress(f"{name}: {statistics.median(values):.2f} ms")

    with peers.all_ended() as started:
        soma = peers.Soma()
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        apis = {level: Apis(soma, [f"cold-{level}"], level) for level in LEVELS}
        for _ in range(options.rounds):
            keep(FLOOR, _floor(starts))
            for level, name in LEVELS.items():
                keep(name, _starts(apis[level], slow if level == "none" else starts))
            keep(FASTAPI, [_fastapi() for _ in range(slow)])
        told["added_mib"] = _added_mib(apis["init"], crowd)
        apis["init"].to_zero()
        many = Apis(soma, [f"crowd-{n}" for n in range(crowd)], "init")
        for _ in range(options.rounds):
            told["crowd_ms"].append(_crowd(many))
            rounds.progress(f"{crowd} at once: {max(told['crowd_ms'][-1]):.0f} ms")
    rounds.progress("")
    return told


def render(told):
    floor = told["ms"][FLOOR]
    rows = []
    for name, values in told["ms"].items():
        p50, p99 = (results.quantile(values, q) for q in (0.5, 0.99))
        rows.append([name, len(values), f"{p50:.2f}", f"{p99:.2f}", f"{p50 / results.quantile(floor, 0.5):.1f}",
                     f"{p99 / results.quantile(floor, 0.5):.1f}"])
    crowd = [results.quantile(values, 0.95) for values in told["crowd_ms"]]
    return ["Request in to answer out, no process of the api being there but its zygote; of a server's own process: from its "
            "start. The floor's median is what the last two columns are times of.", "",
            *results.table(["", "starts", "p50, ms", "p99, ms", "p50, floors", "p99, floors"], rows), "",
            f"{told['crowd']} such apis asked at once, from zero: p95 {statistics.median(crowd):.0f} ms "
            f"({min(crowd):.0f}–{max(crowd):.0f}), none refused. {told['crowd']} replicas of one api: "
            f"{told['added_mib']:.1f} MiB each (PSS) beside the weights, which are there once."]

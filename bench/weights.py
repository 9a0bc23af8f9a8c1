"""4 GiB of weights until they can be used, which is when every byte has been summed once: from the disk, from the page cache, and in a
second replica.

BENCH_TORCH_PYTHON names a Python with torch, for the peers; it is told LD_LIBRARY_PATH, where there is one.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from kit import disk, machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS, ROOT, WORK

TITLE = "4 GiB of weights, every byte summed once"
HERE, FOLDER = APPS / "weights", WORK / "weights-4g"
PYTHON = os.environ.get("BENCH_TORCH_PYTHON")
SIZE, QUICK_SIZE = 4 << 30, 256 << 20
SOMA, MAP, READ = "Soma, `soma.models.open`", "floor: a bare `mmap`", "floor: a bare `read`"
FIO = "floor: fio through the page cache"  # cold alone, and sums nothing
WARM = 2       # measurements in a round: each takes less than a second
SETTLE_S = 5   # memory that was freed a moment ago is quicker to get again, where a hypervisor takes back what is free: all wait as long
PEERS = {"safetensors": "`safetensors.torch.load_file`", "torch": "`torch.load(mmap=True)`", "fastsafetensors": "fastsafetensors, CPU"}
FASTSAFETENSORS = ["--no-deps", "fastsafetensors==0.5.0"]


def is_here():
    return bool(PYTHON)


def environment():
    path = os.environ.get("LD_LIBRARY_PATH")
    return {"PYTHONDONTWRITEBYTECODE": "1", **({"LD_LIBRARY_PATH": path} if path else {})}


def library():
    """floor_sum() for ctypes, where every user can read it."""
    path = peers.build_program("floor_sum.so", ["floor_sum.c"], ["-O3", "-D_GNU_SOURCE", "-shared", "-fPIC"])
    path.chmod(0o755)
    return path


def floor(*words):
    program = peers.build_program("floor_sum", ["floor_sum.c"], ["-O3", "-D_GNU_SOURCE"])
    done = subprocess.run(machine.pinned(machine.ALL_CORES, [program, *words]), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def make_files(size):
    """{"safetensors": path, "torch": path}: the same tensors, by the test hub's rules."""
    files = {"safetensors": FOLDER / "model/model.safetensors", "torch": FOLDER / "model.pt"}
    disk.need("weights", 2 * size)
    (FOLDER / "model").mkdir(parents=True, exist_ok=True)
    for form, path in files.items():
        rounds.progress(f"writing {path.name}")
        subprocess.run([sys.executable, "-m", "hub.made", path, "--size", str(size), "--form", form], cwd=ROOT / "tests", check=True)
    for path in (FOLDER, FOLDER / "model", *files.values()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return files


def install_fastsafetensors():
    site = FOLDER.with_name("fastsafetensors")
    if not (site / "fastsafetensors").exists():
        subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", site, *FASTSAFETENSORS], check=True)
    return site


def drop(path):
    disk.drop(path)
    time.sleep(SETTLE_S)


# --- who is compared ---------------------------------------------------------


def _peer(how, files):
    command = [PYTHON, HERE / "peer.py", how, files["torch" if how == "torch" else "safetensors"], library()]
    env = {**os.environ, **environment(), "PYTHONPATH": str(install_fastsafetensors())}
    done = subprocess.run(machine.pinned(machine.ALL_CORES, command), env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{PEERS[how]} failed: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ask(apis, payload=None):
    request = urllib.request.Request(f"http://127.0.0.1:{apis.soma.port}/{apis.names[0]}", json.dumps(payload or {}).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=zero.PATIENCE_S) as answer:
        return json.loads(answer.read())


def scale(apis, n):
    """So many replicas, ready; their pids."""
    (name,) = apis.names
    apis.scale(name, n)
    zero.until(f"{n} replicas are ready", lambda: apis.api(name)["ready"] == n, 0.05)
    return [r["pid"] for r in apis.api(name)["replicas"]]


def _soma(apis, prepare, state):
    """A process that has not opened it before. Warm, it is there when prepare() is called. Cold, there is none: reading ahead begins with the
    start of a process, so that start is a part of what is measured, from the request to its answer."""
    apis.to_zero()
    if state == "warm":
        scale(apis, 1)
    prepare()
    begun = time.perf_counter()
    told = ask(apis)
    if state == "cold":
        told["ms"] = (time.perf_counter() - begun) * 1e3
    apis.to_zero()
    return told


# --- the second replica ------------------------------------------------------


def _numbers(path, pattern):
    return {key: int(value) for key, value in re.findall(pattern, Path(path).read_text(), re.M)}


def held(pid):
    """Bytes: read from the disk so far, private, and of page tables."""
    smaps = _numbers(f"/proc/{pid}/smaps_rollup", r"^(\w+): +(\d+) kB")
    return {"read": _numbers(f"/proc/{pid}/io", r"^(\w+): (\d+)")["read_bytes"],
            "private": (smaps["Private_Clean"] + smaps["Private_Dirty"]) << 10,
            "tables": _numbers(f"/proc/{pid}/status", r"^(\w+):\s+(\d+) kB")["VmPTE"] << 10}


def _second(apis):
    """What another replica takes beside one that has all of it: before it has opened it, and with every byte summed and all of it mapped."""
    keep = {"keep": True}
    apis.to_zero()
    (first,) = scale(apis, 1)
    ask(apis, keep)
    (second,) = set(scale(apis, 2)) - {first}
    before = held(second)
    for _ in range(10):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # each has one slot
            answers = list(pool.map(lambda _: ask(apis, keep), range(2)))
        mine = [answer for answer in answers if answer["pid"] == second]
        if mine:
            after = held(second)
            apis.to_zero()
            return {"ms": mine[0]["ms"], **{key: after[key] - before[key] for key in after}}
    raise RuntimeError("the second replica is sent nothing")


# --- the bench ---------------------------------------------------------------


def _contenders(apis, files):
    """{name: (the file, function that takes what prepares the page cache, and "cold" or "warm")}"""
    one = files["safetensors"]

    def after(measure):
        return lambda prepare, state: (prepare(), measure())[1]
    told = {SOMA: (one, lambda *how: _soma(apis, *how)), MAP: (one, after(lambda: floor("map", one))), READ: (one, after(lambda: floor("read", one))),
            FIO: (one, after(lambda: {"ms": one.stat().st_size / disk.fio(one, False) * 1e3}))}
    for how, name in PEERS.items():
        told[name] = (files["torch" if how == "torch" else "safetensors"], after(lambda how=how: _peer(how, files)))
    return told


def run(options):
    if not PYTHON:
        raise RuntimeError("BENCH_TORCH_PYTHON names no Python with torch")
    size = QUICK_SIZE if options.quick else SIZE
    files, watch, sums = make_files(size), rounds.Watch(), {}
    told = {"size": size, "ms": {"cold": {}, "warm": {}}, "open_ms": {}, "second": [], "direct": [], "copy": [], "failed": {}}
    try:
        with peers.all_ended() as started:
            soma = peers.Soma(core=machine.ALL_CORES)
            started.append(soma)
            soma.start(Case("soma-up", "GET", "/healthz"))
            apis = zero.Apis(soma, ["weights"], "none", most=2, app="weights", weights_file=files["safetensors"], python=PYTHON, env=environment(),
                             models={"path": str(FOLDER / "model")}, config={"library": str(library())})
            names = list(_contenders(apis, files).items())
            for i in range(options.rounds):
                for state, prepare in (("cold", drop), *(("warm", disk.warm) for _ in range(WARM))):
                    names = names[1:] + names[:1]
                    for name, (path, measure) in names:
                        if state == "cold" or name != FIO:
                            _one(told, sums, watch, state, name, lambda measure=measure, path=path: measure(lambda: prepare(path), state))
                with watch:
                    told["second"].append(_second(apis))
                _floors(told, files["safetensors"], size)
    finally:
        for path in files.values():
            path.unlink(missing_ok=True)
    rounds.progress("")
    return {**told, "busy": watch.record()}


def _one(told, sums, watch, state, name, measure):
    """A peer that cannot do it here is left out, with its words; Soma and the floors have to."""
    if name in told["failed"]:
        return
    try:
        with watch:
            now = measure()
    except RuntimeError as e:
        if name not in PEERS.values():
            raise
        told["failed"][name] = str(e)[-300:]
        print(f"bench: {name} is left out: {e}", flush=True)
        return
    if name != FIO:
        what = "the file" if name in (MAP, READ) else "the tensors"  # the bare floors sum the head, too
        if sums.setdefault(what, now["sum"]) != now["sum"]:
            raise RuntimeError(f"{name} sums {what} to {now['sum']}, others to {sums[what]}")
    told["ms"][state].setdefault(name, []).append(now["ms"])
    told["open_ms"].setdefault(name, []).append(now.get("open_ms", 0))
    rounds.progress(f"{state}: {name}: {now['ms']:.0f} ms")


def _floors(told, path, size):
    disk.drop(path)
    told["direct"].append(disk.fio(path, True))
    told["copy"].append(size / floor("copy", str(size))["ms"] * 1e3)


def _fast(gigabytes, ms):
    return f"{gigabytes / results.quantile(ms, 0.5) * 1e3:.2f}"


def render(told):
    gigabytes, cold, warm = told["size"] / 1e9, told["ms"]["cold"], told["ms"]["warm"]
    rows, median = [], {name: results.quantile(ms, 0.5) for name, ms in warm.items()}
    for name, ms in cold.items():
        opening = told["open_ms"][name]
        seen = [results.spread(warm[name], 0), _fast(gigabytes, warm[name]), f"{median[name] / median[MAP]:.2f}"] if name in warm else [""] * 3
        rows.append([name, results.spread(opening, 1) if max(opening) else "", results.spread(ms, 0), _fast(gigabytes, ms), *seen])
    best = min((name for name in median if name in PEERS.values()), key=median.get, default=None)
    second = {key: [each[key] for each in told["second"]] for key in told["second"][0]}
    of_fio = results.quantile(cold[FIO], 0.5) / results.quantile(cold[SOMA], 0.5)
    text = [f"{disk.gib(told['size'])} of 32-bit weights in matrices of 64 MiB; milliseconds from opening the file until every byte has been summed once, by one "
            "thread and the same code everywhere, in a process that has not seen the file (medians, least to most). Cold, once a round: its pages have been dropped from the page "
            f"cache {SETTLE_S} s before; warm, {WARM} times a round: all are there. Opening it is a part of both; of Soma's "
            "cold load so are the way of a request and the start of a process (while which the file is read ahead): its api is at zero. fio reads it from its begin to its end, and sums nothing.", "",
            *results.table(["", "opening, ms", "cold, ms", "GB/s", "warm, ms", "GB/s", "warm, bare `mmap`s"], rows), "",
            f"The disk's ceiling, past the page cache and without filling it (fio, `O_DIRECT`, 16 requests at once, behind all others of a round): "
            f"{results.spread([v / 1e9 for v in told['direct']], 2)} GB/s; memory is copied at {results.spread([v / 1e9 for v in told['copy']])} GB/s. "
            f"Soma's cold load is as fast as {of_fio:.2f} fios through the page cache; warm it takes "
            f"{median[SOMA] / median[MAP]:.2f} of the time of a bare `mmap`" + (f", and {median[SOMA] / median[best]:.2f} of that of {best}, the best of the others." if best else "."), "",
            f"A second replica: {results.spread(second['ms'], 0)} ms beside the first, which sums at the same time; with all of it mapped {max(second['read'])} bytes were read from the disk, "
            f"and it has {results.spread([v / (1 << 20) for v in second['private']])} MiB of private memory more, and {results.spread([v / (1 << 20) for v in second['tables']])} MiB of page tables."]
    for name, why in told["failed"].items():
        text += ["", f"{name} could not be measured here: {why.splitlines()[-1]}"]
    return text

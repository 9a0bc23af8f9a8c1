"""Language models at their true size: the example's four from a hub to their answers, all at once; and T5-11B where memory is less than it.

The hub is the tests' own: true names, shapes and files, made-up values. BENCH_TORCH_PYTHON names a Python with torch and transformers; it is
told LD_LIBRARY_PATH, where there is one. BENCH_LARGEST=1 does T5-11B, too, and BENCH_LARGEST=only does nothing else: 45 GB on the disk. What
was measured is shown at the end, with what is to hold and whether it does.
"""
import concurrent.futures
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from kit import disk, machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS, ROOT
from large_page import render  # noqa: F401, what bench/run writes down
from weights import environment, floor

TITLE = "Language models at their true size"
HERE, EXAMPLE = APPS / "large", ROOT / "examples/language-models"
PYTHON = os.environ.get("BENCH_TORCH_PYTHON")
LARGEST = os.environ.get("BENCH_LARGEST")
TEXT, MASK = "the rain in spain stays mainly in the", " <mask>"
# What the temporary folder is to have room for.
ROOM = {"full": 25 << 30, "largest": 43 << 30, "tiny": 1 << 30}
TOKENS, LARGEST_TOKENS = 8, 3
TRIES = 6        # requests at once, until both replicas of an api have answered
FLOOR = 8 << 30  # bytes that the disk is measured by, where a file is larger
PATIENCE_S = 3600
DISTINCT = 100   # logits that are not all the same


def is_here():
    return bool(PYTHON)


class Hub:
    def __init__(self, scale):
        command = [sys.executable, "-m", "hub.serve", "--scale", scale]
        self.process = subprocess.Popen(machine.pinned(machine.ALL_CORES, command), cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"]

    def stop(self):
        self.process.kill()
        self.process.wait()


# --- the example -------------------------------------------------------------


def entries():
    """The example's soma.yaml: {name: (its text, class)}."""
    blocks = re.split(r"^(?=- name: )", (EXAMPLE / "soma.yaml").read_text(), flags=re.M)[1:]
    return {re.match(r"- name: (\S+)", block)[1]: (block, re.search(r"class: (\w+)", block)[1]) for block in blocks}


def largest():
    """The entry more that its README tells of."""
    block, kind = entries()["t5-3b"]
    changes = {"name: t5-3b": "name: t5-11b", "google-t5/t5-3b": "google-t5/t5-11b", "request_timeout: 10m": "request_timeout: 1h"}
    for old, new in changes.items():
        assert old in block
        block = block.replace(old, new)
    return {"t5-11b": (block, kind)}


def with_python(block):
    """The entry with a class that says more of itself, in a Python that is there. All else is the example's."""
    assert "    path: predictor.py\n" in block
    return block.replace("    path: predictor.py\n", f"    path: check.py\n    python: {PYTHON}\n    env: {json.dumps(environment())}\n")


class Models:
    """Apis of the example in a Soma of their own."""

    def __init__(self, hub, apis):
        self.kinds = {name: kind for name, (_, kind) in apis.items()}
        self.text = "".join(with_python(block) for block, _ in apis.values())
        self.soma = peers.Soma(core=machine.ALL_CORES)
        self.soma.env["HF_ENDPOINT"] = hub.url
        self.soma.start(Case("soma-up", "GET", "/healthz"))

    def stop(self):
        self.soma.stop()

    def deploy(self):
        """By one command. Seconds until the files are fetched and verified, and one replica of each has been ready."""
        files = {path.name: path for path in (EXAMPLE / "predictor.py", HERE / "check.py", HERE / "logits.py")}
        begun = time.monotonic()
        self.soma.deploy(files, self.text)
        return time.monotonic() - begun

    def api(self, name):
        return self.soma.call(f"/v1/apis/{name}")

    def events(self, name, type):
        """[(time, text)], the oldest first."""
        told = map(json.loads, self.soma.call(f"/v1/apis/{name}/events", raw=True).splitlines())
        return [(datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")), e["text"]) for e in told if e["type"] == type]

    def pulled_s(self, name):
        return (self.events(name, "model_ready")[0][0] - self.events(name, "model_fetching")[0][0]).total_seconds()

    def is_filled_in(self, name):
        return "MaskedLM" in self.kinds[name]

    def text_of(self, name):
        return TEXT + MASK * self.is_filled_in(name)

    def ask(self, name, **payload):
        """The answer with what its start was ("start", of how cold it found the api), and the seconds to it from here."""
        body = json.dumps({"text": self.text_of(name), **payload}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.soma.port}/{name}", body, {"Content-Type": "application/json", "X-Soma-Cold": "1"})
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                told = json.loads(answer.read())
                return {**told, "start": answer.headers.get("X-Soma-Cold", "").partition(";")[0]}, time.monotonic() - begun
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{name}: {e.code} {e.read().decode(errors='replace')[-1500:]}") from None

    def pids(self, name):
        return sorted(r["pid"] for r in self.api(name)["replicas"])

    def swaps(self):
        """How often one had to go for another."""
        return sum(self.api(name)["memory"]["swaps"] for name in self.kinds)

    def tree(self, name):
        """Where the store has its files."""
        return Path(self.api(name)["models"][0]["path"])

    def weights(self, name):
        return max(self.tree(name).iterdir(), key=lambda path: path.stat().st_size)

    def scale(self, name, replicas):
        self.soma.call(f"/v1/apis/{name}/scale", {"replicas": replicas})
        zero.until(f"{name} has {replicas} replicas", lambda: (a := self.api(name))["ready"] == replicas == len(a["replicas"]), 0.1)

    def delete(self, name):
        self.soma.call(f"/v1/apis/{name}", method="DELETE")
        zero.until(f"{name} is gone", lambda: name not in [a["name"] for a in self.soma.call("/v1/apis")["apis"]], 0.1)


# --- looking -----------------------------------------------------------------


def _memory(pids):
    """In GiB: of all together, what is theirs alone but for files, and what is mapped of files."""
    sums = {"Pss": 0, "Pss_Anon": 0, "Pss_File": 0}
    for pid in pids:
        for key, kb in re.findall(r"^(\w+): +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M):
            if key in sums:
                sums[key] += int(kb)
    return {"all": sums["Pss"] / (1 << 20), "own": sums["Pss_Anon"] / (1 << 20), "files": sums["Pss_File"] / (1 << 20)}


def _mapped(pid, file):
    """Bytes of a process's mappings of a file, all of smaps added up: {"Pss", "Rss", "Anonymous", ...}."""
    told, counts, inode = {}, False, file.stat().st_ino
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+)", line):
            counts = int(found[1]) == inode
        elif counts and (found := re.match(r"(\w+): +(\d+) kB", line)):
            told[found[1]] = told.get(found[1], 0) + int(found[2]) * 1024
    return told


def _tables(pids):
    """Bytes of page tables."""
    return sum(int(re.search(r"^VmPTE:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)[1]) * 1024 for pid in pids)


def _paged_in():
    """Bytes that this machine has read from its disks so far."""
    return int(re.search(r"^pgpgin (\d+)", Path("/proc/vmstat").read_text(), re.M)[1]) << 10


def _plain(models, name, threads):
    """The logits of Transformers alone, on the same files, with as many threads: sums are cut alike."""
    env = {**os.environ, **environment(), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(machine.pinned(machine.ALL_CORES, [PYTHON, HERE / "plain.py", models.text_of(name), models.tree(name), models.kinds[name]]),
                          env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise RuntimeError(f"Transformers alone: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(name, ours, theirs):
    """The largest difference, as a part of the largest logit."""
    if len(ours) != len(theirs) or len(set(theirs)) < DISTINCT or not all(x - x == 0 for x in ours + theirs):
        raise RuntimeError(f"{name}: {len(ours)} logits beside {len(theirs)}, or too many that are the same, or some that are no numbers")
    return max(abs(a - b) for a, b in zip(ours, theirs)) / max(abs(x) for x in theirs)


# --- each for itself ---------------------------------------------------------


def _alone(models, name, ours):
    """(what Transformers alone makes of it, None). Where it cannot, which only the largest is allowed: (None, why not)."""
    try:
        return _plain(models, name, ours["threads"]), None
    except RuntimeError as e:
        if name not in largest():
            raise
        why = [line for line in str(e).splitlines() if line.strip()][-1]
        return None, re.sub(r" from file <[^>]*>", "", why)


def _one(models, name, tokens):
    first, first_s = models.ask(name, logits=True)
    again, again_s = models.ask(name, logits=True)
    plain, why = _alone(models, name, first)
    right = plain["logits"] if plain else again["logits"]
    row = {"pull_s": models.pulled_s(name), "start": first["start"], "first_s": first_s, "again_s": again_s,
           "plain_s": plain["load_s"] + plain["first_s"] if plain else None, "alone": why,
           "off": compare(name, first["logits"], right), "n_logits": len(first["logits"]),
           "bytes": sum(path.stat().st_size for path in models.tree(name).iterdir()), "weights": models.weights(name).stat().st_size}
    if not models.is_filled_in(name):
        before, (answer, _) = _paged_in(), models.ask(name, tokens=tokens, options={"min_length": 0, "num_beams": 1})
        row.update(tokens_per_s=answer["tokens"] / answer["seconds"], read_per_token=(_paged_in() - before) / answer["tokens"], text=answer["text"])
    else:
        row["text"] = models.ask(name)[0]["words"][0]["word"]
    row["memory"] = _memory(models.pids(name))
    rounds.progress(f"{name}: pulled in {row['pull_s']:.0f} s, {first_s:.1f} s ({row['start']}), again {again_s:.2f} s, {row.get('tokens_per_s', 0):.2f} "
                    f"tokens/s, logits off by {row['off']:.1g}")
    return row, right


def _each(models, told, tokens):
    """Measures all; returns their logits as Transformers says them."""
    right = {}
    for name in models.kinds:
        told["models"][name], right[name] = _one(models, name, tokens)
    return right


# --- all at once -------------------------------------------------------------


def _at_once(models, right):
    """A request to each of all apis at the same time: seconds of each, how far from right, and who has answered."""
    with concurrent.futures.ThreadPoolExecutor(len(models.kinds)) as pool:
        asked = {name: pool.submit(models.ask, name, logits=True) for name in models.kinds}
        told = {name: future.result() for name, future in asked.items()}
    return {"took_s": {name: s for name, (_, s) in told.items()}, "pids": {name: answer["pid"] for name, (answer, _) in told.items()},
            "off": max(compare(name, answer["logits"], right[name]) for name, (answer, _) in told.items())}


def _one_each(models, right):
    for name in models.kinds:
        models.scale(name, 1)
    before, pids, paged = models.swaps(), {name: models.pids(name) for name in models.kinds}, _paged_in()
    told = [_at_once(models, right) for _ in range(2)][-1]
    stay = {name: models.pids(name) for name in models.kinds} == pids and models.swaps() == before
    return {"took_s": told["took_s"], "off": told["off"], "stay": stay, "replicas": sum(map(len, pids.values())), "read": (_paged_in() - paged) / 2,
            "memory": _memory([pid for each in pids.values() for pid in each])}


def _two_each(models, right):
    """Of each api what two replicas have of its weights."""
    for name in models.kinds:
        models.scale(name, 2)
    pids, asked, off = {name: models.pids(name) for name in models.kinds}, set(), 0.0
    for _ in range(TRIES):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda _: _at_once(models, right), range(2)))
        asked |= {pid for each in told for pid in each["pids"].values()}
        off = max(off, *(each["off"] for each in told))
        if asked >= {pid for each in pids.values() for pid in each}:
            break
    all_pids = [pid for each in pids.values() for pid in each]
    told = {"replicas": len(all_pids), "answered": len(asked & set(all_pids)), "off": off, "memory": _memory(all_pids), "tables": _tables(all_pids), "of": {}}
    for name, each in pids.items():
        file = models.weights(name)
        maps = [_mapped(pid, file) for pid in each]
        told["of"][name] = {"file": file.stat().st_size, "pss": sum(m["Pss"] for m in maps), "rss": [m["Rss"] for m in maps],
                            "written": sum(m["Anonymous"] + m["Private_Dirty"] for m in maps)}
    return told


# --- the bench ---------------------------------------------------------------


def _session(scale, apis, body):
    hub = Hub(scale)
    with peers.all_ended() as started:
        started.append(hub)
        models = Models(hub, apis)
        started.append(models)
        return body(models)


def _four(models, told):
    told["deploy_s"] = models.deploy()
    rounds.progress(f"deployed in {told['deploy_s']:.0f} s")
    right = _each(models, told, TOKENS)
    told["together"] = _one_each(models, right)
    rounds.progress("all at once: " + ", ".join(f"{name} {s:.1f} s" for name, s in told["together"]["took_s"].items()))
    told["twice"] = _two_each(models, right)


def _largest(models, told):
    told["largest_deploy_s"] = models.deploy()
    rounds.progress(f"T5-11B deployed in {told['largest_deploy_s']:.0f} s")
    # Soma's own words; there are none where it fits.
    told["largest_words"] = [text for _, text in models.events("t5-11b", "model_ready") if "of memory" in text]
    _each(models, told, LARGEST_TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        os.link(models.weights("t5-11b"), weights)
        # Nobody may have it mapped while the disk is measured, and what waits to be forked has.
        models.delete("t5-11b")
        told["fio"] = {}
        for how in ("direct", "buffered"):
            disk.drop(weights)
            told["fio"][how] = disk.fio(weights, how == "direct", FLOOR)
        disk.drop(weights)
        summed = floor("map", weights)
        told["fio"]["mapped"] = weights.stat().st_size / (summed["ms"] / 1e3)


def need(what, size):
    """Room where Soma's data will be, in a folder for what is temporary."""
    disk.need(what, size, Path(tempfile.gettempdir()))


def run(options):
    if not PYTHON:
        raise RuntimeError("BENCH_TORCH_PYTHON names no Python with torch and transformers")
    scale, told, watch = "tiny" if options.quick else "full", {"models": {}}, rounds.Watch()
    if LARGEST == "only":
        # Beside what there is of the others.
        before = results.load("large.quick" if options.quick else "large") or {}
        told = {key: value for key, value in before.items() if key in ("models", "deploy_s", "together", "twice")} or told
    else:
        need("large", ROOM[scale])
        with watch:
            _session(scale, entries(), lambda models: _four(models, told))
    if LARGEST:
        need("large, T5-11B", ROOM["tiny" if options.quick else "largest"])
        with watch:
            _session(scale, largest(), lambda models: _largest(models, told))
    rounds.progress("")
    versions = subprocess.run([PYTHON, "-c", "import torch, transformers as t; print(torch.__version__, t.__version__)"], check=True,
                              capture_output=True, text=True, env={**os.environ, **environment()}).stdout.split()
    told = {**told, "busy": watch.record(), "versions": versions}
    print("\n".join(render(told)), flush=True)
    return told

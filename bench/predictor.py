"""A Python predictor, {"x": [1, 2, 3]} to its sum, in Soma and in the frameworks that people use; one process each."""
import json
import threading
import time

from kit import load, peers, results, rounds
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "Python predictor"
CONNECTIONS = (1, 16, 64)
BLOCK_S = 2  # of the predict that a health check must not wait for
HEALTH_PAUSE_S = 0.005
FLOOR = "floor (bare proxy and echo)"
SUM = {"x": [1, 2, 3]}


def _sum_of(answer):
    """Of each framework's answer to the sum."""
    told = json.loads(answer)
    return told["outputs"][0]["data"][0] if "outputs" in told else told["sum"]


def _plain(more):
    return json.dumps({**SUM, **more})


def _tensors(more):
    """The Open Inference Protocol's body, which MLServer takes."""
    inputs = [{"name": "x", "shape": [3], "datatype": "FP64", "data": SUM["x"]}]
    inputs += [{"name": k, "shape": [1], "datatype": "FP64", "data": [v]} for k, v in more.items()]
    return json.dumps({"inputs": inputs})


class App:
    """A server with the path of its predictor and of its health check."""

    def __init__(self, server, path, health, body=_plain):
        self.server, self.path, self.health, self.body = server, path, health, body

    def case(self, **more):
        return Case("sum-" + self.server.name.replace(",", "").replace(" ", "-"), "POST", self.path, self.body(more), lambda body: _sum_of(body) == 6)

    def health_case(self):
        return Case("health", "GET", self.health)


class Floor(App):
    """floor.c's two processes: what the way there and back costs. It adds nothing up: it answers the request itself."""

    def __init__(self):
        port = peers.free_port()
        super().__init__(Server(FLOOR, [peers.build_floor(), "hops", port], port), "/", "/2")

    def case(self, **more):
        return Case("sum-floor", "POST", self.path, self.body(more), lambda body: json.loads(body) == {**SUM, **more})


def soma():
    return App(peers.Soma(), "/sum", "/sum")


def fastapi(kind, standard=True):
    """standard: with uvloop and httptools, as "uvicorn[standard]" has them."""
    port, home = peers.free_port(), peers.install_environment("fastapi")
    parts = ["--loop", "uvloop", "--http", "httptools"] if standard else ["--loop", "asyncio", "--http", "h11"]
    command = [home / "bin/uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log", *parts]
    name = f"FastAPI {kind}" if standard else f"FastAPI {kind}, plain uvicorn"
    return App(Server(name, command, port, cwd=APPS / "fastapi"), f"/{kind.split()[0]}", "/health")


def litserve():
    port, home = peers.free_port(), peers.install_environment("litserve")
    return App(Server("LitServe", [home / "bin/python", "app.py", port], port, cwd=APPS / "litserve"),
               "/predict", "/health")


def bentoml(app="Sum"):
    port, home = peers.free_port(), peers.install_environment("bentoml")
    env = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(WORK / "bentoml-home")}
    command = [home / "bin/bentoml", "serve", f"app:{app}", "--host", "127.0.0.1", "--port", port]
    return App(Server("BentoML", command, port, cwd=APPS / "bentoml", env=env), "/sum", "/readyz")


def mlserver(model="Sum"):
    home = peers.install_environment("mlserver")
    folder = WORK / f"mlserver-{model.lower()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text((APPS / "mlserver/model.py").read_text())
    http, grpc, metrics = (peers.free_port() for _ in range(3))
    (folder / "settings.json").write_text(json.dumps({
        "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": http, "grpc_port": grpc,
        "metrics_port": metrics, "metrics_dir": str(folder / "metrics")}))
    (folder / "model-settings.json").write_text(json.dumps({"name": "model", "implementation": f"model.{model}"}))
    # It imports model.py from the folder.
    server = Server("MLServer", [home / "bin/mlserver", "start", "."], http, cwd=folder, env={"PYTHONPATH": str(folder)})
    return App(server, "/v2/models/model/infer", "/v2/health/live", _tensors)


def deploy(app):
    """To a running Soma, until it answers."""
    app.server.deploy({"predictor.py": APPS / "soma/predictor.py"},
                      [{"name": "sum", "predictor": {"type": "python", "path": "predictor.py"}}])
    app.server.wait(app.case())


def start(app, started):
    """Starts its server; of Soma, the daemon and then the api."""
    started.append(app.server)
    if isinstance(app.server, peers.Soma):
        app.server.start(Case("soma-up", "GET", "/healthz"))
        deploy(app)
    else:
        app.server.start(app.case())
    return app


def apps():
    return [soma(), fastapi("async def"), fastapi("def"), fastapi("async def", standard=False), litserve(), bentoml(),
            mlserver()]


def health_while(app, **block):
    """Seconds that each health check took while a predict ran."""
    predict, client, times = load.Client(app.server.port), load.Client(app.server.port), []
    busy = threading.Thread(target=predict.ask, args=[app.case(**block)])
    client.ask(app.health_case())
    busy.start()
    time.sleep(0.1)
    while busy.is_alive():
        status, _, seconds = client.ask(app.health_case())
        if status != 200:
            raise RuntimeError(f"{app.server.name}: a health check was answered {status}")
        times.append(seconds)
        time.sleep(HEALTH_PAUSE_S)
    predict.close()
    client.close()
    return times


def measure_health(made, count):
    told = {}
    for _ in range(count):
        for app in made:
            for kind in ("sleep", "spin"):
                times = health_while(app, **{kind: BLOCK_S})
                told.setdefault(app.server.name, {}).setdefault(kind, []).extend(times)
                rounds.progress(f"{app.server.name}, {kind}: {len(times)} health checks")
    rounds.progress("")
    return told


def run(options):
    peers.install_programs()
    with peers.all_ended() as started:
        made = [start(app, started) for app in [*apps(), Floor()]]
        by_server = {app.server.name: app for app in made}
        measured = rounds.Rounds([app.server for app in made], options.rounds, options.seconds)
        measured.run({"sum": lambda server: by_server[server.name].case()}, CONNECTIONS)
        health = measure_health(made[:-1], 1)
    return {"cells": measured.record(), "busy": measured.busy_record(), "health": health}


def render(told):
    cells = results.Cells(told["cells"])
    servers = list(dict.fromkeys(r["server"] for r in told["cells"]))
    text = ["Requests per second of CPU that the whole process tree used (Soma's with keeper, daemon and replica): median "
            "(least to most of the rounds), and how many times as many Soma answers (median of the rounds' ratios). The floor is "
            "a bare epoll proxy and a bare epoll echo behind it, on a Unix socket as Soma's replica is.", ""]
    for each in told["cells"]:
        for one in each["rounds"]:
            one["per_cpu_s"] = 1e6 / one["cpu_us"]
    rows = [[server, *(cell for case, c in cells.groups() for cell in (
        cells.spread(server, case, c, "per_cpu_s", 0),
        "" if server == "Soma" else
        f"×{cells.ratio('Soma', server, case, c, 'per_cpu_s'):.{2 if server == FLOOR else 1}f}"))]
        for server in servers]
    text += results.table(["", *(h for c in CONNECTIONS for h in (f"c={c}", "Soma"))], rows)
    text += ["", "Requests per second, with server and replica on one core.", ""]
    text += results.table(["", *(f"c={c}" for c in CONNECTIONS)], [
        [server, *(cells.spread(server, case, c, "rps", 0) for case, c in cells.groups())] for server in servers])
    text += ["", "Time of a request in milliseconds: p50 and p99, medians of the rounds.", ""]
    rows = [[server, *(f"{cells.median(server, case, c, what) / 1000:.2f}" for case, c in cells.groups()
                       for what in ("p50_us", "p99_us"))] for server in servers]
    text += results.table(["", *(f"c={c} {p}" for c in CONNECTIONS for p in ("p50", "p99"))], rows)
    text += ["", f"A health check while a predict of {BLOCK_S} s runs, p50 and p99 in milliseconds: once the predict sleeps, "
             "once it computes in Python and holds the GIL.", ""]
    rows = [[server, *(f"{results.quantile(times, q) * 1000:.2f}" for times in (kinds["sleep"], kinds["spin"])
                       for q in (0.5, 0.99)), len(kinds["spin"])] for server, kinds in told["health"].items()]
    text += results.table(["", "sleeps: p50", "p99", "computes: p50", "p99", "checks"], rows)
    return text

"""No idle processor: a request that waits for a database, computes, and writes a log, with one inference slot."""
import hashlib
import json
import statistics
import subprocess
import sys

from kit import machine, open_loop, peers, results, rounds
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server

HERE = APPS / "stages"
sys.path.insert(0, str(HERE))
import work  # noqa: E402

TITLE = "No idle processor"
PREDICT_S = 0.020
# Requests a second, and for how many seconds: idle, 80% of what one slot can, four times that.
LOADS = {1: 5, 40: 8, 200: 4}
SATURATED = max(LOADS)
LAMBDA, RIVAL = "Lambda's way (awslambdaric)", "FastAPI, by hand, async"


def calibrate():
    """Rounds of the hash that take PREDICT_S on the server's core."""
    code = ("import hashlib, time\nn = 10000\n"
            "def cost():\n    t = time.process_time()\n    hashlib.pbkdf2_hmac('sha256', b'1', b'model', n)\n"
            "    return time.process_time() - t\n"
            f"print(int(n * {PREDICT_S} / min(cost() for _ in range(40))))")
    done = subprocess.run(machine.pinned(machine.SERVER_CORE, [peers.PYTHON, "-c", code]), capture_output=True, text=True,
                          check=True)
    return int(done.stdout)


# --- servers -----------------------------------------------------------------


class App:
    """A server, and how it wants to be asked."""

    def __init__(self, server, path="/"):
        self.server, self.path = server, path

    def body(self, x):
        return json.dumps({"x": x})

    def answer(self, text):
        return json.loads(text)["y"]

    def case(self):
        return Case("stages-up", "POST", self.path, self.body(0), lambda text: self.answer(text).startswith("0 "))

    def start(self, hash_rounds):
        self.server.env["WORK_ROUNDS"] = str(hash_rounds)
        self.server.start(self.case())


class SomaApp(App):
    def __init__(self, kind):
        super().__init__(peers.Soma(f"Soma, {kind} hooks"), "/stages")
        self.kind = kind

    def start(self, hash_rounds):
        self.server.start(Case("soma-up", "GET", "/healthz"))
        self.server.deploy({"predictor.py": HERE / f"soma_{self.kind}.py", "work.py": HERE / "work.py"}, [{
            "name": "stages",
            "predictor": {"type": "python", "path": "predictor.py", "env": {"WORK_ROUNDS": str(hash_rounds)}}}])
        self.server.wait(self.case())


class MLServerApp(App):
    def __init__(self):
        home, folder = peers.install_environment("mlserver"), WORK / "mlserver-stages"
        folder.mkdir(parents=True, exist_ok=True)
        http, grpc, metrics = (peers.free_port() for _ in range(3))
        (folder / "settings.json").write_text(json.dumps({
            "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": http, "grpc_port": grpc,
            "metrics_port": metrics, "metrics_dir": str(folder / "metrics")}))
        (folder / "model-settings.json").write_text(json.dumps({"name": "model", "implementation": "mls.Model"}))
        super().__init__(Server("MLServer", [home / "bin/mlserver", "start", "."], http, cwd=folder,
                                env={"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}), "/v2/models/model/infer")

    def body(self, x):
        return json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [x]}]})

    def answer(self, text):
        return json.loads(text)["outputs"][0]["data"][0]


def peer(name, environment, command, path="/", **env):
    port, home = peers.free_port(), peers.install_environment(environment)
    command = [home / "bin" / command[0], *(str(port) if part == "PORT" else part for part in command[1:])]
    return App(Server(name, command, port, cwd=HERE, env={"PYTHONDONTWRITEBYTECODE": "1", **env}), path)


def fastapi(name, path):
    return peer(name, "fastapi", ["uvicorn", "rival:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                                  "--host", "127.0.0.1", "--port", "PORT"], path)


def bentoml(name, service):
    return peer(name, "bentoml", ["bentoml", "serve", f"bento:{service}", "--host", "127.0.0.1", "--port", "PORT"],
                BENTOML_DO_NOT_TRACK="True", BENTOML_HOME=str(WORK / "bentoml-home"))


def ray(name, form):
    return peer(name, "ray", ["python", "rayserve.py", "PORT", form], RAY_USAGE_STATS_ENABLED="0",
                RAY_SERVE_THROUGHPUT_OPTIMIZED="1")


APPS = [
    lambda: SomaApp("def"),
    lambda: SomaApp("async"),
    lambda: peer(LAMBDA, "lambda", ["python", "runtime_api.py", "PORT"]),
    lambda: fastapi(RIVAL, "/async"),
    lambda: fastapi("FastAPI, by hand, def", "/def"),
    lambda: peer("LitServe, async", "litserve", ["python", "lit.py", "PORT", "async"], "/predict"),
    lambda: peer("LitServe, def", "litserve", ["python", "lit.py", "PORT", "def"], "/predict"),
    lambda: bentoml("BentoML, async", "Async"),
    lambda: bentoml("BentoML, def", "Sync"),
    MLServerApp,
    lambda: ray("Ray Serve, async", "async"),
    lambda: ray("Ray Serve, def", "def"),
]


# --- measuring ---------------------------------------------------------------


def ideal(times, services):
    """Seconds that each request would take in one FIFO queue before one slot that nothing ever keeps waiting."""
    free, took = 0.0, []
    for at, service in zip(times, services):
        free = max(free, at + work.PRE_S) + service
        took.append(free - at)
    return took


def measure(app, rate, seconds, seed, hash_rounds):
    times = open_loop.arrivals(rate, seconds, seed)
    before = app.server.cpu_s()
    answers = open_loop.load(app.server.port, app.path, [app.body(i) for i in range(len(times))], times)
    cpu_s = app.server.cpu_s() - before
    took, finished, ran, services, bad, refused, late = [], [], [], [], 0, 0, 0
    for i, (due, (at, status, text)) in enumerate(zip(times, answers)):
        services.append(PREDICT_S)
        if status == 0:
            late += 1
        elif status == 503:
            refused += 1
        elif status != 200:
            bad += 1
        else:
            x, digest, begin, end = app.answer(text).split()
            bad += x != str(i) or (i in (0, len(times) // 2) and digest != digest_of(i, hash_rounds))
            took.append(at - due)
            finished.append(at)
            ran.append((float(begin), float(end)))
            services[-1] = ran[-1][1] - ran[-1][0]
    # What came out per second once the first could have been through, until the last arrived.
    begin = work.PRE_S + PREDICT_S
    inside = [at for at in finished if begin <= at <= seconds]
    return {"rps": len(inside) / (seconds - begin), "p50_us": quantile_us(took, 0.5), "p99_us": quantile_us(took, 0.99), "bad": bad,
            "refused": refused, "late": late, "sent": len(times), "answered": len(took), "busy_share": busy_share(ran),
            "predict_us": statistics.median(end - begin for begin, end in ran) * 1e6 if ran else 0,
            "ideal_p50_us": quantile_us(ideal(times, services), 0.5),
            "ideal_p99_us": quantile_us(ideal(times, services), 0.99), "cpu_us": cpu_s * 1e6 / max(1, len(took))}


def quantile_us(seconds, share):
    return results.quantile(seconds, share) * 1e6 if seconds else 0


def digest_of(x, hash_rounds):
    return hashlib.pbkdf2_hmac("sha256", str(x).encode(), b"model", hash_rounds).hex()


def busy_share(ran):
    """Of the time from the first prediction to the last: in how much one ran."""
    if len(ran) < 2:
        return 0
    ran, busy, until = sorted(ran), 0.0, 0.0
    for begin, end in ran:
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return busy / (until - ran[0][0])


def run_app(make, measured, turn, hash_rounds):
    """One server under each load; anew where the last load has left something in a queue, which is not the next one's."""
    app = None
    with peers.all_ended() as started:
        for rate, seconds in LOADS.items():
            if not app:
                app = make()
                started.append(app.server)
                measured.servers = [app.server]
                app.start(hash_rounds)
            watch = machine.Busy(measured._roots)
            watch.begin()
            told = measure(app, rate, seconds, turn, hash_rounds)
            told["busy"] = watch.end()
            measured.cells.setdefault((app.server.name, f"{rate}/s", 1), []).append(told)
            measured.busy.append(told["busy"])
            rounds.progress(
                f"{app.server.name}, {rate}/s: {told['rps']:.1f}/s, p99 {told['p99_us'] / 1000:.0f} ms (ideal "
                f"{told['ideal_p99_us'] / 1000:.0f}), busy {told['busy_share']:.1%}, {told['refused']} refused, "
                f"{told['late']} late, {told['bad']} bad")
            if told["late"]:
                app.server.stop()
                app = None


def run(options):
    peers.install_programs()
    hash_rounds = calibrate()
    measured = rounds.Rounds([], options.rounds, options.seconds)
    for turn in range(options.rounds):
        for make in APPS:
            run_app(make, measured, turn, hash_rounds)
    rounds.progress("")
    return {"cells": measured.record(), "busy": measured.busy_record()}


# --- the page ----------------------------------------------------------------


def render(told):
    cells = results.Cells(told["cells"])
    servers = list(dict.fromkeys(r["server"] for r in told["cells"]))
    idle, busy, saturated = (f"{rate}/s" for rate in LOADS)

    def ms(server, case, what):
        return f"{cells.median(server, case, 1, what) / 1000:.0f}"

    text = [f"Each request waits {work.PRE_S * 1000:.0f} ms before, computes {PREDICT_S * 1000:.0f} ms and waits "
            f"{work.POST_S * 1000:.0f} ms after. One slot, which could answer {1 / PREDICT_S:.0f} a second. Requests come by an "
            "open Poisson process, the same for all.", "",
            f"At {SATURATED} requests a second: answers per second, median (least to most of the rounds); how many times "
            "Lambda's way and FastAPI's that is (medians of the rounds' ratios); the share of the time in which the slot "
            "predicted, by the predictions' own clock; milliseconds of a prediction; of all requests those refused (503) and "
            "those without an answer 1.5 s after the last came.", ""]

    def times(server, other):
        if not all(cells.values(other, saturated, 1, "rps")):
            return "none came"
        return f"×{cells.ratio(server, other, saturated, 1, 'rps'):.2f}"

    rows = []
    for s in servers:
        sent = sum(cells.values(s, saturated, 1, "sent"))
        rows.append([s, cells.spread(s, saturated, 1, "rps"),
                     times(s, LAMBDA), times(s, RIVAL),
                     f"{cells.median(s, saturated, 1, 'busy_share'):.1%}",
                     f"{cells.median(s, saturated, 1, 'predict_us') / 1000:.1f}",
                     *(f"{sum(cells.values(s, saturated, 1, what)) / sent:.0%}" for what in ("refused", "late"))])
    text += results.table(["", "answers/s", "÷ Lambda's", "÷ FastAPI's", "slot busy", "predict ms", "refused", "late"], rows)
    text += ["", "Milliseconds of a request from when it was due. The ideal is one FIFO queue before one slot that nothing ever "
             "keeps waiting, fed the same arrivals and the predict times that were measured; the last column is p99 as a "
             "multiple of it, median of the rounds' ratios.", ""]
    rows = []
    for s in servers:
        ratio = statistics.median(a / b for a, b in zip(cells.values(s, busy, 1, "p99_us"),
                                                        cells.values(s, busy, 1, "ideal_p99_us")))
        rows.append([s, *(f"{ms(s, case, 'p50_us')} / {ms(s, case, 'p99_us')}" for case in (idle, busy, saturated)),
                     f"{ms(s, busy, 'ideal_p50_us')} / {ms(s, busy, 'ideal_p99_us')}", f"×{ratio:.2f}"])
    text += results.table(["", *(f"{case}: p50 / p99" for case in (idle, busy, saturated)), f"{busy}: ideal", "p99 ÷ ideal"],
                          rows)
    return text

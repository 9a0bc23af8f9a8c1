"""A noisy neighbour: one api is asked ten times what its replica can do; what another one's callers notice."""
import contextlib
import json
import subprocess
import threading

from kit import machine, open_loop, peers, results, rounds
from kit.load import Case
from kit.paths import APPS
from kit.peers import Server
from stages import PREDICT_S, calibrate

TITLE = "A noisy neighbour"
HERE = APPS / "overload"
LOAD_S, QUICK_LOAD_S = 10, 3
WARM = 20  # requests to each before: what a server learns of its times is known then
QUIET_PART = 4  # the quiet one's predict takes a quarter of the noisy one's ...
QUIET_RATE = 40  # ... and it is asked so often a second: a fifth of what a core can
FACTOR, PATIENCE_S = 10, 0.5
LEAD_S = 1  # for both senders to be there before either begins
REPLICAS = 4  # that the noisy one may have in the second part


WHEN = ("alone_us", "floor_us", "beside_us")


def _body(x):
    return json.dumps({"x": x})


class Pair:
    """A quiet and a noisy service on one machine; both have all cores."""

    def case(self, who):
        port, path = self.at(who)
        return port, Case(f"neighbour-{who}", "POST", path, _body(0), lambda text: len(json.loads(text)["y"]) == 64)

    def warm(self):
        for who in ("quiet", "noisy") * WARM:
            port, case = self.case(who)
            case.check(port)

    def load(self, who, rate, seconds, seed, patience_s=None):
        """[seconds that each answer took, from when it was due], and how many had none."""
        port, path = self.at(who)
        times = open_loop.arrivals(rate, seconds, seed)
        headers = f"X-Request-Timeout: {patience_s}\r\n" if patience_s else ""
        answers = open_loop.load(port, path, [_body(i) for i in range(len(times))], times, headers, patience_s, spin_s=0, lead_s=LEAD_S)
        took = [at - due for due, (at, status, _) in zip(times, answers) if status == 200]
        return took, len(times) - len(took)


class Soma(Pair):
    def __init__(self, name, replicas):
        self.name, self.replicas, self.server = name, replicas, peers.Soma(name, core=machine.ALL_CORES)

    def start(self, hash_rounds, started):
        started.append(self.server)
        self.server.start(Case("soma-up", "GET", "/healthz"))
        files = {"predictor.py": HERE / "soma_app.py", "work.py": HERE / "work.py"}
        self.server.deploy(files, [
            {"name": who, "predictor": {"path": "predictor.py", "env": {"WORK_ROUNDS": str(n)}},
             "autoscaling": {"min_replicas": 1, "max_replicas": most}}
            for who, n, most in (("quiet", hash_rounds // QUIET_PART, 1), ("noisy", hash_rounds, self.replicas))])
        for who in ("quiet", "noisy"):
            self.server.wait(self.case(who)[1])

    def at(self, who):
        return self.server.port, f"/{who}"


class Uvicorn(Pair):
    """FastAPI, one thread that predicts, a process each."""

    name = "FastAPI, two processes"

    def __init__(self):
        home, self.servers = peers.install_environment("fastapi"), {}
        for who in ("quiet", "noisy"):
            port = peers.free_port()
            command = [home / "bin/uvicorn", "rival:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--host", "127.0.0.1", "--port", port]
            self.servers[who] = Server(f"FastAPI, {who}", command, port, cwd=HERE, env={"PYTHONDONTWRITEBYTECODE": "1"}, core=machine.ALL_CORES)

    def start(self, hash_rounds, started):
        for who, server in self.servers.items():
            started.append(server)
            server.env["WORK_ROUNDS"] = str(hash_rounds // QUIET_PART if who == "quiet" else hash_rounds)
            server.start(self.case(who)[1])

    def at(self, who):
        return self.servers[who].port, "/"


PAIRS = [lambda: Soma("Soma", 1), lambda: Soma(f"Soma, the noisy one up to {REPLICAS} replicas", REPLICAS), Uvicorn]


@contextlib.contextmanager
def _loop():
    """A process that computes and does nothing else, as the floor has it: cores share caches, clock and more."""
    spin = subprocess.Popen([peers.PYTHON, "-c", "while True: pass"])
    try:
        yield
    finally:
        spin.kill()
        spin.wait()


def _measure(pair, seconds, seed):
    """The quiet one alone, then beside a bare loop, and then beside the noise."""
    alone, failed_alone = pair.load("quiet", QUIET_RATE, seconds, seed)
    with _loop():
        floor, failed_floor = pair.load("quiet", QUIET_RATE, seconds, seed)
    told = {}
    noise = threading.Thread(target=lambda: told.update(zip(("took", "refused"), pair.load("noisy", FACTOR / PREDICT_S, seconds, seed + 1, PATIENCE_S))))
    noise.start()
    beside, failed = pair.load("quiet", QUIET_RATE, seconds, seed)
    noise.join()
    of = {"alone_us": alone, "floor_us": floor, "beside_us": beside}
    return {**{name: [round(t * 1e6) for t in took] for name, took in of.items()}, "failed": failed_alone + failed_floor + failed,
            "noisy_rps": len(told["took"]) / seconds, "noisy_failed": told["refused"] / (len(told["took"]) + told["refused"])}


def run(options):
    seconds, hash_rounds, watch = QUICK_LOAD_S if options.quick else LOAD_S, calibrate(), rounds.Watch()
    measured = {}
    for turn in range(options.rounds):
        for make in PAIRS:
            pair = make()
            with peers.all_ended() as started:
                pair.start(hash_rounds, started)
                pair.warm()
                with watch:
                    now = _measure(pair, seconds, turn)
            measured.setdefault(pair.name, []).append(now)
            p99 = {when: results.quantile(now[when], 0.99) / 1e3 for when in WHEN}
            rounds.progress(f"{pair.name}: p99 {p99['alone_us']:.1f} ms alone, {p99['beside_us']:.1f} beside; "
                            f"noisy {now['noisy_rps']:.0f}/s, {now['noisy_failed']:.0%} not answered")
    rounds.progress("")
    return {"pairs": measured, "load_s": seconds, "busy": watch.record()}


def _quantiles_ms(measured, when, q):
    """Of each round, and of all rounds' requests together: a round's p99 hangs on three or four of them."""
    each = [results.quantile(one[when], q) / 1e3 for one in measured]
    return each, results.quantile([us for one in measured for us in one[when]], q) / 1e3


def _together(measured, when, q):
    each, all_of_them = _quantiles_ms(measured, when, q)
    return f"{all_of_them:.1f} ({min(each):.1f}–{max(each):.1f})"


def _ratio(measured, when):
    beside, beside_all = _quantiles_ms(measured, "beside_us", 0.99)
    other, other_all = _quantiles_ms(measured, when, 0.99)
    ratios = [b / o for b, o in zip(beside, other)]
    return f"{beside_all / other_all:.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def render(told):
    rows = []
    for name, measured in told["pairs"].items():
        rows.append([name, *(_together(measured, what, q) for q in (0.5, 0.99) for what in WHEN), *(_ratio(measured, what) for what in WHEN[:2]),
                     sum(each["failed"] for each in measured), results.spread([each["noisy_rps"] for each in measured], 0), f"{results.quantile([each['noisy_failed'] for each in measured], 0.5):.0%}"])
    return [f"Two services on one machine, which have all of its cores. The quiet one's predict computes for {PREDICT_S * 1e3 / QUIET_PART:.0f} ms and is asked "
            f"{QUIET_RATE} times a second by a Poisson process; the noisy one's computes for {PREDICT_S * 1e3:.0f} ms, and it is asked {FACTOR} times as often as one "
            f"slot of it can answer, by callers who go after {PATIENCE_S * 1e3:.0f} ms and say so. {told['load_s']} s without noise, as long "
            "beside a bare loop of one process, which is the least that a core in use costs the others here, and as long with the noise, in each "
            "round. Times of the quiet one's requests in ms, of all rounds' requests together (least to most of a round); in the last columns what the noisy one answers in "
            "a second, and the part of its callers who had no answer.", "",
            *results.table(["", *(f"{p} {when}" for p in ("p50", "p99") for when in ("alone", "loop", "noise")), "p99, noise ÷ alone", "÷ loop", "failed",
                            "noisy/s", "noisy: none"], rows)]

"""The daemon itself against the simulation: fifty functions of a trace, six times as fast, with the same settings."""
import csv
import gzip
import json
import random
import re
import subprocess

from kit import machine, open_loop, peers, results, rounds, zero
from kit.load import Case
from kit.paths import WORK

TITLE = "The daemon against its simulation"
TRACE = peers.ROOT / "tests/data/traces"
SPEED = 6
WINDOW_MIN, QUICK_WINDOW_MIN = 10, 2  # of the trace, in each round
DAY_MIN, FIRST_COUNT, FIRST_PERCENTILE = 1440, 3, 7
SHARES = (0, .01, .25, .5, .75, .99, 1)
# How replicas are started: the words, and how long __init__ takes, which sleeps, since a start is to take no core from others.
LEVELS = {"init": ("forked after `__init__`", 0), "imports": ("forked after the imports, `__init__` takes 2 s", 2)}
LATE_S = 10  # that the last answers may be late
PREDICTOR = """
import time


class PythonPredictor:
    def __init__(self, config):
        time.sleep(config["load_s"])

    def predict(self, payload):
        time.sleep(payload)
"""


# --- the requests ------------------------------------------------------------


def _rows(name):
    with gzip.open(TRACE / f"functions50_{name}.csv.gz", "rt") as f:
        return {row[0]: row for row in list(csv.reader(f))[1:]}


def _takes_ms(percentiles, rng):
    """On the straight lines through the percentiles, as the simulation draws them."""
    share = rng.random()
    i = next(i for i in range(1, len(SHARES)) if share <= SHARES[i] or i == len(SHARES) - 1)
    low, high = percentiles[i - 1], percentiles[i]
    return max(1, low + (high - low) * (share - SHARES[i - 1]) / (SHARES[i] - SHARES[i - 1]))


def trace(first_min, minutes, seed):
    """[(at, api, how long it takes)] in seconds of ours, by arrival: of so many minutes of the day. What would not have ended
    within them is left out; at their end there is one request more, up to which both count."""
    rng, end, told = random.Random(seed), minutes * 60 / SPEED, []
    runs = _rows("run")
    for i, (function, row) in enumerate(_rows("inv").items()):
        percentiles = [float(ms) for ms in runs[function][FIRST_PERCENTILE:FIRST_PERCENTILE + len(SHARES)]]
        for minute in range(minutes):
            for _ in range(int(row[FIRST_COUNT + first_min + minute])):
                at, takes = (minute + rng.random()) * 60 / SPEED, _takes_ms(percentiles, rng) / 1e3 / SPEED
                if at + takes < end:
                    told.append((at, f"f{i}", max(takes, 0.001)))
    told.sort()
    return [(0.0, *told[0][1:]), *told[1:], (end, told[-1][1], 0.001)]  # the simulation's clock begins with the first


def _simulate(requests, load_ms):
    """The day's counts by `soma simulate`, a replica being ready after so long."""
    path = WORK / "replay.csv"
    path.write_text("time,api,seconds\n" + "".join(f"{at:.6f},{name},{takes:.6f}\n" for at, name, takes in requests))
    done = subprocess.run([peers.SOMA, "simulate", path, "--policy", "soma", "--load", f"{max(1, round(load_ms))}ms", "-o", "json"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    (one,) = json.loads(done.stdout)["classes"]
    return {each["policy"]: {"starts": each["starts"], "replica_s": each["replica_seconds"], "missed": each["misses"]} for each in one["policies"]}


# --- the daemon --------------------------------------------------------------


class Counters:
    """Of all apis of a Soma, since it was made."""

    def __init__(self, soma):
        self.text = soma.call("/metrics")

    def sum(self, name):
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.text, re.M))


def _deploy(soma, level):
    names = [f"f{i}" for i in range(len(_rows("inv")))]
    soma.deploy({"predictor.py": PREDICTOR},
                [{"name": name, "predictor": {"path": "predictor.py", "zygote": level, "freeze": "never", "config": {"load_s": LEVELS[level][1]}},
                  "request_timeout": "1h", "autoscaling": {"min_replicas": 0, "max_replicas": 1000}} for name in names])

    def settled():
        return all(api["status"] == "live" and api["zygote"]["state"] == "ready" for api in soma.call("/v1/apis")["apis"])

    zero.until("all are live", settled, 0.1)
    for name in names:
        soma.call(f"/v1/apis/{name}/scale", {"replicas": 0})
    zero.until("all are at zero", lambda: not any(api["replicas"] for api in soma.call("/v1/apis")["apis"]), 0.1)


def _replay(requests, level, watch):
    with peers.all_ended() as started:
        soma = peers.Soma(core=machine.ALL_CORES)
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        _deploy(soma, level)
        before = Counters(soma)
        with watch:
            answers = open_loop.load(soma.port, [f"/{name}" for _, name, _ in requests], [json.dumps(takes) for _, _, takes in requests],
                                     [at for at, _, _ in requests], drain_s=LATE_S, spin_s=0)
        after = Counters(soma)
    failed = sum(status != 200 for _, status, _ in answers)
    waited = [at - due - takes for (due, _, takes), (at, status, _) in zip(requests, answers) if status == 200]

    def passed(name):
        return after.sum(name) - before.sum(name)

    ready = passed("soma_cold_start_seconds_count")
    return {"starts": passed("soma_replica_starts_total"), "replica_s": passed("soma_replica_seconds_total"), "failed": failed,
            "load_ms": passed("soma_cold_start_seconds_sum") / max(1, ready) * 1e3, "missed": sum(s > 0.1 for s in waited)}


# --- the bench ---------------------------------------------------------------


def run(options):
    minutes, watch, told = QUICK_WINDOW_MIN if options.quick else WINDOW_MIN, rounds.Watch(), []
    for turn in range(options.rounds):
        first = turn * DAY_MIN // options.rounds  # spread over the day
        requests = trace(first, minutes, turn)
        for level in LEVELS:
            daemon = _replay(requests, level, watch)
            told.append({"level": level, "first_min": first, "requests": len(requests), "busy_s": sum(takes for _, _, takes in requests),
                         "daemon": daemon, "simulated": _simulate(requests, daemon["load_ms"])})
            ours = told[-1]["simulated"]["soma"]
            rounds.progress(f"{LEVELS[level][0]}: {daemon['starts']:.0f} starts, simulated {ours['starts']}; {daemon['replica_s']:.0f} replica-seconds, "
                            f"simulated {ours['replica_s']:.0f}; {daemon['failed']} failed")
    rounds.progress("")
    return {"windows": told, "minutes": minutes, "busy": watch.record()}


def _row(words, when, windows):
    def total(by, what):
        return sum(each["daemon"][what] if by == "daemon" else each["simulated"][by][what] for each in windows)

    def beside(what):
        daemon, ours = total("daemon", what), total("soma", what)
        return [f"{daemon:.0f}", f"{ours:.0f}", f"{daemon / ours - 1:+.1%}"]

    load = total("daemon", "load_ms") / len(windows)
    return [words, when, sum(each["requests"] for each in windows), total("daemon", "failed"), f"{load:.0f}", *beside("starts"), *beside("replica_s"),
            f"{total('oracle', 'replica_s'):.0f}", total("daemon", "missed"), total("soma", "missed")]


def render(told):
    rows = []
    for level, (words, _) in LEVELS.items():
        windows = [each for each in told["windows"] if each["level"] == level]
        rows += [_row(words, f"{each['first_min'] // 60:02}:{each['first_min'] % 60:02}", [each]) for each in windows]
        rows.append([f"**{words}**", *_row(words, "all", windows)[1:]])
    return [f"Requests of fifty functions of the Azure trace, {told['minutes']} minutes of the day in each round, {SPEED} times as fast: gaps and the times that "
            "requests take (they sleep) are divided by that; the time of a start is not. The daemon serves them, all apis at zero at first; `soma simulate` is told "
            "the same requests and the mean time of the daemon's starts, and nothing else. Both have the same settings, which are the defaults. Most of the replica-seconds are those "
            "of a few functions that take long, most of the starts those of a few that are called often.", "",
            *results.table(["replicas", "from", "requests", "failed", "a start, ms", "starts", "simulated", "", "replica-s", "simulated", "", "oracle", "missed",
                            "simulated"], rows)]

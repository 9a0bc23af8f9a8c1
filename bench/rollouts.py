"""New versions and new gateways under load: Soma beside nginx before gunicorn, gunicorn's own reloads, and Ray Serve."""
import statistics
import tempfile
import threading
import time

from kit import machine, peers, results, rounds
from kit.paths import WORK
from kit.steady import Steady
from rollouts_systems import GATEWAYS, SYSTEMS, Nothing

TITLE = "Roll-outs under load"
RATE = 200              # short requests a second
STREAMS = 20            # at any time
CHUNKS = 40             # of 50 ms: shorter than everybody's grace time
QUIET_S, AFTER_S = 8, 1
QUICK = {"rate": 50, "streams": 4, "chunks": 10, "quiet_s": 2}
SETTLE_S = 1
SAMPLE_S = 0.1
WARM_S = 0.5            # of the quiet time, not counted: connections are made


class Memory(threading.Thread):
    """PSS of a system's processes, ten times a second, in MiB; .peak is the most."""

    def __init__(self, system):
        super().__init__()
        self.system, self.ending, self.peak = system, threading.Event(), 0

    def look(self):
        now = machine.pss_mb(self.system.pids())[0]
        self.peak = max(self.peak, now)
        return now

    def run(self):
        while not self.ending.wait(SAMPLE_S):
            self.look()

    def __enter__(self):
        self.before = self.look()
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()


# --- one change ---------------------------------------------------------------


def _load(system, load, seed):
    return Steady(system.port, system.path, load["rate"], load["streams"], load["chunks"], seed)


def _sort(told, begin, end, old):
    """What came of the load around a change that lasted from `begin` to `end`; old: the version before it."""
    failed = [r for r in told["requests"] if r[2] != 200 or r[3] is None]
    of_old = [r[1] for r in told["requests"] if r[1] and r[3] == old] + [s[1] for s in told["streams"] if s[3] == old]
    of_new = [r[1] for r in told["requests"] if r[1] and r[3] == old + 1]
    # Processes that take long to end disturb nobody: what they would add is calm.
    over = max(of_old + [min(of_new)]) if of_new and of_old else end
    took = {when: [(r[1] - r[0]) * 1e6 for r in told["requests"] if r[1] and least <= r[0] < most]
            for when, least, most in (("quiet_us", told["requests"][0][0] + WARM_S, begin), ("change_us", begin, over))}
    return {"failed": len(failed), "cut": sum(not s[2] for s in told["streams"]) + told["unfinished"],
            "requests": len(told["requests"]), "streams": len(told["streams"]),
            "wrong": sum(r[3] not in (old, old + 1) for r in told["requests"] if r[2] == 200),
            "last_old_s": max(0, max(of_old, default=begin) - begin), "over_s": end - begin,
            **{when: [round(us) for us in values] for when, values in took.items()}}


def _under_load(system, load, seed):
    """Times of what is asked, before and during one change."""
    old = system.version
    with _load(system, load, seed) as steady:
        time.sleep(load["quiet_s"])
        begin = time.perf_counter()
        system.change()
        end = time.perf_counter()
        time.sleep(AFTER_S)
    return _sort(steady.told, begin, end, old)


def _memory(system, load, seed):
    """Of a further change, the same load beside it: looking takes time that would be in its answers'."""
    with _load(system, load, seed) as steady:
        time.sleep(SETTLE_S)
        old, begin = system.version, time.perf_counter()
        with Memory(system) as memory:
            system.change()
            memory.look()
        end = time.perf_counter()
    told = _sort(steady.told, begin, end, old)
    return {"before_mib": memory.before, "peak_mib": memory.peak, "failed": told["failed"], "cut": told["cut"], "wrong": told["wrong"]}


def measure(system, load, seed, started):
    system.start(started)
    time.sleep(SETTLE_S)
    told = _under_load(system, load, seed)
    time.sleep(SETTLE_S)
    memory = _memory(system, load, seed + 1000)
    return {**told, **{what: told[what] + memory[what] for what in ("failed", "cut", "wrong")},
            "before_mib": memory["before_mib"], "peak_mib": memory["peak_mib"]}


def _once(make, load, seed, told, left_out):
    """A new system, measured. One of the others that cannot start is left out, and the page says so: Ray gives up after 30 s."""
    try:
        with tempfile.TemporaryDirectory(dir=WORK) as place, peers.all_ended() as started:
            system = make(place)
            now = measure(system, load, seed, started)
    except RuntimeError as e:
        if make.name.startswith("Soma"):
            raise
        left_out[make.name] = str(e).strip().splitlines()[-1]
        rounds.progress(f"{make.name} is left out: {e}")
        return
    told.setdefault(make.name, []).append(now)
    rounds.progress(f"{make.name}: {now['failed']} failed, {now['cut']} cut, p99 {_added(now, 0.99):+.1f} ms, last of the old "
                    f"after {now['last_old_s']:.1f} s, {_extra(now):+.0f} MiB")


def run(options):
    peers.install_programs(("nginx",))
    WORK.mkdir(parents=True, exist_ok=True)
    load = QUICK if options.quick else {"rate": RATE, "streams": STREAMS, "chunks": CHUNKS, "quiet_s": QUIET_S}
    told, watch = {"load": load, "rollouts": {}, "gateways": {}, "left_out": {}}, rounds.Watch()
    for turn in range(options.rounds):
        for kind, systems in (("rollouts", [*SYSTEMS, Nothing]), ("gateways", [*GATEWAYS, Nothing])):
            for make in systems:
                with watch:
                    _once(make, load, turn, told[kind], told["left_out"])
    rounds.progress("")
    return {**told, "busy": watch.record()}


# --- the page ----------------------------------------------------------------


def _ms(one, when, q):
    return results.quantile(one[when], q) / 1e3 if one[when] else 0.0


def _added(one, q):
    """Milliseconds that a request took longer during the change."""
    return _ms(one, "change_us", q) - _ms(one, "quiet_us", q)


def _row(name, measured, last):
    return [name, *(sum(one[what] for one in measured) for what in ("failed", "cut")),
            *(results.spread([_ms(one, "quiet_us", q) for one in measured]) for q in (0.5, 0.99)),
            *(results.spread([_added(one, q) for one in measured]) for q in (0.5, 0.99)),
            f"{max(max(one['change_us'], default=0) for one in measured) / 1e3:.0f}",
            results.spread([one[last] for one in measured]),
            results.spread([one["peak_mib"] - one["before_mib"] for one in measured], 0),
            results.spread([one["before_mib"] for one in measured], 0)]


HEAD = ["", "failed", "cut", "quiet p50", "p99", "added p50", "added p99", "slowest"]


def _median(measured, number):
    return statistics.median(number(one) for one in measured)


def verdicts(told):
    """[(what is to hold, whether it does)]"""
    found = []
    for kind, words in (("rollouts", "roll-out"), ("gateways", "upgrade of Soma")):
        of = told[kind]
        (ours, *theirs) = [name for name in of if name != Nothing.name]
        mine = of[ours]
        found.append((f"{words}: no request fails, no stream is cut, no answer is wrong", not any(one[what] for one in mine for what in ("failed", "cut", "wrong"))))
        p99 = {name: _median(measured, lambda one: _added(one, 0.99)) for name, measured in of.items()}
        found.append((f"{words}: the p99 rises by no more than the least of the others', or than with nothing changed",
                      p99[ours] <= max(min((p99[name] for name in theirs), default=float("inf")), p99[Nothing.name])))
    of = told["rollouts"]
    (ours, *theirs) = [name for name in of if name != Nothing.name]
    found.append(("roll-out: no more memory at its peak than the least of the others that fail nothing",
                  _median(of[ours], _extra) <= min((_median(of[name], _extra) for name in theirs
                                                    if not any(one["failed"] + one["cut"] for one in of[name])), default=float("inf"))))
    return found


def _extra(one):
    return one["peak_mib"] - one["before_mib"]


def render(told):
    load = told["load"]
    text = [f"{load['rate']} short requests a second by a Poisson process, on connections that are kept, and {load['streams']} streams of {load['chunks'] * 0.05:g} s at any "
            "time, while the version changes: from one to the next of the same code, each of two processes with 64 MiB of its own. Failed: refused, broken, or not 200; cut: "
            "streams that did not come whole; sums of all rounds. Times in ms, medians of the rounds (least to most): of requests that were due in the quiet time before, and how much more "
            "during the change, from the command until the new version has answered and the old one for the last time; slowest: of all. Last of the old: from the command to the last byte that the "
            "old version answered, in s. Extra: memory (PSS) of all processes at the most, over that before, in MiB, of a further change under the same load. The last row is "
            "Soma with nothing changed: what times differ by anyway.", ""]
    text += results.table([*HEAD, "last of the old", "extra", "before"], [_row(name, of, "last_old_s") for name, of in told["rollouts"].items()])
    text += ["", "The gateway itself is replaced and the version stays: from the command until the old processes have ended, in s, which is when their last stream is over.", ""]
    text += results.table([*HEAD, "old ones gone", "extra", "before"], [_row(name, of, "over_s") for name, of in told["gateways"].items()])
    text += [line for name, why in told.get("left_out", {}).items() for line in ("", f"{name} was left out at least once, since it did not start or did not end: {why}")]
    return [*text, "", *results.table(["to hold", ""], [[what, "holds" if holds else "**does not hold**"] for what, holds in verdicts(told)])]

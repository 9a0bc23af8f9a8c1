"""Autoscalers on real traces, simulated: how many requests wait too long, and what that takes."""
import json
import math
import subprocess
import time

from kit import peers, results, rounds

TITLE = "Autoscaling, simulated"
TRACES = peers.ROOT / "tests/data/traces"
LOADS = ("5ms", "2s", "60s")
HALVINGS = 5
DAY_S = 10  # 24 hours of 500 functions are to take no longer


def simulate(trace, *words):
    told = subprocess.run([peers.SOMA, "simulate", TRACES / trace, *words, "-o", "json"], capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(told.stderr)
    return json.loads(told.stdout)


def _best(ours, theirs):
    """The setting that takes the fewest replica-seconds of those that miss no more, or None."""
    return min((o for o in ours if o["misses"] <= theirs["misses"]), key=lambda o: o["replica_seconds"], default=None)


def _fill(curve, load):
    """Between two worths of ours lie others: tries them where the nearest one takes more than another policy does."""
    ours = [r for r in curve["policies"] if r["policy"] == "soma"]
    learned = [r for r in ours if "keep_idle_seconds" not in r]
    for r in [r for r in curve["policies"] if r["policy"] not in ("soma", "oracle")]:
        for _ in range(HALVINGS):
            if (best := _best(ours, r)) and best["replica_seconds"] <= r["replica_seconds"]:
                break
            best = _best(learned, r)
            worse = [o for o in learned if o["misses"] > r["misses"] and o["replica_seconds"] < r["replica_seconds"]]
            if not best or not worse:
                break
            worth = math.sqrt(max(1, best["setting"]) * max(1, max(o["setting"] for o in worse)))
            again, = simulate("functions500_inv.csv.gz", "--half", "report", "--load", load, "--policy", "soma", "--worth", f"{worth:.0f}")["classes"]
            new = [o for o in again["policies"] if o["policy"] == "soma"]
            ours += new
            learned += new
    curve["policies"] = [r for r in curve["policies"] if r["policy"] != "soma"] + ours


def run(options):
    begun = time.monotonic()
    simulate("functions500_inv.csv.gz", "--policy", "soma", "--load", "2s")
    told = {"rounds": 1, "day_s": time.monotonic() - begun, "functions": simulate("functions500_inv.csv.gz", "--half", "report", "--load", ",".join(LOADS)),
            "curves": [], "llm": {}}
    for load in LOADS:
        rounds.progress(f"curves, {load} to start")
        curve, = simulate("functions500_inv.csv.gz", "--half", "report", "--curve", "--load", load)["classes"]
        _fill(curve, load)
        told["curves"].append(curve)
    for name in ("llm_conv", "llm_code"):
        rounds.progress(name)
        told["llm"][name] = {"usual": simulate(f"{name}.csv.gz", "--slots", "16", "--load", ",".join(LOADS)),
                             "curves": simulate(f"{name}.csv.gz", "--slots", "16", "--load", ",".join(LOADS), "--curve")}
    rounds.progress("")
    return told


def _class(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.0f} s"


def _setting(row):
    kept = f", kept {row['keep_idle_seconds']:g} s" if "keep_idle_seconds" in row else ""
    return f"{row['setting']:g}{kept}" if "setting" in row else "–"


def _rows(one):
    return [[r["policy"], _setting(r), f"{r['miss_share']:.3%}", f"{r['starts']:,}",
             f"{r['replica_seconds'] / 3600:,.0f}", f"{r['by_oracle']:.3f}", f"{r['idle_memory_mb_seconds'] / 1024 / 3600:,.0f}"]
            for r in one["policies"]]


def _pairs(one):
    """Each setting of the others, and ours that takes the fewest replica-seconds of those that miss no more, or None."""
    ours = [r for r in one["policies"] if r["policy"] == "soma"]
    return [(r, _best(ours, r)) for r in one["policies"] if r["policy"] not in ("soma", "oracle")]


def _hours(row):
    hours = row["replica_seconds"] / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2f}"


def _beside(one):
    for r, best in _pairs(one):
        yield [r["policy"], _setting(r), f"{r['miss_share']:.3%}", _hours(r),
               *((_setting(best), f"{best['miss_share']:.3%}", _hours(best), f"{best['replica_seconds'] / r['replica_seconds']:.3f}")
                 if best else ("none misses so few", "", "", ""))]


def _worst(one, rivals=("kpa", "keep-alive")):
    """The largest of those shares beside these."""
    return max(best["replica_seconds"] / r["replica_seconds"] if best else math.inf for r, best in _pairs(one) if r["policy"] in rivals)


def render(told):
    head = ["policy", "setting", "misses", "starts", "replica-hours", "÷ oracle", "idle GB-hours"]
    text = ["Requests of the Azure traces on a simulated clock; [sim/MODEL.md](sim/MODEL.md) says what is assumed. A miss has waited longer than "
            f"100 ms. A day of all 500 functions took {told['day_s']:.1f} s, reading included. Half of the functions, which nothing was tuned "
            "with, each policy at its documented setting:"]
    for one in told["functions"]["classes"]:
        text += ["", f"A replica takes {_class(one['load_seconds'])} to be ready:", "", *results.table(head, _rows(one))]
    text += ["", "The whole curves: each setting of the others, and beside it the setting of Soma's that takes the fewest replica-hours of those that "
             "miss no more: what waiting is worth, and how long what is idle is kept where that is said."]
    head_beside = ["policy", "setting", "misses", "replica-hours", "Soma: setting", "misses", "replica-hours", "÷"]
    for one in told["curves"]:
        text += ["", f"{_class(one['load_seconds'])} to be ready; beside KPA and keep-alive at most {_worst(one):.4f}:", "",
                 *results.table(head_beside, list(_beside(one)))]
    text += ["", "Requests to language models, an hour of each kind, 16 at once in a replica:"]
    for name, doc in told["llm"].items():
        for one, curve in zip(doc["usual"]["classes"], doc["curves"]["classes"]):
            text += ["", f"{name}, {_class(one['load_seconds'])} to be ready:", "", *results.table(head, _rows(one)), "",
                     f"The whole curves; beside KPA and keep-alive at most {_worst(curve):.4f}:", "", *results.table(head_beside, list(_beside(curve)))]
    return text

"""What was measured, as JSON under build/bench/results and as bench/RESULTS.md."""
import json
import re
import statistics

from .paths import BENCH, WORK

FOLDER = WORK / "results"
PAGE = BENCH / "RESULTS.md"


class Cells:
    """Numbers by (server, case, connections)."""

    def __init__(self, record):
        self.of = {(r["server"], r["case"], r["connections"]): r["rounds"] for r in record}

    def groups(self):
        """(case, connections) in the order measured."""
        return list(dict.fromkeys((case, c) for _, case, c in self.of))

    def values(self, server, case, c, what):
        return [each[what] for each in self.of[server, case, c]]

    def median(self, server, case, c, what):
        return statistics.median(self.values(server, case, c, what))

    def ratio(self, server, other, case, c, what):
        """The median of the rounds' ratios: each round's two were measured one after the other."""
        return statistics.median(a / b for a, b in zip(self.values(server, case, c, what), self.values(other, case, c, what)))

    def spread(self, server, case, c, what, digits=1):
        """"median (least–most)", with a mark when answers were wrong."""
        values = self.values(server, case, c, what)
        bad = sum(self.values(server, case, c, "bad"))
        return (f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"
                + (f", {bad} failed" if bad else ""))


def table(head, rows):
    return ["| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows]]


def save(name, told):
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(told, indent=1))


def load(name):
    try:
        return json.loads((FOLDER / f"{name}.json").read_text())
    except FileNotFoundError:
        return None


def _sections():
    """The page's as it is, by title."""
    try:
        text = PAGE.read_text()
    except FileNotFoundError:
        return {}
    return {title: body.strip().split("\n") for title, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.M | re.S)}


def write_page(benches):
    """RESULTS.md from what has been measured here; what has not been stays as the page has it."""
    before = _sections()
    text = ["# Results", "",
            "Written by `bench/run` from its last measurements; [README.md](README.md) says what is compared, with which "
            "settings, and how to read it.", ""]
    for name, bench in benches.items():
        told = load(name)
        section = [*describe(told), "", *bench.render(told)] if told else before.get(bench.TITLE)
        if section:
            text += [f"## {bench.TITLE}", "", *section, ""]
    PAGE.write_text("\n".join(text).rstrip() + "\n")


def describe(told):
    machine, busy = told["machine"], told.get("busy")
    text = [", ".join(f"{key}: {value}" for key, value in machine.items()) + ".",
            f"Soma {told['soma']}; {told['rounds']} rounds" + (f" of {told['seconds']} s each." if "cells" in told else ".")]
    if busy and busy["disturbed"]:
        text += ["", f"**The machine was busy**: in {busy['disturbed']} of {busy['measurements']} measurements other "
                 f"programs or the hypervisor took more than 5% of the measured cores (median {busy['median_share']:.0%}, "
                 f"worst {busy['worst_share']:.0%}). Requests per second and latencies suffer from that; CPU time "
                 "per request little."]
    elif busy:
        text += ["", f"The machine was quiet: others took {busy['median_share']:.1%} of the measured cores (median), "
                 f"{busy['worst_share']:.1%} at worst."]
    return text


def spread(values, digits=1):
    """"median (least–most)"."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def quantile(values, q):
    """The least value that at least the share q of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1)]

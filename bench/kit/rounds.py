"""Rounds: every server once in each, one after the other, so that a machine that changes changes for all."""
import os
import statistics
import sys
import time

from . import machine


class Rounds:
    """Measures cases on servers, so many rounds of so many seconds."""

    def __init__(self, servers, rounds, seconds, others=()):
        """others: servers that work for these and are not measured."""
        self.servers, self.rounds, self.seconds = servers, rounds, seconds
        self.others = list(others)
        self.cells = {}  # (server, case, connections) -> [one dict a round]
        self.busy = []   # (processes, hypervisor) of each measurement

    def _roots(self):
        return [os.getpid(), *(s.process.pid for s in [*self.servers, *self.others] if s.process)]

    def measure(self, server, name, connections, load):
        """Once: what load() tells, with CPU time and busyness. It is kept under the case's name."""
        watch = machine.Busy(self._roots)
        watch.begin()
        before = server.cpu_s()
        told = load()
        if "cpu_us" not in told:
            told["cpu_us"] = (server.cpu_s() - before) * 1e6 / max(1, told["requests"])
        told["busy"] = watch.end()
        self.cells.setdefault((server.name, name, connections), []).append(told)
        self.busy.append(told["busy"])
        return told

    def run(self, cases, connections):
        """cases: {name: function of a server that gives its Case}."""
        done, total = 0, self.rounds * len(cases) * len(connections) * len(self.servers)
        started = time.monotonic()
        for name, case in cases.items():
            for server in self.servers:
                server.check(case(server))
                server.load(case(server), max(connections), 1)
        for _ in range(self.rounds):
            for name, case in cases.items():
                for c in connections:
                    for server in self.servers:
                        told = self.measure(server, name, c, lambda: server.load(case(server), c, self.seconds))
                        done += 1
                        progress(f"{done} of {total}, {time.monotonic() - started:.0f} s: {server.name}, {name}, "
                                 f"c={c}: {told['rps']:.0f}/s, {told['cpu_us']:.1f} us of CPU")
        for name, case in cases.items():
            for server in self.servers:
                server.check(case(server))
        progress("")

    def record(self):
        """What is kept as JSON."""
        return [{"server": server, "case": case, "connections": c, "rounds": rounds}
                for (server, case, c), rounds in self.cells.items()]

    def busy_record(self):
        return busy_record(self.busy)


class Watch:
    """Who else was busy during measurements of processes that this one has started: with watch: ..."""

    def __init__(self):
        self.busy = []

    def __enter__(self):
        self.now = machine.Busy(lambda: [os.getpid()])
        self.now.begin()

    def __exit__(self, *_):
        self.busy.append(self.now.end())

    def record(self):
        return busy_record(self.busy)


def busy_record(busy):
    """How many of the measurements were disturbed, and how much."""
    disturbed = [b for b in busy if sum(b) > machine.BUSY_SHARE]
    return {"measurements": len(busy), "disturbed": len(disturbed),
            "median_share": statistics.median(map(sum, busy)) if busy else 0,
            "worst_share": max(map(sum, busy), default=0)}


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text[:150]}")
        sys.stderr.flush()
    elif text:
        print(f"  {text}", flush=True)

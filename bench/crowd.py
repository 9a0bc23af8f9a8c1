"""A hundred apis from zero at once, beside a hundred starts of the same predictor's process."""
import selectors
import socket
import time

from kit import machine, peers, results, rounds, zero
from kit.load import Case

TITLE = "A hundred apis from zero at once"
CROWD, QUICK_CROWD = 100, 10
LOOK_S = 0.05  # between two looks at who listens
PROCESSES_S = 600  # that all of a crowd of processes may take
SOMA, FASTAPI = "Soma, forked after `__init__`", "FastAPI, their processes"


def _ask_all(apis):
    """[milliseconds from when all are asked to each one's answer], and how many were wrong."""
    apis.to_zero()
    connections = [socket.create_connection(("127.0.0.1", apis.soma.port), zero.PATIENCE_S) for _ in apis.names]
    asked = Asked(time.perf_counter(), apis.tier())
    for name, connection in zip(apis.names, connections):
        asked.ask(connection, name)
    while asked.n and asked.hear(zero.PATIENCE_S):
        pass
    return asked.times, asked.errors + asked.n


class Asked:
    """Requests under way: milliseconds from `begun` to each one's answer."""

    def __init__(self, begun, tier=None):
        self.begun, self.tier, self.waiting = begun, tier, selectors.DefaultSelector()
        self.n, self.times, self.errors = 0, [], 0

    def ask(self, connection, name):
        connection.sendall(zero.request(name))
        self.waiting.register(connection, selectors.EVENT_READ, bytearray())
        self.n += 1

    def hear(self, seconds):
        """What comes within so long; False: nothing has."""
        ready = self.waiting.select(seconds)
        for key, _ in ready:
            piece = key.fileobj.recv(65536)
            key.data.extend(piece)
            if piece and not zero.is_whole(key.data):
                continue
            self.times.append((time.perf_counter() - self.begun) * 1e3)
            self.errors += not zero.is_right(key.data, self.tier)
            self.n -= 1
            self.waiting.unregister(key.fileobj)
            key.fileobj.close()
        return bool(ready)


def _greet(silent, asked):
    """Asks those servers that listen by now, and returns those that do not yet."""
    left, ports = [], machine.listening()
    for server in silent:
        if server.process.poll() is not None:
            asked.errors += 1
        elif server.port in ports:
            asked.ask(socket.create_connection(("127.0.0.1", server.port), zero.PATIENCE_S), "")
        else:
            left.append(server)
    return left


def _start_all(n):
    """The same of so many processes that are started at once."""
    servers = [zero.fastapi(f"crowd {i}", port, machine.ALL_CORES) for i, port in enumerate(peers.free_ports(n))]
    with peers.all_ended() as started:
        started += servers
        asked, silent = Asked(time.perf_counter()), servers
        for server in servers:
            server.launch()
        while silent or asked.n:
            if time.perf_counter() - asked.begun > PROCESSES_S:
                raise RuntimeError(f"{len(silent) + asked.n} of {n} processes have not answered after {PROCESSES_S} s")
            silent = _greet(silent, asked)
            asked.hear(LOOK_S)
        for server in servers:  # all at once, not one after the other
            server.process.terminate()
    return asked.times, asked.errors


def run(options):
    n = QUICK_CROWD if options.quick else CROWD
    told, watch = {"crowd": n, "floor_ms": [], "rounds_of": {SOMA: [], FASTAPI: []}}, rounds.Watch()

    def keep(name, measure):
        with watch:
            times, errors = measure()
        told["rounds_of"][name].append({"ms": times, "errors": errors})
        rounds.progress(f"{name}, {n} at once: p95 {results.quantile(times, 0.95):.0f} ms, {errors} failed")

    with peers.all_ended() as started:
        soma = peers.Soma(core=machine.ALL_CORES)
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        apis = zero.Apis(soma, [f"crowd-{i}" for i in range(n)], "init")
        told["held_mib"] = sum(apis.zygote(name)["memory_bytes"] for name in apis.names) / (1 << 20)
        for _ in range(options.rounds):
            told["floor_ms"] += zero.floor(n)
            keep(SOMA, lambda: _ask_all(apis))
            keep(FASTAPI, lambda: _start_all(n))
    rounds.progress("")
    return {**told, "busy": watch.record()}


def render(told):
    def p(each, q):
        return results.quantile(each["ms"], q) if each["ms"] else float("nan")

    rows = [[name, sum(each["errors"] for each in measured), *(results.spread([p(each, q) for each in measured], 0) for q in (0.5, 0.95, 1))]
            for name, measured in told["rounds_of"].items()]
    ratio = results.spread([p(theirs, 0.95) / p(ours, 0.95) for ours, theirs in zip(*(told["rounds_of"][name] for name in (SOMA, FASTAPI)))])
    floor = results.quantile(told["floor_ms"], 0.5)
    return [f"{told['crowd']} apis, each the predictor of the bench before, all at zero, are asked at once: time from the first request to each answer. "
            f"Beside them {told['crowd']} processes of it under uvicorn, started at once, from the start of the first to each one's first answer. Both have "
            f"all cores. Milliseconds, medians of the rounds (least to most). At zero the apis' zygotes hold {told['held_mib']:.0f} MiB (PSS).", "",
            *results.table(["", "failed", "p50", "p95", "max"], rows), "",
            f"FastAPI's p95 is {ratio} times Soma's. {told['crowd']} bare forks one after the other take {floor * told['crowd']:.0f} ms on one core."]

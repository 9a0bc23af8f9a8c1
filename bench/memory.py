"""Memory of a replica, and the time from its start to its first answer."""
import time

from kit import machine, peers, results, rounds
from kit.load import Case
import predictor

TITLE = "Memory, and start to first answer"
REQUESTS = 100  # before memory is read: what is made at the first requests is there


def _size(pids):
    pss, private = machine.pss_mb(pids)
    return {"pss_mb": pss, "private_mb": private}


def _warm(app):
    for _ in range(REQUESTS):
        app.case().check(app.server.port)


def measure_peer(make):
    app, begun = make(), time.monotonic()
    with peers.all_ended() as started:
        predictor.start(app, started)
        seconds = time.monotonic() - begun
        _warm(app)
        return {app.server.name: {"seconds": seconds, **_size(app.server.pids())}}


def measure_soma():
    """Daemon and replica apart: there is one daemon for all apis."""
    app, begun = predictor.soma(), time.monotonic()
    with peers.all_ended() as started:
        started.append(app.server)
        app.server.start(Case("soma-up", "GET", "/healthz"))
        daemon_s, before = time.monotonic() - begun, app.server.pids()
        begun = time.monotonic()
        predictor.deploy(app)
        replica_s = time.monotonic() - begun
        _warm(app)
        pids = app.server.pids()
        return {"Soma, a replica": {"seconds": replica_s, **_size(pids - before)},
                "Soma, keeper and daemon": {"seconds": daemon_s, **_size(pids & before)}}


def run(options):
    told = {}
    makers = [lambda: predictor.fastapi("async def"), predictor.litserve, predictor.bentoml, predictor.mlserver]
    for _ in range(options.rounds):
        for measure in [measure_soma, *(lambda make=make: measure_peer(make) for make in makers)]:
            for name, values in measure().items():
                told.setdefault(name, []).append(values)
                rounds.progress(f"{name}: {values['pss_mb']:.1f} MB, {values['seconds']:.2f} s")
    rounds.progress("")
    return {"servers": told}


def render(told):
    text = ["The predictor of the bench before, one process, after some requests. PSS divides what processes share among "
            "them; a replica's time runs from `soma deploy` to its first right answer, the others' from the start of their "
            "program. Medians (least to most).", ""]
    rows = [[name, *(results.spread([each[what] for each in values], digits)
                     for what, digits in (("pss_mb", 1), ("private_mb", 1), ("seconds", 2)))]
            for name, values in told["servers"].items()]
    return text + results.table(["", "PSS, MB", "private, MB", "first answer, s"], rows)

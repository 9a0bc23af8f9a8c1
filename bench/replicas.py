"""Memory of each replica more: forked from a zygote, and as workers of gunicorn."""
import json

from kit import machine, peers, results, rounds, zero
from kit.load import Case
from kit.paths import APPS
from kit.peers import Server

TITLE = "Memory of each replica more"
COUNTS, QUICK_COUNTS = (1, 10, 100), (1, 5)
ASKED = 3  # requests for each process before its memory is read
SOMA, PRELOAD, PLAIN = "Soma, forked after `__init__`", "gunicorn --preload", "gunicorn"


def _measure(pids, replicas):
    """In MiB, the weights left out: of all processes together, and of each replica."""
    own = zero.weights().name
    return {"all": zero.pss_mib(pids, own), "each": zero.pss_mib(replicas, own) / len(replicas)}


def _ask(port, path, times):
    for _ in range(times):
        Case("replicas", "POST", path, zero.BODY, lambda body: json.loads(body) == zero.RIGHT).check(port)


def _soma(apis, n):
    (name,) = apis.names
    apis.scale(name, n)
    zero.until(f"{n} replicas are ready", lambda: apis.api(name)["ready"] == n, 0.05)
    _ask(apis.soma.port, f"/{name}", ASKED * n)
    now = apis.api(name)
    replicas = [r["pid"] for r in now["replicas"]]
    told = _measure([now["zygote"]["pid"], *replicas], replicas)
    apis.to_zero()
    return told


def _gunicorn(name, n):
    """As uvicorn's documentation has it: gunicorn with uvicorn's workers."""
    port, home = peers.free_port(), peers.install_environment("gunicorn")
    words = ["app:app", "--worker-class", "uvicorn_worker.UvicornWorker", "--workers", n, "--bind", f"127.0.0.1:{port}", "--timeout", 600]
    server = Server(f"{name} {n}", [home / "bin/gunicorn", *words, *(["--preload"] if name == PRELOAD else [])], port, cwd=APPS / "cold",
                    env={"WEIGHTS": str(zero.weights()), "PYTHONDONTWRITEBYTECODE": "1"}, core=machine.ALL_CORES)
    with peers.all_ended() as started:
        started.append(server)
        server.launch()
        zero.until(f"{n} workers of gunicorn have started",
                   lambda: server.log_path.read_text(errors="replace").count("Application startup complete") >= n, 0.1)
        _ask(port, "/", ASKED * n)
        pids = server.pids()
        return _measure(pids, pids - {server.process.pid})


def run(options):
    counts = QUICK_COUNTS if options.quick else COUNTS
    told, watch = {"counts": counts, "mib": {name: {n: [] for n in counts} for name in (SOMA, PRELOAD, PLAIN)}}, rounds.Watch()

    def keep(name, n, measure):
        with watch:
            now = measure()
        told["mib"][name][n].append(now)
        rounds.progress(f"{name}, {n}: {now['each']:.1f} MiB each, {now['all']:.0f} in all")

    with peers.all_ended() as started:
        soma = peers.Soma(core=machine.ALL_CORES)
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        apis = zero.Apis(soma, ["replicas"], "init", most=max(counts))
        for _ in range(options.rounds):
            for n in counts:
                keep(SOMA, n, lambda: _soma(apis, n))
                for name in (PRELOAD, PLAIN):
                    keep(name, n, lambda: _gunicorn(name, n))
    rounds.progress("")
    told["mib"] = {name: {str(n): values for n, values in of.items()} for name, of in told["mib"].items()}
    return {**told, "busy": watch.record()}


def render(told):
    least, *_, most = counts = told["counts"]
    rows = []
    for name, of in told["mib"].items():
        added = [(b["all"] - a["all"]) / (most - least) for a, b in zip(of[str(least)], of[str(most)])]
        rows.append([name, *(results.spread([each["all"] for each in of[str(n)]], 0) for n in counts),
                     results.spread([each["each"] for each in of[str(most)]]), results.spread(added, 2)])
    return ["Memory (PSS) beside the weights, which are mapped and there once, in MiB; medians of the rounds (least to most). All: replicas with their "
            f"zygote, workers with gunicorn's own process. The last column is what one more takes: all of {most} less all of {least}, by their number. Each "
            f"process has been asked some {ASKED} times, by new connections.", "",
            *results.table(["", *(f"all of {n}" for n in counts), f"each of {most}", "one more"], rows)]

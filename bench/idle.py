"""A thousand apis that nobody calls: what the daemon takes, and how soon it serves again."""
import http.client
import json
import time
from pathlib import Path

from kit import machine, peers, results, rounds, zero
from kit.load import Case

TITLE = "A thousand apis at zero"
APIS, QUICK_APIS = 1000, 50
TOGETHER = 50  # in one deploy: each starts a process once, to show that it can
IDLE_S, QUICK_IDLE_S = 60, 5
SETTLE_S = 3
SOMA, EMPTY = "Soma", "Soma without apis"
PREDICTOR = """
class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return payload["x"] + 1
"""


class Fixed(peers.Soma):
    """With the same addresses at each start."""

    def __init__(self, name):
        super().__init__(name)
        self.data_port, self.admin_port = peers.free_port(), peers.free_port()
        self.command[-3:] = [f"127.0.0.1:{self.data_port}", "--admin", f"127.0.0.1:{self.admin_port}"]

    def start_ms(self, apis):
        """From the start of its program until it serves, with so many apis; it is ended first."""
        self.end()
        begun = time.perf_counter()
        self.launch()
        while not self._is_ready():
            if time.perf_counter() - begun > zero.PATIENCE_S:
                raise RuntimeError(f"{self.name} is not ready:\n{self.log()}")
            time.sleep(0.0005)
        took = (time.perf_counter() - begun) * 1e3
        zero.until("it tells its addresses", lambda: self.call("/v1/info")["apis"] == apis)
        return took

    def after_start(self):
        self.port, self.admin = self.data_port, f"http://127.0.0.1:{self.admin_port}"

    def _is_ready(self):
        client = http.client.HTTPConnection("127.0.0.1", self.data_port, timeout=zero.PATIENCE_S)
        try:
            client.request("GET", "/readyz")
            return client.getresponse().status == 200
        except OSError:
            return False
        finally:
            client.close()

    def end(self):
        """Without its directory being removed."""
        peers.Server.stop(self)


def cpu_ns(pid):
    """That a process has used so far, with all its threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def rss_mib(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _deploy(soma, names):
    soma.deploy({"predictor.py": PREDICTOR},
                [{"name": name, "predictor": {"path": "predictor.py", "zygote": "none", "freeze": "never"}, "autoscaling": {"min_replicas": 0}} for name in names])

    def all_live():
        apis = [api for api in soma.call("/v1/apis")["apis"] if api["name"] in names]
        return len(apis) == len(names) and all(api["status"] == "live" for api in apis)

    zero.until(f"{names[0]} and those after it are live", all_live, 0.2)
    for name in names:
        soma.call(f"/v1/apis/{name}/scale", {"replicas": 0})
    zero.until(f"{names[0]} and those after it are at zero",
               lambda: not any(api["replicas"] for api in soma.call("/v1/apis")["apis"]), 0.2)


def _pids(soma):
    (daemon,) = soma.pids() - {soma.process.pid}
    return {"daemon": daemon, "keeper": soma.process.pid}


def _idle(somas, seconds):
    """What keeper and daemon of each take while nobody calls, of all in the same time."""
    time.sleep(SETTLE_S)
    of = {name: _pids(soma) for name, soma in somas.items()}
    before, begun = {pid: cpu_ns(pid) for pids in of.values() for pid in pids.values()}, time.monotonic_ns()
    time.sleep(seconds)
    passed = time.monotonic_ns() - begun
    return {name: {who: {"cpu": (cpu_ns(pid) - before[pid]) / passed, "rss_mib": rss_mib(pid)} for who, pid in pids.items()}
            for name, pids in of.items()}


def run(options):
    n, seconds = (QUICK_APIS, QUICK_IDLE_S) if options.quick else (APIS, IDLE_S)
    told, watch = {"apis": n, "idle_s": seconds, "idle": {SOMA: [], EMPTY: []}, "start_ms": {SOMA: [], EMPTY: []}}, rounds.Watch()
    with peers.all_ended() as started:
        somas = {SOMA: Fixed(SOMA), EMPTY: Fixed(EMPTY)}
        started += somas.values()
        full = somas[SOMA]
        full.start_ms(0)
        names = [f"idle-{i}" for i in range(n)]
        for at in range(0, n, TOGETHER):
            _deploy(full, names[at:at + TOGETHER])
            rounds.progress(f"{min(at + TOGETHER, n)} of {n} apis are there")
        for _ in range(options.rounds):
            for name, soma in somas.items():
                with watch:
                    told["start_ms"][name].append(soma.start_ms(n if soma is full else 0))
            with watch:
                now = _idle(somas, seconds)
            for name, each in now.items():
                told["idle"][name].append(each)
                rounds.progress(f"{name}: serves after {told['start_ms'][name][-1]:.0f} ms, daemon {each['daemon']['rss_mib']:.1f} MiB, "
                                f"{each['daemon']['cpu']:.3%} of a core")
        Case("idle", "POST", f"/{names[-1]}", '{"x": 6}', lambda body: json.loads(body) == 7).check(full.port)
    rounds.progress("")
    return {**told, "busy": watch.record()}


def render(told):
    rows = []
    for name, measured in told["idle"].items():
        of = [results.spread([each[who][what] * by for each in measured], digits)
              for who in ("daemon", "keeper") for what, by, digits in (("rss_mib", 1, 1), ("cpu", 100, 3))]
        rows.append([f"Soma, {told['apis']} apis" if name == SOMA else name, *of, results.spread(told["start_ms"][name], 0)])
    ratio = results.spread([a / b for a, b in zip(told["start_ms"][SOMA], told["start_ms"][EMPTY])])
    return [f"{told['apis']} Python apis with `min_replicas: 0` and without zygotes and frozen replicas, so that no process of theirs is there. CPU time over "
            f"{told['idle_s']} s in which nobody calls, in percent of one core; memory as RSS, in MiB; and from the start of `soma serve`, with all of them "
            "in its directory, until `/readyz` says 200, in ms. Medians of the rounds (least to most).", "",
            *results.table(["", "daemon, MiB", "daemon, CPU %", "keeper, MiB", "keeper, CPU %", "serves after, ms"], rows), "",
            f"The start with all of them takes {ratio} times the empty one."]

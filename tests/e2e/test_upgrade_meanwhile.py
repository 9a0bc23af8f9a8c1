"""`soma upgrade` while something is under way: tunnels, roll-outs, builds, fetches, deletes, other upgrades; and apis without a replica."""

import concurrent.futures
import random
import signal
import time

import pytest
import requests
import websockets.exceptions
import websockets.sync.client

from soma import procs, projects
from soma.daemon import Daemon
from soma.projects import predictor, python_api, python_project
from soma.sources import Server, noise
from soma.swapping import SOURCE, Watch
from soma.swapping import api as holding_api
from soma.upgrades import ask, daemons, text_of, upgrade
from soma.waiting import SLOW, seconds, wait_for

SEED = 20261128


# --- tunnels ---


def connect(daemon):
    return websockets.sync.client.connect(f"ws://127.0.0.1:{daemon.port}/probe/ws", max_size=None, open_timeout=seconds(10))


def echoes(ws, words):
    ws.send(words)
    assert ws.recv(seconds(10)) == words


def test_tunnels_live_on(own_daemon):
    """In both directions, through two upgrades; each old daemon ends with its last tunnel."""
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    first, second = daemon.daemon_pid, None
    with connect(daemon) as old:
        echoes(old, "before")
        upgrade(daemon)
        second = daemon.daemon_pid
        with connect(daemon) as newer:
            upgrade(daemon)
            for n, ws in enumerate([old, newer, old, newer]):
                echoes(ws, f"after {n}")
                echoes(ws, b"x" * (1 << 20))
            assert procs.alive(first) and procs.alive(second)
        wait_for("the second has ended", lambda: not procs.alive(second), 20)
        echoes(old, "still")
    wait_for("the first has ended", lambda: not procs.alive(first), 20)


def test_the_grace_of_a_tunnel_is_over():
    with Daemon(args=["--upgrade-grace", "1s"]) as daemon:
        daemon.admin.deploy(projects.probe_project())
        with connect(daemon) as ws:
            echoes(ws, "before")
            upgrade(daemon)
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                ws.recv(seconds(20))
        wait_for("it has ended", lambda: daemons(daemon) == [daemon.daemon_pid], 20)


# --- roll-outs ---


def version(number, after_s=0, **keys):
    """A program that listens after a while."""
    api = projects.probe_api("slow", predictor={"env": {"VERSION": str(number)}, **keys})
    source = f"import time; time.sleep({after_s})\n" + projects.PROBE
    return {"soma.yaml": projects.yaml_value([api]), "probe.py": source}


@pytest.mark.parametrize("keys", [{}, {"readiness_path": "/echo"}], ids=["port", "path"])
def test_a_program_that_does_not_listen_yet(own_daemon, keys):
    """Who asked it last, the old daemon or the new one: its revision is live once, and no request fails."""
    daemon, rng = own_daemon, random.Random(SEED)
    daemon.admin.deploy(version(1))
    for number in range(2, 5):
        assert daemon.admin.send(version(number, 1.2, **keys)).status_code == 200
        until = time.monotonic() + rng.uniform(0, 1.5)
        while time.monotonic() < until:
            assert daemon.admin.get("/slow/env").json()["VERSION"] in (str(number - 1), str(number))
        upgrade(daemon)
        wait_for("the next one serves", lambda n=number: daemon.admin.get("/slow/env").json()["VERSION"] == str(n), 30)
        wait_for("it is live", lambda n=number: daemon.admin.api("slow")["revision"] == n and daemon.admin.api("slow")["status"] == "live", 30)
        kinds = [e["type"] for e in daemon.admin.events("slow") if e["revision"] == number]
        assert kinds.count("live") == 1 and "failed" not in kinds and "replica_exit" not in kinds, kinds
    wait_for("the last is alone", lambda: len(daemon.admin.pids("slow", None)) == 1, 20)


def test_an_environment_is_built(own_daemon):
    """The build begins again under the new daemon, whoever waits for it hears of no failure."""
    daemon = own_daemon
    project = python_project(predictor("return 'built'"), python_api("built", predictor={"dependencies": {"shell": "run.sh"}}),
                             **{"run.sh": "sleep 2\n"})
    assert daemon.admin.send(project).status_code == 200
    wait_for("it is built", lambda: "env_start" in [e["type"] for e in daemon.admin.events("built")], 30)
    upgrade(daemon)
    assert text_of(ask(daemon, "/built", method="POST", json={})).text == "built"
    kinds = [e["type"] for e in daemon.admin.events("built")]
    assert "env_ready" in kinds and "env_failed" not in kinds and "failed" not in kinds, kinds


def test_a_model_is_fetched(own_daemon):
    """For a roll-out: what has come is kept, the rest is fetched for the new daemon."""
    daemon, size = own_daemon, 3_000_000
    with Server() as place:
        place.put("/m.bin", noise(size), rate=1_000_000)
        loads = "def load_model(self, path):\n        import os\n        return os.path.getsize(os.path.join(path, 'm.bin'))\n\n    def predict("
        source = predictor("return self.client.get_model()", init="self.client = python_client").replace(
            "def __init__(self, config)", "def __init__(self, config, python_client)").replace("def predict(", loads)
        keys = {"multi_model_reloading": {"path": place.url + "/m.bin"}}
        assert daemon.admin.send(python_project(source, python_api("fetched", predictor=keys))).status_code == 200
        wait_for("some of it is there", lambda: place.sent > size / 4, 30)
        upgrade(daemon)
        assert text_of(ask(daemon, "/fetched", method="POST", json={})).json() == size
        assert place.sent < 2 * size, "all was fetched anew"
    kinds = [e["type"] for e in daemon.admin.events("fetched")]
    assert "model_ready" in kinds and "model_failed" not in kinds, kinds


def test_a_model_is_pulled(own_daemon):
    """By a request to the admin API: that is waited for."""
    daemon, size = own_daemon, 2_000_000
    with Server() as place, concurrent.futures.ThreadPoolExecutor() as pool:
        place.put("/m.bin", noise(size), rate=800_000)
        pull = pool.submit(daemon.cli, "models", "pull", place.url + "/m.bin", check=0)
        wait_for("some of it is there", lambda: place.sent > size / 4, 30)
        upgrade(daemon)
        assert pull.done() or pull.result(seconds(5))
        assert place.sent < size * 1.1


def let_go(pid):
    """Of one that no api has any more."""
    assert requests.get(f"http://127.0.0.1:{procs.environ(pid)['PORT']}/go", timeout=seconds(10)).status_code == 200


def held(daemon):
    """A request that a replica has, and its pid."""
    daemon.admin.deploy(projects.probe_project())
    pid, = daemon.admin.pids("probe")
    asked = ask(daemon, "/probe/hold")
    wait_for("it is held", lambda: daemon.admin.api("probe")["in_flight"] == 1)
    return asked, pid


def test_a_delete(own_daemon):
    """The replica ends with its last request, which the old daemon has."""
    daemon = own_daemon
    asked, pid = held(daemon)
    daemon.admin.ok("DELETE", "/v1/apis/probe")
    upgrade(daemon)
    wait_for("it is gone", lambda: daemon.admin.call("GET", "/v1/apis/probe").status_code == 404, 30)
    daemon.admin.deploy(projects.probe_project())
    upgrade(daemon)
    assert procs.alive(pid) and asked.is_alive()
    let_go(pid)
    text_of(asked)
    wait_for("it has ended", lambda: not procs.alive(pid), 20)


def test_a_revision_that_is_leaving(own_daemon):
    """Likewise, of a roll-out that was over before the upgrade."""
    daemon = own_daemon
    asked, pid = held(daemon)
    daemon.admin.ok("POST", "/v1/apis/probe/refresh")
    wait_for("it is leaving", lambda: daemon.admin.pids("probe", "draining") == [pid], 30)
    for _ in range(2):
        upgrade(daemon)
        assert procs.alive(pid) and asked.is_alive()
    let_go(pid)
    text_of(asked)
    wait_for("it has ended", lambda: not procs.alive(pid), 20)
    assert len(daemon.admin.pids("probe")) == 1


def test_a_replica_that_leaves_while_it_is_taken_over(own_daemon):
    """The old revision's replica has a request of the old daemon when the next revision is live."""
    daemon = own_daemon
    daemon.admin.deploy(version(1))
    pid, = daemon.admin.pids("slow")
    asked = ask(daemon, "/slow/hold")
    wait_for("it is held", lambda: daemon.admin.api("slow")["in_flight"] == 1)
    assert daemon.admin.send(version(2, 1)).status_code == 200
    upgrade(daemon)
    wait_for("the next one serves", lambda: daemon.admin.get("/slow/env").json()["VERSION"] == "2", 30)
    assert procs.alive(pid) and asked.is_alive()
    let_go(pid)
    text_of(asked)
    wait_for("it has ended", lambda: not procs.alive(pid), 20)


def test_soma_stops_while_one_has_a_request_that_nobody_has_any_more(own_daemon):
    daemon = own_daemon
    asked, pid = held(daemon)
    daemon.admin.ok("POST", "/v1/apis/probe/refresh")
    wait_for("it is leaving", lambda: daemon.admin.pids("probe", "draining") == [pid], 30)
    upgrade(daemon)
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(seconds(0.5))
    let_go(pid)
    text_of(asked)
    daemon.wait_end()
    daemon.start()


def test_two_at_once(own_daemon):
    """One of them is done, the other hears that it is, or that it may not now."""
    daemon = own_daemon
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: daemon.cli("upgrade", timeout=60), range(3)))
    assert any(d.code == 0 for d in done), done
    for other in done:
        other.says("upgraded from") if other.code == 0 else other.says("under way")
    wait_for("somebody serves", daemon.admin.is_ready)
    upgrade(daemon)
    wait_for("one is left", lambda: daemons(daemon) == [daemon.daemon_pid], 20)


# --- apis without a replica that runs ---

HASTY = {"min_replicas": 0, "max_wait": "100ms", "wait_worth": 0}
PID = predictor("return [os.getpid(), self.made_by]", init="self.made_by = os.getpid()", imports="import os")


def at_zero(name, **keys):
    return python_project(PID, python_api(name, predictor={"freeze": "never", "zygote": "none", **keys}, autoscaling=HASTY))


def test_an_api_at_zero(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(at_zero("zero"))
    wait_for("none is there", lambda: daemon.admin.api("zero")["replicas"] == [], 60)
    upgrade(daemon)
    api = daemon.admin.api("zero")
    assert (api["status"], api["replicas"]) == ("live", [])
    assert daemon.admin.post("/zero", json={}).status_code == 200
    wait_for("none is there", lambda: daemon.admin.api("zero")["replicas"] == [], 60)


def test_a_frozen_replica(own_daemon):
    """It is the same process before and after, and answers."""
    daemon = own_daemon
    daemon.admin.deploy(at_zero("cold", freeze="auto"))

    def stopped():
        api = daemon.admin.api("cold")
        return api["replicas"] == [] and [f["pid"] for f in api["frozen"] if f["stopped"]]
    pid, = wait_for("it is frozen", stopped, 60)
    for _ in range(2):
        upgrade(daemon)
        assert daemon.admin.post("/cold", json={}).json()[0] == pid
        assert wait_for("it is frozen again", stopped, 60) == [pid]


def test_a_zygote(own_daemon):
    """It is kept, and forks for the new daemon what was asked for behind the upgrade."""
    daemon = own_daemon
    daemon.admin.deploy(at_zero("forked", zygote="init"))

    def zygote():
        z = daemon.admin.api("forked")["zygote"]
        return z and z["state"] == "ready" and z["pid"]
    pid = wait_for("it is ready", zygote, 60)
    for _ in range(2):
        upgrade(daemon)
        assert wait_for("it is ready", zygote, 30) == pid
        wait_for("none is there", lambda: daemon.admin.api("forked")["replicas"] == [], 60)
        answer = daemon.admin.post("/forked", json={}, headers={"X-Soma-Cold": "1"})
        assert answer.status_code == 200 and answer.headers["X-Soma-Cold"].startswith("zygote"), answer.headers
        assert answer.json()[1] == pid, "made by another"


class Patient:
    """Asks once more: kept connections to the admin API end with the daemon."""

    def __init__(self, daemon):
        self.admin, self.apis_of = self, daemon.admin.apis

    def apis(self):
        try:
            return self.apis_of()
        except requests.ConnectionError:
            return self.apis_of()


def test_memory_that_cannot_hold_all():
    """Three take turns on memory for one or two, through upgrades: all answers are right, never more are there."""
    names, mib = ["a", "b", "c"], 200
    with Daemon(args=["--memory", "500Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(holding_api(n, mib=mib) for n in names)), timeout=120)

        def client(seed):
            rng = random.Random(SEED + seed)
            for number in range(10):
                name = rng.choice(names)
                answer = daemon.admin.post(f"/{name}", json=[number, 0.05])
                assert answer.status_code == 200, answer.text
                assert answer.json() == [name, number, mib << 20]

        with Watch(Patient(daemon)) as watch, concurrent.futures.ThreadPoolExecutor(2) as pool:
            clients = [pool.submit(client, seed) for seed in range(2)]
            while not all(c.done() for c in clients):
                upgrade(daemon)
                time.sleep(0.7 * SLOW)
            for c in clients:
                c.result()
        assert 1 <= watch.most <= 2

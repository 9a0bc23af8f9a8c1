"""kill -9 of the daemon and of the keeper.

The daemon is a part that may die: the keeper starts it again, replicas live
on and are adopted, new connections wait in the backlog, and clients that try a
broken connection again are all answered. The keeper's end is everybody's end.
"""

import os
import random
import signal
import threading

import pytest
import requests

from soma import procs, projects
from soma.load import Load, Target
from soma.waiting import seconds, wait_for

SEED = int(os.environ.get("SOMA_TEST_SEED", "20260102"))
REPLICAS = 3


def kill_daemon(daemon):
    """kill -9; returns when the next one serves."""
    old = daemon.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("a new daemon", lambda: not procs.alive(old) and daemon.daemon_pid != old)
    wait_for("it is ready", daemon.admin.is_ready)
    return daemon.daemon_pid


def deploy(daemon):
    keys = {"autoscaling": {"min_replicas": REPLICAS}}
    daemon.admin.deploy(projects.probe_project(projects.probe_api("cmd", **keys)))
    daemon.admin.deploy(projects.python_project(projects.predictor("return payload"), projects.python_api("py", **keys)))
    return [Target("cmd", False, False), Target("py", True, False)]


def all_pids(daemon, targets):
    return [pid for some in pids_of(daemon, targets).values() for pid in some]


def pids_of(daemon, targets):
    """The replicas' pids once all are ready."""
    def ready():
        found = {t.name: sorted(daemon.admin.pids(t.name)) for t in targets}
        return found if all(len(p) == REPLICAS for p in found.values()) else None
    return wait_for("all replicas are ready", ready, 30)


def state_of(daemon):
    """What was asked for, as the admin API tells it."""
    keys = ("name", "kind", "predictor", "revision", "requested", "url", "endpoint", "updated")
    return ([{k: a[k] for k in keys} for a in daemon.admin.apis()], daemon.admin.ok("GET", "/v1/secrets"))


def run(daemon, kills):
    rng = random.Random(SEED)
    targets = deploy(daemon)
    daemon.admin.ok("PUT", "/v1/secrets/token", json={"value": "s3cret"})
    pids, state = pids_of(daemon, targets), state_of(daemon)
    keeper_fds = procs.fd_count(daemon.keeper_pid)
    with Load(daemon.port, targets, seed=SEED, again=True) as load:
        for _ in range(kills):
            wait_for("answers", lambda n=load.answered + rng.randrange(40): load.answered > n)
            kill_daemon(daemon)
        wait_for("answers after the last", lambda n=load.answered: load.answered > n + 50)
        assert pids_of(daemon, targets) == pids, "replicas did not keep their pids"
    print(f"{kills} kills, {load.right} right, {load.retried} connections tried again")
    assert load.wrong == [] and load.refused == [], f"seed {SEED}"
    assert load.retried > 0, "no connection was broken: the test tests nothing"
    assert state_of(daemon) == state
    assert procs.fd_count(daemon.keeper_pid) <= keeper_fds + 4
    assert procs.zombies_of(daemon.keeper_pid) == []
    assert set(procs.marked(daemon.instance)) == {p for some in pids.values() for p in some}


def test_20_kills_of_the_daemon(own_daemon):
    run(own_daemon, 20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_200_kills_of_the_daemon(own_daemon):
    run(own_daemon, 200)


# --- in the middle of something ----------------------------------------------


def test_killed_during_a_deploy(own_daemon):
    """The old revision or the new one, whole; a client never notices."""
    rng = random.Random(SEED)
    d = own_daemon
    targets = [Target("cmd", False, True)]

    def project(version):
        files = projects.probe_project(projects.probe_api("cmd", retry="safe", predictor={"env": {"VERSION": version}}))
        return {**files, "big.bin": os.urandom(200_000), "version": str(version)}

    d.admin.deploy(project(0))
    with Load(d.port, targets, clients=3, seed=SEED, again=True) as load:
        for version in range(1, 9):
            deploying = threading.Thread(target=_try_deploy, args=(d, project(version)))
            begun = load.answered
            deploying.start()
            wait_for("a moment", lambda n=begun + rng.randrange(30): load.answered > n)
            kill_daemon(d)
            deploying.join()
            d.admin.wait_live("cmd")
            shown = d.admin.api("cmd")["revision"]
            running = d.admin.get("/cmd/env").json()
            assert running["SOMA_REVISION"] == str(shown)
    assert load.wrong == [] and load.refused == []
    d.admin.deploy(project(99))
    assert d.admin.get("/cmd/env").json()["VERSION"] == "99"
    wait_for("old replicas are gone", lambda: procs.marked(d.instance) == d.admin.pids("cmd"))


def _try_deploy(daemon, files):
    try:
        daemon.admin.send(files)
    except requests.RequestException:
        pass  # it was killed under us, as intended


def test_killed_while_a_bad_update_rolls_out(own_daemon):
    """What was live serves on although the update never gets ready."""
    d = own_daemon
    d.admin.deploy(projects.probe_project())
    pid = d.admin.pids("probe")[0]
    never = projects.probe_api(predictor={"command": [projects.PYTHON, "-c", "import time; time.sleep(1e6)"]})
    assert d.admin.send(projects.probe_project(never)).status_code == 200
    assert d.admin.get("/probe/echo").json()["pid"] == pid
    kill_daemon(d)
    assert d.admin.get("/probe/echo", timeout=10).json()["pid"] == pid


def test_killed_while_an_api_is_deleted(own_daemon):
    d = own_daemon
    d.admin.deploy(projects.probe_project(projects.probe_api(grace_period="30s")))
    holding = threading.Thread(target=_ignore_errors, args=(d.admin.post, "/probe/hold"))
    holding.start()
    wait_for("it is held", lambda: d.admin.api("probe")["in_flight"] == 1)
    d.admin.ok("DELETE", "/v1/apis/probe")
    kill_daemon(d)
    holding.join()
    wait_for("it is gone", lambda: d.admin.call("GET", "/v1/apis/probe").status_code == 404, 40)
    wait_for("nothing is left of it", lambda: procs.marked(d.instance) == [])


def _ignore_errors(function, *args):
    try:
        function(*args)
    except requests.RequestException:
        pass


def test_killed_while_an_environment_is_built(own_daemon):
    """The half-built one is thrown away and built again."""
    d = own_daemon
    go = d.parent / "go"
    script = f"echo building\nuntil [ -e {go} ]; do sleep 0.05; done\n"
    files = projects.python_project(projects.predictor("return 'built'"), **{"dependencies.sh": script})
    assert d.admin.send(files).status_code == 200

    def building():
        return d.admin.api("echo")["environment"]["state"] == "building" and procs.marked(d.instance)
    first = wait_for("the build runs", building)
    kill_daemon(d)
    wait_for("the first build is gone", lambda: not any(procs.alive(p) for p in first))
    wait_for("it is built again", building)
    go.touch()
    d.admin.wait_live("echo")
    assert d.admin.post("/echo", json={}).text == "built"


def test_a_request_in_the_backlog_waits_for_the_next_daemon(own_daemon):
    """Connections made while there is no daemon are answered by the next."""
    d = own_daemon
    d.admin.deploy(projects.probe_project())
    for _ in range(5):
        os.kill(d.daemon_pid, signal.SIGKILL)
        assert d.admin.get("/probe/echo").status_code == 200


def test_a_replica_that_dies_while_there_is_no_daemon(own_daemon):
    """The keeper tells the next daemon, which starts another."""
    d = own_daemon
    d.admin.deploy(projects.probe_project(projects.probe_api(autoscaling={"min_replicas": 2})))
    first, second = d.admin.pids("probe")
    daemon_pid = d.daemon_pid
    os.kill(daemon_pid, signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    wait_for("two replicas again", lambda: d.admin.is_ready() and len(d.admin.pids("probe")) == 2)
    assert second in d.admin.pids("probe") and first not in d.admin.pids("probe")


# --- the keeper --------------------------------------------------------------


def test_the_keepers_end_is_everybodys(own_daemon):
    d = own_daemon
    targets = deploy(d)
    child = d.admin.get("/cmd/fork").json()["child"]
    pids = [d.daemon_pid, child, *all_pids(d, targets)]
    os.kill(d.keeper_pid, signal.SIGKILL)
    wait_for("everything has ended", lambda: not any(procs.alive(p) for p in pids), 5)
    wait_for("no process has its mark", lambda: procs.marked(d.instance) == [], 5)
    with pytest.raises(requests.ConnectionError):
        d.admin.get("/cmd/echo", timeout=2)
    d.process.wait(seconds(5))
    # The next one on the same directory finds everything, and clears up.
    d.start()
    d.admin.wait_live("cmd")
    assert d.admin.get("/cmd/echo").status_code == 200


def test_keeper_and_daemon_at_once(own_daemon):
    """Nobody is left to end the replicas but the kernel and the next start."""
    d = own_daemon
    targets = deploy(d)
    pids = all_pids(d, targets)
    for pid in (d.keeper_pid, d.daemon_pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (d.keeper_pid, d.daemon_pid):
        os.kill(pid, signal.SIGKILL)
    wait_for("everything has ended", lambda: not any(procs.alive(p) for p in pids), 5)
    d.process.wait(seconds(5))
    d.start()
    d.admin.wait_live("cmd")

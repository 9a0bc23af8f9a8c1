"""Replicas that are stopped when they are not needed, and run on when they are."""

import os
import signal
import time

import pytest

from soma import procs, projects
from soma.daemon import Daemon
from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for

HASTY = {"max_wait": "100ms", "wait_worth": 0}
# A start takes seconds; who made the answer says whether there was one.
SLOW = predictor("return [os.getpid(), payload]", init="import time; time.sleep(3)", imports="import os")


def python(name="py", source=SLOW, freeze="auto", zygote="none", predictor=None, **keys):
    return python_project(source, python_api(name, predictor={"freeze": freeze, "zygote": zygote, **(predictor or {})},
                                             autoscaling={"min_replicas": 0, **HASTY, **keys}))


def command(name="cmd", **keys):
    return projects.probe_project(projects.probe_api(name, autoscaling={"min_replicas": 0, **HASTY, **keys}))


def state(pid):
    """A letter of ps: T is stopped."""
    stat = procs._stat(pid)
    return stat[0] if stat else None


def frozen(daemon, name, n=1):
    """The pids of so many that are stopped, and no replica is there."""
    def are():
        api = daemon.admin.api(name)
        return api["replicas"] == [] and len(api["frozen"]) == n and all(f["stopped"] for f in api["frozen"]) and api
    api = wait_for(f"{n} of {name} are frozen", are, 60)
    pids = [f["pid"] for f in api["frozen"]]
    wait_for("they are stopped", lambda: {state(p) for p in pids} == {"T"})
    assert (api["ready"], api["status"]) == (0, "live")
    return pids


def cold(daemon, name, path="", **body):
    answer = daemon.admin.post(f"/{name}{path}", headers={"X-Soma-Cold": "1"}, **body)
    assert answer.status_code == 200, answer.text
    return answer, answer.headers["X-Soma-Cold"].partition(";")[0]


def test_a_class_runs_on(own_daemon):
    own_daemon.admin.deploy(python())
    for i in range(3):
        pids = frozen(own_daemon, "py")
        begun = time.monotonic()
        answer, tier = cold(own_daemon, "py", json=i)
        assert answer.json() == [pids[0], i] and tier == "frozen"
        assert time.monotonic() - begun < 2, "as long as a start"
    events = [e["type"] for e in own_daemon.admin.events("py")]
    assert events.count("replica_start") == 1 and events.count("replica_frozen") >= 3
    starts = {s["tier"]: s["count"] for s in own_daemon.admin.api("py")["cold"]["starts"]}
    assert starts == {"process": 1, "frozen": 3}
    assert own_daemon.admin.api("py")["restarts"] == 0


def test_a_program_runs_on(own_daemon):
    own_daemon.admin.deploy(command())
    pids = frozen(own_daemon, "cmd")
    answer, tier = cold(own_daemon, "cmd", "/echo", data="x")
    assert answer.json()["body"] == "x" and answer.json()["pid"] == pids[0] and tier == "frozen"
    assert frozen(own_daemon, "cmd") == pids


def test_several_run_on_before_any_starts(own_daemon):
    own_daemon.admin.deploy(command(init_replicas=3, max_replicas=3))
    pids = frozen(own_daemon, "cmd", 3)
    own_daemon.cli("scale", "cmd", 3, check=0)
    wait_for("three are there", lambda: own_daemon.admin.api("cmd")["ready"] == 3)
    assert sorted(own_daemon.admin.pids("cmd")) == sorted(pids) and own_daemon.admin.api("cmd")["frozen"] == []
    assert [e["type"] for e in own_daemon.admin.events("cmd")].count("replica_start") == 3


def test_what_runs_behind_an_answer_ends_first(own_daemon):
    source = predictor("return payload") + """
    def post_predict(self):
        import time
        time.sleep(1.5)
        print("behind it")
"""
    own_daemon.admin.deploy(python(source=source))
    frozen(own_daemon, "py")
    cold(own_daemon, "py", json=1)
    frozen(own_daemon, "py")
    own_daemon.cli("logs", "py", check=0).says("behind it")


def test_one_that_is_killed_is_another_s_start(own_daemon):
    own_daemon.admin.deploy(python())
    (pid,) = frozen(own_daemon, "py")
    os.kill(pid, signal.SIGKILL)
    wait_for("it is gone", lambda: own_daemon.admin.api("py")["frozen"] == [])
    answer, tier = cold(own_daemon, "py", json=1)
    assert answer.json()[0] != pid and tier == "process"
    api = own_daemon.admin.api("py")
    assert api["restarts"] == 0
    assert "it ended while it was frozen: signal 9 (SIGKILL)" in [e["text"] for e in own_daemon.admin.events("py")]


def test_a_new_daemon_lets_it_run_and_freezes_it_again(own_daemon):
    own_daemon.admin.deploy(python())
    pids, old = frozen(own_daemon, "py"), own_daemon.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("another daemon", lambda: own_daemon.daemon_pid != old and own_daemon.admin.is_ready())
    assert frozen(own_daemon, "py") == pids
    assert cold(own_daemon, "py", json=1)[0].json() == [pids[0], 1]


@pytest.mark.parametrize("end", ["delete", "stop", "kill the keeper"])
def test_none_is_left(end):
    with Daemon() as daemon:
        daemon.admin.deploy(command())
        (pid,) = frozen(daemon, "cmd")
        if end == "delete":
            daemon.admin.delete("cmd")
        elif end == "stop":
            daemon.stop()
        else:
            daemon.process.kill()
            daemon.process.wait()
            daemon.process = None
        wait_for("it is gone", lambda: not procs.alive(pid))


def test_a_rollout_ends_the_old_ones(own_daemon):
    own_daemon.admin.deploy(python())
    (old,) = frozen(own_daemon, "py")
    own_daemon.admin.deploy(python(source=predictor("return 'new'")))
    assert own_daemon.admin.post("/py", json=1).text == "new"
    wait_for("it is gone", lambda: not procs.alive(old))


def test_a_secret_that_changes_ends_them(own_daemon):
    own_daemon.admin.ok("PUT", "/v1/secrets/s", json={"value": "one"})
    source = predictor("return os.environ['S']", imports="import os")
    own_daemon.admin.deploy(python(source=source, predictor={"env": {"S": {"from_secret": "s"}}}))
    (pid,) = frozen(own_daemon, "py")
    own_daemon.admin.ok("PUT", "/v1/secrets/s", json={"value": "two"})
    wait_for("it is gone", lambda: not procs.alive(pid))
    assert own_daemon.admin.post("/py", json=1).text == "two"


def test_where_it_is_not_wanted(own_daemon):
    own_daemon.admin.deploy(python("never", freeze="never"))
    own_daemon.admin.deploy(python("fork", zygote="init"))
    for name in ("never", "fork"):
        wait_for(f"{name} has none", lambda name=name: own_daemon.admin.api(name)["replicas"] == [], 60)
    cold(own_daemon, "fork", json=1)  # by now there is a zygote
    for name in ("never", "fork"):
        wait_for(f"{name} has none", lambda name=name: own_daemon.admin.api(name)["replicas"] == [], 60)
        assert own_daemon.admin.api(name)["frozen"] == [] or name == "fork"
    wait_for("its zygote", lambda: own_daemon.admin.api("fork")["zygote"]["state"] == "ready", 60)
    assert cold(own_daemon, "never", json=1)[1] == "process"


def test_they_keep_within_warm_memory():
    with Daemon(args=["--warm-memory", "100Mi"]) as daemon:
        daemon.admin.deploy(command("one"))
        daemon.admin.deploy(command("two"))
        # 64 MiB is what is taken for one of which nothing is known.
        # Of one look: the one may make room for the other meanwhile.
        held = wait_for("one is frozen", lambda: [f["bytes"] for a in daemon.admin.apis() for f in a["frozen"]])
        total = sum(held)
        assert 0 < total <= 100 << 20


def test_they_make_room_for_those_that_start(own_daemon):
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = f"{total * 6 // 10 >> 20}Mi"
    projects_ = [projects.probe_project({**projects.probe_api(n, autoscaling={"min_replicas": 0, **HASTY}), "compute": {"mem": most}})
                 for n in ("one", "two")]
    own_daemon.admin.deploy(projects_[0])
    (pid,) = frozen(own_daemon, "one")
    own_daemon.admin.deploy(projects_[1])
    assert own_daemon.admin.get("/two/echo").status_code == 200
    wait_for("it made room", lambda: not procs.alive(pid))


def test_it_is_said(own_daemon):
    own_daemon.admin.deploy(command())
    frozen(own_daemon, "cmd")
    own_daemon.cli("get", "cmd", check=0).says("frozen: 1 replica, ")
    assert "soma_frozen_replicas{api=\"cmd\"} 1" in own_daemon.admin.call("GET", "/metrics").text

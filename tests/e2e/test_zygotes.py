"""Replicas forked from a zygote: what they are, how they end, and what each part's death does to the others."""

import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

from soma import models, procs, projects
from soma.daemon import Daemon
from soma.waiting import wait_for

ECHO = projects.predictor(
    'return {"payload": payload, "made_by": self.made_by, "pid": os.getpid()}', "self.made_by = os.getpid()", "import os")


def api(name="py", zygote="init", **keys):
    return projects.python_api(name, **{"predictor": {"zygote": zygote, **keys.pop("predictor", {})}, **keys})


def zygote_of(daemon, name="py", level="init"):
    """The pid of its zygote once it is ready."""
    def ready():
        z = daemon.admin.api(name)["zygote"]
        return z["pid"] if z and z["state"] == "ready" and z["level"] == level else None
    return wait_for(f"{name} has a zygote at {level}", ready, 60)


def deploy(daemon, source=ECHO, name="py", level="init", **keys):
    """The pid of the zygote."""
    daemon.admin.deploy(projects.python_project(source, api(name, **keys)))
    return zygote_of(daemon, name, level)


def replica(daemon, name="py"):
    """The one that is ready."""
    def ready():
        found = [r for r in daemon.admin.api(name)["replicas"] if r["state"] == "ready" and r["pid"]]
        return found[0] if len(found) == 1 else None
    return wait_for("one replica is ready", ready, 60)


def another(daemon, name="py"):
    """Kills the replica; the one that comes in its place."""
    old = replica(daemon, name)["pid"]
    os.kill(old, signal.SIGKILL)
    wait_for("it is dead", lambda: not procs.alive(old))
    return wait_for("another", lambda: (r := replica(daemon, name)) and r["pid"] != old and r, 60)


def parent(pid):
    return int(procs._stat(pid)[1])


def words(daemon, name="py"):
    return [e["text"] for e in daemon.admin.events(name) if e["type"] == "zygote"]


def test_a_replica_is_forked(own_daemon):
    d = own_daemon
    zygote = deploy(d)
    assert words(d) == ["a zygote is ready: replicas are forked from it after __init__"]
    assert replica(d)["tier"] == "process"
    r = another(d)
    assert r["tier"] == "zygote-init"
    assert parent(r["pid"]) == d.keeper_pid
    assert d.admin.post("/py", json=[1]).json() == {"payload": [1], "made_by": zygote, "pid": r["pid"]}
    assert zygote_of(d) == zygote


@pytest.mark.parametrize("level", ["imports", "worker"])
def test_a_level_by_key(own_daemon, level):
    deploy(own_daemon, level=level, zygote=level)
    r = another(own_daemon)
    assert r["tier"] == "zygote-" + level
    assert own_daemon.admin.post("/py", json=1).json()["made_by"] == r["pid"]


@pytest.mark.parametrize("zygote", ["none", "auto"])
def test_none(own_daemon, zygote):
    """auto: an api that is never at zero has no use for one."""
    own_daemon.admin.deploy(projects.python_project(ECHO, api(zygote=zygote)))
    assert another(own_daemon)["tier"] == "process"
    assert own_daemon.admin.api("py")["zygote"] is None


def test_several_at_once_and_their_output(own_daemon):
    d = own_daemon
    source = projects.predictor("print('asked', payload)\nreturn os.getpid()", imports="import os")
    deploy(d, source, autoscaling={"min_replicas": 3})
    old = d.admin.pids("py")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    def forked():
        found = [r for r in d.admin.api("py")["replicas"] if r["state"] == "ready" and r["pid"] not in old]
        return found if len(found) == 3 and all(r["pid"] for r in found) else None
    found = wait_for("three new ones", forked, 60)
    assert {r["tier"] for r in found} == {"zygote-init"}
    pids = {d.admin.post("/py", json=n).json() for n in range(12)}
    assert pids <= {r["pid"] for r in found}
    def logged():
        return {line["line"] for line in d.admin.logs("py")} >= {f"asked {n}" for n in range(12)}
    wait_for("their lines", logged)


def test_a_host_with_its_model(own_daemon):
    d = own_daemon
    spec = {"name": "py", "predictor": {"type": "onnx", "model": "model.onnx", "zygote": "init"}}
    d.admin.deploy({"soma.yaml": projects.yaml_value([spec]), "model.onnx": models.data(models.linear())})
    zygote_of(d)
    assert words(d) == ["a zygote is ready: replicas are forked from it with the model loaded"]
    assert another(d)["tier"] == "zygote-init"
    assert d.admin.post("/py", json={"x": [[1, 0, 0]]}).json() == {"y": [[0.5, 0.6]]}


def test_a_host_with_threads(own_daemon):
    d = own_daemon
    spec = {"name": "py", "predictor": {"type": "onnx", "model": "model.onnx", "zygote": "init", "intra_op_threads": 2}}
    d.admin.deploy({"soma.yaml": projects.yaml_value([spec]), "model.onnx": models.data(models.linear())})
    wait_for("it is looked at", lambda: words(d))
    assert words(d) == ["replicas cannot be forked: with the model loaded a thread of the engine's runs (soma-host); each is started from its program"]
    assert another(d)["tier"] == "process"


# An engine that says how it answers where it was loaded, and in a fork of that.
ENGINE = """
#include <unistd.h>
#include "soma_engine.h"
static const struct soma_port x = {.name = "x", .dtype = SOMA_FLOAT32, .rank = 1, .shape = {-1}};
static const struct soma_ports ports = {.inputs = &x, .n_inputs = 1, .outputs = &x, .n_outputs = 1};
static pid_t loaded_by;
static const struct soma_ports *get(const struct soma_model *m) { (void)m; return &ports; }
static int load(const struct soma_params *p, struct soma_model **ret, struct soma_error *error)
{
    (void)p, (void)ret, (void)error;
    loaded_by = getpid();
    return SOMA_OK;
}
static int run(struct soma_model *m, uint32_t slot, const struct soma_request *in, struct soma_response *out, struct soma_error *error)
{
    (void)m, (void)slot, (void)error;
    if (getpid() != loaded_by && %s)
        return SOMA_FAILED;
    out->outputs = in->inputs;
    out->n_outputs = in->n_inputs;
    return SOMA_OK;
}
SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
    .abi = SOMA_ENGINE_ABI, .size = sizeof(struct soma_engine), .name = "mine", .load = load, .ports = get, .run = run};
"""


def engine(daemon, tmp_path, fails):
    """Deploys one whose forks fail, or not; the pid of its zygote."""
    (tmp_path / "mine.c").write_text(ENGINE % fails)
    include = pathlib.Path(__file__).resolve().parents[2] / "include"
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", "-I", include, "-o", tmp_path / "mine.so", tmp_path / "mine.c"], check=True)
    spec = {"name": "py", "predictor": {"type": "engine", "engine": "mine.so", "zygote": "init"}}
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([spec]), "mine.so": (tmp_path / "mine.so").read_bytes()})
    return zygote_of(daemon)


def test_a_fork_that_answers_as_it_should(own_daemon, tmp_path):
    d = own_daemon
    zygote = engine(d, tmp_path, "0")
    assert another(d)["tier"] == "zygote-init"
    assert d.admin.post("/py", json={"x": [1]}).json() == {"x": [1]}
    assert another(d)["tier"] == "zygote-init"
    assert zygote_of(d) == zygote


def test_a_fork_that_answers_otherwise_is_the_last(own_daemon, tmp_path):
    """No request sees it; from then on each is started from its program, once and for good."""
    d = own_daemon
    engine(d, tmp_path, "1")
    r = another(d)
    assert r["tier"] == "process"
    assert d.admin.post("/py", json={"x": [1]}).json() == {"x": [1]}
    assert d.admin.api("py")["restarts"] == 1, "which is our killing of the one before"
    why = "a forked replica answers the model's sample otherwise than one that was started"
    assert words(d)[-1] == f"replicas cannot be forked: {why}; each is started from its program"
    assert d.admin.api("py")["zygote"] == {"state": "none", "level": "none", "pid": 0, "memory_bytes": 0, "why": why}
    assert another(d)["tier"] == "process"


# --- from zero ----------------------------------------------------------------

ZERO = {"autoscaling": {"min_replicas": 0}}


def to_zero(daemon, name="py"):
    daemon.cli("scale", name, "0", check=0)
    wait_for(f"{name} is at zero", lambda: not daemon.admin.api(name)["replicas"])


def first_answer(daemon, name="py"):
    """The first since zero; what it was made from."""
    answer = daemon.admin.post(f"/{name}", json=1, headers={"X-Soma-Cold": "1"})
    assert answer.status_code == 200, answer.text
    return answer, answer.headers["X-Soma-Cold"].partition(";")[0]


def test_auto_from_zero(own_daemon):
    d = own_daemon
    zygote = deploy(d, zygote="auto", **ZERO)
    for _ in range(5):
        to_zero(d)
        assert procs.marked(d.instance) == [zygote]
        answer, tier = first_answer(d)
        assert tier == "zygote-init" and answer.json()["made_by"] == zygote


def test_a_daemon_killed_at_zero_has_the_zygote_back(own_daemon):
    d = own_daemon
    zygote = deploy(d, zygote="auto", **ZERO)
    to_zero(d)
    old = d.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("a new daemon", lambda: not procs.alive(old) and d.daemon_pid != old)
    wait_for("it is ready", d.admin.is_ready)
    assert zygote_of(d) == zygote
    to_zero(d)
    answer, tier = first_answer(d)
    assert tier == "zygote-init" and answer.json()["made_by"] == zygote


def test_a_zygote_killed_at_zero(own_daemon):
    """The next request is answered all the same."""
    d = own_daemon
    zygote = deploy(d, zygote="auto", **ZERO)
    to_zero(d)
    os.kill(zygote, signal.SIGKILL)
    answer, tier = first_answer(d)
    assert tier == "process" or answer.json()["made_by"] != zygote


def test_a_crowd_of_apis_from_zero(own_daemon):
    """All at once, none refused."""
    d = own_daemon
    names = [f"py{n}" for n in range(12)]
    d.admin.deploy(projects.python_project(ECHO, *[api(name, "auto", **ZERO) for name in names]))
    for name in names:
        zygote_of(d, name)
        to_zero(d, name)
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        tiers = list(pool.map(lambda name: first_answer(d, name)[1], names))
    assert set(tiers) == {"zygote-init"}


# --- deaths -------------------------------------------------------------------


def test_kill_9_of_the_zygote(own_daemon):
    """Its replicas live on, and another one comes."""
    d = own_daemon
    zygote = deploy(d)
    r = another(d)
    os.kill(zygote, signal.SIGKILL)
    wait_for("it is dead", lambda: not procs.alive(zygote))
    new = wait_for("another", lambda: (z := zygote_of(d)) != zygote and z)
    assert d.admin.post("/py", json=1).json() == {"payload": 1, "made_by": zygote, "pid": r["pid"]}
    assert replica(d)["pid"] == r["pid"]
    another(d)
    assert d.admin.post("/py", json=1).json()["made_by"] == new


def test_a_zygotes_death_is_no_death_of_a_replica(own_daemon):
    """Killed at any moment of its forks' birth: those that are there stay, the others are started otherwise."""
    d = own_daemon
    deploy(d, autoscaling={"min_replicas": 0, "max_replicas": 6})
    for turn in range(8):
        to_zero(d)
        zygote = zygote_of(d)
        killer = threading.Timer(0.003 * turn, os.kill, (zygote, signal.SIGKILL))
        killer.start()
        d.cli("scale", "py", "6", check=0)
        wait_for("six are ready", lambda: sum(r["state"] == "ready" for r in d.admin.api("py")["replicas"]) == 6, 60)
        killer.join()
        wait_for("it is dead", lambda zygote=zygote: not procs.alive(zygote))
        assert d.admin.api("py")["restarts"] == 0
        assert d.admin.post("/py", json=1).status_code == 200
    wait_for("no others", lambda: len(procs.marked(d.instance)) == 7)


def test_kill_9_of_the_daemon(own_daemon):
    """The next one has them all back, and forks on."""
    d = own_daemon
    zygote = deploy(d)
    r = another(d)
    old = d.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("a new daemon", lambda: not procs.alive(old) and d.daemon_pid != old)
    wait_for("it is ready", d.admin.is_ready)
    assert zygote_of(d) == zygote
    assert replica(d)["pid"] == r["pid"] and replica(d)["tier"] == "zygote-init"
    assert d.admin.post("/py", json=1).json()["pid"] == r["pid"]
    assert another(d)["tier"] == "zygote-init"
    assert d.admin.post("/py", json=1).json()["made_by"] == zygote


def test_kill_9_of_zygote_and_replica_at_once(own_daemon):
    d = own_daemon
    zygote, r = deploy(d), another(d)
    os.kill(zygote, signal.SIGKILL)
    os.kill(r["pid"], signal.SIGKILL)
    # It may reach the dead one before that is known, and then go on to the next.
    assert d.admin.post("/py", json=1, headers={"Idempotency-Key": "1"}).status_code == 200
    assert zygote_of(d) != zygote


def test_kill_9_of_everything_in_turn(own_daemon):
    """Zygote, replica and daemon, again and again: an api that answers in the end, and nothing left over."""
    d = own_daemon
    deploy(d)
    for turn in range(9):
        victims = [lambda: zygote_of(d), lambda: replica(d)["pid"], lambda: d.daemon_pid]
        pids = [victim() for victim in (victims[turn % 3:] + victims[:turn % 3])[:1 + turn // 3]]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for("they are dead", lambda pids=pids: not any(procs.alive(p) for p in pids))
        wait_for("a daemon", d.admin.is_ready)
        zygote_of(d)
        assert d.admin.post("/py", json=turn, headers={"Idempotency-Key": str(turn)}).json()["payload"] == turn
    zygote, r = zygote_of(d), replica(d)["pid"]
    wait_for("no others", lambda: set(procs.marked(d.instance)) == {zygote, r})
    assert procs.zombies_of(d.keeper_pid) == []


def test_a_zygote_that_is_stopped(own_daemon):
    """The replica comes from its program instead, and the zygote is replaced."""
    d = own_daemon
    zygote = deploy(d)
    os.kill(zygote, signal.SIGSTOP)
    assert another(d)["tier"] == "process"
    assert d.admin.post("/py", json=1).status_code == 200
    assert wait_for("another", lambda: (z := zygote_of(d)) != zygote and z)
    assert not procs.alive(zygote)


def test_a_zygote_that_may_not_fork(own_daemon):
    """As when the machine has no memory or no processes left: a process starts, and nobody hears of it."""
    d = own_daemon
    source = projects.predictor("return os.getpid()", "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))", "import os, resource")
    zygote = deploy(d, source)
    r = another(d)
    assert r["tier"] == "process" and r["last_exit"] == "signal 9 (SIGKILL)"
    assert d.admin.post("/py", json=1).json() == r["pid"]
    assert zygote_of(d) == zygote
    assert "it could not be forked: Resource temporarily unavailable" in d.log()


def test_what_a_replica_leaves_behind_dies_with_it(own_daemon):
    """A stray of a forked replica, while its zygote lives; the zygote's end does not touch a replica that is just born."""
    d = own_daemon
    source = projects.predictor(
        'return subprocess.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True).stdout',
        imports="import subprocess")
    zygote, r = deploy(d, source), another(d)
    os.kill(zygote, signal.SIGKILL)
    wait_for("another", lambda: zygote_of(d) != zygote)
    assert replica(d)["pid"] == r["pid"]
    if not procs.cgroups_of(d.instance):
        pytest.skip("no control groups here")
    def own_group():
        return f"{d.instance}/py-" in (text := pathlib.Path(f"/proc/{r['pid']}/cgroup").read_text()) and "zygote" not in text
    wait_for("a group of its own", own_group)
    d.admin.post("/py", json=1)
    strays = wait_for("it has one", lambda: [p for p in procs.marked(d.instance) if procs.command_line(p).startswith("sleep 600")])
    os.kill(r["pid"], signal.SIGKILL)
    wait_for("its stray is dead", lambda: not procs.alive(strays[0]))


def group_of(pid):
    """The names of its control groups: of its own, of its zygote, or of both where it is half moved."""
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {name for line in lines if "/soma-" in line and (name := line.rpartition("/")[2]).startswith("py-")}


def skip_without_groups(daemon):
    if not procs.cgroups_of(daemon.instance):
        pytest.skip("no control groups here")


LEAVES = """
import os
import subprocess


def leave():
    plain = subprocess.Popen(["sleep", "600"])
    own = subprocess.Popen(["sleep", "600"], start_new_session=True)
    forked = os.fork()
    if not forked:
        os.setsid()
        while True:
            os.read(os.pipe()[0], 1)
    return [plain.pid, own.pid, forked]


class PythonPredictor:
    def __init__(self, config):
        self.left = leave() if config["when"] == "init" else []

    def predict(self, payload):
        return [os.getpid()] + self.left + (leave() if not self.left else [])
"""


def test_a_replica_with_a_limit_is_in_its_own_group_before_it_runs_code(own_daemon):
    """And with it what that starts."""
    d = own_daemon
    deploy(d, LEAVES, level="imports", predictor={"zygote": "imports", "config": {"when": "init"}}, compute={"mem_limit": "500Mi"})
    skip_without_groups(d)
    another(d)
    pids = d.admin.post("/py", json=1).json()
    groups = [group_of(pid) for pid in pids]
    assert len(pids) == 4 and groups == [groups[0]] * 4
    assert len(groups[0]) == 1 and "zygote" not in groups[0].pop()


@pytest.mark.parametrize("level", ["init", "imports"])
def test_what_a_replica_starts_in_its_first_second_moves_with_it(own_daemon, level):
    """Of its session or of one of their own, by exec or by fork; before its `__init__` is over, or a second later."""
    d = own_daemon
    zygote = deploy(d, LEAVES, level=level, predictor={"zygote": level, "config": {"when": "init" if level == "imports" else "asked"}})
    skip_without_groups(d)
    another(d)
    pids = d.admin.post("/py", json=1).json()
    def moved():
        groups = [group_of(pid) for pid in pids]
        return groups == [groups[0]] * 4 and len(groups[0]) == 1 and groups[0] != group_of(zygote)
    wait_for("all are in its group", moved)
    wait_for("the daemon lets go of it", lambda: "anon_inode:[pidfd]" not in procs.fd_targets(d.daemon_pid))


def test_what_a_replica_leaves_in_its_first_second_dies_with_it(own_daemon):
    """It is in its zygote's group still, as on a machine without any: it is found by its mark, and the zygote lives."""
    d = own_daemon
    zygote = deploy(d, LEAVES, predictor={"config": {"when": "asked"}})
    for _ in range(3):
        r = another(d)
        pids = d.admin.post("/py", json=1).json()
        os.kill(r["pid"], signal.SIGKILL)
        wait_for("they are dead", lambda pids=pids: not any(procs.alive(p) for p in pids))
    assert zygote_of(d) == zygote


def test_mem_limit_holds_from_the_first_byte(own_daemon):
    """What is over it is the replica's end, and not its zygote's."""
    d = own_daemon
    flag = pathlib.Path(tempfile.gettempdir(), f"soma-large-{os.getpid()}")
    source = projects.predictor(
        'return os.getpid()', 'self.hold = b"x" * (300 << 20) if os.path.exists(config["flag"]) else None', "import os")
    keys = {"predictor": {"zygote": "imports", "config": {"flag": str(flag)}}, "compute": {"mem_limit": "150Mi"}}
    zygote = deploy(d, source, level="imports", **keys)
    skip_without_groups(d)
    old = replica(d)["pid"]
    def died():
        found = d.admin.api("py")["replicas"]
        return found and found[0]["last_exit"] == "out of memory"
    flag.touch()
    try:
        os.kill(old, signal.SIGKILL)
        wait_for("it has no memory", died, 30)
    finally:
        flag.unlink()
    assert zygote_of(d, level="imports") == zygote
    assert wait_for("another", lambda: (r := replica(d)) and r["pid"] != old and r, 60)["tier"] == "zygote-imports"


# --- secrets ------------------------------------------------------------------


def test_a_new_secret_is_in_what_is_forked(own_daemon):
    d = own_daemon

    def give(value):
        d.admin.ok("PUT", "/v1/secrets/tok", json={"value": value})

    give("one")
    source = projects.predictor("return self.token", 'self.token = os.environ["TOKEN"]', "import os")
    zygote = deploy(d, source, predictor={"env": {"TOKEN": {"from_secret": "tok"}}})
    assert another(d)["tier"] == "zygote-init"
    assert d.admin.post("/py", json=1).text == "one"
    give("two")
    assert "the secret 'tok' has changed: another zygote is loaded" in words(d)
    another(d)
    assert d.admin.post("/py", json=1).text == "two", "whatever it was made from"
    assert zygote_of(d) != zygote
    assert another(d)["tier"] == "zygote-init"
    assert d.admin.post("/py", json=1).text == "two"
    zygote = zygote_of(d)
    d.admin.ok("PUT", "/v1/secrets/another", json={"value": "x"})
    assert zygote_of(d) == zygote, "it is nothing to it"


# --- memory -------------------------------------------------------------------


def test_no_memory_for_zygotes():
    """Only those that are asked for by their level."""
    with Daemon(args=["--warm-memory", "1"]) as d:
        d.admin.deploy(projects.python_project(ECHO, api("auto", "auto", **ZERO), api("init", "init", **ZERO)))
        zygote_of(d, "init")
        to_zero(d, "auto")
        assert first_answer(d, "auto")[1] == "process"
        z = d.admin.api("auto")["zygote"]
        assert z["state"] == "none" and z["why"] == "it takes more than all of warm_memory"
        to_zero(d, "init")
        assert first_answer(d, "init")[1] == "zygote-init"
        wait_for("it is measured", lambda: d.admin.api("init")["zygote"]["memory_bytes"] > 1 << 20)


LARGE = projects.predictor("return len(self.held)", 'self.held = b"x" * (100 << 20)', "import os")


def test_one_that_is_larger_than_was_guessed_goes_when_it_is_measured():
    with Daemon(args=["--warm-memory", "60Mi"]) as d:
        d.admin.deploy(projects.python_project(LARGE, api("py", "auto", **ZERO)))
        def gone():
            z = d.admin.api("py")["zygote"]
            return z["state"] == "none" and z["why"] == "it takes more than all of warm_memory"
        wait_for("it is gone", gone, 30)
        to_zero(d)
        assert first_answer(d)[1] == "process"
        assert d.admin.api("py")["zygote"]["state"] == "none"


def test_a_smaller_limit_holds_for_those_that_are_there(tmp_path):
    conf = tmp_path / "soma.conf"
    conf.write_text("warm_memory: 1Gi\n")
    with Daemon(args=["--config", conf]) as d:
        d.admin.deploy(projects.python_project(LARGE, api("py", "auto", **ZERO)))
        zygote = zygote_of(d)
        wait_for("it is measured", lambda: d.admin.api("py")["zygote"]["memory_bytes"] > 100 << 20)
        conf.write_text("warm_memory: 60Mi\n")
        os.kill(d.keeper_pid, signal.SIGHUP)
        wait_for("it is gone", lambda: not procs.alive(zygote))
        assert d.admin.api("py")["zygote"]["state"] == "none"


LEAKS = """
import os

hold = []


class PythonPredictor:
    def __init__(self, config):
        os.register_at_fork(before=lambda: hold.append(os.urandom(1 << 20) * 4))

    def predict(self, payload):
        return len(hold)
"""


def test_a_zygote_that_leaks_is_replaced(own_daemon):
    """With each fork; seen when it has been used often."""
    d = own_daemon
    zygote = deploy(d, LEAKS, autoscaling={"min_replicas": 0, "max_replicas": 8})
    for _ in range(9):
        to_zero(d)
        d.cli("scale", "py", "8", check=0)
        wait_for("eight are ready", lambda: sum(r["state"] == "ready" for r in d.admin.api("py")["replicas"]) == 8, 60)
    def told():
        return [text for text in words(d) if text.startswith("the zygote has grown from ")]
    text, = wait_for("it is told", told)
    assert text.endswith(" MiB with its forks: another one is loaded")
    wait_for("it is dead", lambda: not procs.alive(zygote))
    assert zygote_of(d) != zygote
    assert d.admin.api("py")["restarts"] == 0


def test_memory_for_one_zygote():
    """It is the one's that is used more."""
    with Daemon(args=["--warm-memory", "33Mi"]) as d:
        d.admin.deploy(projects.python_project(ECHO, api("a", "auto", **ZERO)))
        zygote_of(d, "a")
        wait_for("it is measured", lambda: d.admin.api("a")["zygote"]["memory_bytes"])
        d.admin.deploy(projects.python_project(ECHO, api("b", "auto", **ZERO)))
        assert d.admin.api("b")["zygote"]["state"] == "none"

        def has_one():
            to_zero(d, "b")
            first_answer(d, "b")
            return d.admin.api("b")["zygote"]["state"] != "none"

        wait_for("b has one", has_one, 60)
        zygote_of(d, "b")
        assert d.admin.api("a")["zygote"]["state"] == "none"
        to_zero(d, "b")
        assert first_answer(d, "b")[1] == "zygote-init"


# --- what cannot be forked ----------------------------------------------------

THREAD = projects.predictor("return 1", "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "import threading, time")


def test_a_thread_in_init(own_daemon):
    d = own_daemon
    deploy(d, THREAD, level="imports")
    first, second = words(d)
    assert first.startswith("replicas cannot be forked after __init__: after __init__ a thread runs (")
    assert first.endswith("); they are forked after the imports")
    assert second == "a zygote is ready: replicas are forked from it after the imports"
    assert d.admin.api("py")["zygote"]["why"].startswith("after __init__ a thread runs (")
    assert another(d)["tier"] == "zygote-imports"


ABORTS = """
import os
import soma


class PythonPredictor:
    def __init__(self, config):
        self.made_by = os.getpid()
        soma.on_start(self.start)

    def start(self):
        if self.made_by != os.getpid():
            os.abort()

    def predict(self, payload):
        return os.getpid()
"""


def test_a_library_that_does_not_survive_the_fork(own_daemon):
    """Found out by the first one; from then on a level above."""
    d = own_daemon
    deploy(d, ABORTS)
    r = another(d)
    assert r["tier"] in ("process", "zygote-imports")
    assert "replicas cannot be forked after __init__: signal 6 (SIGABRT); they are forked after the imports" in words(d)
    zygote_of(d, level="imports")
    assert another(d)["tier"] == "zygote-imports"
    assert d.admin.post("/py", json=1).status_code == 200


def test_a_zygote_that_fails_is_no_fault_of_the_apis(own_daemon):
    """It is tried again, ever less often; the api serves."""
    d = own_daemon
    once = projects.predictor("return 1", 'open(os.path.join(tempfile.gettempdir(), config["once"]), "x")', "import os, tempfile")
    config = {"once": f"soma-once-{os.getpid()}-{id(once)}"}
    d.admin.deploy(projects.python_project(once, api(predictor={"config": config})))
    wait_for("it rests", lambda: d.admin.api("py")["zygote"]["state"] == "resting")
    assert d.admin.api("py")["status"] == "live"
    assert d.admin.post("/py", json=1).json() == 1


# --- ends ---------------------------------------------------------------------


def test_a_new_revision_has_its_own(own_daemon):
    d = own_daemon
    old = deploy(d)
    new = deploy(d, ECHO + "# changed\n")
    assert new != old
    wait_for("the old one is gone", lambda: not procs.alive(old))
    another(d)
    assert d.admin.post("/py", json=1).json()["made_by"] == new


def test_deleting_the_api_ends_it(own_daemon):
    d = own_daemon
    deploy(d)
    another(d)
    d.admin.delete("py")
    wait_for("nothing is left", lambda: procs.marked(d.instance) == [])

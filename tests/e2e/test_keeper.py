"""The keeper: what it gives to the processes it starts, when it starts the
daemon again, and what is left when it ends."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from soma import procs, projects
from soma.client import plain
from soma.daemon import BIN, Daemon
from soma.waiting import seconds, wait_for

IS_ROOT = os.geteuid() == 0
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

SPY = r"""
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void spy(void)
{
	char name[64] = "?";
	FILE *f = fopen("/proc/self/comm", "r");

	if (f) {
		fscanf(f, "%63s", name);
		fclose(f);
	}
	f = fopen(OUT, "a");
	if (f) {
		fprintf(f, "%d %s\n", (int)geteuid(), name);
		fclose(f);
	}
}
"""


def spy_library(directory, name):
    """A library that tells in directory/seen which process loaded it."""
    directory.chmod(0o777)
    seen, source = directory / "seen", directory / "spy.c"
    source.write_text(SPY)
    seen.write_text("")
    seen.chmod(0o666)
    subprocess.run([CC, "-shared", "-fPIC", "-w", f'-DOUT="{seen}"', "-o", directory / name, source], check=True)
    return seen


@pytest.mark.skipif(not CC, reason="wants a C compiler")
@pytest.mark.parametrize("variable, library", [("LD_PRELOAD", "spy.so"), ("LD_LIBRARY_PATH", "libuv.so.1")])
def test_a_users_environment_reaches_the_program_and_nothing_before_it(own_daemon, variable, library):
    directory = pathlib.Path(own_daemon.parent) / "spy"
    directory.mkdir()
    seen = spy_library(directory, library)
    value = str(directory / library if variable == "LD_PRELOAD" else directory)
    own_daemon.admin.deploy(projects.probe_project(projects.probe_api(predictor={"env": {variable: value}})))
    found = own_daemon.admin.get("/probe/env").json()
    assert found[variable] == value
    assert found["SOMA_INSTANCE"] == own_daemon.instance and found["SOMA_REPLICA"].startswith("probe-")
    loaded = [line.split() for line in seen.read_text().splitlines()]
    assert [name for _, name in loaded if name.startswith("soma")] == []
    if variable == "LD_PRELOAD":
        assert loaded, "the program was to load it"
    if IS_ROOT:
        assert all(uid != "0" for uid, _ in loaded), loaded


def new_daemon(daemon, old):
    """The pid of the next one, once it serves."""
    wait_for("a new daemon", lambda: not procs.alive(old) and daemon.daemon_pid != old)
    wait_for("it is ready", daemon.admin.is_ready)
    return daemon.daemon_pid


def kill_daemon(daemon, signum=signal.SIGKILL):
    old = daemon.daemon_pid
    os.kill(old, signum)
    return new_daemon(daemon, old)


def test_a_log_that_nobody_reads_any_more_ends_nothing():
    daemon = Daemon()
    read, write = os.pipe()
    daemon.process = subprocess.Popen(
        [BIN, "serve", "--data", daemon.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL, stdout=write, stderr=write, env=daemon.env)
    os.close(write)
    try:
        wait_for("the daemon says /readyz", daemon._is_ready)
        os.close(read)
        kill_daemon(daemon)  # which the keeper logs
        daemon.admin.deploy(projects.probe_project())
        script = "grep SigIgn /proc/self/status"
        daemon.admin.deploy(projects.probe_project(projects.probe_api(
            "sig", predictor={"command": ["/bin/sh", "-c", f"{script}; exec {projects.PYTHON} probe.py"]})))
        wait_for("its output", lambda: any("SigIgn" in line["line"] for line in daemon.admin.logs("sig")))
        ignored = next(line["line"] for line in daemon.admin.logs("sig") if "SigIgn" in line["line"]).split()[1]
        libc_own = 1 << 31 | 1 << 32  # signals 32 and 33, which no program can set through libc
        assert int(ignored, 16) & ~libc_own == 0, "replicas ignore no signal"
        daemon.stop()
    finally:
        daemon.end_hard()
        daemon.remove()


def restarts(daemon, key="again_in_ms"):
    """Of each new daemon, how long the keeper waited before it, or lived_ms: how long the last one had lived."""
    return [json.loads(line)[key] for line in daemon.log().splitlines() if "starting it again" in line]


def test_one_that_crashes_as_soon_as_it_serves_is_started_less_and_less_often(own_daemon):
    """As soon: within half a second. On a slow machine one may live longer, which halves the wait."""
    while 80 not in (waits := restarts(own_daemon)):
        assert len(waits) < 30, "too few are ended in time"
        kill_daemon(own_daemon, signal.SIGALRM)  # as good as a crash; sanitizers stay quiet
    wait, expected = 0, []
    for ms in restarts(own_daemon, "lived_ms"):
        expected.append(wait)
        wait = (wait * 2 or 20) if ms < 500 else wait // 2
    assert waits == expected


def test_one_that_is_killed_while_it_serves_is_started_at_once(own_daemon):
    for _ in range(5):
        kill_daemon(own_daemon)
    assert restarts(own_daemon) == [0] * 5


def test_one_that_cannot_start_any_more_is_tried_again(own_daemon):
    own_daemon.admin.deploy(projects.probe_project())
    pids, old = own_daemon.admin.pids("probe"), own_daemon.daemon_pid
    blocked = own_daemon.data / "admin.token"
    token = blocked.read_text()
    blocked.unlink()
    blocked.mkdir()
    os.kill(old, signal.SIGKILL)
    wait_for("some tries", lambda: len(restarts(own_daemon)) > 3)
    assert own_daemon.process.poll() is None and all(procs.alive(p) for p in pids)
    blocked.rmdir()
    blocked.write_text(token)
    blocked.chmod(0o600)
    new_daemon(own_daemon, old)
    assert own_daemon.admin.wait_live("probe") and own_daemon.admin.pids("probe") == pids


def test_one_that_cannot_start_at_all_ends_soma():
    daemon = Daemon()
    (daemon.data / "admin.token").mkdir(parents=True)
    try:
        done = subprocess.run(
            [BIN, "serve", "--data", daemon.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env=daemon.env, timeout=seconds(20), check=False)
        assert done.returncode == 1 and done.stderr.count("cannot start") == 1, done.stderr
    finally:
        daemon.remove()


def ask_in_vain(daemon, path):
    with contextlib.suppress(requests.RequestException):
        daemon.admin.get(path)


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was just being closed
    return False


def test_new_connections_are_refused_while_it_drains(own_daemon):
    own_daemon.admin.deploy(projects.probe_project())
    answer, port = [], own_daemon.admin.get("/probe/env").json()["PORT"]
    asking = threading.Thread(target=lambda: answer.append(own_daemon.admin.get("/probe/hold")))
    asking.start()
    wait_for("it is held", lambda: any("held" in line["line"] for line in own_daemon.admin.logs("probe")))
    own_daemon.process.send_signal(signal.SIGTERM)
    wait_for("the port is closed", lambda: refused(own_daemon.port))
    with contextlib.suppress(requests.RequestException):
        plain("GET", f"http://127.0.0.1:{port}/go")  # may not be answered: the replica is told to end then
    asking.join(seconds(20))
    assert answer and answer[0].status_code == 200
    own_daemon.process.wait(seconds(20))
    own_daemon.process = None
    own_daemon.check_nothing_left()


needs_groups = pytest.mark.skipif(not IS_ROOT, reason="control groups take root")


@needs_groups
def test_a_forced_end_leaves_no_control_groups():
    daemon = Daemon().start()
    try:
        daemon.admin.deploy(projects.probe_project(projects.probe_api(autoscaling={"min_replicas": 3})))
        asking = threading.Thread(target=ask_in_vain, args=(daemon, "/probe/hold"))
        asking.start()
        wait_for("it is held", lambda: any("held" in line["line"] for line in daemon.admin.logs("probe")))
        daemon.process.send_signal(signal.SIGTERM)
        wait_for("it drains", lambda: refused(daemon.port))
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(seconds(20)) == 1
        daemon.process = None
        asking.join()
        assert not procs.marked(daemon.instance) and not procs.cgroups_of(daemon.instance)
        daemon.start()
        assert daemon.admin.wait_live("probe")
        daemon.stop()
    finally:
        daemon.end_hard()
        daemon.remove()


@needs_groups
def test_a_killed_keeper_leaves_no_control_groups():
    daemon = Daemon().start()
    try:
        daemon.admin.deploy(projects.probe_project(projects.probe_api(autoscaling={"min_replicas": 3})))
        last = daemon.daemon_pid
        daemon.process.kill()
        daemon.process.wait()
        wait_for("the daemon ends", lambda: not procs.alive(last))
        daemon.process = None
        assert not procs.marked(daemon.instance) and not procs.cgroups_of(daemon.instance)
    finally:
        daemon.end_hard()
        daemon.remove()


def nofile(pid):
    """Soft and hard limit of open files."""
    line = next(x for x in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines() if x.startswith("Max open files"))
    return line.split()[3:5]


def test_descriptors_are_soma_s_and_not_the_replicas():
    with Daemon(prefix=["bash", "-c", 'ulimit -Sn 99; ulimit -Hn 4000; exec "$@"', "bash"]) as daemon:
        daemon.admin.deploy(projects.probe_project(projects.probe_api(autoscaling={"min_replicas": 48})))
        assert nofile(daemon.keeper_pid) == nofile(daemon.daemon_pid) == ["4000", "4000"]
        pids = daemon.admin.pids("probe")
        assert len(pids) == 48 and nofile(pids[0]) == nofile(pids[47]) == ["99", "4000"]
        kill_daemon(daemon)
        daemon.admin.wait_live("probe")
        assert sorted(daemon.admin.pids("probe")) == sorted(pids)


def test_sockets_of_nobody_are_removed(own_daemon):
    own_daemon.admin.deploy(projects.python_project(projects.predictor("return payload")))
    mine = set(os.listdir(own_daemon.data / "run/s"))
    stale = own_daemon.data / "run/s/echo-77-0"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    kill_daemon(own_daemon)
    own_daemon.admin.wait_live("echo")
    assert mine and set(os.listdir(own_daemon.data / "run/s")) == mine
    assert own_daemon.admin.post("/echo", json=1).json() == 1


def test_ready_is_believed_of_its_own_user_only(own_daemon):
    """Another user of the machine says READY=1 first; it is the program's own word that counts."""
    if not IS_ROOT:
        pytest.skip("speaking as another user takes root")
    own_daemon.admin.deploy(projects.probe_project())
    script = ("import os, socket, time\n"
              "print('at ' + os.environ['NOTIFY_SOCKET'], flush=True)\n"
              "while not os.path.exists('/tmp/' + os.environ['SOMA_INSTANCE']): time.sleep(0.01)\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "s.sendto(b'READY=1', '\\0' + os.environ['NOTIFY_SOCKET'][1:])\n"
              "time.sleep(1000)\n")
    api = {"name": "says", "predictor": {"type": "command", "command": [projects.PYTHON, "says.py"]}}
    flag = pathlib.Path("/tmp") / own_daemon.instance
    answer = own_daemon.admin.send({"soma.yaml": projects.yaml_value([api]), "says.py": script})
    assert answer.status_code == 200, answer.text
    try:
        line = wait_for("its socket", lambda: next(
            (x["line"] for x in own_daemon.admin.logs("says") if x["line"].startswith("at ")), None))
        tell = f"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', '\\0{line[4:]}')"
        subprocess.run([projects.PYTHON, "-c", tell], user=4711, group=4711, check=True)
        wait_for("it is told of", lambda: "from another user" in own_daemon.log())
        assert own_daemon.admin.api("says")["status"] != "live"
        flag.touch()
        own_daemon.admin.wait_live("says")
    finally:
        flag.unlink(missing_ok=True)


@pytest.mark.parametrize("options, words", [
    (["--listen", "192.0.2.1:8000"],
     "192.0.2.1:8000 is no address of this machine; choose another with --listen HOST:PORT"),
    (["--listen", "127.0.0.1:65536"], "--listen: '65536' is no port"),
    (["--admin", "127.0.0.1:http"], "--admin: 'http' is no port"),
    (["--data", "file"], "'file' is not a directory (choose another with --data DIR)"),
    (["--log-level", "loud"], "--log-level wants debug, info, warning or error, not 'loud'"),
    (["--log-format=xml"], "--log-format wants text or json, not 'xml'"),
    (["--access-log", "maybe"], "--access-log wants on or off, not 'maybe'"),
    (["more"], "soma serve: one argument too many: 'more'"),
])
def test_wrong_options_are_refused_in_words(tmp_path, options, words):
    (tmp_path / "file").write_text("")
    line = [BIN, "serve", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=seconds(20), check=False)
    assert done.returncode in (1, 2) and words in done.stderr, done.stderr


def test_endless_output_does_not_hold_the_others(own_daemon):
    own_daemon.admin.deploy(projects.probe_project(
        projects.probe_api("loud", predictor={"command": [
            "/bin/sh", "-c", f"yes '' & exec {projects.PYTHON} probe.py"]}), projects.probe_api("calm")))
    took = []
    for _ in range(100):
        began = time.monotonic()
        assert own_daemon.admin.get("/calm/echo").status_code == 200
        took.append(time.monotonic() - began)
    assert sorted(took)[50] < seconds(1), sorted(took)[50]
    own_daemon.admin.delete("loud")


def test_all_of_a_dead_programs_lines_are_heard_before_its_end(own_daemon):
    api = {"name": "talks", "predictor": {"type": "command", "command": [
        "/bin/sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 3"]}}
    own_daemon.admin.deploy_failing({"soma.yaml": projects.yaml_value([api])})
    lines = [x["line"] for x in own_daemon.admin.logs("talks", 1000)]
    at = [i for i, line in enumerate(lines) if line == "line 2999"]
    assert at and lines[at[0] - 400:at[0] + 1] == [f"line {i}" for i in range(2599, 3000)]


def test_what_earlier_versions_published_goes(tmp_path):
    """Their workers and hosts, once nothing runs them; what an operator put there stays."""
    os.chmod(tmp_path, 0o755)
    with Daemon(parent=tmp_path) as d:
        d.admin.deploy(projects.python_project(projects.predictor("return payload")))
        lib = d.inside("lib")
        now = sorted(p.name for p in lib.iterdir())
        for name in ("0123456789abcdef", "0123456789abcdef.tmp.77"):
            (lib / name / "soma").mkdir(parents=True)
        (lib / "libmine.so").write_bytes(b"mine")

        os.kill(d.daemon_pid, signal.SIGKILL)
        wait_for("the next daemon", lambda: d.admin.is_ready() and d.admin.post("/echo", json=1).status_code == 200)
        assert (lib / "0123456789abcdef").exists(), "a replica lives that may be of that version"

        d.stop()
        d.start()
        assert sorted(p.name for p in lib.iterdir()) == sorted([*now, "libmine.so"])
        assert d.admin.wait_live("echo")
        assert d.admin.post("/echo", json=1).json() == 1

"""The settings of `soma serve`: its file, and SIGHUP while clients are served."""

import json
import os
import pty
import signal
import subprocess
import time

import pytest

from soma import projects
from soma.client import Raw
from soma.daemon import BIN, Daemon, clean_environment
from soma.load import Load, Target
from soma.waiting import seconds, wait_for


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "soma.conf"
    path.write_text("log_level: info\n")
    return path


@pytest.fixture
def served(conf):
    """A daemon with that file, the probe on it."""
    with Daemon(args=["--config", conf]) as daemon:
        daemon.admin.deploy(projects.probe_project(projects.probe_api(request_timeout="10m")))
        yield daemon


def told(daemon, text, count=1):
    """Waits until the log has `text` so often."""
    wait_for(f"the log says {text!r}", lambda: daemon.log().count(text) >= count, 20)


def reload(daemon, conf, text, words):
    conf.write_text(text)
    before = daemon.log().count(words)
    os.kill(daemon.keeper_pid, signal.SIGHUP)
    told(daemon, words, before + 1)


def begun(directory, *args):
    """`soma serve` that is not to start."""
    line = [BIN, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *args]
    return subprocess.run(line, cwd=directory, capture_output=True, text=True, timeout=seconds(20), check=False,
                          env=clean_environment(HOME=directory))


def test_a_wrong_file_is_told_with_its_lines(tmp_path):
    (tmp_path / "my.conf").write_text("log_level: loud\nbody_timout: 1s\n")
    done = begun(tmp_path, "--data", "data", "--config", "my.conf")
    assert done.returncode == 2
    path = os.path.realpath(tmp_path / "my.conf")
    assert done.stderr.splitlines() == [
        f"soma: {path}:1:12: log_level wants debug, info, warning or error, not 'loud'",
        f"soma: {path}:2:1: unknown setting 'body_timout'; did you mean 'body_timeout'?"]
    assert not (tmp_path / "data").exists()


def test_a_file_that_was_named_must_be_there(tmp_path):
    done = begun(tmp_path, "--data", "data", "--config", "none.conf")
    assert done.returncode == 1
    assert "the settings file 'none.conf' (--config)" in done.stderr and "No such file" in done.stderr


def test_the_file_in_the_data_directory_does_not_say_where_that_is(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/soma.conf").write_text("data: /elsewhere\n")
    done = begun(tmp_path, "--data", "data")
    assert done.returncode == 2
    assert ("soma.conf:1:1: data cannot be set in a file that lies in the data directory: use --data, or a file "
            "elsewhere with --config") in done.stderr


def test_the_file_in_the_data_directory_is_read(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/soma.conf").write_text("body_bytes: 10\naccess_log: off\n")
    with Daemon(parent=tmp_path) as daemon:
        daemon.admin.deploy(projects.probe_project())
        assert daemon.admin.post("/probe/echo", data="x" * 11).status_code == 413
        assert daemon.admin.post("/probe/echo", data="x" * 10).status_code == 200
        time.sleep(1.2)  # what is written each second
        assert not (tmp_path / "data/logs/access.jsonl").exists()


def test_limits_change_at_once(served, conf):
    assert served.admin.post("/probe/echo", data="x" * 100).status_code == 200
    reload(served, conf, "log_level: info\nbody_bytes: 50\nheader_timeout: 200ms\n", "body_bytes: 0 -> 50")
    assert "header_timeout: 30s -> 200ms" in served.log()
    assert served.admin.post("/probe/echo", data="x" * 100).status_code == 413
    # The admin API has limits of its own: a deploy is no prediction.
    served.admin.deploy(projects.probe_project(projects.probe_api(), projects.probe_api("more")))
    with Raw(served.port) as raw:
        raw.send(b"GET /probe/echo HTTP/1.1\r\n")
        assert raw.until(b"\r\n").startswith(b"HTTP/1.1 408 ")
    reload(served, conf, "log_level: info\n", "body_bytes: 50 -> 0")
    assert served.admin.post("/probe/echo", data="x" * 100).status_code == 200


def test_a_long_path_is_in_the_access_log(served, conf):
    reload(served, conf, "request_line_bytes: 1Mi\n", "request_line_bytes: 16Ki -> 1Mi")
    assert served.admin.get("/nothing/" + "a" * 500000).status_code == 404
    log = served.data / "logs/access.jsonl"
    wait_for("it is written", lambda: log.exists() and "/nothing/" in log.read_text(), 20)
    line = next(json.loads(x) for x in log.read_text().splitlines() if "/nothing/" in x)
    assert line["status"] == 404 and line["path"] == "/nothing/" + "a" * (30 * 1024 - 9)


@pytest.mark.parametrize("kind", ["python", "engine"])
def test_replicas_take_the_heads_that_settings_let_in(served, conf, kind):
    conf.write_text("request_line_bytes: 1Mi\nheader_bytes: 16Mi\nheader_count: 10000\n")
    os.kill(served.keeper_pid, signal.SIGHUP)
    told(served, "header_count: 128 -> 10000")
    if kind == "python":
        served.admin.deploy(projects.python_project(projects.predictor("return len(headers['x-long'])")))
    else:
        served.admin.deploy({"soma.yaml": "- name: echo\n  predictor:\n    type: engine\n    engine: echo\n"})
    with Raw(served.port) as raw:
        many = b"".join(b"x-%d: 1\r\n" % i for i in range(9000))
        raw.send(b"POST /echo?" + b"q" * 1000000 + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 7\r\n" + many + b"x-long: " + b"a" * (15 << 20) + b"\r\n\r\n{\"x\":1}")
        assert raw.until(b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_the_log_level_of_both_processes_changes(served, conf):
    reload(served, conf, "log_level: error\n", "log_level: info -> error")
    conf.write_text("log_level: info\nidle_timeout: 10s\n")
    os.kill(served.keeper_pid, signal.SIGHUP)
    time.sleep(0.3)
    os.kill(served.keeper_pid, signal.SIGHUP)
    told(served, "the settings were read again: nothing changed")
    os.kill(served.daemon_pid, signal.SIGKILL)
    # The keeper's own line, which level error had hidden.
    told(served, "the daemon died (signal 9); starting it again")


def test_a_wrong_file_changes_nothing(served, conf):
    reload(served, conf, "body_bytes: 50\n", "body_bytes: 0 -> 50")
    reload(served, conf, "body_bytes: 5\nidle_timeout: soon\n", "the settings file has 1 problem: nothing was changed")
    problem = f"{conf}:2:15: idle_timeout wants a time such as 30s, 500ms or 2m, not 'soon'"
    assert problem in served.log()
    assert served.admin.post("/probe/echo", data="x" * 50).status_code == 200
    assert served.admin.post("/probe/echo", data="x" * 51).status_code == 413
    # Nor does one that is gone, since it was named.
    before = served.log().count("nothing was changed")
    conf.unlink()
    os.kill(served.keeper_pid, signal.SIGHUP)
    told(served, "nothing was changed", before + 1)
    assert f"{conf}" in served.log().splitlines()[-2]
    # And the next daemon has what was in force, whatever the file says now.
    conf.write_text("body_bytes: [")
    old = served.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("a new daemon serves", lambda: served.daemon_pid != old and served.admin.is_ready(), 30)
    assert served.admin.post("/probe/echo", data="x" * 51).status_code == 413


def test_what_cannot_change_is_named(tmp_path):
    conf = tmp_path / "soma.conf"
    conf.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n")
    with Daemon(args=["--config", conf]).start(listen=None, admin=None) as daemon:
        reload(daemon, conf, "listen: 127.0.0.1:1\nadmin: 127.0.0.1:0\nmax_connections: 1000\n",
               "max_connections: 65536 -> 1000")
        told(daemon, "listen: stays 127.0.0.1:0 until Soma is stopped and started again; "
                     "the settings file wants 127.0.0.1:1")
        assert "admin: stays" not in daemon.log()
        assert daemon.admin.get("/healthz").status_code == 200


def test_the_command_line_wins(tmp_path):
    conf = tmp_path / "soma.conf"
    conf.write_text("body_bytes: 10\nidle_timeout: 1m\n")
    with Daemon(args=["--config", conf, "--body-bytes", "20"]) as daemon:
        daemon.admin.deploy(projects.probe_project())
        assert daemon.admin.post("/probe/echo", data="x" * 20).status_code == 200
        assert daemon.admin.post("/probe/echo", data="x" * 21).status_code == 413
        reload(daemon, conf, "body_bytes: 5\nidle_timeout: 2m\n", "idle_timeout: 1m -> 2m")
        assert daemon.admin.post("/probe/echo", data="x" * 20).status_code == 200
        assert "body_bytes:" not in daemon.log()


def test_no_request_is_lost_while_settings_change(served, conf):
    target = Target("probe", python=False, retry_safe=False)
    with Load(served.port, [target], clients=6) as load, Raw(served.port) as idle:
        idle.send(b"GET /probe/echo HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.until(b"}")
        for turn in range(20):
            conf.write_text(f"log_level: {'debug' if turn % 2 else 'info'}\nheader_bytes: {16 + turn}Ki\n"
                            f"access_log: {'on' if turn % 2 else 'off'}\n")
            os.kill(served.keeper_pid, signal.SIGHUP)
            if turn % 5 == 4:
                conf.write_text("nonsense\n")
                os.kill(served.keeper_pid, signal.SIGHUP)
            time.sleep(0.1)
        # The connection that was open before is still served.
        idle.send(b"GET /probe/echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert not load.wrong and not load.refused, load.wrong[:3]
    assert load.right > 50
    assert served.log().count("header_bytes: ") > 10


def test_sighup_before_the_daemon_serves_is_not_forgotten(served, conf):
    conf.write_text("body_bytes: 50\n")
    os.kill(served.daemon_pid, signal.SIGKILL)
    os.kill(served.keeper_pid, signal.SIGHUP)
    told(served, "body_bytes: 0 -> 50")


def test_soma_ends_with_its_terminal(tmp_path):
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
        os.execve(BIN, ["soma", "serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
                  clean_environment(HOME=tmp_path))
    said = b""
    while b"serving" not in said:
        said += os.read(terminal, 4096)
    # One that only asks to read the settings is just that.
    os.kill(pid, signal.SIGHUP)
    while b"nothing changed" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    done = wait_for("it has ended", lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 30)
    assert done

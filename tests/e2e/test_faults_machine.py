"""What goes wrong around Soma: ports, directories, disks, two of it.

Each is read as its user reads it: the cause, and what to do about it.
"""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest
import requests

from soma import procs, projects
from soma.client import plain
from soma.daemon import BIN, Daemon, Ran, clean_environment
from soma.waiting import seconds, wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: mounts, other users")
UNREACHABLE = 3


def serve(*args, home="/nonexistent", user=None, env=()):
    """`soma serve ARGS` that is to fail; as another user if asked."""
    done = subprocess.run([BIN, "serve", *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=seconds(10), env=clean_environment(**{"HOME": home, **dict(env)}),
                          **({} if user is None else {"user": user, "group": user, "extra_groups": []}))
    return Ran(["serve", *args], done.returncode, done.stdout, done.stderr)


@pytest.fixture
def open_dir():
    """A folder that every user can enter; pytest's own are private."""
    path = tempfile.mkdtemp(prefix="soma-e2e-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


# --- no daemon ---------------------------------------------------------------


@pytest.fixture
def nobody_there(tmp_path):
    """The CLI with an address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]

    def cli(*args):
        done = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=seconds(30), cwd=tmp_path,
                              env=clean_environment(HOME=tmp_path, SOMA_ADMIN=f"http://127.0.0.1:{port}"))
        return Ran(args, done.returncode, done.stdout, done.stderr)
    cli.port = port
    return cli


@pytest.mark.parametrize("args", [["get"], ["get", "x"], ["logs", "x"], ["delete", "x"], ["refresh", "x"], ["explain", "x"], ["scale", "x", 1],
                                  ["predict", "x", "{}"], ["secret", "list"], ["deploy", "project"]])
def test_no_daemon(nobody_there, folder, args):
    folder(projects.probe_project())
    done = nobody_there(*args)
    assert done.code == UNREACHABLE, done
    done.says(f"127.0.0.1:{nobody_there.port}", "soma serve")


def test_version_needs_no_daemon(nobody_there):
    assert nobody_there("version").code == 0


def test_an_address_that_is_none(nobody_there):
    done = nobody_there("get", "--admin", "ftp://x")
    assert done.code == 2
    done.says("'ftp://x'", "http://127.0.0.1:8002")


def test_something_else_at_the_address(nobody_there, daemon):
    """The data plane's port, taken for the admin's."""
    done = nobody_there("get", "--admin", daemon.url)
    assert done.code != 0
    done.says(f"{daemon.url} is where apis answer", "not the admin address")


# --- addresses ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_port_that_is_taken(tmp_path, which):
    with socket.create_server(("127.0.0.1", 0)) as s:
        taken = "127.0.0.1:%d" % s.getsockname()[1]
        addresses = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", which: taken}
        done = serve("--data", tmp_path / "d", "--listen", addresses["listen"], "--admin", addresses["admin"])
    assert done.code == 1
    done.says(f"{taken} is taken by another program", f"--{which} HOST:PORT")


@pytest.mark.parametrize("address, words", [
    ("nonsense", ["HOST:PORT", "'nonsense'"]), ("127.0.0.1", ["HOST:PORT"]), ("127.0.0.1:", ["HOST:PORT"]),
    ("no.such.host.invalid:80", ["no.such.host.invalid", "no address"]), ("192.0.2.1:8000", ["192.0.2.1:8000", "choose another"]),
    ("127.0.0.1:99999", ["99999"]), ("127.0.0.1:x", ["'x' is no port"])])
def test_an_address_that_cannot_be(tmp_path, address, words):
    done = serve("--data", tmp_path / "d", "--listen", address, "--admin", "127.0.0.1:0")
    assert done.code in (1, 2), done
    done.says("--listen", *words)


def test_several_daemons_side_by_side():
    with Daemon() as one, Daemon() as two:
        one.admin.deploy(projects.probe_project(projects.probe_api("same")))
        two.admin.deploy(projects.probe_project(projects.probe_api("same")))
        first = one.admin.get("/same/env").json()
        second = two.admin.get("/same/env").json()
        assert first["SOMA_INSTANCE"] != second["SOMA_INSTANCE"]
        one.cli("delete", "same", check=0)
        assert two.admin.get("/same/echo").status_code == 200


# --- the data directory ------------------------------------------------------


def test_another_soma_has_the_directory(daemon):
    done = serve("--data", daemon.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert done.code == 1
    done.says(f"another Soma (process {daemon.keeper_pid})", str(daemon.data), "--data DIR")
    assert daemon.admin.info()["pid"] == daemon.daemon_pid, "the other one is not disturbed"


def test_a_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    done = serve("--data", tmp_path / "file", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert done.code == 1
    done.says(str(tmp_path / "file"), "not a directory", "--data DIR")


def skip_unless_others_reach_the_program():
    """Trying to run it does not tell: some setpriv keep root's way in until the exec."""
    if not all(p.stat().st_mode & 0o001 for p in BIN.resolve().parents):
        pytest.skip(f"user 65534 cannot reach {BIN}")


@needs_root
def test_a_directory_that_is_not_writable(open_dir):
    skip_unless_others_reach_the_program()
    os.makedirs(f"{open_dir}/data")
    for data in (f"{open_dir}/data", f"{open_dir}/data/new"):
        done = serve("--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", user=65534)
        assert done.code == 1, done
        done.says(data, "--data DIR")
        assert "not writable" in done.text or "Permission denied" in done.text


@needs_root
def test_without_root(open_dir):
    """An ordinary user's Soma: replicas are the same user."""
    skip_unless_others_reach_the_program()
    os.chmod(open_dir, 0o777)
    os.makedirs(f"{open_dir}/home")
    os.chown(f"{open_dir}/home", 65534, 65534)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*prefix, BIN, "version"], capture_output=True, cwd="/").returncode:
        pytest.skip(f"user 65534 cannot run {BIN}, or setpriv is missing")
    with Daemon(parent=f"{open_dir}/home", prefix=prefix) as d:
        d.admin.deploy(projects.probe_project())
        assert d.admin.get("/probe/env").json()["uid"] == 65534
        d.admin.deploy(projects.python_project(projects.predictor("import os\nreturn os.getuid()")))
        assert d.admin.post("/echo", json={}).json() == 65534


def test_a_private_folder_above_the_directory(tmp_path):
    """As pytest's own, 0700: the daemon shows replicas the way through."""
    os.chmod(tmp_path, 0o700)
    with Daemon(parent=tmp_path) as d:
        d.admin.deploy(projects.probe_project())
        told = d.admin.get("/probe/env").json()
        if os.geteuid() == 0:
            assert told["uid"] >= 61184
        d.admin.deploy(projects.python_project(projects.predictor("return open('data.txt').read()"),
                                               **{"data.txt": "mine"}))
        assert d.admin.post("/echo", json={}).text == "mine"


def test_a_long_way_to_the_directory(tmp_path):
    """Longer than a Unix socket's address may be."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with Daemon(parent=deep) as d:
        d.admin.deploy(projects.python_project(projects.predictor("return payload")))
        assert d.admin.post("/echo", json=[1]).json() == [1]


def test_blanks_and_quotes_in_the_directory(tmp_path):
    odd = tmp_path / "a b'c\"d$e"
    odd.mkdir()
    with Daemon(parent=odd) as d:
        d.admin.deploy(projects.python_project(projects.predictor("return payload")))
        assert d.admin.post("/echo", json=[1]).json() == [1]


def test_state_survives_a_restart(own_daemon):
    d = own_daemon
    d.admin.deploy(projects.probe_project(projects.probe_api("stays", predictor={"env": {"A": "1"}})))
    d.admin.ok("PUT", "/v1/secrets/tok", json={"value": "x"})
    events = d.admin.events("stays")
    d.stop()
    d.start()
    api = d.admin.wait_live("stays")
    assert api["revision"] == 1 and d.admin.get("/stays/env").json()["A"] == "1"
    assert [s["name"] for s in d.admin.ok("GET", "/v1/secrets")["secrets"]] == ["tok"]
    assert d.admin.events("stays")[:len(events)] == events


def test_the_same_ports_can_be_taken_again_at_once():
    with Daemon() as d:
        d.admin.deploy(projects.probe_project())
        d.admin.get("/probe/echo")
        listen, admin = d.url.partition("//")[2], d.admin_url.partition("//")[2]
        d.stop()
        d.start(listen, admin)
        assert d.admin.get("/probe/echo").status_code == 200


def test_damaged_state_is_named(own_daemon):
    d = own_daemon
    d.stop()
    for path in d.data.glob("*.db*"):
        path.write_bytes(b"this is no database" * 1000)
    done = serve("--data", d.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert done.code == 1
    done.says(str(d.data), "not a database")


# --- the disk ----------------------------------------------------------------


@needs_root
def test_a_full_disk_during_a_deploy(tmp_path):
    """A tiny file system under the data directory, seen by this daemon alone."""
    data = tmp_path / "data"
    data.mkdir()
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no mount namespaces here")
    # Worker and host are copied there first.
    published = sum(f.stat().st_size for name in ("host", "python/soma") for f in (BIN.parent / name).iterdir() if f.is_file())
    mount = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={12 + (published >> 20)}m,mode=755 tmpfs "$0" && exec "$@"', str(data)]
    with Daemon(parent=tmp_path, prefix=mount, private=True) as d:
        token = {"SOMA_TOKEN": d.admin.token}  # its file is not seen from here
        d.admin.deploy(projects.probe_project())
        path = projects.write(tmp_path / "big", {
            **projects.probe_project(projects.probe_api("big")), "weights.bin": os.urandom(14 << 20)})
        done = d.cli("deploy", path, env=token)
        assert done.code == 1, done
        done.says("no space", str(data))
        # It serves on, and takes what fits.
        assert d.admin.get("/probe/echo").status_code == 200
        assert d.admin.info()["pid"] == d.daemon_pid
        d.admin.deploy(projects.probe_project(projects.probe_api("small")))
        assert d.admin.get("/small/echo").status_code == 200
        d.cli("get", "big", env=token, check=4)


# --- stopping ----------------------------------------------------------------


def test_sigterm_lets_requests_finish(own_daemon):
    d = own_daemon
    d.admin.deploy(projects.probe_project())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(d.admin.post, "/probe/hold", data=b"to the end")
        wait_for("it is held", lambda: d.admin.api("probe")["in_flight"] == 1)
        port = procs.environ(d.admin.pids("probe")[0])["PORT"]
        d.process.send_signal(signal.SIGTERM)
        wait_for("it drains", lambda: "draining" in d.log())
        refused = _new_request(d)
        plain("POST", f"http://127.0.0.1:{port}/go")  # past Soma
        assert held.result().json()["held"] == "to the end"
    d.wait_end()
    assert refused in (503, "refused"), "a client that comes while it drains is told at once"


def _new_request(d):
    try:
        return d.admin.get("/probe/echo", timeout=3).status_code
    except requests.ConnectionError:
        return "refused"
    except requests.Timeout:
        return "left waiting"


def test_sigterm_twice_ends_at_once(own_daemon):
    d = own_daemon
    d.admin.deploy(projects.probe_project(projects.probe_api(grace_period="1h")))
    threading.Thread(target=_refused_hold, args=(d,)).start()
    wait_for("it is held", lambda: d.admin.api("probe")["in_flight"] == 1)
    pids = procs.marked(d.instance)
    d.process.send_signal(signal.SIGTERM)
    wait_for("it drains", lambda: "draining" in d.log())
    assert d.process.poll() is None
    d.process.send_signal(signal.SIGTERM)
    d.expect_exit = 1
    d.wait_end()
    assert not any(procs.alive(p) for p in pids)


def _refused_hold(d):
    try:
        d.admin.post("/probe/hold")
    except OSError:
        pass


@pytest.mark.parametrize("args, words", [
    (["--nothing"], ["--help"]), (["extra"], ["extra"]), (["--log-level", "loud"], ["loud", "debug, info"]),
    (["--log-format", "xml"], ["xml", "text or json"])])
def test_wrong_usage(tmp_path, args, words):
    done = serve("--data", tmp_path / "d", *args)
    assert done.code == 2
    done.says(*words)


def test_the_daemons_own_command_is_not_for_people():
    done = subprocess.run([BIN, "daemon"], capture_output=True, text=True, timeout=seconds(10))
    assert done.returncode == 2 and "soma serve" in done.stderr


def test_the_config_home_of_the_user(tmp_path):
    """XDG_CONFIG_HOME moves the note for both, daemon and CLI."""
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    with Daemon(env=env) as d:
        assert list((tmp_path / "config").rglob(f"{d.admin_port}.json")) or list(
            d.parent.rglob(f".config/soma/daemons/{d.admin_port}.json"))
        d.cli("get", env=env, check=0)


def test_logs_are_json_lines_where_there_is_no_terminal(own_daemon):
    for line in own_daemon.log().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))

"""soma doctor: what it finds, and what it says to do."""

import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import onnxruntime
import pytest
import yaml

from soma.daemon import BIN, clean_environment
from soma.waiting import seconds

OK, FAILED = 0, 1


@pytest.fixture
def alone(tmp_path):
    """Runs it where no daemon is; ports that nobody has."""
    def run(*args, before=(), program=BIN, **env):
        done = subprocess.run([*before, program, "doctor", *map(str, args)], capture_output=True, text=True,
                              timeout=seconds(60), env=clean_environment(**{
                                  "HOME": tmp_path, "SOMA_ADMIN": "127.0.0.1:1", "SOMA_DATA": "/tmp/soma-absent",
                                  "SOMA_LISTEN": "127.0.0.1:0", "SOMA_ADMIN_LISTEN": "127.0.0.1:0", **env}))
        return done
    return run


def checks(done):
    return {c["name"]: c for c in yaml.safe_load(done.stdout)["checks"]}


def test_a_machine_without_a_daemon(alone):
    done = alone()
    assert done.returncode == OK and done.stderr == "", done
    text = " ".join(done.stdout.split())
    assert "warning daemon none answers at http://127.0.0.1:1" in text
    assert "remedy: start one with 'soma serve'" in text
    assert "0 missing" in text or "nothing is missing" in text
    # Only a word that has no place to be broken, such as a long path, makes a longer line, alone.
    long = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert all(len(line.split()) == 1 for line in long), long
    assert "\x1b" not in done.stdout


def test_as_a_document(alone):
    done = alone("-o", "json")
    document = yaml.safe_load(done.stdout)
    assert document["ok"] is True and document["missing"] == 0
    found = checks(done)
    states = [c["state"] for c in document["checks"]]
    assert document["warnings"] == states.count("warning") >= 1
    assert set(states) <= {"ok", "none", "warning"}
    assert all((c["remedy"] is None) == (c["state"] in ("ok", "none")) for c in document["checks"])
    assert found["processors"]["found"].startswith(str(len(os.sched_getaffinity(0))))
    assert os.uname().release in found["kernel"]["found"]
    assert checks(alone("-o", "yaml"))["kernel"] == found["kernel"]


def test_with_a_daemon(daemon):
    done = daemon.cli("doctor", "-o", "json", check=OK)
    found = {c["name"]: c for c in done.json()["checks"]}
    assert found["daemon"]["state"] == "ok" and daemon.admin.info()["version"] in found["daemon"]["found"]
    assert found["api address"]["found"] == daemon.url
    assert found["data directory"]["found"] == str(daemon.data)


def test_a_daemon_that_wants_its_token(daemon, tmp_path):
    done = daemon.cli("doctor", "-o", "json", env={"HOME": tmp_path})
    found = {c["name"]: c for c in done.json()["checks"]}
    assert (found["daemon"]["state"], found["api address"]["state"]) == ("warning", "ok")
    assert "SOMA_TOKEN" in found["daemon"]["remedy"]


def test_an_address_that_is_taken(alone):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = alone("-o", "json", SOMA_LISTEN=address)
        found = checks(done)["api address"]
        assert done.returncode == FAILED
        assert (found["state"], found["found"]) == ("missing", f"{address} is taken")
        assert "soma serve --listen HOST:PORT" in found["remedy"]
        assert "1 missing" in alone(SOMA_LISTEN=address).stdout


def test_an_address_that_is_none(alone):
    found = checks(alone("-o", "json", SOMA_ADMIN_LISTEN="192.0.2.1:8002"))["admin address"]
    assert found["state"] == "missing" and "cannot be listened on" in found["found"]


def test_a_data_directory_that_is_a_file(alone):
    done = alone("--data", "/etc/hostname", "-o", "json")
    found = checks(done)["data directory"]
    assert done.returncode == FAILED
    assert (found["state"], found["found"]) == ("missing", "/etc/hostname: /etc/hostname is not a folder")
    assert "--data DIR" in found["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_as_another_user(alone):
    before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*before, BIN, "--version"], capture_output=True).returncode:
        pytest.skip("other users cannot run this build")
    done = alone("--data", "/root/soma", "-o", "json", before=before)
    found = checks(done)
    assert done.returncode == FAILED
    assert found["users"]["state"] == "none" and "user 65534" in found["users"]["found"]
    assert found["data directory"]["state"] == "missing"


def test_pythons_are_programs_that_replicas_can_run(alone, tmp_path):
    shim = tmp_path / "bin/python3"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 1\n")
    shim.chmod(0o755)
    found = checks(alone("-o", "json", PATH=f"{shim.parent}:{os.environ['PATH']}"))["python"]
    assert str(shim) not in found["found"]
    assert found["state"] == "ok" and "/usr/bin/python3" in found["found"]


def test_onnx_runtime(alone, tmp_path):
    runtime = pathlib.Path(onnxruntime.__file__).parent
    library, = (runtime / "capi").glob("libonnxruntime.so.*")
    found = checks(alone("-o", "json", SOMA_ONNXRUNTIME=library))["onnx runtime"]
    assert (found["state"], found["found"]) == ("ok", f"{onnxruntime.__version__} ({library})")
    found = checks(alone("-o", "json", SOMA_ONNXRUNTIME="/nonexistent.so"))["onnx runtime"]
    assert found["state"] == "warning" and "/nonexistent.so cannot be used" in found["found"]
    assert "SOMA_ONNXRUNTIME" in found["remedy"] and "1.16 or newer" in found["remedy"]
    other = subprocess.run(["ldd", BIN], capture_output=True, text=True, check=True).stdout.partition("libc.so.6 => ")[2].split()[0]
    found = checks(alone("-o", "json", SOMA_ONNXRUNTIME=other))["onnx runtime"]
    assert found["state"] == "warning" and "it is not ONNX Runtime" in found["found"]


class Impostor(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": "0.1.0", "data_dir": self.server.data_dir, "data_url": "http://127.0.0.1:1"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


IMPOSTOR = """
    #include <fcntl.h>
    __attribute__((constructor)) static void run(void) { open("MARKER", O_CREAT | O_WRONLY, 0644); }
"""


def test_a_library_that_others_can_change_is_not_opened(alone, tmp_path):
    """Whoever answers at the admin address says where the data directory is."""
    marker, folder = tmp_path / "marker", tmp_path / "data/lib"
    soma = shutil.copy(BIN, tmp_path)  # without a host, and its library, beside it
    linked = subprocess.run(["ldd", BIN], capture_output=True, text=True, check=True).stdout
    libraries = pathlib.Path(linked.partition("libyyjson.so.0 => ")[2].split()[0]).parent
    folder.mkdir(parents=True)
    library = folder / "libonnxruntime.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=IMPOSTOR.replace("MARKER", str(marker)), text=True, check=True)
    with http.server.HTTPServer(("127.0.0.1", 0), Impostor) as server:
        server.data_dir, address = str(tmp_path / "data"), f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for place in (folder, library):
            mode = place.stat().st_mode
            place.chmod(0o777)
            found = checks(alone("-o", "json", program=soma, SOMA_ADMIN=address, SOMA_TOKEN="x", LD_LIBRARY_PATH=libraries))["onnx runtime"]
            assert (found["state"], found["found"]) == ("warning", f"{library} is not opened: others can write to it, or to its folder")
            assert not marker.exists()
            place.chmod(mode)
        found = checks(alone("-o", "json", program=soma, SOMA_ADMIN=address, SOMA_TOKEN="x", LD_LIBRARY_PATH=libraries))["onnx runtime"]
        assert found["found"] == f"{library} cannot be used: it is not ONNX Runtime" and marker.exists()
        server.shutdown()

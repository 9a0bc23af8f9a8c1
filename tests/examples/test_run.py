"""`make run` and `make stop`, on ports and a data directory of their own: the
examples are deployed from nothing, so this installs their packages."""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Place:
    """A data directory and two addresses for scripts/run."""

    def __init__(self):
        self.data = Path(tempfile.mkdtemp(prefix="soma-run-"))
        self.data.chmod(0o755)  # replicas have users of their own
        self.listen = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.listen}"

    def run(self, *arguments, **settings):
        env = {**os.environ, "SOMA_DATA": str(self.data), "SOMA_LISTEN": self.listen, "SOMA_ADMIN": self.admin, **settings}
        done = subprocess.run([ROOT / "scripts/run", *arguments], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        print(done.stdout)
        return done

    def post(self, path, body, **options):
        return requests.post(self.url + path, json=body, timeout=60, **options)

    def processes(self):
        """Those that have this data directory in their command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except OSError:
                continue
            if str(self.data).encode() in command:
                found.append(command.replace(b"\0", b" ").decode())
        return found


@pytest.fixture
def place():
    place = Place()
    yield place
    place.run("--stop")
    shutil.rmtree(place.data, ignore_errors=True)


@pytest.mark.timeout(900)
def test_run_answers_and_stops(place):
    done = place.run()
    assert done.returncode == 0
    lines = re.findall(r"^(\S+): (\w+) predictor, POST (\S+) (\{.*\}) -> (\{.*\})$", done.stdout, re.M)
    assert [line[:2] for line in lines] == [("text-embedding", "python"), ("iris", "python"), ("cortex-iris", "python"), ("fastapi", "command"), ("wine-cellar", "python")]
    answers = {name: json.loads(answer) for name, _, _, _, answer in lines}
    assert answers["text-embedding"]["similarity"] > 0.6
    assert answers["text-embedding"]["dimensions"] == 384
    assert answers["iris"] == answers["cortex-iris"] == {"label": "setosa"}
    assert answers["fastapi"]["label"] == "python"
    assert re.search(r"^word-stream: python predictor, POST .* -> the water .* \(12 words\)$", done.stdout, re.M)
    clients = dict(re.findall(r"^(\S+): onnx predictor, client.py .* -> (.*)$", done.stdout, re.M))
    assert re.fullmatch(r"speech in speech.wav: (0.[89]|1.0) s to .*4\.\d s", clients["voice-activity"])
    assert re.fullmatch(r"client.py is python \(.*\), soma.yaml is yaml \(.*\), README.md is markdown \(.*\), speech.wav is wav \(.*\)", clients["file-type"])

    unrelated = ["The cat sleeps on the sofa.", "Interest rates rose again in March."]
    assert place.post("/text-embedding", {"sentences": unrelated}).json()["similarity"] < 0.2
    large = {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.3}
    assert place.post("/iris", large).json() == {"label": "virginica"}
    assert place.post("/cortex-iris?shares", large).json()["shares"]["virginica"] > 0.9
    assert answers["wine-cellar"]["label"] == "class_0" and answers["wine-cellar"]["share"] > 0.9
    missing = place.post("/wine-cellar", {"bottle": 1000})
    assert missing.status_code == 404 and missing.json()["detail"]["message"] == "there is no bottle 1000 in the cellar"
    texts = ["SELECT name FROM users WHERE id = 3;", "#include <stdio.h>\nint main(void) { return 0; }"]
    with place.post("/fastapi/stream", {"texts": texts}, stream=True) as answer:
        assert [json.loads(line)["label"] for line in answer.iter_lines()] == ["sql", "c"]
    assert requests.get(place.url + "/fastapi/openapi.json", timeout=60).json()["info"]["title"] == "File types"

    again = place.run()
    assert again.returncode == 0
    assert "Soma runs already" in again.stdout
    assert again.stdout.count(" -> ") == len(lines) + len(clients) + 1

    moved = place.run(SOMA_LISTEN=f"127.0.0.1:{free_port()}")
    assert moved.returncode == 1
    assert f"on {place.listen} and {place.admin}" in moved.stdout and "make stop" in moved.stdout

    stopped = place.run("--stop")
    assert stopped.returncode == 0 and "Soma is stopped" in stopped.stdout
    assert place.processes() == []
    assert "Soma is not running" in place.run("--stop").stdout


def test_taken_port_is_said(place):
    with socket.socket() as s:
        s.bind((place.listen.split(":")[0], int(place.listen.split(":")[1])))
        s.listen()
        done = place.run()
    assert done.returncode == 1
    assert f"{place.listen} is taken by process {os.getpid()}" in done.stdout
    assert "SOMA_LISTEN=" in done.stdout


def test_data_directory_that_cannot_be(place):
    done = place.run(SOMA_DATA="/proc/soma")
    assert done.returncode == 1
    assert "cannot write to the data directory /proc/soma" in done.stdout and "SOMA_DATA=" in done.stdout


def test_failed_start_shows_the_log(place):
    done = place.run(SOMA_BIN="/bin/ls")
    assert done.returncode == 1
    assert "ended with exit code 2" in done.stdout and "--data" in done.stdout


def test_without_a_build(place):
    done = place.run(SOMA_BIN=str(place.data / "soma"))
    assert done.returncode == 1
    assert "make build" in done.stdout

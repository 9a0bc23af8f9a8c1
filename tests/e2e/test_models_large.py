"""Models that memory cannot hold: they are served where they lie, and Soma says so.

Their files are the tests' hub's: 96 MiB each, where all replicas together may have 80.
"""
import json
import pathlib
import subprocess
import sys
import zlib

import pytest

from soma.daemon import Daemon
from soma.waiting import wait_for

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from hub import families, made  # noqa: E402

SIZE = 96 << 20

# Looks at every byte of its model, and copies none.
PREDICTOR = """
import zlib

import soma


class PythonPredictor:
    def __init__(self, config):
        self.model = soma.models.open()

    def predict(self, payload):
        told = 0
        for tensor in self.model.values():
            view = memoryview(tensor.buffer)[tensor.offset:tensor.offset + tensor.nbytes]
            told = zlib.crc32(view, told)
        return {"crc": told, "bytes": sum(tensor.nbytes for tensor in self.model.values())}
"""


@pytest.fixture(scope="module")
def source():
    process = subprocess.Popen([sys.executable, "-m", "hub.objects", "--size", str(SIZE)], cwd=TESTS, stdout=subprocess.PIPE, text=True)
    yield json.loads(process.stdout.readline())["url"] + "/models/4g/model.safetensors"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def right():
    """What a prediction is to say."""
    file = made.safetensors("model.safetensors", families.block(SIZE), made.Values())
    head = 8 + int.from_bytes(file.read(0, 8), "little")
    return {"crc": zlib.crc32(file.read(head)), "bytes": SIZE}


def project(source, *names):
    return {"predictor.py": PREDICTOR, "soma.yaml": json.dumps([
        {"name": name, "predictor": {"type": "python", "path": "predictor.py", "models": {"path": source}, "zygote": "none", "freeze": "never"},
         "compute": {"mem": "36Mi"}, "autoscaling": {"min_replicas": 0, "keep_idle": "10m"}} for name in names])}


def test_models_larger_than_memory_are_served_side_by_side(source, right):
    """Each maps more than all memory that there is to reserve; what they have for themselves fits."""
    names = ["left", "right"]
    with Daemon(args=["--memory", "80Mi"]) as daemon:
        daemon.admin.deploy(project(source, *names))
        for name in names:
            assert daemon.admin.post(f"/{name}", json={}).json() == right
        pids = {name: daemon.admin.pids(name) for name in names}
        # It is known by now that they map more than they reserve.
        wait_for("both were looked at", lambda: all(daemon.admin.api(n)["memory"]["looks"] >= 2 for n in names), 30)
        for _ in range(3):
            for name in names:
                assert daemon.admin.post(f"/{name}", json={}).json() == right
        for name in names:
            told = daemon.admin.api(name)
            assert (daemon.admin.pids(name), told["memory"]["swaps"]) == (pids[name], 0)
            assert told["memory"]["own_bytes"] == 36 << 20 and told["memory"]["from"] == "compute.mem"
            assert told["models"][0]["bytes"] > SIZE

        words = "its model has 96 MiB, which is more than the 80 MiB of memory"
        for name in names:
            [event] = [e for e in daemon.admin.events(name) if e["type"] == "model_ready" and "of memory" in e["text"]]
            assert event["text"].startswith(words) and "read again whenever it is used, up to 96 MiB for a request" in event["text"]
        daemon.cli("explain", "left", check=0).says(f"Mind that {words}")


def test_it_is_known_to_the_next_daemon(source, tmp_path):
    """Which fetches nothing."""
    tmp_path.chmod(0o755)
    with Daemon(parent=tmp_path, args=["--memory", "80Mi"]) as daemon:
        daemon.admin.deploy(project(source, "left"))
    with Daemon(parent=tmp_path, args=["--memory", "80Mi"]) as daemon:
        wait_for("it is there", lambda: daemon.admin.api("left")["models"][0]["state"] == "ready")
        wait_for("how much it has is known", lambda: daemon.admin.api("left")["models"][0].get("bytes"))
        daemon.cli("explain", "left", check=0).says("its model has 96 MiB, which is more than the 80 MiB of memory")


def test_one_that_memory_holds_is_not_spoken_of(source, right):
    with Daemon(args=["--memory", "160Mi"]) as daemon:
        daemon.admin.deploy(project(source, "small"))
        assert daemon.admin.post("/small", json={}).json() == right
        assert not [e for e in daemon.admin.events("small") if "of memory" in e["text"]]
        assert "Mind that" not in daemon.cli("explain", "small", check=0).out

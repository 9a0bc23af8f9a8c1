"""Models that nobody should open, under a daemon: every one of them is refused in words, nothing outside of its folder is read, no
code of it runs, and neither daemon nor replica ends.

    scripts/test e2e -- -k models_evil

tests/worker/evil.py makes files of weights, evil_onnx.py models of ONNX. In the replica an audit hook of Python hears of what is
opened and run; what any other code opens beside the models' folders the kernel tells.
"""

import importlib.metadata
import os
import pathlib
import sys

import pytest

from soma.daemon import Daemon
from soma.projects import yaml_value
from soma.watched import Watched

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "worker"))
import evil  # noqa: E402
import evil_onnx  # noqa: E402
from made_weights import of_tensors  # noqa: E402

PINNED = "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("numpy", "onnxruntime"))

HEARS = """
import os
import pickle
import sys
import threading

RUNS = ("exec", "compile", "import", "os.system", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "pickle.find_class", "socket.connect", "ctypes.dlopen")
heard, thread = None, None


def hear(event, args):
    if heard is None or threading.get_ident() != thread:
        return
    if event == "open" and not isinstance(args[0], int):  # a descriptor was opened before
        heard.append(os.path.abspath(os.fsdecode(args[0])))
    elif event in RUNS:
        heard.append("%s %r" % (event, args))


def tell(work):
    '''What came of it, and what was opened and run meanwhile.'''
    global heard, thread
    heard, thread = [], threading.get_ident()
    try:
        kind, words = "done", work()
    except BaseException as error:
        kind, words = type(error).__name__, str(error)
    told, heard = heard, None
    return {"pid": os.getpid(), "kind": kind, "words": words, "heard": told}
"""

WEIGHTS = HEARS + """
import soma.models


def read(path):
    with open(path, "rb") as file:
        return len(file.read())


class PythonPredictor:
    def __init__(self, config):
        soma.models.open("right")  # all is imported now
        sys.addaudithook(hear)

    def predict(self, payload):
        if "read" in payload:
            return tell(lambda: read(payload["read"]))
        if "bomb" in payload:
            return tell(lambda: pickle.loads(bytes.fromhex(payload["bomb"])))
        return tell(lambda: len(soma.models.open(payload["name"])))
"""

ONNX = HEARS + """
class ONNXPredictor:
    def __init__(self, onnx_client, config):
        self.client = onnx_client

    def predict(self, payload):
        return tell(lambda: [a.tolist() for a in self.client.predict([1, 1, 1, 1], payload["name"])])
"""


class Evil:
    """A daemon, all models in a folder where replicas find them, and who is there before the first is opened."""

    def __init__(self, daemon, make, right):
        self.daemon = daemon
        self.folder = daemon.parent / make.__module__
        self.folder.mkdir()
        self.canary = self.folder / "canary" / "fell"
        self.canary.parent.mkdir(mode=0o777)
        self.canary.parent.chmod(0o777)
        self.models = self.folder / "models"
        self.cases = [(title, pathlib.Path(path)) for title, path in make(str(self.models), *self.canary_of(make))]
        self.outside = self.models / "outside"
        (self.models / "right").mkdir()
        evil.Case("", right).make(str(self.models / "right"), "")
        self.daemons = self.who()

    def canary_of(self, make):
        return [str(self.canary)] if make is evil.make_all else []

    def who(self):
        return self.daemon.keeper_pid, self.daemon.daemon_pid

    def ask(self, api, **payload):
        answer = self.daemon.admin.post("/" + api, json=payload)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def check(self, api, kind):
        """Asks the api for all of them."""
        pid = self.ask(api, name="right")["pid"]
        with Watched(self.outside) as outside:
            for title, path in self.cases:
                told = self.ask(api, name=path.name)
                assert told["kind"] == kind, f"{title}: {told}"
                assert len(told["words"]) < 3000 and path.name in told["words"], f"{title}: {told}"
                assert all(o.startswith(str(path) + os.sep) for o in told["heard"]), f"{title}: {told}"
                assert told["pid"] == pid, f"{title}: the replica ended"
                assert outside.opened() == [], title
        assert not self.canary.exists()
        self.check_daemon()

    def check_daemon(self):
        assert self.who() == self.daemons, "the daemon ended"
        assert self.daemon.admin.is_ready()


@pytest.fixture(scope="module")
def daemon():
    with Daemon() as d:
        yield d


@pytest.fixture(scope="module")
def weights(daemon):
    made = Evil(daemon, evil.make_all, {evil.SAFE: of_tensors(evil.GOOD)})
    daemon.admin.deploy({"soma.yaml": yaml_value([{"name": "weights", "predictor": {"type": "python", "path": "predictor.py", "models": {"dir": str(made.models)}}}]), "predictor.py": WEIGHTS})
    return made


@pytest.fixture(scope="module")
def onnx(daemon):
    made = Evil(daemon, evil_onnx.make_all, evil_onnx.GOOD)
    models = {"dir": str(made.models), "cache_size": 1, "disk_cache_size": 1000}
    daemon.admin.deploy({"soma.yaml": yaml_value([{"name": "onnx", "predictor": {"type": "onnx", "path": "predictor.py", "models": models}}]), "predictor.py": ONNX, "requirements.txt": PINNED}, timeout=400)
    return made


def test_weights(weights):
    assert len(weights.cases) >= 500
    weights.check("weights", "ValueError")


def test_what_is_read_and_run_would_be_heard(weights):
    """Those who look see what there is to see."""
    right = weights.ask("weights", name="right")
    assert (right["kind"], right["words"], right["heard"]) == ("done", 3, [str(weights.models / "right" / evil.SAFE)])
    good = str(weights.outside / "good.safetensors")
    with Watched(weights.outside) as outside:
        assert weights.ask("weights", read=good)["heard"] == [good]
        assert outside.opened() == ["good.safetensors"]
    told = weights.ask("weights", bomb=evil.pickle.dumps(evil.Bomb("true")).hex())
    assert told["kind"] == "done" and any(h.startswith("os.system") for h in told["heard"]), told


def test_onnx_under_python(onnx):
    assert len(onnx.cases) >= 200
    assert onnx.ask("onnx", name="right")["words"] == [[1, 2, 3, 4]]
    onnx.check("onnx", "RuntimeError")
    with Watched(onnx.outside) as outside:
        assert onnx.ask("onnx", name="outside")["words"] == [[1, 1, 1, 1]]
        assert outside.opened() == ["good.onnx"]


def test_onnx_without_python(daemon, onnx):
    """Deployed one by one: those that hide what they read. tests/host has all of them."""
    cases = [(title, path) for title, path in onnx.cases if title.startswith(evil_onnx.HIDDEN + "in ")]
    assert len(cases) >= 10
    for title, path in cases:
        files = {file.name: file.read_bytes() for file in path.iterdir()}
        end = daemon.admin.deploy_failing({"soma.yaml": yaml_value([{"name": "bare", "predictor": {"type": "onnx", "model": evil_onnx.MODEL}}]), **files})
        assert evil_onnx.MODEL in end["text"], f"{title}: {end}"
        onnx.check_daemon()
    daemon.admin.delete("bare")

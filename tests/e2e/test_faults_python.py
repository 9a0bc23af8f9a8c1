"""Predictors with mistakes: what their author reads, through the CLI."""

import concurrent.futures
import json
import os
import shutil
import tempfile
import threading
import time

import pytest

from soma import procs, projects
from soma.client import Raw, error_of
from soma.projects import predictor, python_api, python_project
from soma.waiting import SLOW, seconds, wait_for

FAILED = 1


def failing(daemon, folder, source, api=None, **files):
    """Deploys what cannot start; the CLI's words. The api is deleted again."""
    api = api or python_api("bad")
    project = folder({"soma.yaml": projects.yaml_value([api]), "predictor.py": source, **files})
    done = daemon.cli("deploy", project, check=FAILED)
    assert daemon.admin.api("bad")["status"] == "error"
    daemon.cli("get", "bad").says("error")
    daemon.admin.delete("bad")
    return done.says("bad failed")


# --- it cannot start ---------------------------------------------------------


@pytest.mark.parametrize("source, words", [
    ("class PythonPredictor:\n    def __init__(self config):\n        pass\n",
     ["predictor.py", "line 2", "syntax"]),
    ("def predict(payload):\n    return 1\n", ["predictor.py", "PythonPredictor", "class"]),
    ("class PythonPredictr:\n    pass\n", ["PythonPredictor", "PythonPredictr"]),
    ("class PythonPredictor:\n    def __init__(self, config):\n        pass\n", ["predict"]),
    ("class PythonPredictor:\n    def __init__(self):\n        pass\n    def predict(self, payload):\n        pass\n",
     ["__init__", "config", "def __init__(self, config)"]),
    ("class PythonPredictor:\n    def __init__(self, config, model_name):\n        pass\n"
     "    def predict(self, payload):\n        pass\n", ["__init__", "model_name"]),
    (predictor("pass").replace("payload,", "image, payload,"), ["predict", "image"]),
    ("import no_such_module\n" + predictor("pass"), ["no_such_module", "requirements.txt"]),
    ("import helper\n" + predictor("pass"), ["helper.py", "ZeroDivisionError"]),
    (predictor("pass", init="raise RuntimeError('no weights here')"), ["RuntimeError", "no weights here", "__init__"]),
    (predictor("pass", init="import os\nos._exit(5)"), ["exit code 5"]),
    (predictor("pass", init="import sys\nsys.exit('enough')"), ["enough"]),
    (predictor("pass", init="import ctypes\nctypes.string_at(0)"), ["signal 11 (SIGSEGV)"]),
    (predictor("pass", init="open('absent.bin')"), ["FileNotFoundError", "absent.bin"]),
    ("", ["predictor.py", "PythonPredictor"]),
    (b"\xff\xfe not text\n", ["predictor.py"]),
    ("x = '" + "\0" + "'\n", ["predictor.py", "null"]),
], ids=["syntax", "no class", "class misspelt", "no predict", "init without config", "init with more", "predict with more",
        "missing module", "error in another module", "init raises", "init exits hard", "init exits", "init segfaults",
        "missing file", "empty", "no text", "NUL"])
def test_what_cannot_start(daemon, folder, source, words):
    failing(daemon, folder, source, **{"helper.py": "1 / 0\n"}).says(*words)


def test_the_users_lines_are_shown_and_not_the_workers(daemon, folder):
    done = failing(daemon, folder, predictor("pass", init="self.load()\n\ndef load(self):\n    pass").replace(
        "self.load()", "print('loading'); raise KeyError('weights')"))
    done.says("| loading", "predictor.py", "KeyError: 'weights'")
    assert "worker_main" not in done.text and "loader.py" not in done.text


def test_init_never_returns(daemon, folder):
    api = python_api("bad", predictor={"start_timeout": "1s"})
    done = failing(daemon, folder, predictor("pass", init="print('downloading')\nimport time\ntime.sleep(1e6)"), api)
    done.says("start_timeout", "running __init__", "| downloading")


def test_a_command_never_ready(daemon, folder):
    api = {"name": "bad", "predictor": {"command": [projects.PYTHON, "-c", "print('up', flush=True); import time; time.sleep(1e6)"],
                                        "start_timeout": "1s"}}
    failing(daemon, folder, "", api).says("start_timeout", "$PORT", "| up")


@pytest.mark.parametrize("command, words", [
    (["no-such-server"], ["no-such-server", "PATH", "install it"]),
    (["/usr/no/such"], ["/usr/no/such", "/usr/no does not exist", "check the path"]),
    (["./predictor.py"], ["predictor.py", "executable"]),
    (["/etc/passwd"], ["/etc/passwd", "executable"]),
])
def test_a_command_that_is_none(daemon, folder, command, words):
    failing(daemon, folder, "x", {"name": "bad", "predictor": {"command": command}}).says(*words)


# --- it fails while it serves ------------------------------------------------


def serving(daemon, name, body, **keys):
    daemon.admin.deploy(python_project(predictor(body), python_api(name, **keys)))


@pytest.mark.parametrize("how, cause", [
    ("import os; os._exit(3)", "exit code 3"),
    ("import ctypes; ctypes.string_at(0)", "signal 11 (SIGSEGV)"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9 (SIGKILL)"),
    ("import os; os.abort()", "signal 6 (SIGABRT)"),
], ids=["exit", "segfault", "kill", "abort"])
def test_death_in_predict(daemon, how, cause):
    """One typed 502; the next request is served."""
    serving(daemon, "dies", f"if payload == 'die':\n    {how}\nreturn payload")
    answer = daemon.admin.post("/dies", json="die")
    error = error_of(answer, 502, "replica_failed")
    assert error["cause"] == cause and error["api"] == "dies" and cause in error["message"]
    assert daemon.admin.post("/dies", json="live").text == "live"
    done = daemon.cli("predict", "dies", '"die"', check=FAILED)
    done.says("502", "replica_failed", cause, error and "request id")
    daemon.admin.wait_live("dies")
    daemon.admin.delete("dies")


@pytest.mark.parametrize("how", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "raise SystemExit"])
def test_exits_that_are_exceptions_are_exceptions(daemon, how):
    serving(daemon, "exits", f"if payload == 'die':\n    {how}\nreturn payload")
    answer = daemon.admin.post("/exits", json="die")
    assert answer.status_code in (500, 502), answer.text
    assert answer.json()["error"]["message"]
    assert daemon.admin.post("/exits", json="live").text == "live"


def test_predict_never_returns(daemon):
    """504 after predict_timeout; its process is fenced, replaced and ended."""
    serving(daemon, "stuck", "import time\nif payload == 'stick':\n    time.sleep(1e6)\nreturn payload",
            predictor={"predict_timeout": f"{SLOW}s"}, grace_period="2s")
    pid = daemon.admin.pids("stuck")[0]
    begun = time.monotonic()
    error = error_of(daemon.admin.post("/stuck", json="stick"), 504, "timeout")
    assert time.monotonic() - begun < seconds(5)
    assert "predict_timeout" in error["message"]
    assert daemon.admin.post("/stuck", json="next").text == "next"
    wait_for("its process is gone", lambda: not procs.alive(pid), 20)
    assert daemon.admin.pids("stuck") != [pid]
    assert daemon.admin.api("stuck")["restarts"] == 1


def test_requests_behind_a_stuck_predict_are_answered(daemon):
    """They had not begun, so another process takes them, whatever their method."""
    serving(daemon, "behind", "import time\nif payload == 'stick':\n    time.sleep(1e6)\nreturn payload",
            predictor={"predict_timeout": f"{SLOW}s"}, grace_period="2s")
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        stuck = pool.submit(daemon.admin.post, "/behind", json="stick")
        wait_for("it is inside", lambda: daemon.admin.api("behind")["in_flight"] == 1)
        behind = [pool.submit(daemon.admin.post, "/behind", json=f"next {i}") for i in range(6)]
        error_of(stuck.result(), 504, "timeout")
        assert [b.result().text for b in behind] == [f"next {i}" for i in range(6)]


def test_predict_stuck_in_c(daemon):
    """Without the interpreter's lock ever let go: no Python code runs any more."""
    serving(daemon, "stuck-c", "import ctypes\nif payload == 'stick':\n    ctypes.PyDLL(None).sleep(1000000)\nreturn payload",
            predictor={"predict_timeout": f"{SLOW}s"}, grace_period="2s")
    pid = daemon.admin.pids("stuck-c")[0]
    error_of(daemon.admin.post("/stuck-c", json="stick"), 504, "timeout")
    assert daemon.admin.post("/stuck-c", json="next").text == "next"
    wait_for("its process is gone", lambda: not procs.alive(pid), 20)


def test_request_timeout(daemon):
    """504 at the deadline; the replica goes on, and serves the next."""
    serving(daemon, "slow", "import time\nif payload:\n    time.sleep(payload)\nreturn 'done'", request_timeout="1s")
    pid = daemon.admin.pids("slow")
    begun = time.monotonic()
    error = error_of(daemon.admin.post("/slow", json=3 * SLOW), 504, "timeout")
    assert 0.9 < time.monotonic() - begun < seconds(3)
    assert "(request_timeout)" in error["message"]
    wait_for("it serves", lambda: daemon.admin.post("/slow", json=0).status_code == 200)
    assert daemon.admin.pids("slow") == pid


def test_endless_output(daemon):
    """Bounded on disk and in memory; everything else goes on."""
    serving(daemon, "noisy", "line = 'x' * 200\nfor _ in range(payload):\n    print(line)\nreturn 'said'")
    flood = threading.Thread(target=daemon.admin.post, args=("/noisy",), kwargs={"json": 400_000, "timeout": 120})
    rss = procs.rss(daemon.daemon_pid)
    flood.start()
    slowest = 0
    while flood.is_alive():
        begun = time.monotonic()
        assert daemon.admin.is_ready()
        slowest = max(slowest, time.monotonic() - begun)
    flood.join()
    print(f"slowest answer {slowest * 1000:.0f} ms, rss + {(procs.rss(daemon.daemon_pid) - rss) >> 20} MiB")
    assert slowest < seconds(1)
    files = [p for p in (daemon.data / "logs").iterdir() if p.name.startswith("noisy")]
    assert sum(p.stat().st_size for p in files) < 64 << 20, files
    if SLOW == 1:
        assert procs.rss(daemon.daemon_pid) - rss < 32 << 20
    for path in files:
        for line in path.read_text().splitlines()[:100]:
            json.loads(line)
    daemon.admin.delete("noisy")
    assert not [p for p in (daemon.data / "logs").iterdir() if p.name.startswith("noisy")], "logs go with the api"


def test_one_endless_line(daemon):
    serving(daemon, "line", "import sys\nfor _ in range(300):\n    sys.stdout.write('x' * 100_000)\nprint()\nprint('after')\nreturn 1")
    rss = procs.rss(daemon.daemon_pid)
    assert daemon.admin.post("/line", json={}).json() == 1
    wait_for("the line after", lambda: any(e["line"] == "after" for e in daemon.admin.logs("line")))
    if SLOW == 1:
        assert procs.rss(daemon.daemon_pid) - rss < 32 << 20


# --- requests with mistakes --------------------------------------------------


@pytest.fixture(scope="module")
def echo(daemon):
    serving(daemon, "echo", "return payload")
    return daemon


@pytest.mark.parametrize("body, words", [
    (b'{"a": ', ["JSON"]), (b"{'a': 1}", ["JSON"]), (b'{"a": 1} x', ["JSON"]), (b"nan", ["JSON"]), (b"[1,]", ["JSON"]),
    (b'"\xff\xfe"', ["UTF-8"]), (b'"\xed\xa0\x80"', ["UTF-8"]), (b'"\\ud800"', ["JSON"]),
    (b"[" * 1_000_000, ["JSON"]), (b'{"a":' * 1_000_000, ["JSON"]),
    (b"[" * 1_000_000 + b"]" * 1_000_000, ["nested", "deep"]),
    (b"1e999", ["number"]), (b"", ["JSON"]),
], ids=["cut", "quotes", "trailing", "nan", "comma", "utf8", "surrogate", "escape", "deep open", "deep objects", "deep",
        "number", "empty"])
def test_payloads_that_are_no_json(echo, body, words):
    answer = echo.admin.post("/echo", data=body, headers={"Content-Type": "application/json"})
    error = error_of(answer, 400, "invalid")
    assert any(w.lower() in error["message"].lower() for w in words), error
    assert echo.admin.post("/echo", json=1).json() == 1


def test_integers_of_any_length(echo):
    """Python's own limit on digits is no reason to fall over."""
    answer = echo.admin.post("/echo", data=b"9" * 4000, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.text) == (200, "9" * 4000) or answer.status_code == 400
    answer = echo.admin.post("/echo", data=b"9" * 1_000_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "digits" in answer.json()["error"]["message"]
    assert echo.admin.api("echo")["restarts"] == 0


def test_text_that_is_no_utf8(echo):
    answer = echo.admin.post("/echo", data=b"\xff", headers={"Content-Type": "text/plain"})
    assert answer.status_code in (200, 400) and echo.admin.api("echo")["restarts"] == 0


@pytest.mark.parametrize("part", [
    b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[1,",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,",
    b"POST /echo HTTP/1.1\r\nHo"])
def test_clients_gone_midway(echo, part):
    for _ in range(20):
        with Raw(echo.port) as raw:
            raw.send(part)
    assert echo.admin.post("/echo", json=1).json() == 1
    wait_for("nothing is in flight", lambda: echo.admin.api("echo")["in_flight"] == 0)
    assert echo.admin.api("echo")["restarts"] == 0


# --- what the replica's user cannot read -------------------------------------


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user, replicas are the same user")


@pytest.fixture
def private():
    """A folder that only root can enter."""
    path = tempfile.mkdtemp(prefix="soma-e2e-private-")
    yield path
    shutil.rmtree(path)


@needs_root
def test_an_interpreter_that_cannot_be_read(daemon, folder, private):
    os.makedirs(f"{private}/bin")
    shutil.copy(os.path.realpath(projects.PYTHON), f"{private}/bin/python3")
    api = python_api("bad", predictor={"python": f"{private}/bin/python3"})
    failing(daemon, folder, predictor("pass"), api).says(
        f"{private}/bin/python3", f"{private} is only for its owner", f"chmod o+x {private}")


@needs_root
def test_a_model_that_cannot_be_read(daemon, folder, private):
    """Opened by the predictor itself: Python's words, and which user it was."""
    with open(f"{private}/weights.bin", "w") as f:
        f.write("x")
    failing(daemon, folder, predictor("pass", init=f"open('{private}/weights.bin')")).says(
        "PermissionError", f"{private}/weights.bin", "Remedy: make it readable for user")


@needs_root
def test_a_program_that_cannot_be_read(daemon, folder, private):
    shutil.copy("/bin/true", f"{private}/server")
    failing(daemon, folder, "", {"name": "bad", "predictor": {"command": [f"{private}/server"]}}).says(
        f"{private}/server", f"{private} is only for its owner", f"chmod o+x {private}")


@needs_root
def test_a_project_that_was_private_can_be_read(daemon, folder, tmp_path):
    """The copy is Soma's own: the modes of the user's files don't matter."""
    path = folder(python_project(predictor("return open('data').read()"), python_api("private"), data="x"))
    for file in path.iterdir():
        os.chmod(file, 0o600)
    os.chmod(path, 0o700)
    daemon.cli("deploy", path, check=0)
    assert daemon.admin.post("/private", json={}).text == "x"


def test_a_link_to_nothing(daemon, folder):
    path = folder(projects.probe_project())
    (path / "gone").symlink_to(path / "absent")
    daemon.cli("deploy", path, check=2).says("'gone'", "symbolic link to nothing", ".somaignore")

"""A python api: the user's class behind HTTP."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import tempfile

import pytest

from soma import procs, projects
from soma.client import error_of, plain
from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for


@pytest.fixture(scope="module")
def echo(daemon):
    """Answers what it was given, and how."""
    daemon.admin.deploy(python_project('''
import os


class PythonPredictor:
    def __init__(self, config):
        self.config = config

    def predict(self, payload, query_params, headers):
        told = {"type": type(payload).__name__, "query": dict(query_params), "pid": os.getpid(),
                "id": headers["x-request-id"], "config": self.config}
        told["payload"] = payload.decode("latin-1") if isinstance(payload, bytes) else payload
        return told
''', python_api("echo", predictor={"config": {"a": [1, {"b": None}]}})))
    return daemon.admin


def one(daemon, name, body, **keys):
    daemon.admin.deploy(python_project(predictor(body), python_api(name, **keys)))
    return lambda **kwargs: daemon.admin.post(f"/{name}", **({"json": {}} if not kwargs else kwargs))


# --- payloads ----------------------------------------------------------------


@pytest.mark.parametrize("payload", [
    {}, [], {"a": 1}, [1, 2.5, -3e10, 1e-300], "text", 7, True, None, {"ü": "✓\u0000\n"}, {"deep": [[[[{}]]]]},
    2**53, -2**63, 2**63, "x" * 1_000_000, list(range(100_000))])
def test_json_arrives_as_it_was(echo, payload):
    answer = echo.post("/echo", data=json.dumps(payload), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["payload"] == payload
    assert type(answer.json()["payload"]) is type(payload)


def test_text_and_bytes(echo):
    told = echo.post("/echo", data="grüße".encode(), headers={"Content-Type": "text/plain; charset=utf-8"}).json()
    assert (told["type"], told["payload"]) == ("str", "grüße")
    told = echo.post("/echo", data=b"\x00\xff", headers={"Content-Type": "application/octet-stream"}).json()
    assert (told["type"], told["payload"]) == ("bytes", "\x00\xff")


def test_a_form(daemon):
    ask = one(daemon, "form", "return {k: payload[k] for k in payload}")
    assert ask(data={"a": "1", "b": "ü"}).json() == {"a": "1", "b": "ü"}


def test_query_headers_config_and_request_id(echo):
    answer = echo.post("/echo?a=1&b=%C3%BC", json=1, headers={"X-Request-Id": "me-1"})
    told = answer.json()
    assert told["query"] == {"a": "1", "b": "ü"}
    assert told["id"] == answer.headers["X-Request-Id"] == "me-1"
    assert told["config"] == {"a": [1, {"b": None}]}


# --- results -----------------------------------------------------------------


@pytest.mark.parametrize("code, kind, content", [
    ("return {'a': [1, 2.5, None, True, 'ü']}", "application/json", '{"a":[1,2.5,null,true,"ü"]}'.encode()),
    ("return 'text ü'", "text/plain", "text ü".encode()),
    ("return b'\\x00\\xff'", "application/octet-stream", b"\x00\xff"),
])
def test_results(daemon, code, kind, content):
    answer = one(daemon, "result", code)()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)
    if kind == "application/json":
        assert answer.json() == json.loads(content)
    else:
        assert answer.content == content


def test_a_response_of_its_own(daemon):
    ask = one(daemon, "teapot", '''
class Response:
    status_code = 418
    body = b"short and stout"
    headers = {"X-Mine": "1", "content-type": "text/x-tea"}
return Response()''')
    answer = ask()
    assert (answer.status_code, answer.content) == (418, b"short and stout")
    assert answer.headers["X-Mine"] == "1" and answer.headers["Content-Type"] == "text/x-tea"


def test_nan_is_no_json(daemon):
    answer = one(daemon, "nan", "return {'loss': float('nan')}")()
    assert answer.status_code == 500
    error = error_of(answer, 500, answer.json()["error"]["code"])
    assert "nan" in error["message"].lower() and "json" in error["message"].lower()


def test_what_is_no_json_is_named(daemon):
    answer = one(daemon, "object", "return {'x': object()}")()
    assert answer.status_code == 500
    assert "object" in answer.json()["error"]["message"]


# --- methods and paths -------------------------------------------------------


def test_other_methods_are_told_what_is_right(echo):
    for method in ("PUT", "DELETE", "PATCH"):
        answer = plain(method, echo.data_url + "/echo", json={})
        error_of(answer, 405, "method_not_allowed")
        assert "POST" in answer.headers["Allow"]


def test_get_tells_what_it_is(echo):
    """A person with a browser learns how to ask."""
    answer = echo.get("/echo")
    assert answer.status_code == 200
    assert "post request" in answer.text.lower() and "json" in answer.text.lower()


@pytest.mark.parametrize("path, status", [("/echo", 200), ("/echo/", 200), ("/echo?x", 200), ("/echo/?x", 200),
                                          ("/echo/more", 404), ("/echox", 404), ("/ech", 404)])
def test_its_path_is_one(echo, path, status):
    answer = echo.post(path, json={})
    assert answer.status_code == status, answer.text
    if status == 404 and path != "/echo/more":
        assert "did you mean '/echo'" in answer.json()["error"]["message"]


def test_bodies_may_be_large(echo):
    data = os.urandom(20 << 20)
    answer = echo.post("/echo", data=iter([data[:1 << 20], data[1 << 20:]]),
                       headers={"Content-Type": "application/octet-stream"})
    assert answer.json()["payload"].encode("latin-1") == data


# --- the class ---------------------------------------------------------------


def test_only_what_it_asks_for_is_given(daemon):
    daemon.admin.deploy(python_project(
        "class PythonPredictor:\n    def __init__(self, config):\n        pass\n    def predict(self):\n        return 'nothing asked'\n",
        python_api("bare")))
    assert daemon.admin.post("/bare", json={}).text == "nothing asked"


def test_its_project_is_where_it_runs(daemon):
    files = {"pkg/__init__.py": "", "pkg/helper.py": "WORD = 'helped'\n", "data/words.txt": "read"}
    source = "from pkg.helper import WORD\n" + predictor("return WORD + ' ' + open('data/words.txt').read()")
    daemon.admin.deploy(python_project(source, python_api("project"), **files))
    assert daemon.admin.post("/project", json={}).text == "helped read"


def test_python_path(daemon):
    source = "import helper\n" + predictor("return helper.WORD")
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([python_api(
        "below", "src/predictor.py", predictor={"python_path": "src"})]),
        "src/predictor.py": source, "src/helper.py": "WORD = 'from src'\n"})
    assert daemon.admin.post("/below", json={}).text == "from src"


def test_env(daemon):
    ask = one(daemon, "env", "import os\nreturn [os.environ.get('A'), os.environ.get('SOMA_API')]",
              predictor={"env": {"A": "b"}})
    assert ask().json() == ["b", "env"]


def test_prints_carry_their_request(daemon):
    ask = one(daemon, "prints", "print('during', payload)\nimport sys\nprint('err', file=sys.stderr)\nreturn 1")
    ask(json="x", headers={"X-Request-Id": "req-77"})
    lines = wait_for("both lines", lambda: [e for e in daemon.admin.logs("prints") if e.get("request_id") == "req-77"][1:]
                     and [e for e in daemon.admin.logs("prints") if e.get("request_id") == "req-77"])
    assert {e["line"] for e in lines} == {"during x", "err"}


def test_an_exception_is_told_and_its_traceback_kept(daemon):
    ask = one(daemon, "raises", "raise ValueError('no such ' + payload)")
    answer = ask(json="breed", headers={"X-Request-Id": "req-9"})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert "ValueError" in error["message"] and "no such breed" in error["message"]
    assert error["request_id"] == "req-9" and "Traceback" not in answer.text and "predictor.py" not in answer.text
    log = wait_for("the traceback", lambda: (text := "\n".join(
        e["line"] for e in daemon.admin.logs("raises"))).count("ValueError: no such breed") and text)
    assert "Traceback" in log and "predictor.py" in log and "worker_main" not in log, "only the user's frames"
    assert daemon.admin.api("raises")["restarts"] == 0


def test_expose_tracebacks(daemon):
    ask = one(daemon, "exposes", "raise ValueError('x')", predictor={"expose_tracebacks": True})
    assert "Traceback" in ask().text and "predictor.py" in ask().text


def test_post_predict_runs_after_the_answer(daemon):
    daemon.admin.deploy(python_project('''
class PythonPredictor:
    def __init__(self, config):
        self.after = []

    def predict(self, payload):
        return self.after

    def post_predict(self, payload, response):
        self.after.append([payload, list(response)])
''', python_api("after")))
    assert daemon.admin.post("/after", json=1).json() == []
    wait_for("it ran", lambda: daemon.admin.post("/after", json=2).json()[:1] == [[1, []]])


# --- processes and threads ---------------------------------------------------


def test_processes_per_replica(daemon):
    daemon.admin.deploy(python_project(predictor("import os\nreturn os.getpid()"), python_api(
        "procs", predictor={"processes_per_replica": 3}, autoscaling={"min_replicas": 1})))
    api = daemon.admin.api("procs")
    assert (api["requested"], api["ready"]) == (1, 1), "one replica, however many processes"
    pids = {daemon.admin.post("/procs", json={}).json() for _ in range(12)}
    assert len(pids) == 3 and pids == set(daemon.admin.pids("procs"))
    os.kill(next(iter(pids)), 9)
    wait_for("three again", lambda: len(daemon.admin.pids("procs")) == 3)


# Waits until as many requests are inside as `together` says: a barrier.
BARRIER = '''
import threading


class PythonPredictor:
    def __init__(self, config):
        self.barrier = threading.Barrier(config["together"])
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def predict(self, payload):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        if payload == "meet":
            self.barrier.wait(20)
        with self.lock:
            self.inside -= 1
        return self.most
'''


def test_threads_per_process(daemon):
    """Four requests are inside one process at once, and never a fifth."""
    daemon.admin.deploy(python_project(BARRIER, python_api("threads", predictor={
        "threads_per_process": 4, "config": {"together": 4}})))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        met = list(pool.map(lambda _: daemon.admin.post("/threads", json="meet").json(), range(16)))
    assert max(met) == 4 and len(daemon.admin.pids("threads")) == 1


def test_one_thread_is_one_at_a_time(daemon):
    daemon.admin.deploy(python_project(BARRIER, python_api("single", predictor={"config": {"together": 1}})))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        most = list(pool.map(lambda _: daemon.admin.post("/single", json="").json(), range(40)))
    assert set(most) == {1}


# --- interpreters and environments -------------------------------------------


def test_an_environment_of_the_users(daemon):
    """predictor.python: a venv is used as it is, and by its path."""
    place = tempfile.mkdtemp(prefix="soma-e2e-venv-")
    try:
        os.chmod(place, 0o755)
        subprocess.run([projects.PYTHON, "-m", "venv", "--without-pip", place + "/v"], check=True)
        site = subprocess.run([place + "/v/bin/python", "-c", "import site; print(site.getsitepackages()[0])"],
                              check=True, capture_output=True, text=True).stdout.strip()
        with open(site + "/only_here.py", "w") as f:
            f.write("WORD = 'from the venv'\n")
        ask = one(daemon, "venv", "import only_here, sys\nreturn only_here.WORD + ' ' + sys.prefix",
                  predictor={"python": place + "/v"})
        assert ask().text == f"from the venv {place}/v"
        ask = one(daemon, "venv", "import only_here, sys\nreturn only_here.WORD",
                  predictor={"python": place + "/v/bin/python"})
        assert ask().text == "from the venv"
        daemon.admin.delete("venv")
    finally:
        shutil.rmtree(place)


def test_its_process_is_the_users_own(daemon):
    ask = one(daemon, "who", "import os\nreturn [os.getuid(), os.getpid()]")
    uid, pid = ask().json()
    assert pid == daemon.admin.pids("who")[0]
    if os.geteuid() == 0:
        assert uid >= 61184
    assert procs.environ(pid)["SOMA_INSTANCE"] == daemon.instance

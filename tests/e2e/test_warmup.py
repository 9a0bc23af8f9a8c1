"""Requests that a new replica answers before it takes any of its users'."""

import json
import os
import signal

import pytest

from soma import models, projects
from soma.load import Load, Target
from soma.metrics import Metrics
from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for

# Tells which requests it has had: "w" for those of a warm-up, "u" for others.
COUNTS = predictor(
    "self.had += 'w' if headers.get('x-soma-warmup') else 'u'\nreturn {'had': self.had, 'payload': payload}", "self.had = ''")
ECHO = "return payload"


def project(source, warmup, name="warm", files=(), **keys):
    return python_project(source, python_api(name, warmup=warmup, **keys), **dict(files))


def failure(daemon, body, warmup, init="pass", imports="import os, sys, time", name="bad", **keys):
    """The event of a revision whose predict is `body`, and which fails."""
    return daemon.admin.deploy_failing(project(predictor(body, init, imports), warmup, name, **keys))


def texts(daemon, name, kind):
    return [e["text"] for e in daemon.admin.events(name) if e["type"] == kind]


def kill_daemon(daemon):
    old = daemon.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("the next daemon", lambda: daemon.daemon_pid not in (old, None))
    wait_for("it is ready", daemon.admin.is_ready)


# --- what passes ---


def test_before_any_user_and_in_no_count(own_daemon):
    own_daemon.admin.deploy(project(COUNTS, [{"body": {"x": 1}, "times": 3, "headers": {"X-A": "b"}}, {"body": 5}]))
    assert own_daemon.admin.post("/warm", json=1).json() == {"had": "wwwwu", "payload": 1}
    # A client's word does not make it one.
    assert own_daemon.admin.post("/warm", json=1, headers={"X-Soma-Warmup": "1"}).json()["had"] == "wwwwuu"
    told = wait_for("its calls", lambda: (m := Metrics(own_daemon.admin, "warm"))["soma_predict_duration_seconds_count"] == 2 and m)
    assert told["soma_requests_total", "2xx"] == 2
    assert any(t.startswith("warm-up 1 of 2") for t in texts(own_daemon, "warm", "replica_loading"))
    own_daemon.stop()  # it has written all there is
    own_daemon.start()
    logged = (own_daemon.data / "logs/access.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in logged] == ["/warm", "/warm"]


@pytest.mark.parametrize("expect, answer", [
    ({"body": {"sum": 6.0}}, "{'sum': 6}"), ({"body": {"sum": 6.0}}, "{'sum': 6.000000001}"),
    ({"body": {"a": [1, {"b": 2.0}]}, "tolerance": 0.5}, "{'a': [1, {'b': 1.5}]}"), ({"body": "ok"}, "'ok'"),
    ({"body": "ok", "status": 200, "within": "20s"}, "'ok'"), ({"status": 200}, "{'whatever': 1}"),
])
def test_what_is_as_expected(daemon, expect, answer):
    daemon.admin.deploy(project(predictor(f"return {answer}"), [{"body": {}, "expect": expect}]))


def test_a_file_is_its_body(daemon):
    source = predictor("return [payload.decode('latin-1'), headers['content-type']]")
    daemon.admin.deploy(project(source, [{
        "body_file": "in/sample.bin", "content_type": "application/octet-stream", "times": 2,
        "expect": {"body": ["\x01\xffabc", "application/octet-stream"]}}], files={"in/sample.bin": b"\x01\xffabc"}))


def test_a_command(daemon):
    api = projects.probe_api("warm", warmup=[
        {"path": "/echo?a=1", "method": "PUT", "body": {"x": 1}, "headers": {"X-A": "b"}}, {"path": "/env", "expect": {"status": 200}}])
    daemon.admin.deploy(projects.probe_project(api))
    api["warmup"] = [{"path": "/echo?status=404%20no"}]
    end = daemon.admin.deploy_failing(projects.probe_project(api))
    assert end["text"].startswith('warm-up request 1 (GET /echo?status=404%20no) was answered with 404, not 2xx: {"method": "GET"'), end
    assert '["X-Soma-Warmup", "1"]' in end["text"], end
    assert daemon.admin.get("/warm/echo").status_code == 200


def test_an_onnx_model(daemon):
    def deploy(y):
        return {"soma.yaml": projects.yaml_value([{
            "name": "model", "predictor": {"type": "onnx", "model": "model.onnx"},
            "warmup": [{"body": {"x": [[1, 2, 3]]}, "times": 5, "expect": {"body": {"y": y}}}]}]), "model.onnx": models.data(models.linear())}
    daemon.admin.deploy(deploy([[2.1, 2.7]]))
    daemon.admin.post("/model", json={"x": [[1, 2, 3]]})
    wait_for("its call", lambda: Metrics(daemon.admin, "model")["soma_predict_duration_seconds_count"] == 1)
    end = daemon.admin.deploy_failing(deploy([[2.1, 2.9]]))
    assert "differs at .y[0][1]: 2.7" in end["text"] and "expected 2.9 (tolerance 1e-06)" in end["text"]


def test_several_processes(daemon):
    daemon.admin.deploy(project(COUNTS, [{"body": 1}], "several", predictor={"processes_per_replica": 2}))
    for _ in range(6):
        assert daemon.admin.post("/several", json=1).json()["had"].startswith("wu")


# --- what does not ---


def test_a_wrong_answer_reaches_nobody(own_daemon, folder):
    """The old revision serves on, and who deploys is told why."""
    own_daemon.admin.deploy(project(predictor(ECHO), [{"body": {"x": 1}, "expect": {"body": {"x": 1}}}], "api"))
    pids = own_daemon.admin.pids("api")
    bad = project(predictor("print('seen', payload)\nreturn {'x': payload['x'] + 1.0} if 'x' in payload else payload"),
                  [{"body": {"x": 1}, "expect": {"body": {"x": 1}}}], "api")
    with Load(own_daemon.port, [Target("api", True, False)]) as load:
        wait_for("answers", lambda: load.answered > 50)
        done = own_daemon.cli("deploy", folder(bad))
        wait_for("more", lambda n=load.answered: load.answered > n + 50)
    assert load.wrong == [] and load.refused == []
    why = "warm-up request 1 (POST /) was answered otherwise: its answer differs at .x: 2.0, expected 1 (tolerance 1e-06)"
    assert done.code != 0
    done.says(why, "seen {'x': 1}")
    own_daemon.cli("history", "api", check=0).says(why)
    assert own_daemon.admin.pids("api") == pids


CAUSES = {
    "500": ("1 / 0", [{"body": 1}], "warm-up request 1 (POST /) was answered with 500, not 2xx: {"),
    "status": ("return 1", [{"body": 1}, {"body": 1, "expect": {"status": 201}}], "warm-up request 2 (POST /) was answered with 200, not 201: 1"),
    "text": ("return 'nope'", [{"body": 1, "expect": {"body": "yes"}}], "warm-up request 1 (POST /) was answered with 'nope', expected 'yes'"),
    "no json": ("return 'nope'", [{"body": 1, "expect": {"body": {"a": 1}}}], "was answered with what is no JSON: 'nope'"),
    "member": ("return {'a': 1}", [{"body": 1, "expect": {"body": {"a": 1, "b": 2}}}], "differs at .b: nothing, expected 2"),
    "more": ("return {'a': 1, 'b': 2}", [{"body": 1, "expect": {"body": {"a": 1}}}], "differs at .b: 2, expected nothing"),
    "beyond the tolerance": ("return [1.002]", [{"body": 1, "expect": {"body": [1.0], "tolerance": 0.001}}],
                             "differs at [0]: 1.002, expected 1.0 (tolerance 0.001)"),
    "exit": ("os._exit(3)", [{"body": 1}], "warm-up request 1 (POST /) was not answered: it ended, by exit code 3"),
    "crash": ("os.abort()", [{"body": 1}, {"body": 1}], "warm-up request 1 (POST /) was not answered: it ended, by signal 6"),
    "at the third time": ("self.n = getattr(self, 'n', 0) + 1\nreturn self.n // 3", [{"body": 1, "times": 5, "expect": {"body": 0}}],
                          "warm-up request 1 (POST /, time 3 of 5) was answered otherwise: its answer differs: 1, expected 0"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_causes(daemon, cause):
    body, warmup, text = CAUSES[cause]
    end = failure(daemon, f"print('a line of its own', flush=True)\n{body}", warmup)
    assert text in end["text"], end
    assert any("a line of its own" in str(line) for line in end["log"]), end
    # Once is enough to know.
    assert daemon.admin.api("bad")["replicas"][0]["restarts"] <= 2
    daemon.admin.delete("bad")


def test_too_slow(daemon):
    end = failure(daemon, "time.sleep(0.6)\nreturn 1", [{"body": 1, "expect": {"within": "200ms"}}])
    assert "warm-up request 1 (POST /) took 6" in end["text"] and end["text"].endswith("ms, more than within: 200 ms"), end
    daemon.admin.delete("bad")


def test_hanging(daemon):
    end = failure(daemon, "time.sleep(1000)", [{"body": 1, "expect": {"within": "100ms"}}], grace_period="1s")
    assert "warm-up request 1 (POST /) was not answered in 1." in end["text"], end
    daemon.admin.delete("bad")
    end = failure(daemon, "time.sleep(1000)", [{"body": 1}], predictor={"start_timeout": "1500ms"}, grace_period="1s")
    assert end["text"].startswith("warm-up request 1 (POST /) was not answered: it was not ready within 1.5 s (start_timeout)"), end
    assert "warm-up 1 of 1" in texts(daemon, "bad", "replica_loading")
    daemon.admin.delete("bad")


def test_a_command_that_hangs(daemon):
    api = projects.probe_api("hangs", predictor={"start_timeout": "1500ms"}, warmup=[{"path": "/hold", "body": 1}])
    end = daemon.admin.deploy_failing(projects.probe_project(api))
    assert end["text"].startswith("warm-up request 1 (POST /hold) was not answered: it was not ready within 1.5 s (start_timeout)"), end
    daemon.admin.delete("hangs")


def test_a_file_that_is_too_large(daemon):
    end = failure(daemon, "return 1", [{"body_file": "big"}], files={"big": bytes((16 << 20) + 1)})
    assert end["text"].startswith("warm-up request 1 (POST /) cannot be sent: its body_file cannot be read: "), end
    daemon.admin.delete("bad")


def test_a_file_that_is_missing(daemon, folder):
    done = daemon.cli("deploy", folder(project(COUNTS, [{"body_file": "sample.bin"}])))
    assert done.code != 0
    done.says("warmup[].body_file: project has no file 'sample.bin'")
    answer = daemon.admin.send(project(COUNTS, [{"body_file": "sample.bin"}]))
    assert answer.status_code == 422 and "sample.bin" in answer.text


# --- all that starts has them ---


def test_replicas_by_fork(own_daemon):
    own_daemon.admin.deploy(project(COUNTS, [{"body": 1, "times": 2}], "forked", predictor={"zygote": "init"}))
    wait_for("a zygote", lambda: (z := own_daemon.admin.api("forked")["zygote"]) and z["state"] == "ready", 60)
    for _ in range(3):
        old, = own_daemon.admin.pids("forked")
        os.kill(old, signal.SIGKILL)
        wait_for("another", lambda: own_daemon.admin.pids("forked") not in ([], [old]), 60)
        assert own_daemon.admin.api("forked")["replicas"][0]["tier"] == "zygote-init"
        assert own_daemon.admin.post("/forked", json=1).json()["had"] == "wwu"


def test_more_replicas_under_load(own_daemon):
    """Whoever asks meanwhile finds none that is not warm."""
    own_daemon.admin.deploy(project(
        predictor("time.sleep(0.02)\nself.had += 1 if headers.get('x-soma-warmup') else 0\nassert self.had == 5\nreturn payload"
                  .replace("assert self.had == 5", "assert headers.get('x-soma-warmup') or self.had == 5"), "self.had = 0", "import time"),
        [{"body": 1, "times": 5}], "grows", autoscaling={"min_replicas": 1, "max_replicas": 4, "max_wait": "5ms"}))
    with Load(own_daemon.port, [Target("grows", True, False)], clients=8) as load:
        wait_for("more replicas", lambda: len(own_daemon.admin.pids("grows")) > 1, 60)
        wait_for("answers", lambda n=load.answered: load.answered > n + 100)
    assert load.wrong == [] and load.refused == []


def test_one_that_fails_later_is_tried_again(own_daemon):
    """Of a revision that serves: with back-off, as any that dies before it is ready."""
    flag = own_daemon.parent / "flag"  # a place that replicas can look at
    own_daemon.admin.deploy(project(
        predictor(f"return 1 if not os.path.exists({str(flag)!r}) else 2", imports="import os"),
        [{"body": 1, "expect": {"body": 1}}], "later"))
    flag.write_text("")
    os.kill(own_daemon.admin.pids("later")[0], signal.SIGKILL)
    wait_for("it fails", lambda: any("differs: 2, expected 1" in t for t in texts(own_daemon, "later", "replica_exit")), 30)
    assert own_daemon.admin.api("later")["revision"] == 1
    flag.unlink()
    wait_for("it is ready again", lambda: own_daemon.admin.pids("later"), 30)
    assert own_daemon.admin.post("/later", json=1).text == "1"


def test_who_comes_meanwhile_is_told(own_daemon):
    go = own_daemon.parent / "go"
    body = f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\nreturn 1"
    own_daemon.admin.send(project(predictor(body, imports="import os, time"), [{"body": 1}, {"body": 2}], "told", on_cold="retry"))
    wait_for("it is at the first", lambda: any(r["detail"] == "warm-up 1 of 2" for r in own_daemon.admin.api("told")["replicas"]), 30)
    answer = own_daemon.admin.post("/told", json=1)
    assert answer.status_code == 503 and answer.json()["loading"]["stage"] == "warm-up 1 of 2"
    own_daemon.cli("get", "told", check=0).says("starting", "warm-up 1 of 2")
    go.write_text("")
    own_daemon.admin.wait_live("told")
    assert own_daemon.admin.post("/told", json=1).text == "1"


def test_one_that_is_not_wanted_leaves_in_its_warm_up(own_daemon):
    """It has nobody's request: nothing waits for its grace_period."""
    own_daemon.admin.send(project(predictor("time.sleep(1000)", imports="import time"), [{"body": 1}], "leaves"))
    wait_for("it is at the first", lambda: any(r["detail"] == "warm-up 1 of 1" for r in own_daemon.admin.api("leaves")["replicas"]), 30)
    own_daemon.admin.ok("DELETE", "/v1/apis/leaves")
    wait_for("it is gone", lambda: own_daemon.admin.call("GET", "/v1/apis/leaves").status_code == 404, 15)


# --- another daemon ---


@pytest.mark.parametrize("how", ["killed", "upgraded"])
def test_another_daemon_in_a_warm_up(own_daemon, how):
    """The replica stays, and begins it again; one that has had it does not."""
    go = own_daemon.parent / "go"
    source = predictor(
        "self.had += 'w' if headers.get('x-soma-warmup') else 'u'\n"
        f"while payload == 'wait' and not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\nreturn self.had",
        "self.had = ''", "import os, time")
    own_daemon.admin.send(project(source, [{"body": "first"}, {"body": "wait"}], "stays"))
    wait_for("it is at the second", lambda: any(r["detail"] == "warm-up 2 of 2" for r in own_daemon.admin.api("stays")["replicas"]), 30)
    pid = own_daemon.admin.pids("stays", None)
    if how == "killed":
        kill_daemon(own_daemon)
    else:
        own_daemon.cli("upgrade", check=0)
    wait_for("it is at it again", lambda: any((r["detail"] or "").startswith("warm-up")
                                             for r in own_daemon.admin.api("stays")["replicas"]), 30)
    assert own_daemon.admin.api("stays")["status"] == "updating"
    go.write_text("")
    own_daemon.admin.wait_live("stays")
    assert own_daemon.admin.pids("stays") == pid
    assert own_daemon.admin.post("/stays", json="x").text == "wwwwu"
    kill_daemon(own_daemon)
    assert own_daemon.admin.post("/stays", json="x").text == "wwwwuu"
    assert own_daemon.admin.pids("stays") == pid


def test_a_command_keeps_that_it_is_warm(own_daemon):
    own_daemon.admin.deploy(projects.probe_project(projects.probe_api("cmd", warmup=[{"path": "/count"}])))
    pid = own_daemon.admin.pids("cmd")

    def asked():
        return sum(t.startswith("warm-up") for t in texts(own_daemon, "cmd", "replica_loading"))

    assert asked() == 1
    kill_daemon(own_daemon)
    wait_for("it is there", lambda: own_daemon.admin.pids("cmd") == pid)
    assert os.listdir(own_daemon.data / "run/s") and not texts(own_daemon, "cmd", "replica_exit")
    assert asked() <= 1  # what was told last may not have been on the disk

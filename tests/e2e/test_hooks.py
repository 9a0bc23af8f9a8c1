"""pre_predict and post_predict beside the slots, through the daemon."""
import concurrent.futures
import os
import re
import time

import pytest

from soma import projects
from soma.client import error_of
from soma.waiting import SLOW, seconds, wait_for

STAGES = """
import asyncio, time

class PythonPredictor:
    def __init__(self, config):
        pass

    DEF pre_predict(self, payload):
        AWAIT sleep(payload["pre"])
        return payload

    def predict(self, payload):
        time.sleep(payload["predict"])
        return payload["x"]

    DEF post_predict(self, payload):
        AWAIT sleep(payload["post"])
        print("posted", payload["x"], flush=True)
"""


@pytest.fixture(params=["def", "async def"])
def stages(request, daemon):
    """Deploys it; what asks it. A slot takes one request at a time."""
    sleep = "await asyncio.sleep" if request.param == "async def" else "time.sleep"
    source = STAGES.replace("DEF", request.param).replace("AWAIT sleep", sleep)

    def deploy(name, **more):
        daemon.admin.deploy(projects.python_project(source, projects.python_api(name, **more)))

        def ask(x, pre=0.0, predict=0.0, post=0.0, **options):
            return daemon.admin.post("/" + name, json={"x": x, "pre": pre, "predict": predict, "post": post}, **options)
        return ask
    return deploy


def test_the_slot_works_while_hooks_wait(daemon, stages):
    """One slot, 20 clients: each request waits ten times as long as it computes, and the slot hardly stands still.

    How many are sent at once is learned from what pre_predict takes."""
    ask = stages("busy")
    pre, predict, n = 0.2 * SLOW, 0.02 * SLOW, 20

    def client(k):
        return [ask(100 * k + i, pre, predict, pre).json() for i in range(10)]

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        begun = time.monotonic()
        answers = list(pool.map(client, range(n)))
        took = time.monotonic() - begun
    assert answers == [[100 * k + i for i in range(10)] for k in range(n)]
    # One after another would be 200 * 0.42 s; computing alone is 4 s.
    assert took < 200 * (pre + predict + pre) / 4


def test_a_pre_predict_that_hangs(daemon, stages):
    ask = stages("hangs")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        hung = pool.submit(ask, 1, pre=30, headers={"X-Request-Timeout": "1"})
        assert ask(2).json() == 2
        answer = hung.result(seconds(20))
    error_of(answer, 504, "timeout")
    assert ask(3).json() == 3
    wait_for("nothing is in flight", lambda: daemon.admin.api("hangs")["in_flight"] == 0)


def test_what_pre_predict_took_is_told_and_counted(daemon, stages):
    ask = stages("seen")
    answer = ask(1, pre=0.2, predict=0.1, headers={"X-Soma-Timing": "1"})
    timing = dict(re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["Server-Timing"]))
    assert list(timing) == ["queue", "pre", "predict"]
    assert 200 <= float(timing["pre"]) < 200 + 150 * SLOW and 100 <= float(timing["predict"]) < 100 + 150 * SLOW
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        held = [pool.submit(ask, x, pre=2 * SLOW) for x in range(4)]
        wait_for("four are in pre_predict", lambda: daemon.admin.api("seen")["stages"]["pre"] == 4)
        assert [h.result().status_code for h in held] == [200] * 4


def test_a_pre_predict_that_is_refused_leaves_the_slot(daemon):
    source = """
class Refused(Exception):
    status_code, detail = 402, "who pays?"

class PythonPredictor:
    def __init__(self, config): pass
    async def pre_predict(self, payload):
        if payload == "free": raise Refused()
        return {"paid": payload}
    def predict(self, payload):
        return payload
"""
    daemon.admin.deploy(projects.python_project(source, projects.python_api("paid")))
    answer = daemon.admin.post("/paid", json="free")
    assert (answer.status_code, answer.text) == (402, "who pays?")
    assert daemon.admin.post("/paid", json="cash").json() == {"paid": "cash"}


def test_a_replaced_revision_finishes_what_comes_after_its_answers(daemon, stages):
    ask = stages("ends")
    for x in range(3):
        assert ask(x, post=1.0).json() == x
    stages("ends", predictor={"max_hooks": 5})
    wait_for("all have posted", lambda: all(f"posted {x}" in str(daemon.admin.logs("ends")) for x in range(3)))


def everywhere(daemon, ask, name, predict, post):
    """One request in each stage: what came of them, later. The process takes three at once."""
    pool = concurrent.futures.ThreadPoolExecutor(5)
    assert ask("post", post=post).text == "post"
    sent = {"predict": pool.submit(ask, "predict", predict=predict)}
    wait_for("one is in predict", lambda: daemon.admin.api(name)["stages"]["predict"] == 1)
    sent["ready"] = pool.submit(ask, "ready", predict=0.1)
    wait_for("one is ready", lambda: daemon.admin.api(name)["stages"]["ready"] == 1)
    sent["pre"] = pool.submit(ask, "pre", pre=predict)
    wait_for("one is in pre_predict", lambda: daemon.admin.api(name)["stages"]["pre"] == 1)
    sent["queue"] = pool.submit(ask, "queue")
    wait_for("one is in the queue", lambda: daemon.admin.api(name)["stages"]["queue"] == 1)
    assert daemon.admin.api(name)["stages"]["post"] == 1
    pool.shutdown(wait=False)
    return sent


def test_a_replica_that_is_stopped_finishes_each_stage(daemon, stages):
    ask = stages("whole", predictor={"max_in_flight": 3})
    old, = daemon.admin.pids("whole")
    sent = everywhere(daemon, ask, "whole", 4.0 * SLOW, 6.0 * SLOW)
    stages("whole", predictor={"max_in_flight": 4})
    assert {name: s.result(seconds(30)).text for name, s in sent.items()} == {name: name for name in sent}
    wait_for("it has ended", lambda: not os.path.exists(f"/proc/{old}"))
    assert "posted post" in str(daemon.admin.logs("whole"))


def test_a_replica_whose_time_is_over_tells_each(daemon, stages):
    """What predict and pre_predict have seen is lost, and said to be; what waits goes to the next revision."""
    ask = stages("short", predictor={"max_in_flight": 3}, grace_period="1s")
    sent = everywhere(daemon, ask, "short", 60.0, 60.0)
    stages("short", predictor={"max_in_flight": 4})
    answers = {name: s.result(seconds(30)) for name, s in sent.items()}
    for name in ("predict", "pre"):
        assert "its grace_period was over" in error_of(answers[name], 502, "replica_failed")["message"]
    assert answers["queue"].text == "queue"
    assert answers["ready"].status_code in (200, 502)
    assert "its grace_period was over, with 3 requests in flight" in str(daemon.admin.events("short"))

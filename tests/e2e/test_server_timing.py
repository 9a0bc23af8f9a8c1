"""Server-Timing: how long a request was where, in answers to those who ask."""
import concurrent.futures
import re
import time

import pytest

from soma import projects
from soma.client import error_of
from soma.waiting import SLOW, wait_for

ASK = {"X-Soma-Timing": "1"}
LATE = 150 * SLOW  # ms

SLEEPS = """
import time

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        time.sleep(payload)
        return payload
"""


def timing(answer):
    """{name: ms}"""
    parts = answer.headers["Server-Timing"].split(", ")
    return {name: float(ms) for name, ms in (re.fullmatch(r"(\w+);dur=(\d+\.\d{3})", p).groups() for p in parts)}


@pytest.fixture(scope="module")
def sleeps(daemon):
    daemon.admin.deploy(projects.python_project(SLEEPS, projects.python_api("timed")))
    return daemon.admin


def test_predict_is_what_it_took_and_nobody_is_told_unasked(sleeps):
    plain = sleeps.post("/timed", json=0.01)
    assert "Server-Timing" not in plain.headers
    answer = sleeps.post("/timed", json=0.3, headers=ASK)
    t = timing(answer)
    assert list(t) == ["queue", "predict"]
    assert 300 <= t["predict"] < 300 + LATE and t["queue"] < LATE
    assert "soma-timing" not in answer.headers
    page = sleeps.post("/timed", json=0, headers={"Origin": "https://a.example", **ASK})
    assert list(timing(page)) == ["queue", "predict"] and page.headers["Access-Control-Allow-Origin"] == "*"


def test_queue_is_the_wait_in_the_daemon_and_for_a_slot(sleeps):
    """One slot: the last of six waits for five others, some of them in the replica."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: sleeps.post("/timed", json=0.2, headers=ASK), range(6)))
    times = sorted((timing(a) for a in answers), key=lambda t: t["queue"])
    for i, t in enumerate(times):
        assert 200 * i - 50 <= t["queue"] < 200 * i + LATE * (i + 1)
        assert 200 <= t["predict"] < 200 + LATE


def test_a_client_cannot_ask_behind_the_daemons_back(daemon):
    daemon.admin.deploy(projects.python_project(projects.predictor("return dict(headers)"), projects.python_api("seen")))
    answer = daemon.admin.post("/seen", json=1, headers={"Soma-Timing": "1"})
    assert answer.status_code == 200 and "soma-timing" not in answer.json() and "soma-timing" not in answer.headers


def test_values_that_make_no_sense(sleeps):
    error = error_of(sleeps.post("/timed", json=0, headers={"X-Soma-Timing": "yes"}), 400, "invalid")
    assert error["message"] == "X-Soma-Timing 'yes' is unknown; give 1 for a Server-Timing header in the answer, or 0 for none"


def test_errors_have_it_too(sleeps):
    error = sleeps.post("/timed", data="{", headers={"Content-Type": "application/json", **ASK})
    assert error.status_code == 400 and list(timing(error)) == ["queue"]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [pool.submit(sleeps.post, "/timed", json=0.4 * SLOW) for _ in range(3)]
        wait_for("the places are taken", lambda: sleeps.api("timed")["in_flight"] == 3)
        late = sleeps.post("/timed", json=0, headers={"X-Request-Timeout": "0.1", **ASK})
        assert late.status_code in (503, 504) and list(timing(late)) == ["queue"]
        for h in held:
            h.result()


def test_a_stream_says_it_at_its_first_chunk(daemon):
    source = projects.predictor("time.sleep(0.2)\nyield 'a'\ntime.sleep(0.3)\nyield 'b'", imports="import time")
    daemon.admin.deploy(projects.python_project(source, projects.python_api("streams")))
    t = timing(daemon.admin.post("/streams", json=1, headers=ASK))
    assert 200 <= t["predict"] < 200 + LATE


def test_batches_say_how_long_one_was_waited_for(daemon):
    source = projects.predictor("time.sleep(0.2)\nreturn payload", imports="import time").replace(", query_params=None, headers=None", "")
    batching = {"threads_per_process": 4, "server_side_batching": {"max_batch_size": 4, "batch_interval": "20ms"}}
    daemon.admin.deploy(projects.python_project(source, projects.python_api("batched", predictor=batching)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        all = [timing(a) for a in pool.map(lambda i: daemon.admin.post("/batched", json=i, headers=ASK), range(8))]
    for t in all:
        assert list(t) == ["queue", "batch", "predict"] and 200 <= t["predict"] < 200 + LATE
    # Those of the second batch have waited for the first, here or there.
    assert max(t["queue"] + t["batch"] for t in all) >= 190


def test_the_key_asks_for_all_and_a_header_can_say_no(daemon):
    api = projects.python_api("always", networking={"server_timing": True})
    daemon.admin.deploy(projects.python_project(SLEEPS, api))
    assert 100 <= timing(daemon.admin.post("/always", json=0.1))["predict"] < 100 + LATE
    assert "Server-Timing" not in daemon.admin.post("/always", json=0, headers={"X-Soma-Timing": "0"}).headers


def test_a_command_says_how_long_it_took_to_begin(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("program")))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.get, "/program/hold", headers=ASK)
        wait_for("it is held", lambda: daemon.admin.api("program")["in_flight"] == 1)
        time.sleep(0.3)
        daemon.admin.get("/program/go")
        t = timing(held.result())
    assert list(t) == ["queue", "upstream"] and t["upstream"] >= 300
    assert "Server-Timing" not in daemon.admin.get("/program/env").headers

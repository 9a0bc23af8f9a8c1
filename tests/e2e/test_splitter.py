"""A TrafficSplitter shares its requests out to other apis."""

import collections
import json
import os
import signal

import pytest
import requests

from soma import pipeline
from soma.projects import predictor, python_project
from soma.splitters import SOURCE, compared, project, shares, splitter, target, who
from soma.waiting import wait_for


@pytest.fixture(scope="module")
def split(daemon):
    """Two apis that say who they are."""
    daemon.admin.deploy(project(target("blue"), target("green")))
    return daemon


def test_requests_are_shared_out_by_weight(split):
    """Exactly, over each hundred; the log and the admin API tell the same."""
    split.admin.deploy(project(splitter("both", ("blue", 30), ("green", 70))))
    assert who(split, "/both", 500) == {"blue": 150, "green": 350}
    assert {n: t["requests"] for n, t in shares(split, "both").items()} == {"blue": 150, "green": 350}


def test_a_hundred_thousand_requests(split):
    """By what came back, by what the apis counted, and by what the splitter did: each share within 1% of its weight."""
    weights = {"few": 1, "some": 29, "most": 70}
    source = predictor("return {'name': self.name}", init="self.name = config['name']")
    split.admin.deploy(python_project(source, *(target(name) for name in weights)))
    split.admin.deploy(project(splitter("many", *weights.items())))
    had, statuses = pipeline.ask(split.port, "/many", 100000)
    assert statuses == {200: 100000}
    for name, weight in weights.items():
        assert abs(had[name] - 1000 * weight) <= 10 * weight
        assert split.admin.api(name)["requests"]["2xx"] == shares(split, "many")[name]["requests"] == had[name]
    told = split.admin.api("many")
    assert (told["requests"]["2xx"], told["requests"]["5xx"]) == (100000, 0) and told["latency_ms"]["p50"] > 0


def test_a_browsers_question_is_nobodys_turn(split):
    split.admin.deploy(project(splitter("asked", ("blue", 50), ("green", 50))))
    for _ in range(3):
        told = split.admin.call_data("OPTIONS", "/asked", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
        assert told.status_code == 204 and told.headers["Access-Control-Allow-Origin"] == "*"
        assert who(split, "/asked", 2) == {"blue": 1, "green": 1}
    assert {n: t["requests"] for n, t in shares(split, "asked").items()} == {"blue": 3, "green": 3}


def test_sticky_requests_stay(split):
    """One value, one api; many values, by weight; without the header, by weight."""
    split.admin.deploy(project(splitter("stick", ("blue", 50), ("green", 50), sticky={"header": "X-User"})))
    homes = collections.Counter()
    for user in range(40):
        had = who(split, "/stick", 3, headers={"X-User": f"user-{user}"})
        assert len(had) == 1, had
        homes.update(had.keys())
    assert set(homes) == {"blue", "green"}
    assert who(split, "/stick", 10) == {"blue": 5, "green": 5}


def test_weights_change_by_deploy_and_by_hand(split):
    """No replica is started; the counts go on."""
    before = split.admin.pids("blue") + split.admin.pids("green")
    split.admin.deploy(project(splitter("ramp", ("blue", 100), ("green", 0))))
    assert who(split, "/ramp", 10) == {"blue": 10}
    told = split.cli("promote", "ramp", "--weight", "20", check=0)
    assert "ramp: green has now 20% of the requests" in told.out
    assert who(split, "/ramp", 10) == {"blue": 8, "green": 2}
    split.admin.deploy(project(splitter("ramp", ("blue", 50), ("green", 50))))
    assert who(split, "/ramp", 10) == {"blue": 5, "green": 5}
    split.cli("promote", "ramp", "green", check=0)
    assert who(split, "/ramp", 10) == {"green": 10}
    assert {n: t["requests"] for n, t in shares(split, "ramp").items()} == {"blue": 23, "green": 17}
    assert split.admin.pids("blue") + split.admin.pids("green") == before
    told = split.cli("promote", "blue")
    assert told.code != 0 and "no TrafficSplitter" in told.err


def test_what_a_splitter_uses_is_not_deleted(split):
    split.admin.deploy(project(splitter("user", ("blue", 100))))
    told = split.admin.call("DELETE", "/v1/apis/blue")
    assert told.status_code == 409 and "TrafficSplitter" in told.json()["error"]["message"]


@pytest.mark.parametrize("apis, where, says", [
    ([("blue", 30), ("green", 60)], "apis", "add up to 90"),
    ([("blue", 100), ("nobody", 0)], "apis[].name", "there is no api 'nobody'"),
    ([("blue", 100), ("both", 0)], "apis[].name", "is a TrafficSplitter itself"),
    ([("blue", 100), ("green", 10, True), ("third", 1, True)], "apis[].shadow", "only one may be"),
    ([("blue", 50), ("blue", 50)], "apis[].name", "give it one weight"),
])
def test_what_is_wrong_with_one(split, apis, where, says):
    split.admin.deploy(project(splitter("both", ("blue", 30), ("green", 70))))
    told = split.admin.send(project(splitter("bad", *apis)))
    assert told.status_code == 422
    assert any(p["key"] == where and says in p["text"] and p["line"] for p in told.json()["problems"]), told.text


def test_paths_below_are_not_its(split):
    split.admin.deploy(project(splitter("exact", ("blue", 100))))
    assert split.admin.post("/exact/", json={}).status_code == 200
    assert split.admin.post("/exact/more", json={}).status_code == 404


def test_a_shadow_gets_copies_that_nobody_sees(split):
    """Answers are compared: a name and a number differ here."""
    split.admin.deploy(project(target("dark", y=1)))
    split.admin.deploy(project(splitter("watch", ("blue", 100), ("dark", 50, True))))
    before = split.admin.api("dark")["requests"]["2xx"]
    assert who(split, "/watch", 20) == {"blue": 20}
    t = compared(split, "watch", "dark")
    assert (t["copies"], t["failed"], t["compared"], t["differ"], t["dropped"]) == (10, 0, 10, 10, 0)
    assert t["largest_difference"] == 1
    assert split.admin.api("dark")["requests"]["2xx"] == before + 10


def test_a_shadow_that_agrees_and_one_that_is_down(split):
    split.admin.deploy(project(target("main", tells=False, says="x"), target("twin", tells=False, says="x", y=1e-9)))
    split.admin.deploy(project(splitter("agree", ("main", 100), ("twin", 100, True),
                                        shadow_compare={"tolerance": 0.5})))
    who(split, "/agree", 1)
    assert compared(split, "agree", "twin")["differ"] == 1  # 0 and 1e-9: nothing in common
    split.admin.deploy(project(target("broken", fail_every=1)))
    split.admin.deploy(project(splitter("down", ("main", 100), ("broken", 100, True))))
    assert who(split, "/down", 5) == {"x": 5}
    assert compared(split, "down", "broken")["failed"] == 5


CORTEX = """
- name: hello-world-a
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py, config: {name: a}}
- name: hello-world-b
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py, config: {name: b}}
- name: hello-world-shadow
  kind: RealtimeAPI
  predictor: {type: python, path: predictor.py, config: {name: shadow}}
- name: hello-world
  kind: TrafficSplitter
  apis:
    - name: hello-world-a
      weight: 30
    - name: hello-world-b
      weight: 70
    - name: hello-world-shadow
      weight: 100
      shadow: true
"""


def test_a_file_of_cortex_with_a_shadow(split):
    split.admin.deploy({"soma.yaml": CORTEX, "predictor.py": SOURCE})
    assert who(split, "/hello-world", 10) == {"a": 3, "b": 7}
    assert compared(split, "hello-world", "hello-world-shadow")["copies"] == 10
    shown = split.cli("get", "hello-world", check=0)
    assert "hello-world-b: 70%, 7 requests" in shown.out and "10 copies sent" in shown.out


def test_the_log_names_both_and_a_restart_keeps_it(own_daemon):
    own_daemon.admin.deploy(project(target("blue"), splitter("one", ("blue", 100))))
    who(own_daemon, "/one", 1)
    log = own_daemon.inside("logs/access.jsonl")
    wait_for("it is logged", lambda: log.exists() and '"splitter":"one"' in log.read_text())
    line = next(json.loads(l) for l in log.read_text().splitlines() if "splitter" in l)
    assert (line["splitter"], line["api"], line["status"]) == ("one", "blue", 200)
    os.kill(own_daemon.daemon_pid, signal.SIGKILL)
    wait_for("it is back", own_daemon.admin.is_ready)
    own_daemon.admin.wait_live("one")
    assert who(own_daemon, "/one", 1) == {"blue": 1}

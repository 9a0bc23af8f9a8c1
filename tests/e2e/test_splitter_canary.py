"""A canary gets more of a splitter's requests step by step, or none when more of them fail."""

import collections
import os
import signal
import threading

import pytest
import requests

from soma.metrics import Metrics
from soma.splitters import canary, project, shares, splitter, target, weights, who
from soma.waiting import seconds, wait_for


def ramp(name, to="green", **keys):
    return splitter(name, ("blue", 100), (to, 0), canary={"api": to, "steps": [10, 50], "every": "1s", "min_requests": 20, **keys})


@pytest.fixture(scope="module")
def split(daemon):
    daemon.admin.deploy(project(target("blue"), target("green"), target("bad", fail_every=5)))
    return daemon


class Clients:
    """Ask without a pause; `said` counts the statuses."""

    def __init__(self, daemon, path, n=2):
        self.url, self.said, self.ending = daemon.url + path, collections.Counter(), threading.Event()
        self.threads = [threading.Thread(target=self._client) for _ in range(n)]

    def _client(self):
        with requests.Session() as http:
            http.trust_env = False
            while not self.ending.is_set():
                self.said[http.post(self.url, json={}, timeout=30).status_code] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def events(daemon, name, kind):
    return [e["text"] for e in daemon.admin.events(name) if e["type"] == kind]


def ended(daemon, name, state, timeout=30):
    def look():
        c = canary(daemon, name)
        return c if c["state"] == state else None
    return wait_for(f"the canary of {name} is {state}", look, timeout)


def test_a_good_one_comes_to_its_end(split):
    split.admin.deploy(project(ramp("up")))
    assert weights(split, "up") == {"blue": 90, "green": 10}
    assert canary(split, "up")["state"] == "stepping" and canary(split, "up")["step"] == 1
    with Clients(split, "/up") as clients:
        c = ended(split, "up", "done")
    assert set(clients.said) == {200}
    assert weights(split, "up") == {"blue": 0, "green": 100}
    assert who(split, "/up", 10) == {"green": 10}
    assert "from 50% to 100%, its end" in c["why"]
    assert ["from 10% to 50%" in text for text in events(split, "up", "canary_step")] == [True]
    assert len(events(split, "up", "canary_done")) == 1
    shown = split.cli("promote", "up", "--show", check=0).out
    assert "green: 100%" in shown and "its end" in shown
    assert "its end" in split.cli("history", "up", check=0).out
    # The file is the same: nothing is done, and it stays where it is.
    told = split.admin.send(project(ramp("up"))).json()
    assert [api["change"] for api in told["apis"]] == ["unchanged"], told
    assert weights(split, "up") == {"blue": 0, "green": 100}


def test_a_bad_one_goes_back_and_says_why(split):
    split.admin.deploy(project(ramp("down", to="bad", every="10m")))
    with Clients(split, "/down") as clients:
        c = ended(split, "down", "back")
    its = shares(split, "down")["bad"]
    assert weights(split, "down") == {"blue": 100, "bad": 0}
    # One of five fails: a few dozen of its own requests tell, and nobody else's fail.
    assert 0 < clients.said[500] == its["errors"] < 40 and set(clients.said) == {200, 500}
    assert shares(split, "down")["blue"]["errors"] == 0
    assert f"back from 10% to 0%: {c['errors']} of its {c['requests']} requests failed" in c["why"]
    assert events(split, "down", "canary_back") == [c["why"]]
    assert who(split, "/down", 20) == {"blue": 20}
    for words in (("get", "down"), ("history", "down"), ("promote", "down", "--show")):
        assert "back from 10% to 0%" in split.cli(*words, check=0).out, words
    told = Metrics(split.admin, "down")
    assert told["soma_canary_state", "bad"] == 2 and told["soma_split_weight", "bad"] == 0
    assert told["soma_split_errors_total", "bad"] == its["errors"]


def test_too_few_requests_are_no_step(split):
    split.admin.deploy(project(ramp("few", min_requests=50)))
    who(split, "/few", 100)
    wait_for("the step's time is over", lambda: canary(split, "few")["in_step_ms"] > 2500)
    c = canary(split, "few")
    assert (c["state"], c["step"], c["requests"], c["others"]["requests"]) == ("stepping", 1, 10, 90)
    assert "10 requests failed (0%; 50 are needed)" in split.cli("get", "few", check=0).out


def test_by_hand_is_the_end_of_its_steps(split):
    split.admin.deploy(project(ramp("hand", every="10m")))
    told = split.cli("promote", "hand", "--weight", "30", check=0).out
    assert "green has now 30%" in told and "no further steps" in told
    assert canary(split, "hand") is None and weights(split, "hand") == {"blue": 70, "green": 30}
    assert split.cli("promote", "hand", "green", "--show").code != 0
    split.admin.deploy(project(ramp("hand", every="10m")))  # the file's again: from the beginning
    assert canary(split, "hand")["step"] == 1 and weights(split, "hand")["green"] == 10


def test_three_share_what_is_left(split):
    split.admin.deploy(project(splitter("three", ("blue", 60), ("bad", 40), ("green", 0),
                                        canary={"api": "green", "steps": [50], "end": 75, "every": "10m"})))
    assert weights(split, "three") == {"blue": 30, "bad": 20, "green": 50}


def test_it_outlives_daemons(own_daemon):
    """Killed, or upgraded: the step, its time and its counts are there behind it; a step that was over is not taken again."""
    own_daemon.admin.deploy(project(target("blue"), target("green")))
    own_daemon.admin.deploy(project(ramp("long", steps=[10, 50, 60], every="2s")))
    with Clients(own_daemon, "/long", 1):
        wait_for("it is at its second step", lambda: canary(own_daemon, "long")["step"] == 2, 30)
    before = canary(own_daemon, "long")
    os.kill(own_daemon.daemon_pid, signal.SIGKILL)
    wait_for("it is back", own_daemon.admin.is_ready)
    own_daemon.admin.wait_live("long")
    assert canary(own_daemon, "long")["step"] >= before["step"] == 2
    assert weights(own_daemon, "long")["green"] >= 50
    who(own_daemon, "/long", 10)
    had = canary(own_daemon, "long")
    own_daemon.cli("upgrade", check=0)
    wait_for("it is ready", own_daemon.admin.is_ready)
    own_daemon.admin.wait_live("long")
    now = canary(own_daemon, "long")
    assert (now["step"], now["requests"] >= had["requests"]) == (had["step"], True)
    with Clients(own_daemon, "/long", 1) as clients:
        ended(own_daemon, "long", "done", seconds(40))
    assert set(clients.said) == {200}
    assert len(events(own_daemon, "long", "canary_step")) == 2
    os.kill(own_daemon.daemon_pid, signal.SIGKILL)
    wait_for("it is back", own_daemon.admin.is_ready)
    own_daemon.admin.wait_live("long")
    assert canary(own_daemon, "long")["state"] == "done" and weights(own_daemon, "long") == {"blue": 0, "green": 100}

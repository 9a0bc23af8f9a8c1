"""Revisions that fail are given up by themselves, and older ones are had again by name."""

import os
import signal

import pytest

from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for



def version(word, name="api", **keys):
    return python_project(predictor(f"return {word!r}"), python_api(name, **keys))


def answer(daemon, name="api"):
    return daemon.admin.post(f"/{name}", json={}).text


def revisions(daemon, name="api"):
    """Their states, the newest first."""
    told = daemon.admin.call("GET", f"/v1/apis/{name}/revisions").json()["revisions"]
    return [(r["revision"], r["state"]) for r in told]


def kill_daemon(daemon):
    """Until the next one serves."""
    old = daemon.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("the next daemon", lambda: daemon.daemon_pid not in (old, None))
    wait_for("it is ready", daemon.admin.is_ready)


def fail(daemon, name="api", source="1 / 0\n"):
    """Deploys a revision that cannot start, and waits until it is given up. The revision's number."""
    told = daemon.admin.send(python_project(source, python_api(name))).json()["apis"][0]
    wait_for("it is given up", lambda: (a := daemon.admin.api(name))["rolled_back"] and a["revision"] != told["revision"], 30)
    return told["revision"]


def test_a_revision_that_cannot_start_is_given_up(own_daemon):
    own_daemon.admin.deploy(version("old"))
    pids = own_daemon.admin.pids("api")
    assert fail(own_daemon) == 2
    api = own_daemon.admin.api("api")
    assert (api["revision"], api["status"], api["message"]) == (1, "live", None)
    assert api["rolled_back"]["revision"] == 2 and "ZeroDivisionError" in api["rolled_back"]["why"]
    assert own_daemon.admin.pids("api") == pids and answer(own_daemon) == "old"
    assert revisions(own_daemon) == [(2, "failed"), (1, "live")]
    told = [e for e in own_daemon.admin.events("api") if e["revision"] == 2]
    assert [e["type"] for e in told if e["type"] in ("failed", "rolled_back")] == ["failed", "rolled_back"]
    assert told[-1]["text"].startswith("revision 1 goes on serving") or any("revision 1 goes on" in e["text"] for e in told)


def test_it_is_given_up_for_the_next_daemon_too(own_daemon):
    own_daemon.admin.deploy(version("old"))
    fail(own_daemon)
    kill_daemon(own_daemon)
    api = own_daemon.admin.api("api")
    assert (api["revision"], api["status"]) == (1, "live") and api["rolled_back"]["revision"] == 2
    assert answer(own_daemon) == "old"
    # A number is given once.
    assert own_daemon.admin.deploy(version("new"))["apis"][0]["revision"] == 3
    assert revisions(own_daemon) == [(3, "live"), (2, "failed"), (1, "replaced")]
    assert own_daemon.admin.api("api")["rolled_back"] is None


def test_the_first_revision_goes_on_trying(own_daemon):
    own_daemon.admin.send(python_project("1 / 0\n", python_api("api")))
    api = wait_for("it has failed", lambda: (a := own_daemon.admin.api("api"))["status"] == "error" and a, 30)
    assert api["revision"] == 1 and api["rolled_back"] is None
    assert revisions(own_daemon) == [(1, "failed")]


def test_back_to_an_older_one(own_daemon):
    for word in ("one", "two", "three"):
        own_daemon.admin.deploy(version(word))
    own_daemon.cli("rollback", "api", check=0).says("updating api")
    wait_for("the one before", lambda: answer(own_daemon) == "two")
    own_daemon.cli("rollback", "api", "--to", "1", check=0)
    wait_for("the first one", lambda: answer(own_daemon) == "one")
    wait_for("it is live", lambda: revisions(own_daemon)[0] == (5, "live"))
    assert revisions(own_daemon)[1:] == [(4, "replaced"), (3, "replaced"), (2, "replaced"), (1, "replaced")]
    own_daemon.cli("history", "api", check=0).says("rollback to 1")


@pytest.mark.parametrize("to, why", [("9", "no revision 9"), ("1", "the one asked for"), ("x", "the number of a revision")])
def test_nothing_to_go_back_to(own_daemon, to, why):
    own_daemon.admin.deploy(version("one"))
    done = own_daemon.cli("rollback", "api", "--to", to)
    assert done.code != 0
    done.says(why)
    own_daemon.cli("rollback", "api", check=1).says("no older revision")
    assert answer(own_daemon) == "one"

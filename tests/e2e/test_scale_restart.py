"""What the number of replicas goes by outlives the daemon."""

import json
import os
import signal
import sqlite3

from soma import projects
from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for

HASTY = {"max_wait": "100ms", "wait_worth": 0}


def command(name, **scale):
    return projects.probe_project(projects.probe_api(name, predictor={"max_concurrency": 1, "freeze": "never"}, autoscaling=scale))


def wait_zero(daemon, name):
    wait_for(f"{name} has no replica", lambda: daemon.admin.api(name)["replicas"] == [])


def kill_daemon(daemon):
    old = daemon.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("another daemon", lambda: daemon.daemon_pid != old and daemon.admin.is_ready())


def why(daemon, name):
    return daemon.cli("explain", name, "-o", "json", check=0).json()["why"]


def kept(daemon, name):
    """What the store has; the daemon may be gone."""
    with sqlite3.connect(f"file:{daemon.data}/state.db?mode=ro", uri=True) as db:
        row = db.execute("SELECT scale FROM apis WHERE name = ?", (name,)).fetchone()
    return json.loads(row[0] or "{}")


def test_sleep_outlives_the_daemon(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(command("sleeper", min_replicas=1, max_replicas=2, **HASTY))
    daemon.cli("scale", "sleeper", 0, check=0)
    kill_daemon(daemon)
    wait_zero(daemon, "sleeper")
    assert (why(daemon, "sleeper"), daemon.admin.api("sleeper")["requested"]) == ("asleep", 0)
    daemon.stop()
    daemon.start()
    wait_zero(daemon, "sleeper")
    assert why(daemon, "sleeper") == "asleep"
    # The next request wakes it, and it does not sleep again.
    assert daemon.admin.get("/sleeper/echo").status_code == 200
    wait_for("that is kept", lambda: "asleep" not in kept(daemon, "sleeper"), 90)
    kill_daemon(daemon)
    wait_for("it is awake", lambda: daemon.admin.api("sleeper")["ready"] == 1)


def test_a_number_by_hand_outlives_the_daemon(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(command("hand", min_replicas=0, max_replicas=3, **HASTY))
    daemon.cli("scale", "hand", 2, check=0)
    daemon.stop()
    daemon.start()
    wait_for("two again", lambda: daemon.admin.api("hand")["ready"] == 2)
    wait_for("nothing else asks for two", lambda: why(daemon, "hand") == "held")
    daemon.cli("explain", "hand", check=0).says("'soma scale hand 2' asked for no fewer; that holds for another 4m")
    kill_daemon(daemon)
    wait_for("two still", lambda: daemon.admin.api("hand")["ready"] == 2)
    wait_for("nothing else asks for two", lambda: why(daemon, "hand") == "held")


def test_what_was_learned_outlives_the_daemon(own_daemon):
    daemon = own_daemon
    source = predictor("return payload", init="import time; time.sleep(0.5)")
    api = python_api("wise", predictor={"zygote": "none", "freeze": "never"}, autoscaling={"min_replicas": 0, **HASTY})
    daemon.admin.deploy(python_project(source, api))
    for i in range(3):
        wait_zero(daemon, "wise")
        assert daemon.admin.post("/wise", json=i).json() == i
    wait_for("it is kept", lambda: kept(daemon, "wise").get("load_ns"))
    # A crash within a minute loses what was learned since, no more.
    kill_daemon(daemon)
    wait_zero(daemon, "wise")
    numbers = daemon.cli("explain", "wise", "-o", "json", check=0).json()["numbers"]
    assert 500 < numbers["load_ms"] < 30000
    assert daemon.admin.post("/wise", json=1).json() == 1
    wait_zero(daemon, "wise")
    assert daemon.admin.post("/wise", json=1).json() == 1
    daemon.stop()
    before = kept(daemon, "wise")
    assert before["levels"][0] and before["service_ns"] > 0 and before["load_ns"]["process"] > 500e6
    daemon.start()
    wait_zero(daemon, "wise")
    assert daemon.cli("explain", "wise", "-o", "json", check=0).json()["numbers"]["load_ms"] > 500
    daemon.stop()
    assert kept(daemon, "wise")["levels"] == before["levels"]

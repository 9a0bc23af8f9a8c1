"""A new revision takes over from the old one without a failed request."""

import concurrent.futures
import contextlib
import os

import pytest
import requests

from soma import procs, projects
from soma.client import plain
from soma.load import Load, Target
from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for


def version(number, name="cmd", **keys):
    return projects.probe_project(projects.probe_api(name, predictor={"env": {"VERSION": str(number)}}, **keys))


def test_ten_updates_under_load(daemon):
    """Every request is answered, by one revision or the next."""
    daemon.admin.deploy(version(0, autoscaling={"min_replicas": 2}))
    daemon.admin.deploy(python_project(predictor("return payload"), python_api("py", autoscaling={"min_replicas": 2})))
    with Load(daemon.port, [Target("cmd", False, False), Target("py", True, False)]) as load:
        for i in range(1, 6):
            daemon.admin.deploy(version(i, autoscaling={"min_replicas": 2}))
            daemon.admin.deploy(python_project(predictor(f"{i}\nreturn payload"),
                                               python_api("py", autoscaling={"min_replicas": 2})))
            wait_for("answers", lambda n=load.answered: load.answered > n + 50)
    assert load.wrong == [] and load.refused == []
    assert daemon.admin.get("/cmd/env").json()["VERSION"] == "5"
    for name in ("cmd", "py"):
        api = daemon.admin.api(name)
        assert (api["revision"], api["restarts"]) == (6, 0)
        wait_for("only the new ones are left", lambda n=name: len(daemon.admin.pids(n, None)) == 2)


def test_the_old_one_serves_until_the_new_one_can(daemon):
    daemon.admin.deploy(version(1, "slow"))
    source = "import time; time.sleep(0.5)\n" + projects.PROBE
    api = projects.probe_api("slow", predictor={"env": {"VERSION": "2"}})
    assert daemon.admin.send({"soma.yaml": projects.yaml_value([api]), "probe.py": source}).status_code == 200
    seen = []
    wait_for("the new one", lambda: seen.append(daemon.admin.get("/slow/env").json()["VERSION"]) or seen[-1] == "2")
    assert seen[0] == "1" and seen == sorted(seen)


def test_requests_in_flight_end_on_the_old_one(daemon):
    daemon.admin.deploy(version(1, "held"))
    old, = daemon.admin.pids("held")
    port = procs.environ(old)["PORT"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.post, "/held/hold", data=b"old")
        wait_for("it is held", lambda: daemon.admin.api("held")["in_flight"] == 1)
        daemon.admin.deploy(version(2, "held"))
        assert daemon.admin.get("/held/env").json()["VERSION"] == "2"
        assert daemon.admin.pids("held", "draining") == [old]
        # It may end, as it is to, before this second answer has left.
        with contextlib.suppress(requests.ConnectionError):
            plain("POST", f"http://127.0.0.1:{port}/go")
        assert held.result().json() == {"held": "old", "pid": old}
    wait_for("the old one is gone", lambda: not procs.alive(old))


def test_the_grace_period_ends(daemon):
    daemon.admin.deploy(version(1, "grace", grace_period="1s"))
    old, = daemon.admin.pids("grace")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.post, "/grace/hold")
        wait_for("it is held", lambda: daemon.admin.api("grace")["in_flight"] == 1)
        daemon.admin.deploy(version(2, "grace"))
        assert held.result().status_code == 502
    wait_for("the old one is gone", lambda: not procs.alive(old))


def test_updates_faster_than_they_roll_out(daemon):
    """Only the last one counts."""
    for i in range(8):
        assert daemon.admin.send(version(i, "fast")).status_code == 200
    wait_for("the last one", lambda: daemon.admin.get("/fast/env").json()["VERSION"] == "7")
    wait_for("only the last is left", lambda: len(daemon.admin.pids("fast", None)) == 1)
    assert daemon.admin.api("fast")["revision"] == 8


def test_unchanged_and_forced(daemon):
    daemon.admin.deploy(version(1, "same"))
    pid = daemon.admin.pids("same")
    assert daemon.admin.deploy(version(1, "same"))["apis"][0]["change"] == "unchanged"
    assert daemon.admin.pids("same") == pid
    assert daemon.admin.deploy(version(1, "same"), force=True)["apis"][0]["change"] == "updated"
    wait_for("another process", lambda: daemon.admin.pids("same") not in (pid, []))


@pytest.mark.parametrize("count", [3, 1])
def test_the_number_of_replicas(daemon, count):
    daemon.admin.deploy(version(1, "number", autoscaling={"min_replicas": count}))
    wait_for("so many", lambda: len(daemon.admin.pids("number", None)) == count)


def test_a_changed_file_is_a_change(daemon):
    for word in ("one", "two"):
        daemon.admin.deploy(python_project(predictor("return open('word').read()"), python_api("file"), word=word))
        assert daemon.admin.post("/file", json={}).text == word


def test_from_command_to_python_and_back(daemon):
    daemon.admin.deploy(version(1, "both"))
    daemon.admin.deploy(python_project(predictor("return 'py'"), python_api("both")))
    assert daemon.admin.post("/both", json={}).text == "py"
    assert daemon.admin.get("/both/echo").status_code == 404
    daemon.admin.deploy(version(2, "both"))
    assert daemon.admin.get("/both/echo").status_code == 200


def test_a_deleted_name_can_be_used_again(daemon):
    for i in range(3):
        daemon.admin.deploy(version(i, "phoenix"))
        assert daemon.admin.get("/phoenix/env").json()["VERSION"] == str(i)
        assert daemon.admin.api("phoenix")["revision"] == 1
        daemon.admin.delete("phoenix")
        assert daemon.admin.call("GET", "/v1/apis/phoenix/events").status_code == 404


def test_delete_while_it_starts(daemon):
    never = {"command": [projects.PYTHON, "-c", "import time; time.sleep(1e6)"]}
    daemon.admin.send(projects.probe_project(projects.probe_api("unborn", predictor=never)))
    pid = wait_for("it starts", lambda: daemon.admin.pids("unborn", "starting"))[0]
    daemon.admin.delete("unborn")
    assert not os.path.exists(f"/proc/{pid}")

"""Starts that fail while somebody waits, and answers that nobody takes."""

import concurrent.futures
import contextlib
import time

import pytest

from soma import projects
from soma.client import error_of
from soma.projects import predictor, python_api, python_project
from soma.waiting import seconds, wait_for

HASTY = {"min_replicas": 0, "max_wait": "100ms", "wait_worth": 0}


def wait_zero(daemon, name):
    wait_for(f"{name} has no replica", lambda: daemon.admin.api(name)["replicas"] == [])


def fails_at_its_third_line(name, flag):
    source = predictor("return payload", imports=f"import os\n\nassert not os.path.exists({str(flag)!r}), 'no weights'")
    return python_project(source, python_api(name, predictor={"zygote": "none", "freeze": "never"}, autoscaling=HASTY, request_timeout="10m"))


def ends_at_once(name, flag):
    command = ["/bin/sh", "-c", f"test ! -e {flag} || exit 9; exec {projects.PYTHON} probe.py"]
    return projects.probe_project(projects.probe_api(name, predictor={"command": command, "freeze": "never"}, autoscaling=HASTY, request_timeout="10m"))


CASES = [pytest.param(fails_at_its_third_line, "no weights", id="import"), pytest.param(ends_at_once, "exit code 9", id="crash-loop")]


@pytest.mark.parametrize("make, cause", CASES)
def test_who_waits_hears_that_it_cannot_start(daemon, make, cause):
    """At once, although they may wait for ten minutes; and it is tried again."""
    name = f"sick-{make.__name__.replace('_', '-')}"
    path = f"/{name}" if make is fails_at_its_third_line else f"/{name}/echo"
    flag = daemon.parent / name
    daemon.admin.deploy(make(name, flag))
    wait_zero(daemon, name)
    flag.touch()
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda i: daemon.admin.post(path, json=i, timeout=seconds(20)), range(5)))
    for answer in answers:
        error = error_of(answer, 503, "unavailable")
        assert f"'{name}' cannot start: " in error["message"] and cause in error["message"] and cause in error["cause"]
        assert f"'soma logs {name}'" in error["message"] and 1 <= int(answer.headers["Retry-After"]) <= 72
    # Whoever comes in the back-off does not wait for its end.
    wait_for("a long back-off", lambda: daemon.admin.post(path, json=1).headers["Retry-After"] not in ("1", "2"), 60)
    began = time.monotonic()
    error_of(daemon.admin.post(path, json=1), 503, "unavailable")
    assert time.monotonic() - began < seconds(1)
    daemon.cli("explain", name, check=0).says("It cannot start: ", cause, "It is tried again in")
    flag.unlink()
    wait_for("it is back", lambda: daemon.admin.post(path, json=7).status_code == 200, 60)
    wait_zero(daemon, name)


def test_one_that_nobody_asks_for_is_not_tried_for_ever(daemon):
    flag = daemon.parent / "given-up"
    daemon.admin.deploy(ends_at_once("given-up", flag))
    wait_zero(daemon, "given-up")
    flag.touch()
    error_of(daemon.admin.get("/given-up/echo", timeout=seconds(20)), 503, "unavailable")
    wait_for("it is let go", lambda: daemon.admin.api("given-up")["replicas"] == [], 40)


def test_an_older_revision_waits_for_the_newer_one(daemon):
    """Who waits while one is on its way that may mend it is not sent away."""
    flag = daemon.parent / "mended"
    daemon.admin.deploy(fails_at_its_third_line("mended", flag))
    wait_zero(daemon, "mended")
    flag.touch()
    slow = predictor("return payload", init="import time; time.sleep(3)")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert daemon.admin.send(python_project(slow, python_api("mended", autoscaling=HASTY))).status_code == 200
        waiting = pool.submit(daemon.admin.post, "/mended", json=5)
        assert waiting.result().json() == 5


def test_a_slow_download_keeps_its_replica(daemon):
    """It holds no place in it, and is cut if that is let go."""
    size = 64 << 20
    source = predictor(f"return b'x' * {size}")
    daemon.admin.deploy(python_project(source, python_api("download", autoscaling=HASTY, grace_period="1s")))
    wait_zero(daemon, "download")
    with contextlib.closing(daemon.admin.post("/download", json=1, stream=True)) as answer:
        got = len(answer.raw.read(1 << 20))
        wait_for("it is the download alone", lambda: daemon.cli("explain", "download", "-o", "json", check=0).json()["why"] == "answering")
        daemon.cli("explain", "download", check=0).says("still passing on answers")
        time.sleep(3)
        replica, = daemon.admin.api("download")["replicas"]
        assert (replica["state"], replica["in_flight"]) == ("ready", 1)
        for block in iter(lambda: answer.raw.read(1 << 20), b""):
            got += len(block)
    assert got == size
    wait_zero(daemon, "download")


def test_a_promise_is_kept(daemon):
    """Told to come again in so many seconds, one finds a replica then, however soon that was ready."""
    source = predictor("return payload", init="import time; time.sleep(2)")
    api = python_api("promise", predictor={"zygote": "none", "freeze": "never"}, on_cold="retry", autoscaling=HASTY)
    daemon.admin.deploy(python_project(source, api))
    wait_zero(daemon, "promise")
    refused = daemon.admin.post("/promise", json=1)
    error_of(refused, 503, "unavailable")
    wait_for("it is ready", lambda: daemon.admin.api("promise")["ready"] == 1)
    time.sleep(int(refused.headers["Retry-After"]))
    answer = daemon.admin.post("/promise", json=2, headers={"X-Soma-Cold": "1"})
    assert (answer.json(), answer.headers["X-Soma-Cold"]) == (2, "none")

"""What a client meets before any replica: routes, queues, deadlines."""

import concurrent.futures
import os
import time

import pytest
import requests

from soma import procs, projects
from soma.client import error_of, plain
from soma.waiting import SLOW, seconds, wait_for

# Never listens: a replica that is never ready.
NEVER = {"command": [projects.PYTHON, "-c", "import time; time.sleep(1e6)"]}


@pytest.fixture(scope="module")
def probe(daemon):
    daemon.admin.deploy(projects.probe_project())
    return daemon.admin


# --- routes ------------------------------------------------------------------


@pytest.mark.parametrize("path, near", [
    ("/prob", "probe"), ("/prbe", "probe"), ("/probes", "probe"), ("/PROBE", "probe"), ("/prob/echo", "probe"),
    ("/something-else", None), ("/", None)])
def test_404_names_what_is_near(probe, path, near):
    error = error_of(probe.get(path), 404, "not_found")
    assert ("did you mean" in error["message"]) == (near is not None), error
    if near:
        assert f"'/{near}'" in error["message"]


def test_404_of_an_endpoint_names_the_endpoint(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("other", networking={"endpoint": "/translate"})))
    error = error_of(daemon.admin.get("/translat"), 404, "not_found")
    assert "translate" in error["message"], error


@pytest.mark.parametrize("endpoint", ["/a/b/c", "/with.dots", "/with_underscore-and-dash", "/UPPER"])
def test_endpoints(daemon, endpoint):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("at", networking={"endpoint": endpoint})))
    assert daemon.admin.get(endpoint + "/echo").json()["target"] == "/echo"
    error_of(daemon.admin.get("/at/echo"), 404, "not_found")


def test_the_longest_endpoint_wins(daemon):
    daemon.admin.deploy(projects.probe_project(
        projects.probe_api("short", networking={"endpoint": "/x"}),
        projects.probe_api("long", networking={"endpoint": "/x/y"})))
    assert daemon.admin.get("/x/y/z").json()["replica"].startswith("long-")
    assert daemon.admin.get("/x/yy").json()["replica"].startswith("short-")


def test_an_endpoint_that_moves(daemon):
    for endpoint in ("/before", "/after"):
        daemon.admin.deploy(projects.probe_project(projects.probe_api("moves", networking={"endpoint": endpoint})))
    assert daemon.admin.get("/after/echo").status_code == 200
    assert daemon.admin.get("/before/echo").status_code == 404


def test_an_api_may_have_the_health_path(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("health", networking={"endpoint": "/healthz"})))
    assert daemon.admin.get("/healthz").json()["replica"].startswith("health-")
    assert plain("GET", daemon.admin_url + "/healthz").text.strip() == "ok"
    daemon.admin.delete("health")
    assert daemon.admin.get("/healthz").text.strip() == "ok"


# --- before it is ready ------------------------------------------------------


def test_requests_wait_until_it_is_ready(daemon):
    """Ten come while it starts; all are answered by it."""
    answer = daemon.admin.send(projects.probe_project(projects.probe_api("waits", predictor={
        "command": [projects.PYTHON, "-c", "import time; time.sleep(0.5); exec(open('probe.py').read())"]})))
    assert answer.status_code == 200
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(lambda i: daemon.admin.post("/waits/echo", data=str(i)).status_code, range(10)))
    assert codes == [200] * 10


def test_503_when_it_never_is(daemon):
    api = projects.probe_api("never", predictor=NEVER, request_timeout="1s")
    assert daemon.admin.send(projects.probe_project(api)).status_code == 200
    begun = time.monotonic()
    answer = daemon.admin.post("/never/echo", data=b"x")
    assert 0.9 < time.monotonic() - begun < seconds(3)
    error = error_of(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "no ready replica" in error["message"] and "request_timeout" in error["message"]
    assert error["api"] == "never"
    daemon.admin.delete("never")


def test_503_says_why_it_is_not_ready(daemon):
    api = projects.probe_api("broken", predictor={"command": ["/bin/sh", "-c", "exit 9"]}, request_timeout="1s")
    daemon.admin.deploy_failing(projects.probe_project(api))
    error = error_of(daemon.admin.get("/broken/echo"), 503, "unavailable")
    assert "exit code 9" in error["message"]
    daemon.admin.delete("broken")


def test_deleting_answers_those_who_wait(daemon):
    api = projects.probe_api("deleted", predictor=NEVER)
    daemon.admin.send(projects.probe_project(api))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.admin.get, "/deleted/echo")
        wait_for("it waits", lambda: daemon.admin.api("deleted")["in_flight"] == 1)
        daemon.admin.delete("deleted")
        error = error_of(waiting.result(), 503, "unavailable")
    assert "being deleted" in error["message"]


# --- deadlines ---------------------------------------------------------------


def test_504_when_it_takes_too_long(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("late", request_timeout="1s")))
    pid = daemon.admin.pids("late")
    begun = time.monotonic()
    error = error_of(daemon.admin.post("/late/hold"), 504, "timeout")
    assert 0.9 < time.monotonic() - begun < seconds(3)
    assert "(request_timeout)" in error["message"] and error["api"] == "late"
    assert daemon.admin.get("/late/echo").json()["pid"] == pid[0], "the replica is as it was"
    wait_for("nothing is in flight", lambda: daemon.admin.api("late")["in_flight"] == 0)


def test_a_stream_may_take_longer(daemon):
    """The deadline is for the answer's beginning."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("streams", request_timeout="1s")))
    answer = requests.get(daemon.url + "/streams/stream?n=2", stream=True, timeout=seconds(20))
    parts = answer.iter_content(None)
    assert next(parts) == b"part 0\n"
    begun = time.monotonic()
    while time.monotonic() - begun < 1.3:  # past the deadline, with something to do
        assert daemon.admin.get("/streams/echo").status_code == 200
    daemon.admin.post("/streams/go")
    assert list(parts) == [b"part 1\n"]


def test_a_shorter_deadline_of_an_update_counts_at_once(daemon):
    """An old request without a deadline does not hide those of newer ones."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        daemon.admin.deploy(projects.probe_project(projects.probe_api("mixed", request_timeout="0s")))
        old = pool.submit(daemon.admin.post, "/mixed/hold")
        wait_for("the old one is held", lambda: daemon.admin.api("mixed")["in_flight"] == 1)
        daemon.admin.deploy(projects.probe_project(projects.probe_api("mixed", request_timeout="1s")))
        begun = time.monotonic()
        error_of(daemon.admin.post("/mixed/hold", timeout=20), 504, "timeout")
        assert time.monotonic() - begun < seconds(3)
        draining = daemon.admin.pids("mixed", "draining")
        os.kill(draining[0], 9)
        error_of(old.result(), 502, "replica_failed")


# --- too many ----------------------------------------------------------------


def test_503_above_max_replica_concurrency(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api(
        "full", autoscaling={"max_replica_concurrency": 3})))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [pool.submit(daemon.admin.post, "/full/hold") for _ in range(3)]
        wait_for("three are held", lambda: daemon.admin.api("full")["in_flight"] == 3)
        answer = daemon.admin.get("/full/echo")
        error = error_of(answer, 503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "max_replica_concurrency" in error["message"] and "3" in error["message"]
        port = procs.environ(daemon.admin.pids("full")[0])["PORT"]
        plain("POST", f"http://127.0.0.1:{port}/go?n=3")
        assert [h.result().status_code for h in held] == [200] * 3
    assert daemon.admin.get("/full/echo").status_code == 200


# --- what may run twice ------------------------------------------------------


@pytest.mark.parametrize("method, headers, retry, repeated", [
    ("GET", {}, "never", True), ("PUT", {}, "never", True), ("DELETE", {}, "never", True), ("OPTIONS", {}, "never", True),
    ("POST", {"Idempotency-Key": "k"}, "never", True), ("POST", {}, "safe", True), ("PATCH", {}, "safe", True),
    ("POST", {}, "never", False), ("PATCH", {}, "never", False), ("POST", {"Idempotency-Key": ""}, "never", False)])
def test_what_is_repeated_and_what_is_not(daemon, method, headers, retry, repeated):
    """The replica that holds the request is killed. Then another has it, or nobody."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api(
        "twice", retry=retry, autoscaling={"min_replicas": 2})))
    wait_for("both are ready", lambda: len(daemon.admin.pids("twice")) == 2)
    body = os.urandom(50_000).hex()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(plain, method, daemon.url + "/twice/hold", headers=headers, data=body)
        first = wait_for("one has it", lambda: [
            r["pid"] for r in daemon.admin.api("twice")["replicas"] if r["in_flight"]])[0]
        os.kill(first, 9)
        if not repeated:
            error = error_of(held.result(), 502, "replica_failed")
            assert error["cause"] == "signal 9 (SIGKILL)" and "not repeated" in error["message"]
            return
        second = wait_for("another has it", lambda: [
            r["pid"] for r in daemon.admin.api("twice")["replicas"] if r["in_flight"] and r["pid"] != first])[0]
        plain("POST", f"http://127.0.0.1:{procs.environ(second)['PORT']}/go")
        answer = held.result()
    assert answer.status_code == 200
    assert answer.json()["held"] == body and answer.json()["pid"] == second


def test_a_request_that_kills_every_replica_ends(daemon):
    """Poison: repeated a few times, then answered with the cause."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api(
        "poison", retry="safe", autoscaling={"min_replicas": 2}, request_timeout=f"{int(20 * SLOW)}s")))
    error = error_of(daemon.admin.post("/poison/exit?code=7"), 502, "replica_failed")
    assert error["cause"] == "exit code 7"
    assert 2 <= daemon.admin.api("poison")["restarts"] <= 10


def test_a_large_body_is_not_kept_for_repeating(daemon):
    """Memory is worth more: it fails once, typed, though it could be repeated."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("large", retry="safe")))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.post, "/large/hold", data=bytes(64 << 20))
        wait_for("the program has it", lambda: "held" in [e["line"] for e in daemon.admin.logs("large")])
        os.kill(daemon.admin.pids("large")[0], 9)
        answer = held.result()
    error = error_of(answer, 502, "replica_failed")
    assert error["cause"] == "signal 9 (SIGKILL)"

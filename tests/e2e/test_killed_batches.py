"""A batch with a request that kills its process: who is run again, who is refused."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from soma import projects
from soma.client import error_of
from soma.waiting import seconds, wait_for

SOURCE = projects.predictor("""
ids = [p["id"] for p in payload]
print("batch", *sorted(ids), flush=True)
time.sleep(max(p.get("sleep", 0) for p in payload))
if any(p.get("kill") for p in payload):
    os.kill(os.getpid(), signal.SIGKILL)
return [{"id": i, "n": len(ids)} for i in ids]""", imports="import os, signal, time")
BATCHES = {"threads_per_process": 8, "server_side_batching": {"max_batch_size": 8, "batch_interval": "100ms"}}


def deploy(daemon, name, **keys):
    daemon.admin.deploy(projects.python_project(SOURCE, projects.python_api(name, predictor=BATCHES, **keys)))


def ask(daemon, api, payload, again):
    headers = {"Idempotency-Key": payload["id"]} if again else {}
    return daemon.admin.post(f"/{api}", json=payload, headers=headers)


def batches(daemon, api):
    """The ids of each batch, in the order begun."""
    return [line["line"].split()[1:] for line in daemon.admin.logs(api) if line["line"].startswith("batch ")]


def together(daemon, api, payloads):
    """Asks for (payload, may be repeated) so that they are one batch; their answers."""
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(ask, daemon, api, {"id": "first", "sleep": seconds(0.5)}, False)
        wait_for("it runs", lambda: ["first"] in batches(daemon, api))
        asked = [pool.submit(ask, daemon, api, *one) for one in payloads]
        answers = [a.result() for a in asked]
        assert first.result().json()["n"] == 1
    return answers


def test_all_but_the_culprit_are_answered(daemon):
    deploy(daemon, "again")
    ids = [f"r{i}" for i in range(6)]
    *good, bad = together(daemon, "again", [({"id": i}, True) for i in ids] + [({"id": "culprit", "kill": 1}, True)])
    assert [a.json() for a in good] == [{"id": i, "n": 1} for i in ids], "alone, each of them"
    error = error_of(bad, 502, "replica_failed")
    assert error["message"] == ("2 replicas of 'again' died while they had this request, the last by signal 9 (SIGKILL), "
                                "when it had nothing else; it is not sent to another")
    assert error["cause"] == "signal 9 (SIGKILL)"
    assert daemon.admin.api("again")["restarts"] == 2
    wait_for("its lines are there", lambda: batches(daemon, "again")[1] == sorted([*ids, "culprit"]))
    assert batches(daemon, "again").count(["culprit"]) == 1


def test_the_others_get_a_typed_502(daemon):
    """Those that may not run twice do not, whoever is to blame; the others of the batch do."""
    deploy(daemon, "once")
    *good, once, bad = together(daemon, "once", [({"id": f"r{i}"}, True) for i in range(3)]
                                + [({"id": "mate"}, False), ({"id": "culprit", "kill": 1}, False)])
    assert [a.json()["n"] for a in good] == [1, 1, 1]
    for answer in (once, bad):
        assert error_of(answer, 502, "replica_failed")["message"] == (
            "a replica of 'once' died while it had this request (signal 9 (SIGKILL)); the request was not repeated")
    assert daemon.admin.api("once")["restarts"] == 1


def test_others_are_served_meanwhile(daemon):
    """Two replicas: while suspects go alone through one, the other serves everybody else, in batches."""
    deploy(daemon, "beside", autoscaling={"min_replicas": 2}, retry="safe")
    with ThreadPoolExecutor(40) as pool:
        first = [pool.submit(ask, daemon, "beside", {"id": f"f{i}", "sleep": seconds(0.3)}, True) for i in range(2)]
        wait_for("both run", lambda: len(batches(daemon, "beside")) == 2)
        bad = pool.submit(ask, daemon, "beside", {"id": "culprit", "kill": 1, "sleep": seconds(0.3)}, True)
        mates = [pool.submit(ask, daemon, "beside", {"id": f"m{i}", "sleep": 0.05}, True) for i in range(10)]
        wait_for("it has killed one", lambda: daemon.admin.api("beside")["restarts"] == 1)
        begun, others = time.monotonic(), []
        while not bad.done():
            others.append(ask(daemon, "beside", {"id": f"o{len(others)}"}, True).status_code)
        assert time.monotonic() - begun > 0.1 and others and set(others) == {200}
        error_of(bad.result(), 502, "replica_failed")
        assert [m.result().status_code for m in mates] == [200] * 10
        assert [f.result().status_code for f in first] == [200] * 2


@pytest.mark.parametrize("kind", ["engine", "python"])
def test_a_process_that_is_killed_from_outside_is_nobodys_fault(daemon, kind):
    """Twice in a row: the first time all run again; who is there the second time, too, is refused by the same words."""
    name = f"outside-{kind}"
    if kind == "python":
        deploy(daemon, name, retry="safe")
        body = {"id": "x", "sleep": seconds(1)}
    else:
        api = {"name": name, "retry": "safe", "predictor": {
            "type": "engine", "engine": "echo", "engine_options": {"inputs": "x:int64[-1]", "delay_ms": int(seconds(1000))}}}
        daemon.admin.deploy({"soma.yaml": projects.yaml_value([api])})
        body = {"x": [1]}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(daemon.admin.post, f"/{name}", json=body)
        for _ in range(2):
            pid = wait_for("a replica has it", lambda: [
                r["pid"] for r in daemon.admin.api(name)["replicas"] if r["in_flight"] and r["state"] == "ready"])[0]
            os.kill(pid, signal.SIGKILL)
            wait_for("it is gone", lambda: pid not in daemon.admin.pids(name, None))  # noqa: B023
        message = error_of(answer.result(), 502, "replica_failed")["message"]
        assert message.startswith(f"2 replicas of '{name}' died while they had this request, the last by signal 9 (SIGKILL)")


STREAM = projects.predictor("""
for _ in range(5):
    time.sleep(0.1)
    yield "x\"""", imports="import time")


def test_who_goes_alone_does_not_wait_for_ever(daemon):
    """Streams of others, which never end all at once, do not keep the replica from those that its death has left."""
    daemon.admin.deploy(projects.python_project(STREAM, projects.python_api(
        "streams", predictor={"threads_per_process": 4}, request_timeout=f"{seconds(10):.0f}s")))
    (pid,) = daemon.admin.pids("streams")
    over = threading.Event()

    def others():
        while not over.is_set():
            assert daemon.admin.post("/streams", json=1).status_code == 200
            time.sleep(0.01)

    with ThreadPoolExecutor(20) as pool:
        left = [pool.submit(daemon.admin.post, "/streams", json=1, headers={"Idempotency-Key": str(i)}) for i in range(4)]
        wait_for("they are there", lambda: daemon.admin.api("streams")["in_flight"] == 4)
        os.kill(pid, signal.SIGKILL)
        # Who is sent to it in its last moment may have been begun, and is no stream of the next.
        wait_for("its death is known", lambda: pid not in daemon.admin.pids("streams"))
        crowd = [pool.submit(others) for _ in range(8)]
        try:
            assert [answer.result().text for answer in left] == ["x" * 5] * 4
        finally:
            over.set()
        for other in crowd:
            other.result()

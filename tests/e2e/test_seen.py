"""What is shown of slots and stages: /metrics, soma get, soma get -o json."""
import concurrent.futures
import os
import re
import signal
import time

import pytest

from soma import projects
from soma.metrics import Metrics
from soma.waiting import SLOW, wait_for

LATE = 0.06 * SLOW  # so long a replica may take to say that a predict is over: until then it counts as running

SLEEPS = """
import time

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        time.sleep(payload["sleep"])
        return payload["sleep"]

    def post_predict(self, payload):
        time.sleep(payload.get("post", 0))
        if payload.get("fail"):
            raise ValueError("no database")
"""


@pytest.fixture(scope="module")
def sleeps(daemon):
    daemon.admin.deploy(projects.python_project(SLEEPS, projects.python_api("sleeps", predictor={"threads_per_process": 2})))
    return daemon.admin


def ask(admin, n, **payload):
    """n at the same time, and what each answered."""
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(lambda _: admin.post("/sleeps", json=payload).json(), range(n)))


def settled(admin, name, calls):
    """The metrics once the replica has told of so many calls of predict."""
    def told():
        m = Metrics(admin, name)
        return m if m["soma_predict_duration_seconds_count"] == calls else None
    return wait_for("STAGES", told)


def test_slot_busy_seconds_are_those_of_predict(sleeps):
    before = Metrics(sleeps, "sleeps")
    assert before["soma_slots"] == 2
    assert ask(sleeps, 2, sleep=0.5) == [0.5, 0.5]
    after = settled(sleeps, "sleeps", before["soma_predict_duration_seconds_count"] + 2)
    assert 1.0 <= after["soma_predict_duration_seconds_sum"] - before["soma_predict_duration_seconds_sum"] < 1.0 + 0.2 * SLOW
    assert 1.0 - LATE <= after["soma_slot_busy_seconds_total"] - before["soma_slot_busy_seconds_total"] < 1.0 + 0.2 * SLOW


def test_busy_seconds_grow_while_predict_runs_and_never_shrink(sleeps):
    before, seen = Metrics(sleeps, "sleeps"), []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sleeps.post, "/sleeps", json={"sleep": 1})
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            seen.append(Metrics(sleeps, "sleeps")["soma_slot_busy_seconds_total"] - before["soma_slot_busy_seconds_total"])
        assert answer.result().json() == 1
    assert seen == sorted(seen)
    assert len([s for s in seen if 0.2 < s < 0.8]) > 3, "it grew on the way"
    assert 1 - LATE <= seen[-1] < 1 + 0.2 * SLOW


def test_where_requests_are(sleeps):
    """Two slots, which take five at once: two run, three wait inside, and the rest in the daemon's queue."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        held = [pool.submit(sleeps.post, "/sleeps", json={"sleep": 0.8 * SLOW}) for _ in range(6)]
        def stages():
            m = Metrics(sleeps, "sleeps")
            where = {s: m["soma_stage_requests", s] for s in ("queue", "pre", "ready", "predict", "post", "answer")}
            return where if where["predict"] == 2 and sum(where.values()) == 6 else None
        where = wait_for("two in predict", stages)
        assert where["pre"] == where["post"] == where["answer"] == 0 and where["ready"] + where["queue"] == 4
        assert sleeps.api("sleeps")["stages"] == where
        assert all(h.result().status_code == 200 for h in held)
    wait_for("nothing is in a stage", lambda: not any(sleeps.api("sleeps")["stages"].values()))


def test_post_predict_is_shown_and_its_errors_counted(sleeps):
    before = Metrics(sleeps, "sleeps")["soma_post_predict_errors_total"]
    assert ask(sleeps, 3, sleep=0, post=0.6 * SLOW, fail=True) == [0, 0, 0]
    wait_for("three posts", lambda: sleeps.api("sleeps")["stages"]["post"] == 3)
    wait_for("three errors", lambda: Metrics(sleeps, "sleeps")["soma_post_predict_errors_total"] == before + 3)


def test_utilisation_is_the_part_of_the_slots_time_that_predict_ran(daemon):
    """One slot, busy for half of the time since it is ready."""
    daemon.admin.deploy(projects.python_project(SLEEPS, projects.python_api("half")))
    assert daemon.admin.api("half")["slots"]["count"] == 1
    began, busy = time.monotonic(), 0
    while time.monotonic() - began < 3:
        before = time.monotonic()
        assert daemon.admin.post("/half", json={"sleep": 0.2}).status_code == 200
        busy += time.monotonic() - before
        time.sleep(0.2)
    time.sleep(0.1)
    api = daemon.admin.api("half")
    want = busy / (time.monotonic() - began)
    assert api["slots"]["window_s"] == 10
    assert abs(api["slots"]["busy"] - want) < 0.1 * SLOW
    assert [r["busy"] for r in api["replicas"]] == pytest.approx([api["slots"]["busy"]], abs=0.05)
    said = daemon.cli("get", "half", check=0).out
    share = int(re.search(r"^slots: 1, busy (\d+)% of the last 10 s$", said, re.M).group(1))
    assert abs(share / 100 - want) < 0.12 * SLOW


def test_a_table_says_what_is_in_flight(sleeps, daemon):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [pool.submit(sleeps.post, "/sleeps", json={"sleep": 1.5 * SLOW}) for _ in range(3)]
        wait_for("two in predict", lambda: sleeps.api("sleeps")["stages"]["predict"] == 2)
        assert re.search(r"^in flight: .*2 in predict", daemon.cli("get", "sleeps", check=0).out, re.M)
        shown = daemon.cli("get", "sleeps", "-o", "json", check=0).json()
        assert shown["stages"]["predict"] == 2 and shown["slots"]["count"] == 2 and shown["batches"] is None
        for h in held:
            h.result()


def test_batch_sizes_add_up_to_the_requests(daemon):
    source = "import time\n\nclass PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        time.sleep(0.1)\n        return payload\n"
    batching = {"threads_per_process": 8, "server_side_batching": {"max_batch_size": 8, "batch_interval": "50ms"}}
    daemon.admin.deploy(projects.python_project(source, projects.python_api("batches", predictor=batching)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: daemon.admin.post("/batches", json=i).json(), range(40))) == list(range(40))
    m = wait_for("all are told", lambda: (lambda m: m if m["soma_batch_size_sum"] == 40 else None)(Metrics(daemon.admin, "batches")))
    calls = m["soma_batch_size_count"]
    buckets = [m["soma_batch_size_bucket", le] for le in ("1", "2", "4", "8", "512", "+Inf")]
    assert buckets == sorted(buckets) and buckets[3] == buckets[-1] == calls and 5 <= calls < 40
    assert calls == m["soma_predict_duration_seconds_count"]
    # A batch holds one slot, and each took 0.1 s.
    assert 0.1 * calls <= m["soma_slot_busy_seconds_total"] < 0.1 * calls + 0.1 * calls * SLOW
    assert daemon.admin.api("batches")["batches"] == {"count": calls, "mean": pytest.approx(40 / calls)}
    assert "batches: %.1f requests on average" % (40 / calls) in daemon.cli("get", "batches", check=0).out


def test_a_command_has_no_slots(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("program")))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.get, "/program/hold")
        wait_for("it is there", lambda: daemon.admin.api("program")["stages"]["replica"] == 1)
        api = daemon.admin.api("program")
        assert set(api["stages"]) == {"queue", "replica", "answer"} and api["slots"] is None and api["batches"] is None
        assert "in flight: 1 in a replica" in daemon.cli("get", "program", check=0).out
        assert daemon.admin.get("/program/go").json() == {"go": True}
        assert held.result().status_code == 200
    assert Metrics(daemon.admin, "program").get("soma_slots") is None


def test_what_a_killed_process_did_stays_counted(daemon):
    daemon.admin.deploy(projects.python_project(SLEEPS, projects.python_api("killed")))
    assert daemon.admin.post("/killed", json={"sleep": 0.3}).status_code == 200
    before = settled(daemon.admin, "killed", 1)
    os.kill(daemon.admin.pids("killed")[0], signal.SIGKILL)
    wait_for("it is back", lambda: daemon.admin.api("killed")["restarts"] == 1 and daemon.admin.pids("killed"))
    assert daemon.admin.post("/killed", json={"sleep": 0.3}).status_code == 200
    after = settled(daemon.admin, "killed", 2)
    assert 0.3 - LATE <= after["soma_slot_busy_seconds_total"] - before["soma_slot_busy_seconds_total"] < 0.3 + 0.2 * SLOW

"""The number of replicas follows what comes: from none to several, and back."""

import concurrent.futures
import contextlib
import os
import re
import signal
import threading
import time

import pytest
import requests

from soma import procs, projects
from soma.client import error_of, plain
from soma.load import Load, Target
from soma.projects import predictor, python_api, python_project
from soma.waiting import seconds, wait_for

# A replica goes a moment after nobody needs it; or it is never worth its start.
HASTY = {"max_wait": "100ms", "wait_worth": 0}
TENACIOUS = {"max_wait": "1ms", "wait_worth": 1000000}


def python(name, source=predictor("return payload"), **scale):
    return python_project(source, python_api(name, autoscaling=scale))


def command(name, version=1, **scale):
    """One request at a time; /hold keeps it."""
    return projects.probe_project(projects.probe_api(name, predictor={"max_concurrency": 1, "freeze": "never", "env": {"VERSION": str(version)}}, autoscaling=scale))


def replicas(daemon, name):
    return {r["id"] for r in daemon.admin.api(name)["replicas"] if r["state"] not in ("draining", "stopping", "kept")}


def wait_zero(daemon, name):
    wait_for(f"{name} has no replica", lambda: daemon.admin.api(name)["replicas"] == [])
    api = daemon.admin.api(name)
    assert (api["status"], api["requested"], api["ready"]) == ("live", 0, 0)


def let_go(daemon, name):
    """One more of what each replica holds, or will hold next."""
    for pid in daemon.admin.pids(name, None):
        with contextlib.suppress(requests.RequestException, ProcessLookupError, FileNotFoundError, KeyError):
            plain("POST", f"http://127.0.0.1:{procs.environ(pid)['PORT']}/go", timeout=5)


@contextlib.contextmanager
def held(daemon, name, n):
    """n requests in flight at once; all are answered in the end."""
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        waiting = [pool.submit(daemon.admin.get, f"/{name}/hold") for _ in range(n)]
        wait_for("they are there", lambda: daemon.admin.api(name)["in_flight"] == n)
        yield waiting
        wait_for("all are answered", lambda: let_go(daemon, name) or not concurrent.futures.wait(waiting, 0.05).not_done)
        assert [w.result().status_code for w in waiting] == [200] * n


@pytest.mark.parametrize("make", [python, command], ids=["python", "command"])
def test_to_zero_and_back(daemon, make):
    name = f"zero-{make.__name__}"
    daemon.admin.deploy(make(name, min_replicas=0, **HASTY))
    for _ in range(3):
        wait_zero(daemon, name)
        assert daemon.admin.post(f"/{name}", json={"a": 1}).status_code == 200
    starts = [e for e in daemon.admin.events(name) if e["type"] == "replica_start"]
    assert len(starts) == 4 and daemon.admin.api(name)["restarts"] == 0


def test_what_is_idle_is_kept_as_long_as_is_said(daemon):
    """However little waiting is worth: it would go at once."""
    daemon.admin.deploy(python("kept", min_replicas=0, keep_idle="10m", **HASTY))
    assert daemon.admin.post("/kept", json=1).status_code == 200
    wait_for("it is idle", lambda: "is kept for 10m 0s (keep_idle)" in daemon.cli("explain", "kept", check=0).out)
    assert daemon.admin.api("kept")["ready"] == 1
    daemon.admin.deploy(python("kept", min_replicas=0, keep_idle="100ms", **HASTY))
    assert daemon.admin.post("/kept", json=1).status_code == 200
    wait_zero(daemon, "kept")
    daemon.cli("explain", "kept", check=0).says("No request has come for keep_idle", "The next one starts a replica")


def test_all_of_a_crowd_that_finds_none_are_answered(daemon):
    daemon.admin.deploy(python("crowd", min_replicas=0, max_replicas=3, **HASTY))
    wait_zero(daemon, "crowd")
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda i: daemon.admin.post("/crowd", json=i), range(500)))
    assert [(a.status_code, a.json()) for a in answers] == [(200, i) for i in range(500)]


def test_control_requests_wake_nobody(daemon):
    daemon.admin.deploy(command("quiet", min_replicas=0, **HASTY))
    wait_zero(daemon, "quiet")
    before = len(daemon.admin.events("quiet"))
    for _ in range(20):
        daemon.admin.api("quiet")
        daemon.admin.apis()
        daemon.admin.call("GET", "/metrics")
        daemon.admin.get("/healthz")
    assert len(daemon.admin.events("quiet")) == before and replicas(daemon, "quiet") == set()


def wakes(pid):
    """How often its main thread has gone to sleep so far."""
    told = open(f"/proc/{pid}/task/{pid}/status", encoding="ascii").read()
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", told, re.M)[1])


def test_a_daemon_with_nothing_to_do_sleeps(own_daemon):
    own_daemon.admin.deploy(command("asleep", min_replicas=0, keep_idle="100ms"))
    assert own_daemon.admin.get("/asleep/").status_code == 200
    wait_zero(own_daemon, "asleep")

    def calm():
        # The short tick alone makes 20 a second.
        before, begun = wakes(own_daemon.daemon_pid), time.monotonic()
        time.sleep(0.5)
        return wakes(own_daemon.daemon_pid) - before <= 15 * (time.monotonic() - begun)

    wait_for("it wakes less often than its short tick", calm)
    assert own_daemon.admin.get("/asleep/").status_code == 200


def test_a_rollout_from_zero_must_be_able_to_start(daemon):
    daemon.admin.deploy(python("prove", min_replicas=0, **HASTY))
    wait_zero(daemon, "prove")
    end = daemon.admin.deploy_failing(python("prove", predictor("return 2", init="raise ValueError('no weights')"), min_replicas=0, **HASTY))
    assert "no weights" in end["text"]
    # The older one still answers, from zero.
    assert daemon.admin.post("/prove", json=1).json() == 1


def test_more_for_a_crowd_and_fewer_after_it(daemon):
    daemon.admin.deploy(command("more", max_replicas=3, **HASTY))
    with held(daemon, "more", 3):
        wait_for("one for each", lambda: daemon.admin.api("more")["ready"] == 3)
        assert daemon.admin.api("more")["status"] == "live"
    # Which one depends on whose request has ended first: those that are busy stay.
    wait_for("one is left", lambda: len(daemon.admin.api("more")["replicas"]) == 1)
    assert daemon.admin.api("more")["requested"] == 1


def test_bursts_lose_nothing(daemon):
    """Replicas come and go below a load that does, too."""
    daemon.admin.deploy(command("bursts-cmd", min_replicas=0, max_replicas=3, **HASTY))
    daemon.admin.deploy(python("bursts-py", predictor("import time; time.sleep(0.02)\nreturn payload"), min_replicas=0, max_replicas=3, **HASTY))
    targets = [Target("bursts-cmd", False, False), Target("bursts-py", True, False)]
    for i, clients in enumerate([1, 8, 3, 12, 1, 8]):
        with Load(daemon.port, targets, clients=clients, seed=i) as load:
            wait_for("answers", lambda n=clients, told=load: told.answered > 40 * n, 60)
        assert load.wrong == [] and load.refused == []
        wait_for("fewer", lambda: len(replicas(daemon, "bursts-py")) < 2 and len(replicas(daemon, "bursts-cmd")) < 2)
        if i % 2:
            wait_zero(daemon, "bursts-py")
            wait_zero(daemon, "bursts-cmd")
    for name in ("bursts-cmd", "bursts-py"):
        events = [e["type"] for e in daemon.admin.events(name)]
        assert events.count("replica_start") > 3 and daemon.admin.api(name)["restarts"] == 0


def test_deleted_while_it_wakes(daemon):
    source = predictor("return payload", init="import time; time.sleep(2)")
    daemon.admin.deploy(python("doomed", source, min_replicas=0, **HASTY))
    wait_zero(daemon, "doomed")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.admin.post, "/doomed", json=1)
        wait_for("it waits", lambda: daemon.admin.api("doomed")["queued"] == 1)
        daemon.admin.delete("doomed")
        error_of(waiting.result(), 503, "unavailable")


def test_updated_while_it_wakes(daemon):
    slow = predictor("return 'old'", init="import time; time.sleep(3)")
    daemon.admin.deploy(python("moves", slow, min_replicas=0, **HASTY))
    wait_zero(daemon, "moves")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.admin.post, "/moves", json=1)
        wait_for("it waits", lambda: daemon.admin.api("moves")["queued"] == 1)
        daemon.admin.deploy(python("moves", predictor("return 'new'"), min_replicas=0, **HASTY))
        answer = waiting.result()
        assert (answer.status_code, answer.text) in ((200, "new"), (200, "old"))
    wait_zero(daemon, "moves")


def test_what_starts_for_a_crowd_is_not_let_go_before_it_is_there(daemon):
    """Who waits for an answer sends nothing meanwhile: fewer come, and as many are needed."""
    source = predictor("import time; time.sleep(0.05)\nreturn payload", init="import time; time.sleep(1)")
    daemon.admin.deploy(python("patient", source, max_replicas=5))
    with Load(daemon.port, [Target("patient", True, False)], clients=8) as load:
        wait_for("more", lambda: daemon.admin.api("patient")["ready"] >= 4, 30)
    assert load.wrong == [] and load.refused == []
    starts = [e for e in daemon.admin.events("patient") if e["type"] == "replica_start"]
    assert len(starts) <= 8, "each is started once or twice"


def test_no_more_than_max_replicas(daemon):
    daemon.admin.deploy(command("most", max_replicas=2, **TENACIOUS))
    with held(daemon, "most", 6):
        wait_for("two", lambda: daemon.admin.api("most")["ready"] == 2)
        assert len(replicas(daemon, "most")) == 2


def test_a_buffer_while_any_is_needed(daemon):
    daemon.admin.deploy(command("buffer", min_replicas=0, max_replicas=5, buffer_replicas=2, **HASTY))
    wait_zero(daemon, "buffer")
    with held(daemon, "buffer", 1):
        wait_for("two more", lambda: daemon.admin.api("buffer")["ready"] == 3)
        daemon.cli("explain", "buffer", check=0).says("While any is needed there are 2 replicas more (buffer_replicas)")
    wait_zero(daemon, "buffer")


def test_a_schedule_is_a_floor(own_daemon):
    """Also for one that sleeps, and after a restart."""
    daemon = own_daemon
    now = {"cron": "* * * * *", "for": "1h", "min_replicas": 2}
    never = {"cron": f"0 0 1 {time.gmtime(time.time() + 180 * 86400).tm_mon} *", "for": "1h", "min_replicas": 3}
    daemon.admin.deploy(command("clock", min_replicas=0, max_replicas=3, schedule=[now, never], **HASTY))
    wait_for("two", lambda: daemon.admin.api("clock")["ready"] == 2)
    daemon.cli("explain", "clock", check=0).says("autoscaling.schedule asks for no fewer than 2 at this time")
    daemon.stop()
    daemon.start()
    wait_for("two again", lambda: daemon.admin.api("clock")["ready"] == 2)


def test_a_new_revision_has_as_many(daemon):
    daemon.admin.deploy(command("keep", max_replicas=3, **TENACIOUS))
    with held(daemon, "keep", 3):
        wait_for("three", lambda: daemon.admin.api("keep")["ready"] == 3)
    daemon.admin.deploy(command("keep", 2, max_replicas=3, **TENACIOUS))
    assert replicas(daemon, "keep") == {f"keep-2-{i}" for i in range(3)}
    daemon.admin.deploy(command("keep", 3, max_replicas=2, **TENACIOUS))
    assert replicas(daemon, "keep") == {f"keep-3-{i}" for i in range(2)}


def test_starts_that_fail_make_no_stampede(daemon):
    flag = daemon.parent / "broken"
    source = predictor("import time; time.sleep(payload); return payload", init=f"import os; assert not os.path.exists({str(flag)!r}), 'broken'")
    daemon.admin.deploy(python("loop", source, max_replicas=6, **TENACIOUS))
    flag.touch()

    def deaths():
        return max(r["restarts"] for r in daemon.admin.api("loop")["replicas"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(daemon.admin.post, "/loop", json=8) for _ in range(2)]
        wait_for("it dies again and again", lambda: deaths() > 1)
        waiting += [pool.submit(daemon.admin.post, "/loop", json=2) for _ in range(6)]
        wait_for("they wait", lambda: daemon.admin.api("loop")["queued"] >= 6)
        before = deaths()
        wait_for("it dies with all of them behind it", lambda: deaths() > before)
        assert len(replicas(daemon, "loop")) == 2, "one that is ready, and one that tries"
        flag.unlink()
        wait_for("more", lambda: len(replicas(daemon, "loop")) > 2, 30)
        assert [w.result().status_code for w in waiting] == [200] * 8


def kill_daemon(daemon):
    old = daemon.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("another daemon", lambda: daemon.daemon_pid != old and daemon.admin.is_ready())


def test_the_number_outlives_the_daemon(own_daemon):
    own_daemon.admin.deploy(command("lives", max_replicas=3, **TENACIOUS))
    with held(own_daemon, "lives", 3):
        wait_for("three", lambda: own_daemon.admin.api("lives")["ready"] == 3)
    before = sorted(own_daemon.admin.pids("lives"))
    kill_daemon(own_daemon)
    wait_for("all are back", lambda: sorted(own_daemon.admin.pids("lives")) == before)
    assert own_daemon.admin.api("lives")["requested"] == 3


def test_zero_outlives_the_daemon(own_daemon):
    own_daemon.admin.deploy(python("none", min_replicas=0, **HASTY))
    wait_zero(own_daemon, "none")
    kill_daemon(own_daemon)
    wait_zero(own_daemon, "none")
    assert own_daemon.admin.post("/none", json=1).status_code == 200


def test_memory_that_is_not_there(daemon):
    total = int(re.search(r"MemTotal: +(\d+)", open("/proc/meminfo").read()).group(1)) * 1024
    def api(name, share, **scale):
        return projects.probe_api(name, predictor={"max_concurrency": 1}, compute={"mem": str(int(total * share))}, autoscaling={**scale, **TENACIOUS})
    refused = daemon.admin.send(projects.probe_project(api("whale", 0.6, min_replicas=2)))
    error = error_of(refused, 422, "unprocessable")
    assert "whale: a replica needs" in error["message"] and "there are at least 2, but this machine has" in error["message"]
    daemon.admin.deploy(projects.probe_project(api("large", 0.4, max_replicas=3)))
    with held(daemon, "large", 3):
        wait_for("it says why", lambda: "another replica needs" in (daemon.admin.api("large")["message"] or ""))
        assert len(replicas(daemon, "large")) == 2
        daemon.cli("explain", "large", check=0).says("are reserved by those that are there")
        failed = daemon.admin.deploy_failing(projects.probe_project(api("other", 0.4)))
        assert "another replica needs" in failed["text"]
    # A new revision has the room of the old one; an end makes room for others.
    daemon.admin.deploy(projects.probe_project(api("large", 0.41, max_replicas=3)))
    daemon.admin.delete("large")
    daemon.admin.wait_live("other")
    assert daemon.admin.get("/other/echo").status_code == 200


def test_memory_is_measured(daemon):
    daemon.admin.deploy(python("heavy", predictor("return len(self.held)", init="self.held = b'x' * (200 << 20)")))
    measured = wait_for("it is measured", lambda: daemon.admin.api("heavy")["replica_bytes"], 30)
    assert 200 << 20 < measured < 300 << 20
    assert re.search(r'soma_replica_memory_bytes\{api="heavy"\} %d\b' % measured, daemon.admin.call("GET", "/metrics").text)
    daemon.cli("get", "heavy", check=0).says("memory: 2", "MiB a replica")
    daemon.admin.delete("heavy")


def test_nobody_waits_behind_who_takes_long(daemon):
    """A request that was sent to a busy replica would stay there: where another replica may come it waits for whichever has room first."""
    daemon.admin.deploy(python("behind", predictor("import time\ntime.sleep(payload)\nreturn 1"), max_replicas=2, **HASTY))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        long = pool.submit(daemon.admin.post, "/behind", json=8)
        wait_for("it is there", lambda: daemon.admin.api("behind")["stages"]["predict"] == 1)
        assert daemon.admin.post("/behind", json=0).status_code == 200 and not long.done()
        assert long.result().status_code == 200


def test_replica_seconds_and_starts(daemon):
    """What an api costs, while it has replicas and no longer."""
    def counted(name):
        return float(re.search(r'%s\{api="costs"\} (.*)' % name, daemon.admin.call("GET", "/metrics").text).group(1))

    def spent():
        return counted("soma_replica_seconds_total")
    daemon.admin.deploy(command("costs", max_replicas=2, **TENACIOUS))
    daemon.cli("scale", "costs", 2, check=0)
    wait_for("two", lambda: daemon.admin.api("costs")["ready"] == 2)
    began, first = time.monotonic(), spent()
    wait_for("it grows", lambda: spent() > first + 1)
    assert spent() - first <= 2 * (time.monotonic() - began) + 0.1
    daemon.cli("scale", "costs", 0, check=0)
    wait_zero(daemon, "costs")
    last = spent()
    assert last > first + 1 and spent() == last
    assert counted("soma_replica_starts_total") == 2


def test_a_number_by_hand(daemon):
    daemon.admin.deploy(command("hand", min_replicas=1, max_replicas=3, **HASTY))
    daemon.cli("scale", "hand", 3, check=0).says("hand: 3 replicas wanted, for five minutes at least")
    wait_for("three", lambda: daemon.admin.api("hand")["ready"] == 3)
    daemon.cli("explain", "hand", check=0).says("3 replicas are wanted, 3 ready", "'soma scale hand 3' asked for no fewer")
    daemon.cli("scale", "hand", 2, check=0)
    wait_for("two", lambda: replicas(daemon, "hand") == {"hand-1-0", "hand-1-1"})
    daemon.cli("scale", "hand", 0, check=0).says("hand: 0 replicas wanted, until the next request")
    wait_zero(daemon, "hand")
    daemon.cli("explain", "hand", check=0).says("'soma scale hand 0' sent it to sleep; the next request wakes it")
    assert daemon.admin.get("/hand/echo").status_code == 200
    assert daemon.admin.api("hand")["requested"] == 1


def weight(pid):
    """Of its control group, in thousandths of a processor; None: the machine has no weights."""
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        for file, one in ((f"cpu{path}/cpu.shares", 1024), (f"{path[1:]}/cpu.weight", 100)):
            if "cpu" in controllers.split(",") + ["cpu"] * (not controllers) and (procs.CGROUPS / file).exists():
                return round(int((procs.CGROUPS / file).read_text()) * 1000 / one, -1)
    return None


def test_replicas_beyond_what_is_promised_weigh_little(daemon):
    daemon.admin.deploy(python_project(predictor("return payload"), python_api("weigh", compute={"cpu": 2}, predictor={"zygote": "none"},
                                                                               autoscaling={"min_replicas": 2, "max_replicas": 4, **TENACIOUS})))
    wait_for("two", lambda: daemon.admin.api("weigh")["ready"] == 2)
    if weight(daemon.admin.pids("weigh")[0]) is None:
        pytest.skip("no control groups with weights for this user")

    # Who takes little weighs eight times what it claims, once it has been looked at.
    claims = {16000: 2000, 1000: 120}

    def weights():
        return [claims.get(w, w) for w in map(weight, daemon.admin.pids("weigh"))]
    assert weights() == [2000, 2000]
    daemon.cli("scale", "weigh", 4, check=0)
    wait_for("four", lambda: daemon.admin.api("weigh")["ready"] == 4)
    assert weights() == [2000, 2000, 120, 120]
    # Threads are as many as are reserved, whatever it weighs.
    assert [procs.environ(pid)["OMP_NUM_THREADS"] for pid in daemon.admin.pids("weigh")] == ["2"] * 4
    # Whichever are left are those that are promised.
    for pid in daemon.admin.pids("weigh")[:2]:
        os.kill(pid, signal.SIGKILL)
    wait_for("four again", lambda: daemon.admin.api("weigh")["ready"] == 4)
    daemon.cli("scale", "weigh", 2, check=0)
    wait_for("two are left, and weigh all", lambda: weights() == [2000, 2000])


def test_who_takes_all_it_can_get_weighs_what_it_claims(daemon):
    source = predictor("import time\nend = time.thread_time() + payload\nwhile time.thread_time() < end: pass\nreturn payload")
    # Another claims so much that half of this one's part is less than one processor.
    daemon.admin.deploy(python_project(source, python_api("spin", compute={"cpu": 1}, predictor={"zygote": "none"}),
                                       python_api("claims", compute={"cpu": 2 * os.cpu_count()}, predictor={"zygote": "none"})))
    pid = daemon.admin.pids("spin")[0]
    if weight(pid) is None:
        pytest.skip("no control groups with weights for this user")
    # It rests: eight times that, and its thread is to run as soon as there is a request.
    assert daemon.admin.post("/spin", json=0.02).json() == 0.02
    wait_for("it is light", lambda: (weight(pid), os.sched_getscheduler(pid)) == (8000, os.SCHED_OTHER))
    busy = threading.Thread(target=daemon.admin.post, args=("/spin",), kwargs={"json": seconds(3)})
    busy.start()
    wait_for("it is not", lambda: (weight(pid), os.sched_getscheduler(pid)) == (1000, os.SCHED_BATCH))
    busy.join()
    wait_for("it is again", lambda: (weight(pid), os.sched_getscheduler(pid)) == (8000, os.SCHED_OTHER))


@pytest.mark.parametrize("n, code, words", [
    (4, 1, ["'bounds' has at most 3 replicas", "autoscaling.max_replicas"]),
    (1, 1, ["'bounds' has at least 2 replicas", "autoscaling.min_replicas", "0 stops all of them until the next request"]),
    ("many", 2, ["'many' is no number of replicas"]),
    (-1, 2, []),
])
def test_a_number_out_of_bounds(daemon, n, code, words):
    daemon.admin.deploy(command("bounds", min_replicas=2, max_replicas=3, **TENACIOUS))
    daemon.cli("scale", "bounds", n, check=code).says(*words)
    assert daemon.admin.api("bounds")["requested"] == 2


def test_scaling_what_is_not_there(daemon):
    for words in (["scale", "nobody", 1], ["explain", "nobody"]):
        daemon.cli(*words, check=4).says("there is no api 'nobody'")
    daemon.admin.deploy(command("there"))
    answer = daemon.admin.call("POST", "/v1/apis/there/scale", json={"replicas": "two"})
    assert error_of(answer, 400, "invalid")["message"] == "replicas: give a number from 0 to 10000"


def test_why(daemon):
    daemon.admin.deploy(command("fixed"))
    daemon.cli("explain", "fixed", check=0).says("1 replica is wanted, 1 ready, 0 starting (min_replicas 1, max_replicas 1)", "nothing is decided")
    daemon.admin.deploy(command("idle", min_replicas=0, **HASTY))
    wait_zero(daemon, "idle")
    daemon.cli("explain", "idle", check=0).says("No request comes", "The next request starts one")
    daemon.admin.deploy(command("busy", max_replicas=2, **TENACIOUS))
    with held(daemon, "busy", 4):
        wait_for("two", lambda: daemon.admin.api("busy")["ready"] == 2)
        daemon.cli("explain", "busy", check=0).says("2 replicas are wanted", "max_replicas")
        told = daemon.cli("explain", "busy", "-o", "json", check=0).json()
        assert told["why"] == "max" and told["requested"] == 2 and told["numbers"]["in_flight"] == 4


def test_how_cold_it_was(daemon):
    api = python_api("cold", predictor={"zygote": "none", "freeze": "never"}, autoscaling={"min_replicas": 0, **HASTY})
    daemon.admin.deploy(python_project(predictor("return payload"), api))
    wait_zero(daemon, "cold")
    ask = {"X-Soma-Cold": "1"}
    tier, _, took = daemon.admin.post("/cold", json=1, headers=ask).headers["X-Soma-Cold"].partition(";ms=")
    assert tier == "process" and 1 < float(took) < 30000
    daemon.admin.deploy(python("warm"))
    assert daemon.admin.post("/warm", json=1, headers=ask).headers["X-Soma-Cold"] == "none"
    assert "X-Soma-Cold" not in daemon.admin.post("/warm", json=1).headers
    error = error_of(daemon.admin.post("/warm", json=1, headers={"X-Soma-Cold": "very"}), 400, "invalid")
    assert error["message"] == "X-Soma-Cold 'very' is unknown; give 1 to be told how cold the start was, or 0"
    start, = daemon.admin.api("warm")["cold"]["starts"]
    assert (start["tier"], start["count"]) == ("process", 1) and start["mean_ms"] > 1
    daemon.cli("get", "warm", check=0).says("starts: process: 1,")
    told = daemon.admin.call("GET", "/metrics").text
    assert 'soma_cold_start_seconds_count{api="warm",tier="process"} 1' in told
    assert 'soma_cold_requests_total{api="warm"} 0' in told and 'soma_replicas_loading{api="warm"} 0' in told
    assert not re.search(r'soma_cold_requests_total\{api="cold"\} 0', told)


def test_told_to_come_again(daemon):
    source = predictor("return payload", init="import time; time.sleep(1)")
    api = python_api("later", on_cold="retry", autoscaling={"min_replicas": 0, **HASTY})
    daemon.admin.deploy(python_project(source, api))
    wait_zero(daemon, "later")
    refused = daemon.admin.post("/later", json=1)
    error = error_of(refused, 503, "unavailable")
    assert "'later' has no ready replica yet" in error["message"] and 1 <= int(refused.headers["Retry-After"]) <= 10
    loading = refused.json()["loading"]
    assert loading["stage"] and loading["bytes_done"] is None and 0 < loading["eta_s"] < 10
    # Whoever would rather wait may.
    assert daemon.admin.post("/later", json=2, headers={"X-Soma-On-Cold": "hold"}).json() == 2
    # It is there for who comes again.
    assert daemon.admin.post("/later", json=3).json() == 3
    wait_for("nobody else needs it", lambda: "was told to come again; one is kept for it" in daemon.cli("explain", "later", check=0).out)
    error = error_of(daemon.admin.post("/later", json=1, headers={"X-Soma-On-Cold": "wait"}), 400, "invalid")
    assert error["message"] == "X-Soma-On-Cold 'wait' is unknown; give hold to wait for a replica, or retry to be told when to come again"


def test_cortex_formulas(daemon):
    """One more a tick, of ten seconds, although three are needed; and back."""
    api = command("formula", policy="cortex", max_replicas=3, window="10s", upscale_stabilization_period="0s", downscale_stabilization_period="0s")
    daemon.admin.deploy(api)
    with held(daemon, "formula", 3):
        wait_for("a tick", lambda: daemon.admin.api("formula")["requested"] == 2, 30)
        daemon.cli("explain", "formula", check=0).says("By Cortex's formulas", "requests were in flight on average", "a replica is to have 1.")
        assert daemon.cli("explain", "formula", "-o", "json", check=0).json()["why"] == "cortex"
    wait_for("ticks", lambda: daemon.admin.api("formula")["requested"] == 1, 60)


def test_cortex_formulas_with_a_schedule(daemon):
    """Between two looks at the schedule what comes is sampled all the same."""
    never = {"cron": f"0 0 1 {time.gmtime(time.time() + 180 * 86400).tm_mon} *", "for": "1h", "min_replicas": 3}
    api = command("formulas", policy="cortex", min_replicas=0, init_replicas=0, max_replicas=3, window="10s", schedule=[never],
                  upscale_stabilization_period="0s", downscale_stabilization_period="0s")
    daemon.admin.deploy(api)
    wait_for("it has none", lambda: daemon.admin.api("formulas")["replicas"] == [], 30)
    with held(daemon, "formulas", 2):
        wait_for("a tick", lambda: daemon.admin.api("formulas")["requested"] == 2, 10)


def test_a_schedule_begins_on_its_minute(daemon):
    begins = (int(time.time() + 8) // 60 + 1) * 60
    at = time.localtime(begins)
    daemon.admin.deploy(command("punctual", min_replicas=0, max_replicas=2, **HASTY, schedule=[
        {"cron": f"{at.tm_min} {at.tm_hour} * * *", "for": "1m", "min_replicas": 2}]))
    wait_zero(daemon, "punctual")
    assert time.time() < begins
    wait_for("two", lambda: daemon.admin.api("punctual")["requested"] == 2, 70)
    assert begins <= time.time() < begins + seconds(2)
    daemon.admin.delete("punctual")


def test_a_batch_is_served_at_once(daemon):
    """Eight callers of a class that takes eight at once need one replica."""
    source = predictor("import time; time.sleep(0.2)\nreturn payload")
    api = python_api("together", autoscaling={"max_replicas": 3, **TENACIOUS}, predictor={
        "threads_per_process": 8, "server_side_batching": {"max_batch_size": 8, "batch_interval": "20ms"}})
    daemon.admin.deploy(python_project(source, api))
    assert daemon.admin.post("/together", json=1).json() == 1
    with Load(daemon.port, [Target("together", True, False)], clients=8) as load:
        wait_for("answers", lambda: load.answered > 80, 60)
    assert load.wrong == [] and load.refused == []
    assert len([e for e in daemon.admin.events("together") if e["type"] == "replica_start"]) == 1
    told = daemon.cli("explain", "together", "-o", "json", check=0).json()["numbers"]
    assert told["slots"] == 8 and 200 <= told["service_ms"]


def test_a_command_without_a_limit_is_measured(daemon):
    """It serves many at once, and is seen to."""
    source = projects.PROBE.replace("    def do_hold(self):", "    def do_nap(self):\n        import time\n        time.sleep(0.1)\n"
                                    "        self.answer({})\n\n    def do_hold(self):")
    api = projects.probe_api("unlimited", autoscaling={"max_replicas": 6, **HASTY})
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([api]), "probe.py": source})
    few = threading.Event()

    def client(_):
        while not few.is_set():
            assert daemon.admin.get("/unlimited/nap").status_code == 200

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, i) for i in range(8)]
        try:
            wait_for("it is known how many it serves", lambda: daemon.cli("explain", "unlimited", "-o", "json", check=0).json()["numbers"]["slots"] >= 4, 30)
            wait_for("few are enough", lambda: len(replicas(daemon, "unlimited")) <= 2, 30)
            told = daemon.cli("explain", "unlimited", "-o", "json", check=0).json()["numbers"]
        finally:
            few.set()
        for c in clients:
            c.result()
    assert 100 <= told["service_ms"] < 2000

"""Memory that cannot hold all, and apis that fail, run late or stream: nobody else is kept out by them."""

import collections
import concurrent.futures
import threading
import time

import pytest

from soma import procs
from soma.daemon import Daemon
from soma.projects import predictor, python_project
from soma.swapping import MIB, SOURCE, api
from soma.waiting import SLOW, seconds, wait_for

BROKEN = predictor("return 1", init="raise ValueError('broken weights')")
# Its weights go away.
FLAGGED = predictor("return 'ok'", init="""
import os
if os.path.exists(config["flag"]):
    raise ValueError("the weights are gone")
""".strip())


def ask(daemon, name, number=1, takes=0, **kwargs):
    answer = daemon.admin.post(f"/{name}", json=[number, takes], **kwargs)
    assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"


def sleep(daemon, name):
    daemon.cli("scale", name, "0", check=0)
    wait_for("it has ended", lambda: daemon.admin.api(name)["replicas"] == [])


def states(daemon, name):
    return [r["state"] for r in daemon.admin.api(name)["replicas"]]


def deploy_broken(daemon, name):
    with pytest.raises(AssertionError, match="broken weights"):
        daemon.admin.deploy(python_project(BROKEN, api(name, mib=5, mem=340)), timeout=60)
    if daemon.admin.api(name)["rolled_back"]:
        wait_for("it has left", lambda: all(r["id"].startswith(f"{name}-1-") for r in daemon.admin.api(name)["replicas"]))
    else:
        wait_for("it is in back-off", lambda: "backoff" in states(daemon, name))


# --- one that cannot start ------------------------------------------------------


def test_one_in_back_off_has_no_memory():
    """What never was there keeps nobody out, and is tried again all the same."""
    with Daemon(args=["--memory", "700Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(api(n, mib=5, mem=m, request_timeout="25s") for n, m in (("c", 400), ("d", 300)))), timeout=60)
        for name in "cd":
            sleep(daemon, name)
        deploy_broken(daemon, "broken")
        tried = daemon.admin.api("broken")["restarts"]
        for name in "cd":
            ask(daemon, name, timeout=60)
        wait_for("it is tried again", lambda: daemon.admin.api("broken")["restarts"] > tried, 60)
        for name in "cd":
            ask(daemon, name, timeout=60)


def test_a_live_one_whose_loads_fail_keeps_nobody_out():
    """It is told to come again, and does: nothing is kept for that while it is known to fail."""
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        flag = daemon.parent / "flag"
        flag.mkdir()
        flag.chmod(0o755)
        daemon.admin.deploy(python_project(SOURCE, api("b", mib=5, mem=340)), timeout=60)
        daemon.admin.deploy(python_project(FLAGGED, api("a", mib=5, mem=340, config={"flag": str(flag / "set")})), timeout=60)
        ask(daemon, "a")
        sleep(daemon, "a")
        (flag / "set").touch()
        for _ in range(3):
            answer = daemon.admin.post("/a", json=1, timeout=60)
            assert answer.status_code == 503 and "the weights are gone" in answer.text
            ask(daemon, "b", timeout=60)
        (flag / "set").unlink()
        wait_for("it is back", lambda: daemon.admin.post("/a", json=1, timeout=60).status_code == 200, 60)


def test_a_failed_rollout_leaves_the_live_one_where_it_was():
    """It makes room for others as before, and they for it."""
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        for name in "ba":
            daemon.admin.deploy(python_project(SOURCE, api(name, mib=5, mem=340, request_timeout="20s")), timeout=60)
        deploy_broken(daemon, "a")
        for _ in range(2):
            for name in "ba":
                ask(daemon, name, timeout=seconds(30))


# --- one that ran out of memory -------------------------------------------------


MAPS = predictor("return len(b'x' * (payload << 20))", init="""
import mmap
self.file = open(config["file"], "rb")
self.weights = mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ)
self.sum = sum(self.weights[i] for i in range(0, len(self.weights), 4096))
""".strip())


@pytest.mark.skipif(SLOW > 1, reason="memory is measured without sanitizers (SOMA_TEST_SLOW)")
def test_one_that_maps_files_is_started_again_after_it_ran_out():
    """What it had is with its files: it is not taken to need these twice, which is more than there is."""
    with Daemon(args=["--memory", "300Mi"]) as daemon:
        weights = daemon.parent / "weights"
        weights.write_bytes(b"w" * (120 * MIB))
        weights.chmod(0o644)
        maps = api("m", compute={"mem_limit": "250Mi"}, config={"file": str(weights)})
        del maps["compute"]["mem"]
        daemon.admin.deploy(python_project(MAPS, maps), timeout=60)
        if not procs.cgroups_of(daemon.instance):
            pytest.skip("no control groups: mem_limit is not enforced")
        wait_for("it is measured", lambda: daemon.admin.api("m")["memory"]["looks"], 30)
        assert daemon.admin.api("m")["memory"]["shared_bytes"] > 110 * MIB
        assert daemon.admin.post("/m", json=400, timeout=60).json()["error"]["cause"] == "out of memory"
        told = daemon.admin.api("m")["memory"]
        assert told["from"] == "since one ran out of memory" and told["own_bytes"] + told["shared_bytes"] <= 250 * MIB
        wait_for("it is back", lambda: daemon.admin.post("/m", json=1, timeout=60).status_code == 200, 30)


# --- requests that do not wait for long ---------------------------------------


def test_a_short_request_timeout_does_not_keep_it_behind():
    """Others' requests may wait for longer than its own: its turn comes all the same."""
    names, stop = ["a", "b", "c"], threading.Event()
    served = collections.Counter()
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        daemon.admin.deploy(python_project(SOURCE, *(api(n, mib=5, mem=340, config={"loads_s": 0.5}) for n in names)), timeout=120)
        daemon.admin.deploy(python_project(SOURCE, api("short", mib=5, mem=340, request_timeout=f"{round(seconds(1500))}ms")), timeout=60)

        def client(name):
            while not stop.is_set():
                answer = daemon.admin.post(f"/{name}", json=[1, 0.05], timeout=120)
                served[name] += answer.status_code == 200
                assert answer.status_code == 200 or name == "short", answer.text
                time.sleep(0.02)

        with concurrent.futures.ThreadPoolExecutor(18) as pool:
            clients = [pool.submit(client, n) for n in names for _ in range(4)]
            for _ in range(6):
                clients.append(pool.submit(client, "short"))
                time.sleep(0.2)
            time.sleep(seconds(15))
            stop.set()
            for c in clients:
                c.result()
        print(dict(served))
        assert served["short"] > 10 and min(served[n] for n in names) > 10


# --- an answer that streams for long ------------------------------------------


STREAMS = predictor("""
import time
def stream():
    for i in range(payload[1]):
        yield f"{i}\\n".encode()
        time.sleep(0.1)
return stream() if payload[0] == "stream" else "quick"
""".strip())


def test_a_stream_stops_nobody_of_its_own_api():
    """It is waited for by the other api, and requests of its own are served beside it meanwhile."""
    with Daemon(args=["--memory", "400Mi"]) as daemon:
        daemon.admin.deploy(python_project(STREAMS, api("a", mib=5, mem=340, predictor={"threads_per_process": 4})), timeout=60)
        daemon.admin.deploy(python_project(SOURCE, api("b", mib=5, mem=340, request_timeout="2m")), timeout=60)
        ask(daemon, "a")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            stream = pool.submit(daemon.admin.post, "/a", json=["stream", 10 * round(seconds(10))], timeout=120)
            wait_for("it has begun", lambda: daemon.admin.api("a")["in_flight"] == 1)
            waits = pool.submit(ask, daemon, "b", timeout=120)
            wait_for("it is sent nothing new", lambda: daemon.admin.api("a")["memory"]["yielding"])
            beside = 0
            while not stream.done():
                begun = time.monotonic()
                ask(daemon, "a", timeout=60)
                beside += not stream.done()
                assert time.monotonic() - begun < seconds(5)
                assert stream.done() or not waits.done()
                time.sleep(0.05)
            assert beside >= 3 and len(stream.result().text.splitlines()) == 10 * round(seconds(10))
            waits.result()
        assert sum("takes no new requests" in e["text"] for e in daemon.admin.events("a")) == 1

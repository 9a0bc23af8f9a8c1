"""A long queue whose clients all go away: it costs the others nothing, and nothing of it is left."""

import concurrent.futures
import contextlib
import os
import resource
import subprocess
import sys
import time

import pytest

from soma import leavers, procs, projects
from soma.client import plain
from soma.daemon import Daemon
from soma.metrics import Metrics
from soma.waiting import SLOW, seconds, wait_for

FILES = 1000  # of a process that are no clients' connections
REPLICAS = 4  # each has a request that it holds
EACH = 10_000  # clients of one address
LEFT = 24 << 20  # bytes that may stay: what malloc keeps for the next such crowd


def files():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - FILES


@contextlib.contextmanager
def clients(port, path, many):
    """So many that have asked for path, with deadlines that all differ; what makes them leave."""
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(subprocess.Popen(
            [sys.executable, leavers.__file__, str(port), path, f"127.0.1.{n + 1}", str(min(EACH, many - first))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)) for n, first in enumerate(range(0, many, EACH))]
        for p in programs:
            assert p.stdout.readline() == "there\n"
        yield lambda: [p.stdin.close() for p in programs]


@pytest.fixture
def crowded():
    with Daemon(args=["--max-connections", "200000"]) as daemon:
        daemon.admin.deploy(projects.probe_project(
            projects.probe_api("many", predictor={"max_concurrency": 1}, request_timeout="2h",
                               autoscaling={"min_replicas": REPLICAS, "max_replica_concurrency": 30_000}),
            projects.probe_api("beside")))
        yield daemon


def beside(daemon):
    """How long a request to another api takes."""
    begun = time.monotonic()
    assert daemon.admin.get("/beside/echo").status_code == 200
    return time.monotonic() - begun


def crowd(daemon, many):
    """So many wait at the same time, and leave at the same time."""
    with clients(daemon.port, "/many/echo", many) as leave:
        wait_for("all wait", lambda: daemon.admin.api("many")["queued"] == many, 20)
        assert sorted(beside(daemon) for _ in range(50))[25] < 0.05 * SLOW
        full = procs.rss(daemon.daemon_pid)
        begun = time.monotonic()
        leave()
        wait_for("none waits", lambda: daemon.admin.api("many")["queued"] == 0, 30)
        took = time.monotonic() - begun
        after = beside(daemon)
    print(f"{many} waited with {full >> 20} MiB and were gone in {took:.2f} s; the next answer took {after * 1000:.1f} ms")
    wait_for("their sockets are closed", lambda: len(os.listdir(f"/proc/{daemon.daemon_pid}/fd")) < FILES)
    assert took < seconds(1 + many / 5000) and after < 0.25 * SLOW


@pytest.mark.parametrize("many", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_all_of_a_long_queue_go_away(crowded, many):
    """At the same time if the machine allows so many open files, else in crowds as large as it allows."""
    if 0 < files() < 2000:
        pytest.skip("this machine allows too few open files")
    at_once = min(many, files())
    ports = {crowded.admin.get("/many/env").json()["PORT"] for _ in range(REPLICAS)}
    assert len(ports) == REPLICAS
    with concurrent.futures.ThreadPoolExecutor(REPLICAS) as pool:
        held = [pool.submit(crowded.admin.get, "/many/hold", timeout=280) for _ in ports]
        try:
            wait_for("they are held", lambda: crowded.admin.api("many")["in_flight"] == REPLICAS)
            before = procs.rss(crowded.daemon_pid)
            for first in range(0, many, at_once):
                crowd(crowded, min(at_once, many - first))
            if SLOW == 1:  # a sanitizer keeps memory of its own
                wait_for("its memory is back", lambda: procs.rss(crowded.daemon_pid) - before < LEFT)
            told = Metrics(crowded.admin, "many")
            assert told["soma_cancelled_requests_total", "queue"] == many
            assert told["soma_deadline_drops_total"] == told["soma_overload_refusals_total"] == 0
            api = crowded.admin.api("many")
            assert (api["queued"], api["in_flight"]) == (0, REPLICAS)
        finally:
            for port in ports:
                plain("POST", f"http://127.0.0.1:{port}/go")
        assert [h.result().status_code for h in held] == [200] * REPLICAS
    begun = time.monotonic()
    assert crowded.admin.get("/many/echo?last=1").status_code == 200
    assert time.monotonic() - begun < seconds(0.5)
    seen = [r["target"] for port in ports for r in plain("GET", f"http://127.0.0.1:{port}/seen").json()]
    assert sorted(seen) == sorted(["/env", "/hold"] * REPLICAS + ["/echo?last=1"]), "a replica has seen what was dropped"

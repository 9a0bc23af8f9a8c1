"""The benchmarks' own parts: what they measure with must be right."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from test_tree import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from kit import machine, results  # noqa: E402


@pytest.fixture(scope="module")
def floor(tmp_path_factory):
    program = tmp_path_factory.mktemp("floor") / "floor"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", program, ROOT / "bench/floor.c"],
                   check=True)
    return program


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def servers(floor):
    """Ports of the echo, of the proxy before it, and of both in one command."""
    echo, proxy, hops = free_port(), free_port(), free_port()
    running = [subprocess.Popen([floor, "echo", str(echo)]), subprocess.Popen([floor, "proxy", str(proxy), str(echo)]),
               subprocess.Popen([floor, "hops", str(hops)])]
    for port in (echo, proxy, hops):
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the floor does not listen"
                time.sleep(0.01)
    yield echo, proxy, hops
    for process in running:
        process.kill()
        process.wait()


def test_the_floor_answers_what_it_was_asked(servers):
    for port in servers:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(3):  # on one connection
            client.request("GET", "/30")
            assert client.getresponse().read() == b"x" * 30
            began = time.monotonic()
            client.request("POST", "/us/2000", b"y" * 20000)
            assert client.getresponse().read() == b"y" * 20000
            assert time.monotonic() - began >= 0.002
            client.request("POST", "/", b"y" * 20000)
            assert client.getresponse().read() == b"y" * 20000


def test_the_floor_outlives_clients_that_leave(servers):
    for port in servers:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.send(b"GET /30 HTTP/1.1\r\nHost: x\r\n\r\n")
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/30")
        assert client.getresponse().read() == b"x" * 30


def test_cpu_time_is_the_whole_trees():
    spin = "end = __import__('time').process_time() + 0.3\nwhile __import__('time').process_time() < end: pass"
    before = machine.tree_cpu_s([os.getpid()])
    child = subprocess.Popen(["sh", "-c", f'"{sys.executable}" -c "{spin}"; sleep 30'], start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while machine.tree_cpu_s([os.getpid()]) - before < 0.3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert child.pid in machine.tree(os.getpid())
        assert machine.tree_cpu_s([child.pid], without=("sh", "sleep", os.path.basename(sys.executable)[:15])) == 0
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_medians_and_quantiles():
    record = [{"server": s, "case": "a", "connections": 1, "rounds": [{"cpu_us": v, "bad": 0} for v in values]}
              for s, values in {"one": [1, 2, 9], "two": [2, 8, 9]}.items()]
    cells = results.Cells(record)
    assert cells.median("one", "a", 1, "cpu_us") == 2
    assert cells.ratio("one", "two", "a", 1, "cpu_us") == 0.5
    assert cells.spread("two", "a", 1, "cpu_us") == "8.0 (2.0–9.0)"
    assert results.quantile(range(1, 101), 0.99) == 99 and results.quantile([7], 0.5) == 7

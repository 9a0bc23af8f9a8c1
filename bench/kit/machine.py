"""This machine: its cores, what its processes use, who else was busy."""
import os
import platform
import re
import subprocess
import time
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BUSY_SHARE = 0.05  # of the measured cores, used by others: a busy round

_cores = sorted(os.sched_getaffinity(0))
SERVER_CORE = _cores[0]
LOAD_CORE = _cores[1 % len(_cores)]
BACKEND_CORE = _cores[2 % len(_cores)] if len(_cores) > 2 else LOAD_CORE
ALL_CORES = ",".join(map(str, _cores))


def is_root():
    return os.geteuid() == 0


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


# --- processes ---------------------------------------------------------------


def _stats():
    """{pid: (parent, seconds of CPU, name)}; what has been waited for counts for the parent."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        field = rest.split()
        found[int(entry)] = (int(field[1]), sum(map(int, field[11:15])) * TICK_S, name)
    return found


def tree(root, stats=None):
    """root and all below it."""
    stats = stats or _stats()
    pids, new = set(), {root} & stats.keys()
    while new:
        pids |= new
        new = {pid for pid, (parent, _, _) in stats.items() if parent in new} - pids
    return pids


def tree_cpu_s(roots, without=()):
    """Seconds of CPU of these process trees so far, but for those named `without`."""
    stats = _stats()
    pids = set().union(*(tree(root, stats) for root in roots))
    return sum(stats[pid][1] for pid in pids if stats[pid][2] not in without)


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def listening():
    """Ports on which somebody listens (IPv4). To look here instead of trying: a connection to a port that nobody has may become one
    to itself."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def pss_mb(pids):
    """Memory of processes with what they share divided among them, and the private part of it."""
    pss = private = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {key: int(kb) for key, kb in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
        pss += sizes.get("Pss", 0)
        private += sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
    return pss / 1024, private / 1024


# --- others ------------------------------------------------------------------


class Busy:
    """Whether somebody else used the measured cores, from `begin` to `end`."""

    def __init__(self, own_roots):
        self.own_roots = own_roots  # pids whose trees are part of the measurement

    @staticmethod
    def _cores_s():
        used = stolen = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *field = line.split()
            if name in {f"cpu{core}" for core in (SERVER_CORE, LOAD_CORE, BACKEND_CORE)}:
                user, nice, system, _, _, irq, softirq, steal = map(int, field[:8])
                used += user + nice + system + irq + softirq
                stolen += steal
        return used * TICK_S, stolen * TICK_S

    def begin(self):
        self.at = time.monotonic()
        self.cores, self.own = self._cores_s(), tree_cpu_s(self.own_roots())

    def end(self):
        """The share of the cores' time that others took, as (processes, hypervisor)."""
        time_s = (time.monotonic() - self.at) * len({SERVER_CORE, LOAD_CORE, BACKEND_CORE})
        used, stolen = (now - before for now, before in zip(self._cores_s(), self.cores))
        own = tree_cpu_s(self.own_roots()) - self.own
        return max(0, used - own) / time_s, stolen / time_s


# --- description -------------------------------------------------------------


def _first(pattern, path):
    try:
        found = re.search(pattern, Path(path).read_text(), re.M)
    except OSError:
        return None
    return found and found[1].strip()


def _output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "none"
    return (done.stdout + done.stderr).strip()


def commit(checkout):
    """The short name of what is checked out; "" where that is not known."""
    try:
        return subprocess.run(["git", "-C", checkout, "rev-parse", "--short", "HEAD"], capture_output=True,
                              text=True).stdout.strip()
    except OSError:
        return ""


def describe():
    """What a reader needs to know about this machine, as {name: text}."""
    virtual = "hypervisor" in (_first(r"^flags\s*:(.*)", "/proc/cpuinfo") or "").split()
    model = _first(r"^model name\s*: (.*)", "/proc/cpuinfo")
    memory = int(_first(r"^MemTotal: +(\d+)", "/proc/meminfo") or 0) // 1024
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "CPU": f"{model or platform.machine()}, "
               f"{len(_cores)} cores{' of a virtual machine' if virtual else ''}",
        "memory": f"{memory} MiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _first(r'^PRETTY_NAME="(.*)"', "/etc/os-release") or "unknown",
        "load before": " ".join(f"{x:.2f}" for x in os.getloadavg()),
        "nginx": _output("nginx", "-v").rpartition("/")[2],
        "haproxy": (re.search(r"version (\S+)", _output("haproxy", "-v")) or ["", "none"])[1],
    }

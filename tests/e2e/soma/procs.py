"""Looking at processes, descriptors and control groups from outside."""

import os
import pathlib

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def _stat(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def alive(pid):
    """Whether it exists and is no zombie."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    return [p for p in all_pids() if (stat := _stat(p)) and int(stat[1]) == pid]


def zombies_of(pid):
    return [p for p in children(pid) if (stat := _stat(p)) and stat[0] == "Z"]


def environ(pid):
    try:
        raw = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if item)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs}


def marked(instance):
    """Living processes that a Soma instance started, builds included."""
    return [p for p in all_pids() if alive(p) and environ(p).get("SOMA_INSTANCE") == instance]


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def fd_targets(pid):
    """What its descriptors are, for a failing test to print."""
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return sorted(out)


def rss(pid):
    """Resident bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no VmRSS")


def cgroups_of(instance):
    """Directories of an instance's groups, in every hierarchy."""
    found = []
    for top, names, _ in os.walk(CGROUPS):
        if instance in names:
            found.append(os.path.join(top, instance))
            names.remove(instance)
    return found

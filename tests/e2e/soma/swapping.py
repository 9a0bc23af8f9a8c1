"""Models that share memory which cannot hold all: what they are, what is looked at while they run, and what must never have happened."""

import collections
import os
import threading
import time

from . import procs
from .projects import predictor, python_api
from .waiting import SLOW

MIB = 1 << 20
ON_ITS_WAY = 0.2 * SLOW  # seconds in which a request has arrived

# Holds so many MiB, and says who it is, so that an answer of another's is seen. It notes what happens to it, by the clock of all processes.
HOLDS = """
import os, time
self.name = config["name"]
notes = open(f"{config['notes']}/{self.name}-{os.getpid()}", "a", buffering=1) if "notes" in config else None
self.note = lambda what, of="": notes and notes.write(f"{what} {time.monotonic()} {of}\\n")
self.note("load")
time.sleep(config.get("loads_s", 0))
self.held = b"x" * (config["mib"] << 20)
self.note("ready")
""".strip()
ANSWERS = """
import time
self.note("begin", payload[0])
time.sleep(payload[1])
self.note("end")
return [self.name, payload[0], len(self.held)]
""".strip()
SOURCE = predictor(ANSWERS, init=HOLDS)


def api(name, mib=300, mem=None, least=0, config=(), **keys):
    """One whose replica takes so many MiB, and stays until others want the memory."""
    compute = {"mem": f"{mem or mib + 40}Mi", **keys.pop("compute", {})}
    config = {"name": name, "mib": mib, **dict(config)}
    autoscaling = {"min_replicas": least, "max_replicas": max(least, 1), "keep_idle": "10m", "max_wait": "100ms", **keys.pop("autoscaling", {})}
    return python_api(name, predictor={"config": config, "zygote": "none", "freeze": "never", **keys.pop("predictor", {})}, compute=compute,
                      autoscaling=autoscaling, **keys)


def there(apis):
    """Names of those that have a replica that starts or is ready, of one look."""
    return [a["name"] for a in apis for r in a["replicas"] if r["state"] in ("starting", "ready", "backoff")]


def holding(apis):
    """Those that have memory: who ends has its own until it has, who is in back-off has none."""
    return [a["name"] for a in apis for r in a["replicas"] if r["state"] in ("starting", "ready", "draining", "stopping")]


def _rss(pid):
    try:
        return procs.rss(pid)
    except (OSError, AssertionError):  # it has ended meanwhile
        return 0


class Watch:
    """How many hold memory at once at most, and how many are not about to end, of one api start at once, and how many bytes all of them have, those that end included."""

    def __init__(self, daemon):
        self.daemon, self.most, self.running, self.looks, self.starting, self.bytes = daemon, 0, 0, 0, 0, 0
        self.ending, self.failed = threading.Event(), None
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        try:
            self._look_on()
        except BaseException as e:  # told to whoever ends the watch: nothing was seen from then on
            self.failed = e

    def _look_on(self):
        while not self.ending.wait(0.02):
            apis = self.daemon.admin.apis()
            self.most = max(self.most, len(holding(apis)))
            self.running = max(self.running, len(there(apis)))
            self.starting = max([self.starting, *(sum(r["state"] == "starting" for r in a["replicas"]) for a in apis)])
            self.bytes = max(self.bytes, sum(_rss(r["pid"]) for a in apis for r in a["replicas"] if r["pid"]))
            self.looks += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ending.set()
        self.thread.join()
        if self.failed and not kind:
            raise self.failed


class Life:
    """Of one process: when it began to load, was ready, and began and ended its requests."""

    def __init__(self, name, pid, load):
        self.name, self.pid, self.load, self.ready = name, pid, load, None
        self.begun, self.ended, self.requests = 0, 0, []

    def __repr__(self):
        return f"{self.name} {self.pid}: loads from {self.load}, ready {self.ready}, {self.begun} begun, {self.ended} ended"


class Notes:
    """What models have noted in a folder that all users may write to."""

    def __init__(self, daemon):
        self.folder = daemon.parent / "notes"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.sent = {}

    def sends(self, name, number):
        """Now: a request with that number, no other of which has it."""
        self.sent[name, str(number)] = time.monotonic()

    def lives(self):
        lives = []
        for path in sorted(self.folder.iterdir()):
            name, _, pid = path.name.rpartition("-")
            for line in path.read_text().splitlines():
                what, at, *of = line.split()
                if what == "load":
                    lives.append(Life(name, int(pid), float(at)))
                elif what == "ready":
                    lives[-1].ready = float(at)
                elif what == "begin":
                    lives[-1].begun += 1
                    lives[-1].requests += of
                else:
                    lives[-1].ended += 1
        return lives

    def check(self, since):
        """The invariants that processes know of. since: loads after it were for requests. How many lives there were."""
        lives = self.lives()
        over = [life for life in lives if not os.path.exists(f"/proc/{life.pid}")]
        assert [life for life in over if life.ready is None] == [], "ended while they were loading"
        assert [life for life in over if life.begun != life.ended] == [], "ended with requests in flight"
        assert [life for life in over if life.load > since and not life.begun] == [], "ended before a request that they were loaded for"
        by_name = collections.defaultdict(list)
        for life in lives:
            by_name[life.name].append(life)
        for of_one in by_name.values():
            of_one.sort(key=lambda life: life.load)
            for one, other in zip(of_one, of_one[1:]):
                assert one.ready < other.load, f"two loads at once: {one}; {other}"
                left = [n for n in other.requests if self.sent.get((other.name, n), one.ready) < one.ready - ON_ITS_WAY]
                assert left == [], f"they waited when {one} was ready, which ended before it ran them: {left}"
        return len(lives)


def nothing_was_killed(daemon, names):
    for name in names:
        told = daemon.admin.api(name)
        assert (told["restarts"], told["memory"]["out_of_memory"]) == (0, 0), told
        assert told["requests"]["5xx"] == 0


class Kills:
    """Processes that the kernel has ended since, the machine's memory being full. Those that were beyond the limit of a control group, their own
    doing, are not meant: so the kernel's log is asked, where that may be read."""

    def __init__(self):
        self.counted = self._all()
        try:
            self.log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self.log, 0, os.SEEK_END)
        except OSError:
            self.log = None

    @staticmethod
    def _all():
        with open("/proc/vmstat") as f:
            return next((int(line.split()[1]) for line in f if line.startswith("oom_kill ")), 0)

    def _told(self):
        while True:
            try:
                yield os.read(self.log, 8192).decode(errors="replace")
            except BrokenPipeError:  # it has gone round
                continue
            except BlockingIOError:
                return

    def count(self):
        """Once, at the end."""
        if self._all() == self.counted or self.log is None:
            return self._all() - self.counted
        return sum("oom-kill:" in text and "CONSTRAINT_MEMCG" not in text for text in self._told())

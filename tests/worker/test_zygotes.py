"""Zygotes: a worker that loads once and forks into replicas."""
import json
import os
import subprocess
import textwrap
import threading
import time

import pytest

from harness import BYE, LOADING, PYTHON, QUERY, READY, STOP
from zygotes import FORK, FORKED

# Of the interpreter that the workers of most tests are.
STDLIB_IS_KNOWN = subprocess.run([PYTHON, "-c", "import sys; sys.stdlib_module_names"], stderr=subprocess.DEVNULL).returncode == 0

ECHO = """
    import os

    class PythonPredictor:
        def __init__(self, config):
            self.made_by = os.getpid()

        def predict(self, payload):
            return {"payload": payload, "made_by": self.made_by, "pid": os.getpid()}
    """


def parent(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def session(pid):
    with open("/proc/%d/stat" % pid) as f:
        return [int(n) for n in f.read().rsplit(")", 1)[1].split()[2:4]]


# --- what a replica of it is


def test_a_replica_answers_with_what_the_zygote_made(zygote):
    z = zygote(ECHO)
    assert z.level() == "init"
    one, two = z.replica(), z.replica()
    for replica in (one, two):
        answer = replica.predict([1]).json()
        assert answer == {"payload": [1], "made_by": z.process.pid, "pid": replica.process.pid}
    assert one.process.pid != two.process.pid


def test_imports_are_shared_and_init_is_each_ones_own(zygote):
    z = zygote("import os\nIMPORTED_BY = os.getpid()\n" + textwrap.dedent(ECHO).replace('"pid"', '"imported_by": IMPORTED_BY, "pid"'), level="imports")
    assert z.level() == "imports"
    replica = z.replica()
    answer = replica.predict(1).json()
    assert answer["imported_by"] == z.process.pid
    assert answer["made_by"] == answer["pid"] == replica.process.pid


LAZY = """
    import sys

    THERE = "colorsys" in sys.modules

    class PythonPredictor:
        def __init__(self, config):
            self.there = "colorsys" in sys.modules
            import colorsys, beside

        def predict(self, payload):
            return [THERE, self.there]
    """


@pytest.mark.skipif(not STDLIB_IS_KNOWN, reason="Python knows the names of its own modules from 3.10 on")
def test_what_init_imports_of_python_is_told_and_imported_ahead(start, zygote):
    # A file of the project that has the name of one of Python's is not Python's.
    files = {"predictor.py": LAZY.replace("colorsys, beside", "colorsys, beside, sndhdr, turtle"), "beside.py": "", "turtle.py": "", "sndhdr.py": ""}
    told = json.loads(start(files).expect(READY)[2])
    assert "colorsys" in told["imports"] and not {"beside", "sndhdr", "turtle"} & set(told["imports"])
    z = zygote(files, level="imports", imports=[*told["imports"], "no_such_module"])
    assert z.level() == "imports"
    assert z.replica().predict(1).json() == [False, True]
    # After the fork nothing is told again.
    z.replica().send(QUERY)
    assert z.made[-1].expect(READY)[2] == "{}"


@pytest.mark.parametrize("level, words", [("imports", []), ("worker", ["running __init__"])])
def test_a_fork_does_not_say_what_it_does_first(zygote, level, words):
    z = zygote(ECHO, level=level)
    z.level()
    frames = z.replica().frames
    assert [text for kind, _, text in frames if kind == LOADING] == words


def test_a_fork_that_is_asked_says_what_it_does(zygote):
    z = zygote("""
        import os, time
        class PythonPredictor:
            def __init__(self, config):
                while not os.path.exists("go"):
                    time.sleep(0.01)
            def predict(self, payload):
                return payload
        """, level="imports")
    z.level()
    replica = z.fork()
    said = None
    while said != "running __init__":
        replica.send(QUERY)
        said = replica.receive(5)[2]
    (z.project / "go").touch()
    assert replica.ready().predict(1).json() == 1


def test_only_the_worker_is_shared(zygote):
    z = zygote("import os\nIMPORTED_BY = os.getpid()\n" + textwrap.dedent(ECHO).replace('"pid"', '"imported_by": IMPORTED_BY, "pid"'), level="worker")
    assert z.level() == "worker"
    replica = z.replica()
    assert replica.predict(1).json()["imported_by"] == replica.process.pid


def test_a_replica_is_the_keepers_child_in_a_session_of_its_own(zygote):
    z = zygote(ECHO)
    z.level()
    pid = z.replica().process.pid
    assert parent(pid) == os.getpid()
    assert session(pid) == [pid, pid]


def test_a_zygote_has_one_thread_and_no_children(zygote):
    z = zygote(ECHO)
    z.level()
    z.replica()
    assert os.listdir("/proc/%d/task" % z.process.pid) == [str(z.process.pid)]
    with open("/proc/%d/task/%d/children" % (z.process.pid, z.process.pid)) as f:
        assert f.read() == ""


def test_replicas_outlive_their_zygote(zygote):
    z = zygote(ECHO)
    z.level()
    replica = z.replica()
    z.process.kill()
    z.process.wait()
    assert replica.predict(1).status == 200


def test_a_replica_that_is_killed_is_its_parents_news(zygote):
    z = zygote(ECHO)
    z.level()
    replica, other = z.replica(), z.replica()
    replica.process.kill()
    assert replica.process.wait(5) == -9
    assert other.predict(1).status == 200
    assert z.replica().predict(1).status == 200


def test_descriptors_of_one_replica_are_in_no_other(zygote):
    z = zygote(ECHO)
    z.level()
    replica, other = z.replica(), z.replica()
    replica.process.kill()
    replica.process.wait(5)
    assert replica.next() is None  # nobody else holds its channel
    assert other.predict(1).status == 200


def test_a_replica_stops_as_others_do(zygote):
    z = zygote(ECHO)
    z.level()
    replica = z.replica()
    replica.send(STOP, 1000)
    replica.expect(BYE)
    assert replica.process.wait(5) == 0
    second = z.replica()
    os.kill(second.process.pid, 15)
    second.expect(BYE)
    assert second.process.wait(5) == 0


def test_a_replica_whose_channel_ends_ends(zygote):
    z = zygote(ECHO)
    z.level()
    replica = z.replica()
    replica.control.close()
    assert replica.process.wait(5) == 0


def test_config_is_the_replicas_own(zygote):
    z = zygote("""
        class PythonPredictor:
            def __init__(self, config):
                pass

            def predict(self, payload):
                raise KeyError("x")
        """)
    z.level()
    assert "traceback" not in z.replica().predict(1).error
    assert "KeyError" in z.replica(expose_tracebacks=True).predict(1).error["traceback"]


def test_several_slots(zygote):
    z = zygote("""
        import threading

        both = threading.Barrier(2)

        class PythonPredictor:
            def __init__(self, config):
                pass

            def predict(self, payload):
                both.wait(10)
                return threading.current_thread().name
        """, threads=2)
    z.level()
    replica = z.replica()
    answers = []

    def ask():
        answers.append(replica.predict(1).body)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for a in askers:
        a.start()
    for a in askers:
        a.join(10)
    assert len(set(answers)) == 2


def test_an_async_method_has_its_loop_in_the_replica(zygote):
    z = zygote("""
        import asyncio

        class PythonPredictor:
            def __init__(self, config):
                pass

            async def predict(self, payload):
                await asyncio.sleep(0)
                return payload
        """)
    assert z.level() == "init"
    assert z.replica().predict([7]).json() == [7]


def test_output_of_a_replica_is_in_its_own_log(zygote):
    z = zygote("""
        print("loaded")

        class PythonPredictor:
            def __init__(self, config):
                print("made", end="")

            def predict(self, payload):
                print("asked", payload)
                return 1
        """)
    z.level()
    one, two = z.replica(), z.replica()
    one.predict(1)
    two.predict(2)
    one.wait_log("asked 1")
    two.wait_log("asked 2")
    z.wait_log("made")
    assert "loaded" in z.log and "asked" not in z.log
    for replica in (one, two):
        assert "loaded" not in replica.log and "made" not in replica.log
    assert "asked 2" not in one.log


def test_many_forks_leave_nothing_behind(zygote):
    z = zygote(ECHO)
    z.level()
    fds = len(os.listdir("/proc/%d/fd" % z.process.pid))
    for _ in range(30):
        z.replica().close()
    assert len(os.listdir("/proc/%d/fd" % z.process.pid)) == fds
    assert os.listdir("/proc/%d/task" % z.process.pid) == [str(z.process.pid)]


def test_standard_output_that_is_closed(zygote):
    """Its numbers are free, and what FORK brings does not stay there."""
    z = zygote("""
        import os

        class PythonPredictor:
            def __init__(self, config):
                for fd in range(3):
                    os.close(fd)

            def predict(self, payload):
                os.write(1, b"out\\n")
                os.write(2, b"err\\n")
                return payload
        """)
    assert z.level() == "init"
    for n in range(2):
        replica = z.replica()
        assert replica.predict(n).json() == n
        replica.wait_log("out")
        replica.wait_log("err")


def marks(pid):
    text, deadline = b"", time.monotonic() + 10
    while not text and time.monotonic() < deadline:  # there is none for a moment within exec()
        with open("/proc/%d/environ" % pid, "rb") as f:
            text = f.read()
    return [item.decode() for item in text.split(b"\0") if item.startswith(b"SOMA_REPLICA=")]


MARKS = """
    import os, subprocess

    class PythonPredictor:
        def __init__(self, config):
            pass

        def predict(self, payload):
            forked = os.fork()
            if not forked:
                os.setsid()
                while True:
                    os.read(os.pipe()[0], 1)
            run = subprocess.Popen(["sleep", "600"], start_new_session=True)
            return [os.environ.get("SOMA_REPLICA"), forked, run.pid]
    """


def test_the_mark_of_a_replica_is_its_own(zygote):
    """Also in what it forks and runs, by which that is found when the replica has ended; the zygote keeps its own."""
    z = zygote(MARKS, env={"SOMA_REPLICA": "py-4-zygote-1"})
    z.level()
    for mark in ("py-4-0-22", "py-4-0-3"):
        replica = z.replica(mark=mark)
        said, forked, run = replica.predict(1).json()
        try:
            assert said == mark
            for pid in (replica.process.pid, forked, run):
                assert marks(pid) == ["SOMA_REPLICA=" + mark]
        finally:
            os.kill(forked, 9)
            os.kill(run, 9)
    assert marks(z.process.pid) == ["SOMA_REPLICA=py-4-zygote-1"]
    longer = z.replica(mark="py-4-0-" + "2" * 60).process.pid
    assert marks(longer) == ["SOMA_REPLICA=py-4-zygote-1"], "it has no room, and is not written over what follows"


# --- what a zygote answers


def test_it_answers_ping_query_and_stop(zygote):
    z = zygote(ECHO)
    z.level()
    z.ping()
    z.send(QUERY)
    assert json.loads(z.expect(READY)[2]) == {"level": "init"}
    z.send(STOP, 1000)
    assert z.process.wait(5) == 0


def test_it_ends_with_its_channel(zygote):
    z = zygote(ECHO)
    z.level()
    z.control.close()
    assert z.process.wait(5) == 0


def test_a_fork_without_descriptors_is_refused(zygote):
    z = zygote(ECHO)
    z.level()
    z.send(FORK, 9)
    kind, number, text = z.expect(FORKED)
    assert number == 9 and json.loads(text) == {"error": "Too many open files"}
    assert z.replica().predict(1).status == 200


def test_a_class_that_cannot_be_made_fails_as_ever(zygote):
    z = zygote("""
        class PythonPredictor:
            def __init__(self, config):
                raise ValueError("no model")

            def predict(self, payload):
                return 1
        """)
    assert z.failed()["message"] == "PythonPredictor.__init__ raised ValueError: no model"


def test_init_that_fails_in_a_replica_leaves_the_zygote(zygote):
    z = zygote("""
        import os

        class PythonPredictor:
            def __init__(self, config):
                if config.get("bad"):
                    raise ValueError("no model")

            def predict(self, payload):
                return 1
        """, level="imports")
    z.level()
    assert z.fork(config={"bad": 1}).failed()["message"] == "PythonPredictor.__init__ raised ValueError: no model"
    assert z.replica().predict(1).json() == 1


# --- whether it is safe

THREAD = """
    import threading
    import time

    class PythonPredictor:
        def __init__(self, config):
            threading.Thread(target=time.sleep, args=(600,), daemon=True, name="t").start()

        def predict(self, payload):
            return 1
    """


def unsafe_init(line, imports=""):
    return """
    import os, socket, subprocess, sys, tempfile
    %s

    class PythonPredictor:
        def __init__(self, config):
            %s

        def predict(self, payload):
            return 1
    """ % (imports, line)


def test_a_thread_in_init(zygote):
    assert zygote(THREAD).unsafe().startswith("after __init__ a thread runs (")
    z = zygote(THREAD, level="imports")
    assert z.level() == "imports"
    assert z.replica().predict(1).json() == 1


@pytest.mark.parametrize("line, why", [
    ("self.s = socket.socket()", "after __init__ a socket is open (descriptor "),
    ("self.s = os.pipe()", "after __init__ a pipe is open (descriptor "),
    ("self.p = subprocess.Popen(['sleep', '600'])", "after __init__ a child process runs (pid "),
    ("import select; self.e = select.epoll()", "after __init__ anon_inode:[eventpoll] is open (descriptor "),
    ("self.f = open(__file__)", "after __init__ the file "),
    ("self.f = open('/dev/ptmx')", "after __init__ the device /dev/"),
])
def test_what_a_fork_would_share_in_init(zygote, line, why):
    z = zygote(unsafe_init(line))
    assert z.unsafe().startswith(why)


@pytest.mark.parametrize("line", [
    "self.log = open(tempfile.mktemp(), 'a')",
    "self.f = open(__file__); import mmap; self.m = mmap.mmap(self.f.fileno(), 0, access=mmap.ACCESS_READ)",
    "self.n = open('/dev/null', 'w')",
    "self.d = os.open('.', os.O_RDONLY)",
    "subprocess.run(['true'], check=True)",
])
def test_what_may_be_open(zygote, line):
    z = zygote(unsafe_init(line))
    assert z.level() == "init"
    assert z.replica().predict(1).json() == 1


def test_a_thread_at_import(zygote):
    files = THREAD.replace("class", "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n\n    class", 1)
    assert zygote(files, level="imports").unsafe().startswith("after the imports a thread runs (")
    z = zygote(files, level="worker")
    assert z.level() == "worker"
    assert z.replica().predict(1).json() == 1


# --- what each replica has of its own


def test_random_numbers_differ(zygote):
    z = zygote("""
        import random

        class PythonPredictor:
            def __init__(self, config):
                random.seed(1)

            def predict(self, payload):
                return random.random()
        """)
    z.level()
    assert len({z.replica().predict(1).body for _ in range(3)}) == 3


HOOK = """
    import os
    import soma

    class PythonPredictor:
        def __init__(self, config):
            self.config = config
            self.connected = []
            soma.on_start(self.connect)

        def connect(self):
            if self.config.get("bad"):
                raise ConnectionError("no database")
            self.connected.append(os.getpid())

        def predict(self, payload):
            return self.connected
    """


def test_on_start_runs_in_each_replica(zygote, serve):
    z = zygote(HOOK)
    z.level()
    for _ in range(2):
        replica = z.replica()
        assert replica.predict(1).json() == [replica.process.pid]
    process = serve(HOOK)
    assert process.predict(1).json() == [process.process.pid]


def test_on_start_that_fails(start):
    why = start(HOOK, config={"bad": True}).failed()
    assert why["code"] == "init_error"
    assert why["message"] == "PythonPredictor.connect, which soma.on_start was given, raised ConnectionError: no database"
    assert "no database" in why["traceback"] and why["remedy"] == "see the traceback, correct predictor.py and deploy again"


def test_on_start_wants_a_function(start):
    why = start(HOOK.replace("self.connect)", "self.connect())")).failed()
    assert "TypeError: soma.on_start() wants a function, not NoneType" in why["message"]

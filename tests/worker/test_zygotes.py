"""Zygotes: a worker that loads once and forks into replicas."""
import json
import os
import subprocess
import textwrap
import threading

import pytest

from harness import BYE, LOADING, PYTHON, QUERY, READY, ROOT, STOP
from zygotes import FORK, FORKED, Zygote

# The interpreter of the tests, which has numpy.
VENV = ROOT / "build/venv/bin/python"
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


@pytest.fixture
def zygote():
    made = []

    def zygote(files, **more):
        made.append(Zygote(files, **more))
        return made[-1]

    yield zygote
    for z in made:
        z.close()


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
    with open("/proc/%d/environ" % pid, "rb") as f:
        return [item.decode() for item in f.read().split(b"\0") if item.startswith(b"SOMA_REPLICA=")]


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


# --- thread pools

THREADS = """
    import ctypes, os

    library = ctypes.CDLL(os.path.abspath("libpool.so"))

    def threads():
        return sorted(t for t in os.listdir("/proc/self/task"))

    class PythonPredictor:
        def __init__(self, config):
            self.before = library.used()

        def predict(self, payload):
            return [self.before, library.used(), len(threads()), os.environ.get("OMP_NUM_THREADS")]
    """


@pytest.fixture
def openmp(tmp_path):
    """A library that computes on libgomp's pool."""
    source, library = tmp_path / "pool.c", tmp_path / "libpool.so"
    source.write_text("""
        int used(void)
        {
            int n = 0;
        #pragma omp parallel reduction(+:n)
            n += 1;
            return n;
        }

        void omp_set_num_threads(int);

        void choose(int n)
        {
            omp_set_num_threads(n);
        }
        """)
    done = subprocess.run(["cc", "-shared", "-fPIC", "-fopenmp", "-o", str(library), str(source)], capture_output=True)
    if done.returncode:
        pytest.skip("no compiler with OpenMP")
    return library.read_bytes()


@pytest.mark.parametrize("given, then", [("3", 3), (None, len(os.sched_getaffinity(0)))])
def test_libgomp_has_one_thread_and_then_all(zygote, openmp, given, then, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    z = zygote({"predictor.py": THREADS, "libpool.so": openmp}, env={"OMP_NUM_THREADS": given} if given else {})
    assert z.level() == "init"
    before, used, threads, variable = z.replica().predict(1).json()
    assert (before, used, variable) == (1, then, given)
    assert threads >= then


CHOOSES = """
    import ctypes, os
    %s
    library = ctypes.CDLL(os.path.abspath("libpool.so"))

    class PythonPredictor:
        def __init__(self, config):
            %s

        def predict(self, payload):
            return [library.used(), os.environ.get("OMP_NUM_THREADS")]
    """


@pytest.mark.parametrize("level, imports, init, then", [
    ("init", "os.environ['OMP_NUM_THREADS'] = '2'", "pass", [2, "2"]),
    ("init", "os.environ['OMP_NUM_THREADS'] = '1'", "pass", [1, "1"]),
    ("init", "", "library.choose(2)", [2, "3"]),
    ("imports", "", "library.choose(2)", [2, "3"]),
    ("worker", "", "library.choose(2)", [2, "3"]),
])
def test_a_number_that_the_code_has_chosen_stays(zygote, openmp, level, imports, init, then):
    """By a variable before the library is loaded, or by a call: in the zygote, or in the replica."""
    z = zygote({"predictor.py": CHOOSES % (imports, init), "libpool.so": openmp}, level=level, env={"OMP_NUM_THREADS": "3"})
    assert z.level() == level
    assert z.replica().predict(1).json() == then


# As PyTorch's own: over the same pool, and one where that is held.
LIKE_TORCH = """
    import ctypes, os

    library = ctypes.CDLL(os.path.abspath("libpool.so"))
    get_num_threads = library.used

    def set_num_threads(number):
        library.choose(number)

    class default_generator:
        seed = int
    """


@pytest.mark.parametrize("level", ["init", "imports", "worker"])
@pytest.mark.parametrize("init, then", [("torch.set_num_threads(1)", 1), ("torch.set_num_threads(2)", 2), ("pass", 3), ("given(2)", 2)])
def test_a_number_that_torch_was_told_stays(zygote, openmp, level, init, then):
    """One is what nearly all choose, and what it has while it is held."""
    source = CHOOSES.replace("import ctypes, os", "import ctypes, os, torch\n    from torch import set_num_threads as given") % ("", init)
    z = zygote({"predictor.py": source, "torch.py": LIKE_TORCH, "libpool.so": openmp}, level=level, env={"OMP_NUM_THREADS": "3"})
    assert z.level() == level
    assert z.replica().predict(1).json() == [then, "3"]


def test_libgomp_in_every_slot(zygote, openmp):
    z = zygote({"predictor.py": THREADS.replace("def predict(self, payload):", "def predict(self, payload):\n            import time; time.sleep(0.2)"), "libpool.so": openmp}, env={"OMP_NUM_THREADS": "3"}, threads=2)
    z.level()
    replica = z.replica()
    answers = []
    askers = [threading.Thread(target=lambda: answers.append(replica.predict(1).json()[1])) for _ in range(2)]
    for a in askers:
        a.start()
    for a in askers:
        a.join(10)
    assert answers == [3, 3]


# As tqdm's own: a thread that looks after progress bars, and is there from the first one on.
LIKE_TQDM = """
    import threading

    class TMonitor(threading.Thread):
        def __init__(self, tqdm_cls):
            super().__init__(name="tqdm_monitor", daemon=True)
            self.tqdm_cls, self.was_killed = tqdm_cls, threading.Event()
            self.start()

        def run(self):
            self.was_killed.wait()

        def exit(self):
            self.was_killed.set()
            self.join()
    """
BARS = """
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from tqdm._monitor import TMonitor

    class Bar:
        monitor = None

    class PythonPredictor:
        def __init__(self, config):
            list(ThreadPoolExecutor(2).map(abs, range(9)))
            Bar.monitor = TMonitor(Bar)
            self.begun = threading.active_count()

        def predict(self, payload):
            return [self.begun > 1, Bar.monitor is None]
    """


def test_threads_that_only_look_after_progress_bars_end(zygote):
    """And those of a pool that nobody has any more."""
    z = zygote({"predictor.py": BARS, "tqdm/__init__.py": "", "tqdm/_monitor.py": LIKE_TQDM})
    assert z.level() == "init"
    assert z.replica().predict(1).json() == [True, True]


NUMPY = """
    import os
    import numpy

    class PythonPredictor:
        def __init__(self, config):
            self.a = numpy.random.rand(600, 600)
            self.weights = numpy.memmap(config["file"], mode="r")
            self.before = len(os.listdir("/proc/self/task"))

        def predict(self, payload):
            product = self.a @ self.a
            return [self.before, len(os.listdir("/proc/self/task")), float(product[0, 0]), float(numpy.random.rand()), int(self.weights[payload])]
    """


@pytest.mark.skipif(not VENV.exists() or "sanitized" in PYTHON, reason="no environment with numpy, or not for this worker")
def test_openblas_has_one_thread_and_then_all(zygote, tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(range(256)))
    z = zygote(NUMPY, python=str(VENV), config={"file": str(weights)}, env={"OPENBLAS_NUM_THREADS": "3"})
    assert z.level() == "init"
    answers = [z.replica().predict(7).json() for _ in range(3)]
    for before, after, _, _, weight in answers:
        assert before == 1 and after >= 1 + 2 + 1, "OpenBLAS's own, and the looper"
        assert weight == 7
    assert len({product for _, _, product, _, _ in answers}) == 1
    assert len({number for _, _, _, number, _ in answers}) == 3, "numpy.random draws the same in all"


TORCH = """
    import torch

    class PythonPredictor:
        def __init__(self, config):
            self.net = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 8)).eval()
            self.before, self.first = torch.get_num_threads(), self.run()

        def run(self):
            with torch.no_grad():
                return self.net(torch.ones(64, 512)).sum().item()

        def predict(self, payload):
            return [self.before, torch.get_num_threads(), abs(self.run() - self.first) < 1e-3, torch.rand(1).item()]
    """


@pytest.mark.skipif("SOMA_TEST_TORCH" not in os.environ, reason="SOMA_TEST_TORCH names no Python with torch")
def test_torch_has_one_thread_and_then_all(zygote):
    z = zygote(TORCH, python=os.environ["SOMA_TEST_TORCH"], env={"OMP_NUM_THREADS": "3"})
    assert z.level() == "init"
    answers = [z.replica().predict(1).json() for _ in range(3)]
    assert {(before, after, same) for before, after, same, _ in answers} == {(1, 3, True)}
    assert len({number for *_, number in answers}) == 3


@pytest.mark.skipif("SOMA_TEST_TORCH" not in os.environ, reason="SOMA_TEST_TORCH names no Python with torch")
@pytest.mark.parametrize("level", ["init", "imports"])
@pytest.mark.parametrize("number", [1, 2])
def test_torchs_number_that_the_code_has_chosen_stays(zygote, level, number):
    """One is what nearly all choose."""
    source = TORCH.replace("self.net =", "torch.set_num_threads(%d)\n            self.net =" % number)
    source = source.replace("self.before, self.first = torch.get_num_threads(), self.run()", "self.before, self.first = 0, 0")
    z = zygote(source, python=os.environ["SOMA_TEST_TORCH"], env={"OMP_NUM_THREADS": "3"}, level=level)
    assert z.level() == level
    assert z.replica().predict(1).json()[1] == number

"""Threads of libraries in a zygote: held at one until the fork, or ended."""
import os
import subprocess
import threading

import pytest

from harness import PYTHON, ROOT

# The interpreter of the tests, which has numpy.
VENV = ROOT / "build/venv/bin/python"

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

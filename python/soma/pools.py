"""Thread pools of libraries, in a zygote: one thread until the fork, then as many as they would have had.

A pool's threads do not come along in a fork, and its owner waits for them for ever. With one thread there is no pool.
"""
import os
import re
import sys


class Pool:
    """A library that computes with threads: found by its file's name, kept small by variables, told by a function."""

    def __init__(self, pattern, variables, functions):
        self.pattern = re.compile(pattern)
        self.variables = variables  # the first that is set counts, and is set
        self.functions = functions  # any of these names, of (int)


POOLS = [
    Pool(
        r"^lib(scipy_)?(openblas|blas)",
        ["OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"],
        [p + "openblas_set_num_threads" + s for p in ("scipy_", "") for s in ("64_", "_64", "")]),
    Pool(r"^libgomp\b", ["OMP_NUM_THREADS"], ["omp_set_num_threads"]),
]
TORCH = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
VARIABLES = sorted({pool.variables[0] for pool in POOLS}.union(TORCH))


def _number(text):
    """Of a variable such as "4" or OpenMP's "4,2"; None: it says nothing."""
    found = re.match(r"\s*(\d+)", text or "")
    return int(found.group(1)) if found and int(found.group(1)) else None


class Held:
    """Pools that are held at one thread: made before anything of the user's is imported."""

    def __init__(self):
        names = [name for pool in POOLS for name in pool.variables] + TORCH
        self._before = {name: os.environ.get(name) for name in names}
        self._resize = []  # (function, threads); of OpenMP once more in each thread, which has a number of its own
        self._held = [name for name in VARIABLES if os.environ.get(name) != "1"]
        for name in self._held:
            os.environ[name] = "1"

    def _threads(self, variables):
        for name in variables:
            number = _number(self._before[name])
            if number:
                return number
        return len(os.sched_getaffinity(0))

    def find(self):
        """The pools of what is loaded now. In the zygote, so that no replica needs to look."""
        with open("/proc/self/maps") as f:
            paths = {line.split(None, 5)[5].strip() for line in f if ".so" in line}
        for path in sorted(paths):
            for pool in POOLS:
                if pool.pattern.match(os.path.basename(path)):
                    self._add(path, pool)

    def _add(self, path, pool):
        import ctypes

        try:
            library = ctypes.CDLL(path)
        except OSError:  # mapped, and no library
            return
        for name in pool.functions:
            function = getattr(library, name, None)
            if function is not None:
                function.argtypes, function.restype = [ctypes.c_int], None
                if self._threads(pool.variables) > 1:
                    self._resize.append((function, self._threads(pool.variables)))
                return

    def release(self):
        """After the fork: as it would have been without."""
        for name in self._held:
            if self._before[name] is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = self._before[name]
        self.resize()
        torch, threads = sys.modules.get("torch"), self._threads(TORCH)
        if torch is not None and threads > 1:  # it has a number of its own, and tells its threads
            torch.set_num_threads(threads)

    def resize(self):
        """For this thread and, where the library has one pool, for all."""
        for function, threads in self._resize:
            function(threads)

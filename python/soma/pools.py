"""Thread pools of libraries, in a zygote: one thread until the fork, then as many as they would have had.

A pool's threads do not come along in a fork, and its owner waits for them for ever. With one thread there is no pool. A number
that the user's code has chosen meanwhile, by a variable or by a call, stays.
"""
import importlib.util
import os
import re
import sys

HELD = "01"  # one, and not as anybody else writes it


class Pool:
    """A library that computes with threads: found by its file's name, kept small by variables, told by a function."""

    def __init__(self, pattern, variables, functions, of_thread=False):
        self.pattern = re.compile(pattern)
        self.variables = variables  # the first that is set counts, and is set
        self.functions = functions  # (sets, tells): the first that is there, of (int) and of ()
        self.of_thread = of_thread  # each thread has a number of its own


POOLS = [
    Pool(
        r"^lib(scipy_)?(openblas|blas)",
        ["OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"],
        [tuple(p + "openblas_%s_num_threads" % verb + s for verb in ("set", "get")) for p in ("scipy_", "") for s in ("64_", "_64", "")]),
    Pool(r"^libgomp\b", ["OMP_NUM_THREADS"], [("omp_set_num_threads", "omp_get_max_threads")], of_thread=True),
]
TORCH = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
VARIABLES = sorted({pool.variables[0] for pool in POOLS}.union(TORCH))


def _number(text):
    """Of a variable such as "4" or OpenMP's "4,2"; None: it says nothing."""
    found = re.match(r"\s*(\d+)", text or "")
    return int(found.group(1)) if found and int(found.group(1)) else None


class Torch:
    """Sees PyTorch imported, and hears the number that user code gives it: it has that after the fork."""

    def __init__(self):
        self.chosen = None
        self._module = self._set = self._get = None
        self._held = True  # what user code has taken of the module stays in its hands
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        self._go()
        spec = importlib.util.find_spec(name)
        loader = spec.loader if spec else None
        if loader is not None:
            run = loader.exec_module

            def exec_module(module):
                run(module)
                self._listen(module)

            loader.exec_module = exec_module
        return spec

    def _listen(self, module):
        self._module, self._set, self._get = module, module.set_num_threads, module.get_num_threads

        def set_num_threads(number):
            # It starts its threads at once; and it is who knows what is no number.
            self._set(type(number)(1) if self._held and number > 1 else number)
            self.chosen = number

        def get_num_threads():
            return self.chosen if self._held and self.chosen else self._get()

        module.set_num_threads, module.get_num_threads = set_num_threads, get_num_threads

    def _go(self):
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def release(self, threads):
        """threads: as many as it would have had. It tells its own."""
        self._go()
        self._held = False
        if self._module is None:
            return
        self._module.set_num_threads, self._module.get_num_threads = self._set, self._get
        if self.chosen is None and self._get() != 1:
            return
        if self.chosen or threads > 1:
            self._set(self.chosen or threads)


class Held:
    """Pools that are held at one thread: made before anything of the user's is imported."""

    def __init__(self):
        names = [name for pool in POOLS for name in pool.variables] + TORCH
        self._given = {name: os.environ.get(name) for name in names}
        self._resize, self._each = [], []  # (function, threads): once for all, and in each thread
        self._held = [name for name in VARIABLES if os.environ.get(name) != "1"]
        self._torch = Torch()
        for name in self._held:
            os.environ[name] = HELD

    def _threads(self, variables):
        for name in variables:
            number = _number(self._given[name])
            if number:
                return number
        return len(os.sched_getaffinity(0))

    def find(self):
        """The pools of what is loaded now. In the zygote, so that no replica needs to look."""
        for name in self._given:
            if name not in self._held or os.environ.get(name) != HELD:
                self._given[name] = os.environ.get(name)
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
        for setter, getter in pool.functions:
            function, tell = getattr(library, setter, None), getattr(library, getter, None)
            if function is None or tell is None:
                continue
            function.argtypes, function.restype = [ctypes.c_int], None
            tell.argtypes, tell.restype = [], ctypes.c_int
            threads = self._threads(pool.variables)
            if tell() == 1:
                self._resize.append((function, threads))
            if pool.of_thread:
                self._each.append((function, threads))
            return

    def release(self):
        """After the fork: as it would have been without."""
        for name in self._held:
            if os.environ.get(name) != HELD:
                continue  # by now it is the user's
            if self._given[name] is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = self._given[name]
        for function, threads in self._resize:
            if threads > 1:
                function(threads)
        self._torch.release(self._threads(TORCH))

    def in_thread(self):
        """For another thread than the main one, as it begins."""
        for function, threads in self._each:
            function(threads)

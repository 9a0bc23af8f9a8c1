"""Pythons without a GIL: a build of their own, in which slots run at the same time."""
import json
import shutil
import threading

import pytest

import harness
import interpreters


def is_built(version):
    return list(harness.worker_dir().glob(f"_worker.cpython-{version.replace('.', '')}-*.so"))


def together(ask, arguments):
    """A thread for each, until all are over."""
    threads = [threading.Thread(target=ask, args=(one,)) for one in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(params=["3.13t", "3.14t"])
def python(request):
    python = interpreters.find(request.param)
    if not python:
        pytest.skip(f"no Python {request.param} on this machine (scripts/python-t makes 3.13t)")
    if not is_built(request.param):
        pytest.skip(f"the worker is not built for {python}: meson configure build -Dfree_threaded={python}")
    return python


def test_the_gil_stays_off(serve, python):
    worker = serve("""
        import sys
        class PythonPredictor:
            def __init__(self, config): pass
            def predict(self, payload):
                return [sys._is_gil_enabled(), "t" in sys.abiflags]
        """, python=python)
    assert worker.predict({}).json() == [False, True]
    assert "GIL" not in worker.log


def test_slots_compute_at_the_same_time(serve, python):
    """Two predicts take turns by a number that both read in a loop. With a GIL
    each turn would wait for the switch interval, 5 seconds here."""
    worker = serve("""
        import sys
        sys.setswitchinterval(5)
        class PythonPredictor:
            def __init__(self, config):
                self.turn = 0
            def predict(self, payload):
                for turn in range(payload["first"], 200, 2):
                    while self.turn != turn:
                        pass
                    self.turn = turn + 1
                return self.turn
        """, python=python, threads=2)
    answers = {}

    def ask(first):
        answers[first] = worker.predict({"first": first}, timeout=60).json()

    together(ask, (0, 1))
    assert sorted(answers) == [0, 1] and max(answers.values()) == 200


def test_results_that_others_change_meanwhile(serve, python):
    """What is written as JSON belongs to all threads: any of its states will do,
    but it must be JSON, and the process must live."""
    worker = serve("""
        import threading
        class PythonPredictor:
            def __init__(self, config):
                self.shared = {"list": [], "dict": {}}
                threading.Thread(target=self.change, daemon=True).start()
            def change(self):
                while True:
                    for i in range(200):
                        self.shared["dict"]["%d" % i] = ["x" * i]
                        self.shared["list"].append({"i": str(i)})
                    self.shared["list"].clear()
                    self.shared["dict"].clear()
            def predict(self, payload):
                assert payload == {name: [name] for name in payload}
                return self.shared
        """, python=python, threads=4)
    wrong = []

    def ask(seed):
        for i in range(60):
            answer = worker.predict({"%d-%d" % (seed, n): ["%d-%d" % (seed, n)] for n in range(i % 20)}, timeout=60)
            if answer.status != 200 or set(json.loads(answer.body)) != {"list", "dict"}:
                wrong.append(answer.body)

    together(ask, range(6))
    assert wrong == [] and worker.process.poll() is None


def test_streams_beside_each_other(serve, python):
    """Some in slots, some released, some async, some left by their clients."""
    worker = serve("""
        import soma
        def plain(tag, n):
            for i in range(n):
                yield [tag, i]
        def released(tag, n):
            yield soma.release_slot()
            yield from plain(tag, n)
        async def later(tag, n):
            for chunk in plain(tag, n):
                yield chunk
        class PythonPredictor:
            def predict(self, payload): return globals()[payload["kind"]](payload["tag"], payload["n"])
        """, python=python, threads=4)
    wrong = []

    def ask(seed):
        for i in range(40):
            kind, tag = ("plain", "released", "later")[(seed + i) % 3], "%d-%d" % (seed, i)
            if i % 5 == 4:
                leaving = worker.connect()
                leaving.request("POST", "/", json.dumps({"kind": kind, "tag": tag, "n": 10 ** 6}).encode(), {"content-type": "application/json"})
                leaving.getresponse().read(10)
                leaving.close()
                continue
            answer = worker.predict({"kind": kind, "tag": tag, "n": 50}, timeout=60)
            if [json.loads(line) for line in answer.body.splitlines()] != [[tag, n] for n in range(50)]:
                wrong.append(answer.body)

    together(ask, range(6))
    assert wrong == [] and worker.process.poll() is None, worker.log


def test_a_build_that_is_missing_is_named(start, python, tmp_path, monkeypatch):
    """The build for all others would be loaded, and crash."""
    shutil.copytree(harness.worker_dir(), tmp_path / "python/soma", ignore=shutil.ignore_patterns("*.cpython-*"))
    monkeypatch.setattr(harness, "BUILDS", [tmp_path])
    worker = start("class PythonPredictor: pass", python=python)
    failure = worker.failed()
    assert "is a free-threaded Python 3.1" in failure["message"] and "_worker.cpython-31" in failure["message"]
    assert "choose one with a GIL" in failure["remedy"]

"""How the process ends, and what user code may do to it."""
import os
import signal
import socket
import time

import pytest

from harness import BYE, LOADING, STOP
from test_long import later

SLOW = """
    import time
    class PythonPredictor:
        def predict(self, payload):
            time.sleep(payload)
            print("finished")
            return payload
"""


def stop(w, how, grace=10000):
    if how == "STOP":
        w.send(STOP, grace)
    else:
        w.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["STOP", "SIGTERM"])
def test_idle_process_stops_at_once(serve, how, threads):
    w = serve(SLOW, threads=threads)
    idle = w.connect()
    w.predict(0, connection=idle)
    start = time.monotonic()
    stop(w, how)
    w.expect(BYE)
    assert w.wait() == 0
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["STOP", "SIGTERM"])
def test_drain_finishes_what_is_in_flight(serve, how, threads):
    w = serve(SLOW, threads=threads)
    answers = [later(w, 0.4) for _ in range(3)]
    begun = w.connect()
    begun.connect()
    begun.sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n0")
    time.sleep(0.2)
    stop(w, how)
    time.sleep(0.1)
    begun.sock.sendall(b".1")
    assert [a().json() for a in answers] == [0.4] * 3
    assert answers[0]().headers["connection"] == "close"
    assert b"200 OK" in begun.sock.recv(1000)
    w.expect(BYE)
    assert w.wait() == 0
    assert w.next() is None


def test_request_in_the_socket_counts_as_read(serve):
    """On a connection that was idle, and on one that was not accepted yet."""
    w = serve("import ctypes\nclass PythonPredictor:\n  def predict(self, payload): ctypes.PyDLL(None).usleep(payload)\n")
    idle, new = w.connect(), w.connect()
    assert w.request("GET", connection=idle).status == 200
    busy = later(w, 400000)
    time.sleep(0.1)
    w.process.send_signal(signal.SIGSTOP)
    for c in (idle, new):
        c.request("POST", "/", "0", {"content-type": "application/json"})
    w.send(STOP, 5000)
    w.process.send_signal(signal.SIGCONT)
    assert idle.getresponse().status == 200 and new.getresponse().status == 200 and busy().status == 200
    assert w.wait() == 0


def test_grace_period_ends(serve):
    w = serve(SLOW)
    answer = later(w, 30)
    time.sleep(0.2)
    w.send(STOP, 300)
    assert w.wait(3) == 1
    assert isinstance(answer(), Exception)
    w.wait_log("soma: the grace period is over and a predict still runs: the process ends\n")


def test_stop_while_loading(start):
    w = start("import time\ntime.sleep(60)\n")
    w.expect(LOADING)
    w.send(STOP, 1000)
    w.expect(BYE)
    assert w.wait(2) == 0


def test_atexit_runs_and_is_bounded(serve):
    w = serve("import atexit\natexit.register(print, 'goodbye')\n" + "class PythonPredictor:\n  def predict(self): pass\n")
    w.send(STOP, 1000)
    assert w.wait() == 0
    w.wait_log("goodbye\n")
    w = serve("import atexit, time\natexit.register(time.sleep, 60)\n" + "class PythonPredictor:\n  def predict(self): pass\n")
    w.send(STOP, 500)
    assert w.wait(3) == 0


def test_threads_of_the_user_do_not_hold_it(serve):
    w = serve("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\nclass PythonPredictor:\n  def predict(self): pass\n")
    w.send(STOP, 1000)
    w.expect(BYE)
    assert w.wait(2) == 0


def test_post_predict_is_finished_first(serve):
    w = serve("import time\nclass PythonPredictor:\n  def predict(self): return 1\n  def post_predict(self):\n    time.sleep(0.4)\n    print('posted')\n")
    w.predict()
    w.send(STOP, 5000)
    assert w.wait() == 0
    w.wait_log("posted")


@pytest.mark.parametrize("text", [SLOW, "import time\ntime.sleep(60)\n", "import ctypes\nctypes.PyDLL(None).sleep(60)\n"])
def test_end_of_the_channel_ends_it(start, text):
    w = start(text)
    w.expect(LOADING)
    time.sleep(0.2)
    w.control.shutdown(socket.SHUT_RDWR)
    w.wait(1)


def test_end_of_the_channel_during_a_predict(serve):
    w = serve("import ctypes\nclass PythonPredictor:\n  def predict(self): ctypes.PyDLL(None).sleep(60)\n")
    later(w, 1)
    time.sleep(0.2)
    w.control.shutdown(socket.SHUT_RDWR)
    w.wait(1)


# --- what predict does to its process -----------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("body, code, log", [
    ("import sys; sys.exit(3)", 3, "soma: predict called sys.exit(3): the process ends"),
    ("import sys; sys.exit()", 0, "soma: predict called sys.exit(): the process ends"),
    ("import sys; sys.exit('words')", 1, "called sys.exit('words')"),
    ("raise KeyboardInterrupt", 130, "predict was interrupted"),
    ("import os; print('last words', end=''); os._exit(9)", 9, ""),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
    ("import ctypes; ctypes.string_at(0)", -11, "Fatal Python error: Segmentation fault"),
    ("import os; os.abort()", -6, "in predict"),
])
def test_death_in_predict(serve, body, code, log, threads):
    w = serve("class PythonPredictor:\n  def predict(self):\n    %s\n" % body, threads=threads)
    with pytest.raises((ConnectionError, OSError)):
        w.predict(1)
    assert w.wait() == code
    w.wait_log(log)


@pytest.mark.parametrize("threads", [1, 2])
def test_signal_handlers_of_the_user(serve, threads):
    """Handlers run in the main thread, as soon as it can."""
    w = serve("""
        import os, signal
        class PythonPredictor:
            def __init__(self, config):
                self.count = 0
                signal.signal(signal.SIGUSR1, self.on)
                signal.signal(signal.SIGALRM, self.on)
            def on(self, number, frame):
                self.count += 1
                print("signal", number)
                if number == signal.SIGALRM:
                    raise TimeoutError("too slow")
            def predict(self, payload):
                if payload:
                    signal.setitimer(signal.ITIMER_REAL, 0.1)
                    while True: pass
                return self.count
    """, threads=threads)
    for i in range(1, 51):  # often just before the wait
        assert w.predict(0).json() == i - 1
        w.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 2
        while w.log.count("signal") < i:
            assert time.monotonic() < end
    if threads == 1:
        assert w.predict(1).error["message"] == "TimeoutError: too slow"
    w.process.send_signal(signal.SIGALRM)  # raises while nothing runs
    end = time.monotonic() + 5
    while w.log.count("TimeoutError: too slow\n") < (2 if threads == 1 else 1):
        assert time.monotonic() < end
    assert w.predict(0).json() == 52 - (threads > 1)


def test_sigterm_of_the_user(serve):
    w = serve("""
        import signal, sys
        class PythonPredictor:
            def __init__(self, config):
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
            def predict(self): pass
    """)
    w.process.send_signal(signal.SIGTERM)
    assert w.wait() == 5


FORKS = """
    import multiprocessing, os, subprocess, sys, threading, time, asyncio, concurrent.futures
    def square(x):
        return x * x
    class PythonPredictor:
        def predict(self, payload):
            if payload == "fork":
                if os.fork() == 0:
                    time.sleep(0.3)
                    return "child"
                return "parent"
            if payload == "orphan":
                pid = os.fork()
                if pid == 0:
                    time.sleep(60)
                    os._exit(0)
                return pid
            if payload == "killed":
                for _ in range(200):
                    pid = os.fork()
                    if pid == 0:
                        time.sleep(60)
                        os._exit(0)
                    os.kill(pid, 15)  # before it has run at all
                    assert os.waitpid(pid, 0)[1] == 15
                return "all"
            if payload == "pool":
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return pool.map(square, range(5))
            if payload == "spawn":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return pool.map(square, range(3))
            if payload == "subprocess":
                return subprocess.run(["ls", "/proc/self/fd"], stdout=subprocess.PIPE, close_fds=False).stdout.decode().split()
            if payload == "threads":
                with concurrent.futures.ThreadPoolExecutor() as e:
                    return list(e.map(square, range(4)))
            if payload == "asyncio":
                return asyncio.run(asyncio.sleep(0.01, 6))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_forks_threads_and_loops(serve, threads):
    w = serve(FORKS, threads=threads)
    c = w.connect()
    for _ in range(3):
        assert w.predict("fork", connection=c).body == b"parent"
    time.sleep(0.5)
    assert w.predict("pool", connection=c).json() == [0, 1, 4, 9, 16]
    assert w.predict("spawn", connection=c).json() == [0, 1, 4]
    assert w.predict("threads", connection=c).json() == [0, 1, 4, 9]
    assert w.predict("asyncio", connection=c).json() == 6
    assert set(w.predict("subprocess", connection=c).json()) <= {"0", "1", "2", "3"}  # 3: of ls itself


def test_a_child_that_is_ended_as_soon_as_it_is_made_ends(serve):
    """Its SIGTERM may find the handler of the replica still in place."""
    w = serve(FORKS)
    assert w.predict("killed").body == b"all"
    assert w.predict("fork").body == b"parent"


def test_a_fork_does_not_keep_what_is_ours(serve):
    w = serve(FORKS)
    c = w.connect()
    child = w.predict("orphan", connection=c).json()
    try:
        w.process.kill()
        w.wait()
        assert c.sock is None or c.sock.recv(1) == b""
        assert w.next(2) is None
    finally:
        os.kill(child, signal.SIGTERM)  # ends it: our handler is not its own


def test_not_started_by_soma():
    import subprocess

    from harness import PYTHON, worker_dir

    env = {k: v for k, v in os.environ.items() if not k.startswith("SOMA_")}
    got = subprocess.run([PYTHON, str(worker_dir() / "worker_main.py")], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert got.returncode == 1 and "this program is started by soma" in got.stdout


def test_it_runs_where_it_is_copied(serve, tmp_path, monkeypatch):
    import shutil

    import harness

    copy = tmp_path / "soma"
    copy.mkdir()
    for file in harness.worker_dir().iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    monkeypatch.setattr(harness, "worker_dir", lambda: copy)
    assert serve(SLOW).predict(0).json() == 0


def test_out_of_descriptors(serve):
    """It waits for room, does not spin, and serves again."""
    w = serve("class PythonPredictor:\n  def predict(self, payload): return payload\n", limit_files=40)
    connections = [w.connect() for _ in range(60)]
    for c in connections:
        c.connect()
    time.sleep(1)
    ticks = open("/proc/%d/stat" % w.process.pid).read().rsplit(")", 1)[1].split()
    assert int(ticks[11]) + int(ticks[12]) < 50  # hundredths of a second, its start included
    for c in connections:
        c.close()
    assert w.predict(3).json() == 3

"""What user code prints: whole lines, with the request they belong to."""
import re
import time

from test_long import later


def test_lines_are_marked(serve):
    w = serve("""
        import logging, os, sys, threading
        print("at import")
        class PythonPredictor:
            def __init__(self, config):
                sys.stderr.write("in init\\n")
            def predict(self, payload):
                print("one", "two")
                print("a\\nb\\n\\nc")
                sys.stderr.write("half")
                sys.stderr.write(" and half\\n")
                logging.warning("logged")
                t = threading.Thread(target=print, args=("no request",))
                t.start()
                t.join()
                os.write(1, b"raw\\n")
                sys.stdout.buffer.write(b"buffer\\n")
                print("ä\\ud800")
                print("not ended", end="", flush=True)
        """)
    w.predict(1, headers={"x-request-id": "r1"})
    log = w.wait_log("not ended")
    assert log == "".join([
        "at import\n", "in init\n", "\x1er1\x1fone two\n", "\x1er1\x1fa\n\x1er1\x1fb\n\x1er1\x1f\n\x1er1\x1fc\n", "\x1er1\x1fhalf and half\n",
        "\x1er1\x1fWARNING:root:logged\n", "no request\n", "raw\n", "buffer\n", "\x1er1\x1fä\\ud800\n", "\x1er1\x1fnot ended\n"])


def test_the_streams_are_streams(serve):
    w = serve("""
        import io, sys, contextlib
        class PythonPredictor:
            def predict(self, payload):
                sys.stdout.writelines(["x\\n", "y\\n"])
                caught = io.StringIO()
                with contextlib.redirect_stdout(caught):
                    print("caught")
                sys.stdout.reconfigure(line_buffering=True)
                try:
                    sys.stdout.write(b"x")
                except TypeError as e:
                    error = str(e)
                return [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty(), sys.stdout.encoding, sys.stderr.name, sys.stdout.writable(),
                        isinstance(sys.stdout, io.TextIOBase), caught.getvalue(), sys.stdout.closed, error, sys.stdout.write("abc"), sys.__stdout__ is sys.stdout]
    """)
    assert w.predict(1).json() == [1, 2, False, "utf-8", "<stderr>", True, True, "caught\n", False, "write() argument must be str, not bytes", 3, True]
    assert "caught" not in w.wait_log("\x1fabc\n")


def test_progress_before_a_request_is_seen_at_once(start):
    w = start("import sys, time\nprint('50%', end='', flush=True)\ntime.sleep(60)\n")
    assert w.wait_log("50%", 5) == "50%"


def test_long_lines_are_cut(serve):
    w = serve("class PythonPredictor:\n  def predict(self): print('x' * 200000)\n")
    w.predict(headers={"x-request-id": "r1"})
    w.wait_log("\n")
    time.sleep(0.2)
    lines = w.log.rstrip("\n").split("\n")
    assert "".join(line[4:] for line in lines) == "x" * 200000 and all(line.startswith("\x1er1\x1f") for line in lines) and len(lines) < 6


def test_threads_do_not_mix_in_a_line(serve):
    w = serve("""
        import sys, time
        class PythonPredictor:
            def predict(self, payload):
                for i in range(200):
                    for part in ("<%s" % payload, "-" * 5000, "%s>" % payload):
                        sys.stdout.write(part)
                    sys.stdout.write("\\n")
    """, threads=4)
    answers = [later(w, n, headers={"x-request-id": "id%d" % n}) for n in range(4)]
    assert all(a().status == 200 for a in answers)
    time.sleep(0.3)
    lines = w.log.rstrip("\n").split("\n")
    assert len(lines) >= 300 and w.log_size > 4000000
    for line in lines[1:]:
        assert re.fullmatch(r"\x1eid(\d)\x1f<\1-{5000}\1>", line), line[:40]


def test_endless_output(serve):
    w = serve("""
        import threading
        def flood():
            while True: print("flood " * 20)
        class PythonPredictor:
            def __init__(self, config):
                threading.Thread(target=flood, daemon=True).start()
            def predict(self, payload): return payload
    """)
    for i in range(20):
        assert w.predict(i).json() == i
        assert w.ping() < 1
    end = time.monotonic() + 10
    while w.log_size < 1000000:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_output_nobody_reads(serve):
    """The daemon is gone for a while: printing waits, the heartbeat does not."""
    w = serve("class PythonPredictor:\n  def predict(self, payload):\n    for i in range(payload): print('x' * 1000)\n    return 1\n", read_log=False)
    answer = later(w, 2000)
    time.sleep(0.3)
    assert w.ping() < 0.2
    w.start_reading()
    assert answer().status == 200

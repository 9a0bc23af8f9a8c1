"""Runs a server that makes itself a daemon or replaces its own process, and stays the parent of whatever comes of it:
reaper.py COMMAND... It ends when all of them have; a SIGTERM goes to its children, and to those that become its own by their end."""
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
ending = False


def children():
    me = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


def on_term(*_):
    global ending
    ending = True
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, on_term)
    subprocess.Popen(sys.argv[1:])
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
            if ending:
                on_term()


if __name__ == "__main__":
    main()

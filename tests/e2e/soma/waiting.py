"""Waiting for what must come true; nothing here sleeps for a fixed time."""

import os
import time

SLOW = float(os.environ.get("SOMA_TEST_SLOW", "1"))


def seconds(n):
    """n seconds, longer where everything is slower."""
    return n * SLOW


def wait_for(what, condition, timeout=15):
    """The first true value of condition(); fails with `what` when none comes."""
    deadline = time.monotonic() + seconds(timeout)
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            last = f"; last: {value!r}" if value is not None else ""
            raise AssertionError(f"not within {seconds(timeout):g} s: {what}{last}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)

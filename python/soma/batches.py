"""server_side_batching: one predict for several requests, as Cortex had it.

Each request has a thread (threads_per_process is how many may wait), and one of
those whose requests are in a batch runs it for all: the oldest's. One batch runs
at a time.
"""
import copy
import threading
import time

from _soma import _worker


class Gone(Exception):
    """Nobody waits for the answer any more."""


class _Item:
    """A request that waits."""

    def __init__(self, args, keywords):
        self.args = args
        self.keywords = keywords
        self.since = time.monotonic()
        self.slot = _worker.batch_wait()
        self.done = False
        self.result = None
        self.error = None
        self.wake = threading.Lock()  # held until there is something to do
        self.wake.acquire()


def _same_error(error):
    """For another thread: raising adds to an exception's traceback, and the whole one is in the log once."""
    try:
        return copy.copy(error).with_traceback(None)
    except Exception:
        return error


class Batches:
    """Stands for a method: takes what one request has, calls it with lists."""

    def __init__(self, method, name, most, interval):
        self._method = method
        self._name = name
        self._most = most
        self._interval = interval  # seconds
        self._lock = threading.Lock()
        self._waiting = []  # oldest first
        self._led = False  # one of them runs a batch, or is about to
        self._full = 0  # the leader waits for so many; 0: it does not
        self._expected = 1  # that ask at the same time, as far as is known
        self._ended = 0.0  # the last batch

    def __call__(self, *args, **keywords):
        item = _Item(args, keywords)
        with self._lock:
            self._waiting.append(item)
            follows = self._led
            self._led = True
            if self._full and len(self._waiting) >= self._full:
                self._full = 0
                self._waiting[0].wake.release()
        if follows:
            item.wake.acquire()
        if not item.done:
            self._lead(item)
        if item.error is not None:
            raise item.error
        return item.result

    def _wait_for_others(self, item):
        """Those who were answered last time, or have come meanwhile, are about to ask again: a batch waits for them, at
        most the interval. One that comes alone waits for nobody."""
        with self._lock:
            if item.since - self._ended > self._interval:
                self._expected = 1
            wanted = min(self._expected, self._most)
            left = item.since + self._interval - time.monotonic()
            if len(self._waiting) >= wanted or left <= 0:
                return
            self._full = wanted
        if not item.wake.acquire(timeout=left):
            with self._lock:
                if self._full:
                    self._full = 0
                    return
            item.wake.acquire()  # it became full just now

    def _lead(self, item):
        self._wait_for_others(item)
        with self._lock:
            batch = self._waiting[: self._most]
            del self._waiting[: self._most]
        try:
            self._run(batch)
        finally:
            with self._lock:
                self._expected = len(batch) + len(self._waiting)
                self._ended = time.monotonic()
                following = self._waiting[0] if self._waiting else None
                self._led = following is not None
            for one in batch:
                one.done = True
                if one is not item:
                    one.wake.release()
            if following:
                following.wake.release()

    def _run(self, batch):
        """Each its result or its error."""
        wanted = []
        for item in batch:
            if _worker.batch_begin(item.slot):
                wanted.append(item)
            else:
                item.error = Gone()
        if not wanted:
            return
        try:
            self._hand_out(wanted, self._predict(wanted))
        except BaseException as error:
            wanted[0].error = error
            for item in wanted[1:]:
                item.error = _same_error(error)

    def _predict(self, items):
        args = [list(column) for column in zip(*(item.args for item in items))]
        keywords = {name: [item.keywords[name] for item in items] for name in items[0].keywords}
        return self._method(*args, **keywords)

    def _hand_out(self, items, results):
        if not isinstance(results, list):
            raise TypeError("%s returned %s for %d requests: with server_side_batching it takes lists and returns a list with one result for each" % (self._name, type(results).__name__, len(items)))
        if len(results) != len(items):
            raise ValueError("%s returned a list of %d for %d requests: with server_side_batching it returns one result for each" % (self._name, len(results), len(items)))
        for item, result in zip(items, results):
            if isinstance(result, Exception):
                item.error = result
            else:
                item.result = result


def of(settings, method, name):
    """The method itself where nothing is batched."""
    if settings.get("max_batch_size", 0) < 2:
        return method
    return Batches(method, name, settings["max_batch_size"], settings["batch_interval_ms"] / 1000)

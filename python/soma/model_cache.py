"""Models that are loaded: those of a Store, each when it is first asked for, no more of them than cache_size.

Who has got a model keeps it, whatever becomes of it here: it goes when the last
prediction that uses it is over.

What could not be loaded is not tried again until its files change, or a while has
passed: each try may cost a model that is good its place.
"""
import collections
import copy
import sys
import threading
import time

from _soma.failure import short

RETRY_S, RETRY_MOST_S = 5, 300  # until one that could not be loaded is tried again, twice as long each time


def _copy(error):
    """Without what it has of its way: a traceback keeps all that was on it, half a model among it."""
    try:
        return copy.copy(error)
    except Exception:
        return RuntimeError(short(error))


class _Bad:
    """A Pick that could not be loaded, and why."""

    def __init__(self, pick, error, before):
        self.pick, self.error = pick, _copy(error)
        self.pause = min(2 * before.pause, RETRY_MOST_S) if before else RETRY_S
        self.until = time.monotonic() + self.pause


class Cache:
    def __init__(self, store, load):
        self._store = store
        self._load = load  # takes a Pick
        self._loading = threading.Lock()  # one is loaded at a time
        self._lock = threading.Lock()  # of what follows, never for long
        self._loaded = collections.OrderedDict()  # key of a Pick: (Pick, model); used last is last
        self._bad = {}  # key of a Pick: _Bad
        self.on_change = None  # called when there is something new, or has been loaded

    def put(self, pick, load):
        """Loads one ahead."""
        self._loaded[pick.key] = pick, load(pick)

    def get(self, name, version):
        """The model, in the version that is there now."""
        if self._loading.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._loading.release()
        pick = self._store.pick(name, version)
        is_any = version == "latest"  # an older one is better than none
        model = self._find(pick) or self._instead(pick, is_any)
        if model is None:
            with self._loading:
                model = self._find(pick) or self._instead(pick, is_any)  # another thread may have tried
                if model is None:
                    model = self._fill(pick, is_any)
                    self._tell()
        return model[0]

    def _tell(self):
        if self.on_change:
            self.on_change()

    def _look(self):
        if not self._store.refresh():
            return
        there = set(self._store.all())
        with self._lock:
            gone = [self._loaded.pop(key) for key in list(self._loaded) if key not in there]
            for key in [key for key in self._bad if key not in there]:
                del self._bad[key]
        del gone  # not under the lock: a model may take its time to go
        self._tell()

    def _find(self, pick):
        """In a tuple, for a model may be None."""
        with self._lock:
            found = self._loaded.get(pick.key)
            if found is None or not pick.is_same(found[0]):
                return None
            self._loaded.move_to_end(pick.key)
        return (found[1],)

    def _older(self, pick):
        """The newest of the other versions that are loaded: its key, or None."""
        with self._lock:
            return max((key for key in self._loaded if key[0] == pick.key[0] and key != pick.key), default=None)

    def _bad_one(self, pick):
        with self._lock:
            bad = self._bad.get(pick.key)
        return bad if bad and pick.is_same(bad.pick) else None

    def _use(self, key):
        """In a tuple, or None where it is not loaded any more."""
        with self._lock:
            if key not in self._loaded:
                return None
            self._loaded.move_to_end(key)
            return (self._loaded[key][1],)

    def _instead(self, pick, is_any):
        """What there is instead of one that could not be loaded, or why it could not; None: it is to be tried."""
        bad = self._bad_one(pick)
        if bad is None or time.monotonic() >= bad.until:
            return None
        older = self._use(self._older(pick)) if is_any else None
        if older is None:
            raise _copy(bad.error)
        return older

    def _fill(self, pick, is_any):
        with self._lock:
            old = self._loaded.get(pick.key)
        older = self._older(pick) if is_any and old is None else None
        self._make_room(pick.key, older)
        try:
            model = self._load(pick)
        except Exception as error:
            if old is None:
                return self._do_without(pick, older, error)
            self._say(pick, error, "what there was before")
            model = old[1]  # until there is something else to try
        with self._lock:
            self._loaded[pick.key] = pick, model
            self._loaded.move_to_end(pick.key)
            self._bad.pop(pick.key, None)
        self._make_room(pick.key)  # the older one has it no more
        return (model,)

    def _do_without(self, pick, older, error):
        before = self._bad_one(pick)
        with self._lock:
            self._bad[pick.key] = _Bad(pick, error, before)
        model = self._use(older)
        if model is None:
            raise error
        if before is None:
            self._say(pick, error, "version %d" % older[1])
        return model

    def _say(self, pick, error, what):
        print("what is new of %s cannot be loaded: %s; %s goes on" % (self._store.title(*pick.key), short(error), what), file=sys.stderr)

    def _make_room(self, *keys):
        """Those used longest ago go first, and before the next is there: the machine may not have room for all. The keys stay."""
        while True:
            with self._lock:
                others = [key for key in self._loaded if key != keys[0]]
                gone = [key for key in others if key not in keys]
                if not self._store.cache_size or len(others) < self._store.cache_size or not gone:
                    return
                old = self._loaded.pop(gone[0])
            del old

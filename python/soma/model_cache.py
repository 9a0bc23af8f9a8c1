"""Models that are loaded: those of a Store, each when it is first asked for, no more of them than cache_size.

Who has got a model keeps it, whatever becomes of it here: it goes when the last
prediction that uses it is over.
"""
import collections
import sys
import threading

from _soma.failure import short


class Cache:
    def __init__(self, store, load):
        self._store = store
        self._load = load  # takes a Pick
        self._loading = threading.Lock()  # one is loaded at a time
        self._lock = threading.Lock()  # of what follows, never for long
        self._loaded = collections.OrderedDict()  # key of a Pick: (Pick, model); used last is last
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
        model = self._find(pick)
        if model is None:
            with self._loading:
                model = self._find(pick)  # another thread may have loaded it
                if model is None:
                    model = self._fill(pick)
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

    def _fill(self, pick):
        with self._lock:
            old = self._loaded.get(pick.key)
        self._make_room(pick)
        try:
            model = self._load(pick)
        except Exception as error:
            if old is None:
                raise
            print("what is new of %s cannot be loaded: %s; what there was before goes on" % (self._store.title(*pick.key), short(error)), file=sys.stderr)
            model = old[1]  # until there is something else to try
        with self._lock:
            self._loaded[pick.key] = pick, model
            self._loaded.move_to_end(pick.key)
        return (model,)

    def _make_room(self, pick):
        """Those used longest ago go first, and before the next is there: the machine may not have room for all."""
        while True:
            with self._lock:
                others = [key for key in self._loaded if key != pick.key]
                if not self._store.cache_size or len(others) < self._store.cache_size:
                    return
                old = self._loaded.pop(others[0])
            del old

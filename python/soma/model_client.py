"""python_client (model_client of a Handler): models that the user's load_model reads."""
import threading


class ModelClient:
    """Models of a Store, each version loaded when it is first asked for and kept."""

    def __init__(self, store):
        self._store = store
        self._lock = threading.Lock()
        self._loaded = {}
        self.load_model = None  # of the user's object, once that is made

    def get_model(self, model_name=None, model_version="latest"):
        """What load_model(path) returned."""
        if self.load_model is None:
            raise RuntimeError("get_model works once __init__ has returned: call it in the method that answers")
        which = self._store.pick(model_name, model_version)
        if which not in self._loaded:
            with self._lock:
                if which not in self._loaded:
                    self._loaded[which] = self.load_model(self._store.path(*which))
        return self._loaded[which]

    def metadata(self):
        return self._store.metadata()

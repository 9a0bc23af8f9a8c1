"""python_client (model_client of a Handler): models that the user's load_model reads."""
from _soma.model_cache import Cache


class ModelClient:
    """Models of a Store, each version loaded when it is first asked for, and again when it has changed at its source."""

    def __init__(self, store):
        self._store = store
        self.cache = Cache(store, lambda pick: self.load_model(pick.folder))
        self.load_model = None  # of the user's object, once that is made

    def get_model(self, model_name=None, model_version="latest"):
        """What load_model(path) returned."""
        if self.load_model is None:
            raise RuntimeError("get_model works once __init__ has returned: call it in the method that answers")
        return self.cache.get(model_name, model_version)

    def metadata(self):
        return self._store.metadata()

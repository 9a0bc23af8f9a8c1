"""Weights that are opened and summed, every byte once, when it is asked."""
import ctypes
import os
import time

import numpy  # noqa: F401, as of the others: what is imported is imported before
import soma
import soma.models


class PythonPredictor:
    def __init__(self, config):
        self.sum = ctypes.CDLL(config["library"]).floor_sum
        self.sum.restype, self.sum.argtypes = ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_size_t]

    def predict(self, payload):
        """keep: it stays open, as that of a predictor that opens it in __init__."""
        begun = time.perf_counter()
        model = soma.models.open()
        opened = time.perf_counter()
        total = 0
        for name in model:
            tensor = model[name].numpy()
            total += self.sum(tensor.ctypes.data, tensor.nbytes)
        ended = time.perf_counter()
        if payload.get("keep"):
            self.model = model
        return {"ms": (ended - begun) * 1e3, "open_ms": (opened - begun) * 1e3, "sum": total % (1 << 64), "pid": os.getpid()}

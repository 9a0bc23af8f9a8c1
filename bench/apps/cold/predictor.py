"""100 MiB of weights that are mapped, and a row of them added up."""
import numpy


class PythonPredictor:
    def __init__(self, config):
        self.weights = numpy.memmap(config["weights"], mode="r", dtype="float32").reshape(-1, 1024)
        self.weights[:, 0].sum()  # every page is there

    def predict(self, payload):
        return {"sum": float(self.weights[payload["row"]].sum())}

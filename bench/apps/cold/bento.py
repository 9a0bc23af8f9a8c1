"""The same under BentoML."""
import os

import bentoml
import numpy


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Rows:
    def __init__(self):
        self.weights = numpy.memmap(os.environ["WEIGHTS"], mode="r", dtype="float32").reshape(-1, 1024)
        self.weights[:, 0].sum()

    @bentoml.api(route="/")
    def predict(self, row: int) -> dict:
        return {"sum": float(self.weights[row].sum())}

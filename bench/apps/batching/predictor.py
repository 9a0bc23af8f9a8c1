import numpy
from session import Session


class PythonPredictor:
    def __init__(self, config):
        self.model = Session(config["model"])

    def predict(self, payload):
        rows = self.model.run(numpy.stack([self.model.row(each) for each in payload]))
        return [{"row": row} for row in rows.tolist()]

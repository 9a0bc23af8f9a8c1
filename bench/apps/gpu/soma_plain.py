from encoder import Encoder


class PythonPredictor:
    """Of a request at a time."""

    def __init__(self, config):
        self.encoder = Encoder()

    def predict(self, payload):
        return {"row": self.encoder.run([self.encoder.row(payload["ids"])])[0]}

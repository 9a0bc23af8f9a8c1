from encoder import Encoder


class PythonPredictor:
    def __init__(self, config):
        self.encoder = Encoder()

    def predict(self, payload):
        rows = self.encoder.run([self.encoder.row(each["ids"]) for each in payload])
        return [{"row": row} for row in rows]

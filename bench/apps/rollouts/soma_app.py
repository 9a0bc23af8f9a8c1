import time

import work


class PythonPredictor:
    def __init__(self, config):
        self.version = work.version()

    def predict(self, payload):
        if "stream" in payload:
            return self.stream(payload["stream"])
        return work.answer(payload["x"], self.version)

    def stream(self, n):
        for i in range(n):
            yield f"{self.version} {i}\n"
            time.sleep(work.CHUNK_S)

import time


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        if "sleep" in payload:
            time.sleep(payload["sleep"])
        end = time.monotonic() + payload.get("spin", 0)
        while time.monotonic() < end:
            pass
        return {"sum": sum(payload["x"])}

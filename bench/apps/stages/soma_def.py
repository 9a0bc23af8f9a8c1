import work


class PythonPredictor:
    def __init__(self, config):
        pass

    def pre_predict(self, payload):
        work.wait_before()
        return payload["x"]

    def predict(self, payload):
        return {"y": work.compute(payload)}

    def post_predict(self, payload, response):
        work.wait_after()

import work


class PythonPredictor:
    def __init__(self, config):
        pass

    async def pre_predict(self, payload):
        await work.await_before()
        return payload["x"]

    def predict(self, payload):
        return {"y": work.compute(payload)}

    async def post_predict(self, payload, response):
        await work.await_after()

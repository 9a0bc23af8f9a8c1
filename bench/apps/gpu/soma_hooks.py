import asyncio

import waits
from encoder import Encoder


class PythonPredictor:
    """In batches, with a database before and a log after."""

    def __init__(self, config):
        self.encoder = Encoder()

    async def pre_predict(self, payload):
        await asyncio.sleep(waits.PRE_S)
        return self.encoder.row(payload["ids"])

    def predict(self, payload):
        return [{"row": row} for row in self.encoder.run(payload)]

    async def post_predict(self, response):
        await asyncio.sleep(waits.POST_S)

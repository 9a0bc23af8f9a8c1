import work
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Model(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        await work.await_before()
        y = await work.await_slot(int(payload.inputs[0].data.root[0]))
        work.begin_await_after()
        return InferenceResponse(model_name=self.name, outputs=[
            ResponseOutput(name="y", shape=[1], datatype="BYTES", data=[y])])

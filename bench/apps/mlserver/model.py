import time

from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Sum(MLModel):
    async def predict(self, payload):
        values = {each.name: each.data.root for each in payload.inputs}
        if "sleep" in values:
            time.sleep(values["sleep"][0])
        end = time.monotonic() + values.get("spin", [0])[0]
        while time.monotonic() < end:
            pass
        total = ResponseOutput(name="sum", shape=[1], datatype="FP64", data=[sum(values["x"])])
        return InferenceResponse(model_name=self.name, outputs=[total])

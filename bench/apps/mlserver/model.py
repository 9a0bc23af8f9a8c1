import time

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
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


class Onnx(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self.names = [each.name for each in self.session.get_outputs()]
        return True

    async def predict(self, payload):
        inputs = {each.name: NumpyCodec.decode_input(each).reshape(each.shape) for each in payload.inputs}
        outputs = self.session.run(None, inputs)
        return InferenceResponse(model_name=self.name, outputs=[
            NumpyCodec.encode_output(name, value) for name, value in zip(self.names, outputs)])

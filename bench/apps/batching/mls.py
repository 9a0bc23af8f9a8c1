from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from session import Session


class Batched(MLModel):
    async def load(self):
        self.model = Session()
        return True

    async def predict(self, payload):
        rows = self.model.run_columns({each.name: NumpyCodec.decode_input(each) for each in payload.inputs})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self.model.output, rows)])

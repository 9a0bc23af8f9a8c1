import os

import bentoml
import numpy
import onnxruntime

DTYPES = {"tensor(float)": numpy.float32, "tensor(int64)": numpy.int64, "tensor(int32)": numpy.int32}


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Models:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.sessions = {}
        for word in os.environ["MODELS"].split():
            name, _, path = word.partition("=")
            self.sessions[name] = onnxruntime.InferenceSession(path, options)

    @bentoml.api
    def infer(self, model: str, inputs: dict) -> dict:
        session = self.sessions[model]
        given = {each.name: numpy.asarray(inputs[each.name], DTYPES[each.type]) for each in session.get_inputs()}
        outputs = session.run(None, given)
        return {each.name: value.tolist() for each, value in zip(session.get_outputs(), outputs)}

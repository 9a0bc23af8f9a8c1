"""The model of $MODEL in ONNX Runtime, for every Python server the same way."""
import os

import numpy
import onnxruntime

MAX_BATCH = int(os.environ.get("MAX_BATCH", 0))
MAX_WAIT_S = float(os.environ.get("MAX_WAIT_S", 0))


class Session:
    def __init__(self, path=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path or os.environ["MODEL"], options)
        inputs = self.session.get_inputs()
        self.names = [each.name for each in inputs]
        self.dtype = numpy.int64 if inputs[0].type == "tensor(int64)" else numpy.float32
        self.output = self.session.get_outputs()[0].name

    def row(self, inputs):
        """One request's {name: numbers}, as an array of inputs × numbers."""
        return numpy.array([inputs[name] for name in self.names], self.dtype)

    def run(self, rows):
        """rows × inputs × numbers to one array of rows."""
        return self.run_columns({name: rows[:, i] for i, name in enumerate(self.names)})

    def run_columns(self, columns):
        return self.session.run(None, columns)[0]

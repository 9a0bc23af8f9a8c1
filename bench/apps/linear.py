"""Writes a linear model, y = x @ w + b, of three numbers to two: linear.py FILE"""
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

w = numpy.arange(6, dtype=numpy.float32).reshape(3, 2) / 10
b = numpy.array([0.5, 0.5], dtype=numpy.float32)
graph = helper.make_graph(
    [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "linear",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])

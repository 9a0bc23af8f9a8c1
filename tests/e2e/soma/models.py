"""Small ONNX models, made on the spot."""
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

DTYPES = {
    "bool": T.BOOL, "int8": T.INT8, "int16": T.INT16, "int32": T.INT32, "int64": T.INT64,
    "uint8": T.UINT8, "uint16": T.UINT16, "uint32": T.UINT32, "uint64": T.UINT64,
    "float16": T.FLOAT16, "bfloat16": T.BFLOAT16, "float32": T.FLOAT, "float64": T.DOUBLE, "string": T.STRING,
}


def value(name, dtype, shape):
    return helper.make_tensor_value_info(name, DTYPES[dtype], shape)


def model(nodes, inputs, outputs, initializers=(), opset=17, ir=8):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def data(m):
    return m.SerializeToString()


def identity(dtype, shape):
    return model([helper.make_node("Identity", ["x"], ["y"])], [value("x", dtype, shape)], [value("y", dtype, shape)])


def linear(n=3, out=2):
    """y = x @ w + b: float32 [batch,n] to [batch,out]."""
    w = np.arange(n * out, dtype=np.float32).reshape(n, out) / 10
    b = np.array([0.5] * out, dtype=np.float32)
    return model([helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
                 [value("x", "float32", ["batch", n])], [value("y", "float32", ["batch", out])],
                 [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")])


def scaled():
    """y = x * scale, where scale has a default: an input that may be left out."""
    scale = numpy_helper.from_array(np.array(2, dtype=np.float32), "scale")
    return model([helper.make_node("Mul", ["x", "scale"], ["y"])],
                 [value("x", "float32", ["n"]), value("scale", "float32", [])], [value("y", "float32", ["n"])], [scale])


def two_inputs():
    """sum of a [batch,2] and b [2], and a's shape."""
    return model([helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Shape", ["a"], ["shape"])],
                 [value("a", "float32", ["batch", 2]), value("b", "float32", [2])],
                 [value("sum", "float32", ["batch", 2]), value("shape", "int64", [2])])


def looked_up(n):
    """y = 3 * x + 7 for x below n, from a table: int64 [batch,columns]; what lies beyond fails the run."""
    table = numpy_helper.from_array(np.arange(n, dtype=np.int64) * 3 + 7, "table")
    return model([helper.make_node("Gather", ["table", "x"], ["y"])], [value("x", "int64", ["batch", "columns"])],
                 [value("y", "int64", ["batch", "columns"])], [table])


def any_shape():
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", T.FLOAT, None)], [helper.make_tensor_value_info("y", T.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def endless():
    """Counts up to x in a Loop: as long as one likes."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c_in"], ["c_out"]), helper.make_node("Add", ["v_in", "one"], ["v_out"])], "body",
        [value("i", "int64", []), value("c_in", "bool", []), value("v_in", "int64", [])],
        [value("c_out", "bool", []), value("v_out", "int64", [])], [numpy_helper.from_array(np.array(1, dtype=np.int64), "one")])
    yes = numpy_helper.from_array(np.array(True), "yes")
    zero = numpy_helper.from_array(np.array(0, dtype=np.int64), "zero")
    return model([helper.make_node("Loop", ["x", "yes", "zero"], ["y"], body=body)], [value("x", "int64", [])], [value("y", "int64", [])], [yes, zero])


def external(folder, location="weights.bin", mib=8):
    """y = x @ w with w in a file of its own."""
    n = 1024
    w = np.zeros((n, mib * 256), dtype=np.float32)
    w[0, 0] = 3
    m = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", "float32", ["batch", n])],
              [value("y", "float32", ["batch", mib * 256])], [numpy_helper.from_array(w, "w")])
    onnx.save_model(m, str(folder / "model.onnx"), save_as_external_data=True, location=location, size_threshold=1024)

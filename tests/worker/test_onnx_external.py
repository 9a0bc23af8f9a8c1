"""ONNX models of a Python class whose weights are in files of their own: those beside the model alone."""
import os
import sysconfig

import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PACKAGES = {"PYTHONPATH": sysconfig.get_path("purelib")}
PREDICTOR = """
    class ONNXPredictor:
        def __init__(self, onnx_client, config):
            self.client = onnx_client
        def predict(self, payload):
            return [a.tolist() for a in self.client.predict(payload)]
"""
WEIGHTS = numpy.arange(4, dtype="f4")


def elsewhere(location):
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.ClearField("raw_data")
    for key, value in [("location", location), ("offset", "0"), ("length", "16")]:
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def model(location, hide=False):
    value = lambda name, kind=TensorProto.FLOAT: helper.make_tensor_value_info(name, kind, [4])
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if hide:  # in an attribute of a node
        nodes = [helper.make_node("Constant", [], ["w"], value=elsewhere(location)), *nodes]
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], [] if hide else [elsewhere(location)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    return made.SerializeToString()


def settings():
    return {"class": "ONNXPredictor", "models": {"path": "m"}, "env": PACKAGES}


def test_beside_it(serve):
    w = serve({"predictor.py": PREDICTOR, "m/net.onnx": model("sub/w.bin"), "m/sub/w.bin": WEIGHTS.tobytes()}, **settings())
    assert w.predict([1, 1, 1, 1]).json() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("location", ["/etc/passwd", "../w.bin", "sub/../../w.bin", ".."])
def test_elsewhere(start, location, hide):
    failure = start({"predictor.py": PREDICTOR, "m/net.onnx": model(location, hide), "w.bin": WEIGHTS.tobytes()}, **settings()).failed()
    assert failure["code"] == "init_error" and failure["message"] == "m has weights in %r, which leads out of its folder" % location
    assert failure["remedy"] == "put the file itself beside the model, and export the model with its name alone"


def test_by_a_link(start):
    def link(w):
        os.symlink("../w.bin", w.project / "m/w.bin")

    failure = start({"predictor.py": PREDICTOR, "m/net.onnx": model("w.bin"), "w.bin": WEIGHTS.tobytes()}, before=link, **settings()).failed()
    assert failure["message"] == "m has weights in 'w.bin', which leads out of its folder"


def test_a_folder_of_that_name(start):
    failure = start({"predictor.py": PREDICTOR}, before=lambda w: os.makedirs(w.project / "m/net.onnx"), **settings()).failed()
    assert failure["message"] == "m has 'net.onnx', which is no file" and failure["remedy"] == "put the model there"


SIDE = 4096  # of the weights, which have 64 MiB
MEASURE = """
    import numpy, onnxruntime

    def anonymous():
        with open("/proc/self/smaps_rollup") as f:
            [kib] = [int(line.split()[1]) for line in f if line.startswith("Anonymous:")]
        return kib // 1024

    BEFORE = anonymous()

    class ONNXPredictor:
        def __init__(self, onnx_client, config):
            self.client = onnx_client
        def predict(self):
            [y] = self.client.predict(numpy.ones((1, %d), "f4"))
            return [y.shape[1], anonymous() - BEFORE]
""" % SIDE


def test_they_are_mapped(serve):
    """And not copied into a layout of ONNX Runtime's own: replicas share them."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE], data_location=TensorProto.EXTERNAL)
    for key, value in [("location", "w.bin"), ("offset", "0"), ("length", str(4 * SIDE * SIDE))]:
        tensor.external_data.add(key=key, value=value)
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x")], [value("y")], [tensor])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    w = serve({"predictor.py": MEASURE, "m/net.onnx": made.SerializeToString(), "m/w.bin": bytes(4 * SIDE * SIDE)}, **settings())
    size, mib = w.predict().json()
    assert size == SIDE and mib < 32


def test_models_without_such_files(serve):
    """The word is somewhere in the file, and no file is named."""
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "location", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    assert onnx.load_model_from_string(made.SerializeToString()).graph.name == "location"
    w = serve({"predictor.py": PREDICTOR, "m/net.onnx": made.SerializeToString()}, **settings())
    assert w.predict([5]).json() == [[5]]

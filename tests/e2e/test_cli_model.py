"""soma deploy MODEL.onnx: a file is a whole api."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from soma import models

USAGE, FAILED, CONFIG = 2, 1, 5


def linear(path, **external):
    """y = x + [1, 2, 3], its weights perhaps elsewhere."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xy")
    weights = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if external:
        convert_model_to_external_data(model, size_threshold=0, **external)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def test_a_model_is_an_api(daemon, tmp_path):
    path = linear(tmp_path / "My Model_2.onnx")
    (tmp_path / "soma.yaml").write_text("- not this one\n")
    done = daemon.cli("deploy", path, check=0).says(
        f"model: {path}, 1 file", "creating my-model-2 (RealtimeAPI)", f"my-model-2 is live at {daemon.url}/my-model-2")
    assert done.err == ""
    assert daemon.cli("predict", "my-model-2", '{"x": [[1, 1, 1]]}', check=0).json() == {"y": [[2, 3, 4]]}
    daemon.cli("deploy", path.name, cwd=tmp_path, check=0).says("my-model-2 is up to date")
    linked = tmp_path / "other/my-model-2.onnx"
    linked.parent.mkdir()
    linked.symlink_to(path)
    daemon.cli("deploy", linked, "--no-wait", check=0)


@pytest.mark.parametrize("location", ["weights.bin", "sub/model.data"])
def test_external_data_goes_along(daemon, tmp_path, location):
    (tmp_path / "sub").mkdir()
    path = linear(tmp_path / "apart.onnx", location=location)
    (tmp_path / "not-part-of-it").write_bytes(b"x")
    daemon.cli("deploy", path, check=0).says("apart.onnx, 2 files", "apart is live")
    assert daemon.cli("predict", "apart", '{"x": [[0, 0, 0]]}', check=0).json() == {"y": [[1, 2, 3]]}


def test_external_data_in_a_file_for_each_tensor(daemon, tmp_path):
    path = linear(tmp_path / "each.onnx", all_tensors_to_one_file=False)
    daemon.cli("deploy", path, check=0).says("each.onnx, 2 files", "each is live")


def test_external_data_that_is_missing(daemon, tmp_path):
    path = linear(tmp_path / "half.onnx", location="weights.bin")
    (tmp_path / "weights.bin").unlink()
    daemon.cli("deploy", path, check=USAGE).says(
        "the model's data in 'weights.bin' cannot be read", "put it into the folder of the model", "No such file")


def test_external_data_elsewhere(daemon, tmp_path):
    path = linear(tmp_path / "away.onnx", location="weights.bin")
    path.write_bytes(path.read_bytes().replace(b"weights.bin", b"../pa/w.bin"))
    daemon.cli("deploy", path, check=USAGE).says("'../pa/w.bin', which is not in its folder")


def test_what_is_no_model(daemon, tmp_path):
    daemon.cli("deploy", tmp_path / "none.onnx", check=USAGE).says("none.onnx", "No such file")
    (tmp_path / "empty.onnx").touch()
    daemon.cli("deploy", tmp_path / "empty.onnx", check=USAGE).says("is empty: it is no ONNX model")
    (tmp_path / "text.onnx").write_text("not a model")
    daemon.cli("deploy", tmp_path / "text.onnx", check=FAILED).says("text failed:", "text.onnx")
    daemon.cli("delete", "text", check=0)


@pytest.mark.parametrize("name", ["model.pkl", "predictor.py", "net.PT"])
def test_what_a_class_has_to_load(daemon, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04 no text")
    daemon.cli("deploy", tmp_path / name, check=USAGE).says(name, "is no config file", "soma init DIR")


def test_a_folder_of_that_name_is_a_folder(daemon, tmp_path):
    (tmp_path / "x.onnx").mkdir()
    daemon.cli("deploy", tmp_path / "x.onnx", check=USAGE).says("there is no soma.yaml or cortex.yaml")


def test_patch_wants_a_config_file(daemon, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(models.data(models.linear()))
    daemon.cli("patch", path, check=USAGE).says("is a model and no config file: 'soma deploy' takes it")

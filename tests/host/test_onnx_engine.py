"""The onnx engine: what models take and give, and every fault in words."""
import os
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
from hosts import host_program
from onnx import helper, numpy_helper

from harness import STUCK
from soma import models
from soma.waiting import SLOW


@pytest.fixture
def onnx(start):
    """A host over one model, given as a model or as bytes."""
    def begin(model, **more):
        content = model if isinstance(model, bytes) else models.data(model)
        return start({"model.onnx": content}, engine="onnx", model="model.onnx", **more)
    return begin


def ask(host, **inputs):
    answer = host.predict(inputs)
    assert answer.status == 200, answer.body
    return answer.json()


def refused(host, value=None, raw=None, status=400):
    answer = host.predict(value, raw=raw)
    assert answer.status == status, answer.body
    return answer.error["message"]


def resident(host, kind):
    """Bytes of its memory, by a name of /proc/PID/status."""
    status = dict(line.split(":", 1) for line in open(f"/proc/{host.process.pid}/status"))
    return int(status[kind].split()[0]) << 10


# --- what models take and give


def test_linear(onnx):
    h = onnx(models.linear()).ready()
    got = ask(h, x=[[1, 2, 3], [0, 0, 0.5]])["y"]
    w = np.arange(6, dtype=np.float32).reshape(3, 2) / 10
    assert np.allclose(got, np.array([[1, 2, 3], [0, 0, 0.5]]) @ w + 0.5)


def test_get_says_what_it_takes(onnx):
    h = onnx(models.linear()).ready()
    assert h.request("GET").json() == {
        "name": "test", "engine": "onnx",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 3], "optional": False}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [-1, 2]}]}


VALUES = {
    "bool": [True, False], "int8": [-128, 127], "int16": [-32768, 32767], "int32": [-2**31, 2**31 - 1], "int64": [-2**63, 2**63 - 1],
    "uint8": [0, 255], "uint16": [0, 65535], "uint32": [0, 2**32 - 1], "uint64": [0, 2**64 - 1],
    "float16": [0.5, -65504.0], "bfloat16": [0.5, -3.0], "float32": [0.1, -3.4028235e38], "float64": [0.1, -1.7976931348623157e308],
    "string": ["", "Zürich \"q\" \n \u0001 😀"],
}


@pytest.mark.parametrize("dtype", VALUES)
def test_dtype(onnx, dtype):
    h = onnx(models.identity(dtype, ["n"])).ready()
    assert ask(h, x=VALUES[dtype]) == {"y": VALUES[dtype]}
    assert h.request("GET").json()["inputs"][0]["dtype"] == dtype


def test_scalars_and_deep_lists(onnx):
    h = onnx(models.identity("float32", [])).ready()
    assert ask(h, x=2.5) == {"y": 2.5}
    h = onnx(models.identity("int64", ["a", 1, "b", 2])).ready()
    x = [[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]]
    assert ask(h, x=x) == {"y": x}


def test_strings_hold_every_character(onnx):
    h = onnx(models.identity("string", ["a", "b"])).ready()
    x = [["a\0b", "x" * 100000], ["", "é"]]
    assert ask(h, x=x) == {"y": x}


def test_optional_input(onnx):
    h = onnx(models.scaled()).ready()
    assert ask(h, x=[1, 2]) == {"y": [2, 4]}
    assert ask(h, x=[1, 2], scale=10) == {"y": [10, 20]}
    assert ask(h, x=[1, 2], scale=None) == {"y": [2, 4]}
    assert [i["optional"] for i in h.request("GET").json()["inputs"]] == [False, True]


def test_several_inputs_and_outputs(onnx):
    h = onnx(models.two_inputs()).ready()
    assert ask(h, b=[10, 20], a=[[1, 2], [3, 4]]) == {"sum": [[11, 22], [13, 24]], "shape": [2, 2]}


def test_any_shape(onnx):
    h = onnx(models.any_shape()).ready()
    assert ask(h, x=1) == {"y": -1}
    assert ask(h, x=[[[1.5]], [[2]]]) == {"y": [[[-1.5]], [[-2]]]}
    assert h.request("GET").json()["inputs"][0]["shape"] is None


def test_nan_and_infinity_come_out_as_null(onnx):
    m = models.model([helper.make_node("Log", ["x"], ["y"])], [models.value("x", "float32", ["n"])], [models.value("y", "float32", ["n"])])
    h = onnx(m).ready()
    assert ask(h, x=[1, 0, -1]) == {"y": [0, None, None]}


def test_inner_dimension_of_zero(onnx):
    h = onnx(models.identity("float32", ["batch", "past", 2])).ready()
    assert ask(h, x=[[]]) == {"y": [[]]}


def test_external_data_is_mapped(start, tmp_path):
    models.external(tmp_path, mib=64)
    files = {name: (tmp_path / name).read_bytes() for name in ("model.onnx", "weights.bin")}
    h = start(files, engine="onnx", model="model.onnx").ready()
    y = ask(h, x=[[2] + [0] * 1023])["y"]
    assert y[0][0] == 6 and len(y[0]) == 64 * 256
    if SLOW > 1:
        return  # a sanitizer has memory of its own
    assert resident(h, "RssFile") > 64 << 20 and resident(h, "RssAnon") < 48 << 20


def test_slots_share_one_session(onnx):
    h = onnx(models.linear(), threads=3).ready()
    bad = []

    def client(k):
        c = h.connect()
        for i in range(100):
            got = h.predict({"x": [[k, i, 1]]}, connection=c).json()["y"][0]
            if not np.allclose(got, np.array([k, i, 1]) @ (np.arange(6).reshape(3, 2) / 10) + 0.5, atol=1e-3):
                bad.append(got)
    clients = [threading.Thread(target=client, args=(k,)) for k in range(6)]
    [t.start() for t in clients]
    [t.join() for t in clients]
    assert bad == []


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_graph_optimization(onnx, level):
    assert ask(onnx(models.scaled(), graph_optimization=level).ready(), x=[1]) == {"y": [2]}


def test_run_is_cancelled(onnx):
    h = onnx(models.endless(), predict_timeout_ms=300).ready()
    assert ask(h, x=5) == {"y": 5}
    start = time.monotonic()
    answer = h.predict({"x": 2**60})
    assert answer.status == 504 and answer.error["message"] == "predict ran longer than 300 ms (predict_timeout)"
    assert ask(h, x=7) == {"y": 7}
    assert time.monotonic() - start < 5 and STUCK not in [f[0] for f in h.frames]


def test_shapes_that_change_from_run_to_run(onnx):
    h = onnx(models.two_inputs()).ready()
    for rows in (1, 1, 3, 3, 20000, 1, 20000, 2):
        a = [[i, 1] for i in range(rows)]
        assert ask(h, a=a, b=[rows, 0]) == {"sum": [[i + rows, 1] for i in range(rows)], "shape": [rows, 2]}


def test_shapes_that_only_the_run_knows(onnx):
    m = models.model([helper.make_node("NonZero", ["x"], ["y"])], [models.value("x", "float32", ["n"])], [models.value("y", "int64", [1, "k"])])
    h = onnx(m).ready()
    for x in ([1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 0, 1]):
        assert ask(h, x=x) == {"y": [[i for i, v in enumerate(x) if v]]}


def test_a_model_that_breaks_its_word_about_shapes(onnx):
    """It says that y is as long as x, and makes it as long as x's last element says."""
    one = numpy_helper.from_array(np.array([1], dtype=np.int64), "one")
    m = models.model([helper.make_node("Expand", ["one", "x"], ["y"])], [models.value("x", "int64", ["n"])], [models.value("y", "int64", ["n"])], [one])
    h = onnx(m).ready()
    for x in ([1], [1], [3], [2], [1], [4]):
        assert ask(h, x=x) == {"y": [1] * x[0]}


def test_outputs_that_cannot_be_read_are_freed(onnx):
    """The first has as many dimensions as the client says; the second is 8 MiB."""
    m = models.model([helper.make_node("Reshape", ["x", "shape"], ["y"]), helper.make_node("Expand", ["x", "size"], ["z"])],
                     [models.value("x", "float32", [1]), models.value("shape", "int64", ["k"])],
                     [helper.make_tensor_value_info("y", models.DTYPES["float32"], None), models.value("z", "float32", ["n"])],
                     [numpy_helper.from_array(np.array([2 << 20], dtype=np.int64), "size")])
    h = onnx(m).ready()
    before = None
    for _ in range(60):
        answer = h.predict({"x": [1], "shape": [1] * 17})
        assert answer.status == 500 and "too many dimensions" in answer.error["message"]
        before = before or resident(h, "RssAnon")
    assert resident(h, "RssAnon") - before < 100 << 20


# --- requests that do not fit


def test_wrong_names(onnx):
    h = onnx(models.two_inputs()).ready()
    takes = "the model takes a float32 [batch,2], b float32 [2]"
    assert refused(h, {"a": [[1, 2]], "bb": [1, 2]}) == f"there is no input 'bb'; did you mean 'b'?; {takes}"
    assert refused(h, {"something": 1}) == f"there is no input 'something'; {takes}"
    assert refused(h, {"a": [[1, 2]]}) == "input 'b' (float32 [2]) is missing"
    assert refused(h, {}) == "input 'a' (float32 [batch,2]) is missing"
    assert refused(h, raw='{"a":[[1,2]],"b":[1,2],"a":[[1,2]]}') == "input 'a' is there twice"


def test_body_is_no_object(onnx):
    h = onnx(models.linear()).ready()
    assert refused(h, [[1, 2, 3]]) == "the body is a list; write an object of inputs by their names: {\"x\": ...}"
    assert refused(h, 3) == "the body is a single value; write an object of inputs by their names: {\"x\": ...}"
    assert refused(h, raw="") .startswith("the body is not JSON: ")
    assert refused(h, raw='{"x":[[1,2,]]}').startswith("the body is not JSON: ")
    assert refused(h, raw='{"x":[[1,NaN,3]]}').endswith("at byte 9 (JSON has no NaN and no infinity)")
    assert refused(h, raw='{"x":[[1,Infinity,3]]}').endswith("(JSON has no NaN and no infinity)")


def test_wrong_shapes(onnx):
    h = onnx(models.linear()).ready()
    wants = "input 'x' wants float32 [batch,3]: "
    assert refused(h, {"x": [[1, 2]]}) == wants + "its lists have the shape [1,2]"
    assert refused(h, {"x": [1, 2, 3]}) == wants + "its lists have the shape [3]: 1 level, not 2"
    assert refused(h, {"x": [[[1, 2, 3]]]}) == wants + "its lists have the shape [1,1,3]: 3 levels, not 2"
    assert refused(h, {"x": 1}) == wants + "it is a single value: write 2 levels of lists"
    assert refused(h, {"x": []}) == wants + "it is an empty list"
    assert refused(h, {"x": [[]]}) == wants + "its lists have the shape [1,0]"
    assert refused(h, {"x": [[1, 2, 3], [1, 2]]}) == wants + "its lists are ragged: x[1] has 2 items where the first list of its level has 3"
    assert refused(h, {"x": [[1, 2, 3], 4]}) == wants + "its lists are ragged: x[1] is no list where the first of its level is one"
    h = onnx(models.identity("float32", [])).ready()
    assert refused(h, {"x": [1]}) == "input 'x' wants float32: it is a list: write a single value"


def test_ragged_lists_that_would_be_huge(onnx):
    h = onnx(models.identity("float32", ["a", "b"])).ready()
    x = [[0] * 20000] + [[0]] * 100000
    assert "ragged: x[1] has 1 items" in refused(h, {"x": x})
    deep = 1
    for _ in range(20):
        deep = [deep]
    assert refused(h, {"x": deep}) == "input 'x' wants float32 [a,b]: its lists are nested deeper than 16 levels"


def test_wrong_dtypes(onnx):
    h = onnx(models.linear()).ready()
    wants = "input 'x' wants float32 [batch,3]: "
    quotes = " (write numbers without quotes; JSON has no NaN and no infinity)"
    assert refused(h, {"x": [[1, "a", 3]]}) == wants + 'x[0][1] is the text "a"' + quotes
    assert refused(h, {"x": [[1, 2, 3], [1, 2, "NaN"]]}) == wants + 'x[1][2] is the text "NaN"' + quotes
    assert refused(h, {"x": [[1, None, 3]]}) == wants + "x[0][1] is null"
    assert refused(h, {"x": [[1, True, 3]]}) == wants + "x[0][1] is true"
    assert refused(h, {"x": [[1, [2], 3]]}) == wants + "x[0][1] is a list"
    assert refused(h, {"x": [[1, {"a": 1}, 3]]}) == wants + "x[0][1] is an object"
    assert refused(h, raw='{"x":[[1,1e39,3]]}') == wants + "x[0][1] is 1e39, which float32 does not hold"
    assert refused(h, raw='{"x":[[1,1e999,3]]}').startswith("the body is not JSON: ")


@pytest.mark.parametrize("dtype, bad", [
    ("int8", 128), ("int8", -129), ("uint8", 256), ("uint8", -1), ("int16", 40000), ("int32", 2**31), ("uint32", 2**32),
    ("int64", 2**63), ("uint64", -1), ("int64", 1.5), ("float16", 70000), ("bool", 2)])
def test_numbers_out_of_range(onnx, dtype, bad):
    h = onnx(models.identity(dtype, ["n"])).ready()
    said = refused(h, {"x": [0 if dtype != "bool" else False, bad]})
    assert said == (f"input 'x' wants {dtype} [n]: x[1] is {bad}" + ("" if dtype == "bool" else f", which {dtype} does not hold"))


def test_whole_numbers_may_have_a_point(onnx):
    assert ask(onnx(models.identity("int64", ["n"])).ready(), x=[1.0, 2e3]) == {"y": [1, 2000]}


def test_what_only_the_run_finds(onnx):
    m = models.model([helper.make_node("Add", ["a", "b"], ["y"])],
                     [models.value("a", "float32", ["n"]), models.value("b", "float32", ["m"])], [models.value("y", "float32", ["k"])])
    h = onnx(m).ready()
    answer = h.predict({"a": [1, 2], "b": [1, 2, 3]})
    assert answer.status == 500 and answer.error["code"] == "predict_error" and "ONNX Runtime: " in answer.error["message"]
    assert ask(h, a=[1], b=[2]) == {"y": [3]}


def test_ten_million_elements(onnx):
    h = onnx(models.identity("float32", ["n"])).ready()
    body = b'{"x":[' + b",".join([b"0.25"] * 10**7) + b"]}"
    start = time.monotonic()
    answer = h.predict(raw=body, timeout=120)
    took = time.monotonic() - start
    assert answer.status == 200 and answer.body == b'{"y":[' + b",".join([b"0.25"] * 10**7) + b"]}"
    assert h.ping(timeout=10) < 2 and ask(h, x=[1]) == {"y": [1]}
    print(f"10^7 elements there and back: {took:.2f} s, {h.rss_kib() / 1024:.0f} MiB after")
    assert h.rss_kib() < 700 * 1024 or SLOW > 1


# --- models and libraries that are not what they should be


def failed(host):
    told = host.failed()
    return told["code"], told["message"]


def test_model_missing(start):
    h = start({"other.txt": "x"}, engine="onnx", model="model.onnx")
    assert failed(h) == ("missing_file", f"the model '{h.project}/model.onnx' cannot be read: No such file or directory")


def test_model_truncated(onnx):
    content = models.data(models.linear())
    h = onnx(content[:-40])
    code, message = failed(h)
    assert code == "bad_model"
    assert message == (f"the model '{h.project}/model.onnx' is cut short: it ends after {len(content) - 40} bytes, "
                       "in the middle of what it says it holds; copy or export it again")


@pytest.mark.parametrize("content", [b"PK\x03\x04 this is an archive", b"{\"json\": true}\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"version https://git-lfs.github.com/spec/v1\n"])
def test_model_is_not_onnx(onnx, content):
    h = onnx(content)
    assert failed(h) == ("bad_model", f"'{h.project}/model.onnx' is not an ONNX model: name a file that was written by an export to ONNX")


def test_model_empty(onnx):
    assert failed(onnx(b""))[1].endswith("model.onnx' is empty")


def test_opset_too_new(onnx):
    m = models.linear()
    m.opset_import[0].version = 99
    code, message = failed(onnx(m))
    assert code == "bad_model" and "ONNX Runtime 1." in message and "opset" in message.lower()
    assert message.endswith("Take a newer ONNX Runtime, or export the model for an older opset")
    m = models.linear()
    m.ir_version = 99
    assert failed(onnx(m))[1].endswith("Take a newer ONNX Runtime, or export the model for an older opset")


def test_unknown_operator(onnx):
    m = models.model([helper.make_node("Frobnicate", ["x"], ["y"])], [models.value("x", "float32", ["n"])], [models.value("y", "float32", ["n"])])
    code, message = failed(onnx(m))
    assert code == "bad_model" and "Frobnicate" in message


def test_external_data_missing(start, tmp_path):
    models.external(tmp_path)
    h = start({"model.onnx": (tmp_path / "model.onnx").read_bytes()}, engine="onnx", model="model.onnx")
    code, message = failed(h)
    assert code == "missing_file"
    assert message == (f"the model '{h.project}/model.onnx' has weights in 'weights.bin', which is not beside it "
                       "(No such file or directory); put the file there, under that name")


def test_external_data_cut_short(start, tmp_path):
    models.external(tmp_path)
    weights = (tmp_path / "weights.bin").read_bytes()[:-100]
    h = start({"model.onnx": (tmp_path / "model.onnx").read_bytes(), "weights.bin": weights}, engine="onnx", model="model.onnx")
    code, message = failed(h)
    assert code == "bad_model" and "'weights.bin' with weights of the model" in message and "is cut short: it has" in message


def test_external_data_at_a_place_beyond_numbers(start, tmp_path):
    models.external(tmp_path)
    m = models.onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    entries = {e.key: e for e in m.graph.initializer[0].external_data}
    entries["offset"].value = str(2**64 - 4096)
    h = start({"model.onnx": models.data(m), "weights.bin": (tmp_path / "weights.bin").read_bytes()}, engine="onnx", model="model.onnx")
    code, message = failed(h)
    assert code == "bad_model" and "is cut short: it has" in message


OUTSIDE = "which leads out of its folder; put the file itself beside the model, and export the model with its name alone"


def placed(tmp_path, location):
    """A model whose weights are said to be in another file."""
    models.external(tmp_path)
    m = models.onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    for tensor in m.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    return models.data(m)


@pytest.mark.parametrize("location", ["/etc/passwd", "../weights.bin", "sub/../../weights.bin", "..", "sub/.."])
def test_external_data_elsewhere(start, tmp_path, location):
    h = start({"model.onnx": placed(tmp_path, location)}, engine="onnx", model="model.onnx")
    assert failed(h) == ("bad_model", f"the model '{h.project}/model.onnx' has weights in '{location}', {OUTSIDE}")


def test_external_data_by_a_link_to_elsewhere(start, tmp_path):
    files = {"model.onnx": placed(tmp_path, "weights.bin")}
    for target in [tmp_path / "weights.bin", "/etc/passwd"]:
        h = start(files, engine="onnx", model="model.onnx", before=lambda h: (h.project / "weights.bin").symlink_to(target))
        assert failed(h) == ("bad_model", f"the model '{h.project}/model.onnx' has weights in 'weights.bin', {OUTSIDE}")


def test_external_data_of_a_graph_in_a_node(start, tmp_path):
    """What is not an initializer of the graph is looked at, too."""
    m = models.onnx.load_model_from_string(placed(tmp_path, "/etc/passwd"))
    hidden = m.graph.initializer.pop()
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["o"])], "inner", [], [models.value("o", "float32", None)], [hidden])
    inner.initializer[0].name = "w"
    m.graph.node.append(helper.make_node("If", ["c"], ["unused"], then_branch=inner, else_branch=inner))
    h = start({"model.onnx": models.data(m)}, engine="onnx", model="model.onnx")
    assert failed(h)[1].endswith(OUTSIDE)


def test_no_model_named(start):
    assert failed(start(engine="onnx")) == ("bad_engine", "the engine onnx wants a model: name its file with predictor.model")


def test_execution_provider_that_the_library_lacks(onnx):
    code, message = failed(onnx(models.linear(), execution_provider="cuda"))
    assert code == "bad_engine"
    assert message.startswith("predictor.execution_provider: ONNX Runtime 1.") and " has no 'cuda'; it has: " in message and "cpu" in message
    assert "name its library with predictor.onnxruntime" in message


def test_unknown_option(onnx):
    assert failed(onnx(models.linear(), engine_options={"prepak": "no"})) == (
        "bad_engine", "engine_options: the engine onnx knows no 'prepak'; did you mean 'prepack'?; "
        "it has: session.*, provider.*, inter_op_threads, prepack")


@pytest.mark.parametrize("key, value, wants", [
    ("inter_op_threads", "two", "a whole number from 1 to 1024"), ("inter_op_threads", 0, "a whole number from 1 to 1024"),
    ("inter_op_threads", 1e10, "a whole number from 1 to 1024"), ("prepack", "never", "yes, no or auto")])
def test_values_that_options_cannot_have(onnx, key, value, wants):
    code, message = failed(onnx(models.linear(), engine_options={key: value}))
    assert code == "bad_engine" and f"engine_options: {key} wants {wants}, not '{value}'" in message


@pytest.mark.parametrize("prepack", ["yes", "no", "auto", True, False])
def test_prepack(onnx, prepack):
    assert ask(onnx(models.linear(), engine_options={"prepack": prepack, "inter_op_threads": 2}).ready(), x=[[0, 0, 0]]) == {"y": [[0.5, 0.5]]}


def test_session_option(onnx):
    assert ask(onnx(models.scaled(), engine_options={"session.intra_op.allow_spinning": 1, "inter_op_threads": 2}).ready(), x=[1]) == {"y": [2]}


OLD = """
static const char *version(void) { return "1.9.1"; }
static const void *get(unsigned n) { return n > 9 ? 0 : "x"; }
static const struct { const void *(*get)(unsigned); const char *(*version)(void); } base = {get, version};
const void *OrtGetApiBase(void) { return &base; }
"""


def compile_so(path, text, *flags):
    path.with_suffix(".c").write_text(text)
    subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", path, path.with_suffix(".c")], check=True)
    return str(path)


REMEDY = "Remedy: take libonnxruntime.so of ONNX Runtime 1.16 or newer (it is in the Python package onnxruntime, folder capi) and put it into "


def test_runtime_too_old(onnx, tmp_path):
    old = compile_so(tmp_path / "libonnxruntime.so", OLD)
    for more in ({"library": old}, {"env": {"SOMA_ONNXRUNTIME": old}}):
        code, message = failed(onnx(models.linear(), lib_dir="/var/lib/soma/lib", **more))
        assert code == "missing_file"
        assert message.startswith(f"ONNX Runtime at '{old}' is version 1.9.1, which is too old: 1.16 is the oldest that works. {REMEDY}/var/lib/soma/lib, ")


def test_runtime_is_another_library(onnx, tmp_path):
    other = compile_so(tmp_path / "libother.so", "int x;")
    assert failed(onnx(models.linear(), library=other))[1].startswith(f"'{other}' is not ONNX Runtime: it has no OrtGetApiBase. ")
    junk = tmp_path / "junk.so"
    junk.write_text("junk")
    assert "cannot be opened: " in failed(onnx(models.linear(), library=str(junk)))[1]
    assert failed(onnx(models.linear(), library="/nowhere/lib.so"))[1].startswith(
        "ONNX Runtime's library '/nowhere/lib.so', named by predictor.onnxruntime, cannot be read: No such file or directory. Remedy: ")


@pytest.fixture
def bare_host(tmp_path, monkeypatch):
    """A copy of the host without ONNX Runtime beside it."""
    folder = tmp_path / "host"
    folder.mkdir()
    for file in host_program().parent.iterdir():
        if file.is_file() and "onnxruntime" not in file.name:
            shutil.copy(file, folder)
    monkeypatch.setattr("hosts.host_program", lambda: folder / "soma-host")
    return folder


def test_runtime_missing(onnx, bare_host):
    lib = bare_host.parent / "lib"
    code, message = failed(onnx(models.linear(), lib_dir=str(lib)))
    assert code == "missing_file"
    assert message == ("ONNX Runtime's library (libonnxruntime.so) was not found: it is not named by predictor.onnxruntime or SOMA_ONNXRUNTIME, "
                       f"and neither in {bare_host}, nor in {lib}, nor on the system's library path. {REMEDY}{lib}, "
                       "or name it with predictor.onnxruntime or SOMA_ONNXRUNTIME")
    lib.mkdir()
    os.symlink(os.path.realpath(host_program().parent / "libonnxruntime.so.1"), lib / "libonnxruntime.so.1.32.0")
    assert ask(onnx(models.scaled(), lib_dir=str(lib)).ready(), x=[1]) == {"y": [2]}

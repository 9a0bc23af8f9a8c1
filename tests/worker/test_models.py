"""ONNXPredictor and multi_model_reloading: models of the project and of S3.

The packages are those of the tests' environment, put on the path of the worker's
interpreter. S3 is moto's server, in a thread.
"""
import os
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import onnx
import pytest
from moto.server import ThreadedMotoServer
from onnx import TensorProto, helper

from harness import LOADING, skip_unless_others_reach_the_worker

PACKAGES = {"PYTHONPATH": sysconfig.get_path("purelib")}
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def model(factor, inputs=("x",), kind=TensorProto.FLOAT, shape=("batch", 4)):
    """y = (the sum of the inputs) * factor."""
    terms = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
    nodes, last = [], inputs[0]
    for name in inputs[1:]:
        nodes.append(helper.make_node("Add", [last, name], [last + name]))
        last += name
    nodes.append(helper.make_node("Mul", [last, "factor"], ["y"]))
    graph = helper.make_graph(nodes, "g", terms, [helper.make_tensor_value_info("y", kind, shape)], [helper.make_tensor("factor", kind, [1], [factor])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    return made.SerializeToString()


PREDICTOR = """
    class ONNXPredictor:
        def __init__(self, onnx_client, config):
            self.client = onnx_client
        def predict(self, payload, query_params):
            return [a.tolist() for a in self.client.predict(payload, **query_params)]
"""


def onnx_settings(**models):
    return {"class": "ONNXPredictor", "models": models, "env": PACKAGES}


@pytest.mark.parametrize("files, path", [
    ({"m/net.onnx": model(2)}, "m"), ({"m/net.onnx": model(2), "m/other.onnx": b""}, "m/net.onnx"),
    ({"m/1/old.onnx": model(3), "m/7/net.onnx": model(2), "m/notes/x.txt": ""}, "./m/"),
])
def test_one_model(serve, files, path):
    w = serve({"predictor.py": PREDICTOR, **files}, **onnx_settings(path=path, cache_size=None))
    assert w.predict({"x": [[1, 2, 3, 4]]}).json() == [[[2, 4, 6, 8]]]
    assert w.predict([1, 2, 3, 4]).json() == [[[2, 4, 6, 8]]]  # one input needs no name, and one open dimension is worked out
    summary = w.request("GET").json()
    assert summary["message"].startswith("make a prediction by sending a post request")
    there = summary["model_metadata"]["_cortex_default"]
    assert there["versions"] == (["7", "1"] if "1/" in str(files) else ["1"]) and abs(there["timestamps"][0] - time.time()) < 100
    assert there["input_signatures"] == {"x": {"shape": ["batch", 4], "type": "float32"}}
    assert w.predict([1, 2, 3, 4], path="/?model_name=ignored").status == 200


def test_versions(serve):
    w = serve({"predictor.py": PREDICTOR, "m/1/a.onnx": model(3), "m/10/a.onnx": model(10), "m/9/a.onnx": model(9)}, **onnx_settings(path="m"))
    for version, factor in [("latest", 10), ("1", 3), ("9", 9)]:
        assert w.predict([1, 1, 1, 1], path="/?model_version=" + version).json() == [[[factor] * 4]]
    assert w.predict([1, 1, 1, 1], path="/?model_version=2").error["message"] == "ValueError: the model has no version 2: choose one of 1, 9, 10"
    assert "give a number, or 'latest'" in w.predict([1, 1, 1, 1], path="/?model_version=x").error["message"]


@pytest.mark.parametrize("models", [{"paths": [{"name": "a", "path": "all/a"}, {"name": "b", "path": "all/b/2/n.onnx"}]}, {"dir": "all"}])
def test_several_models(serve, models):
    w = serve({"predictor.py": PREDICTOR, "all/a/n.onnx": model(2), "all/b/2/n.onnx": model(5)}, **onnx_settings(**models))
    assert w.predict([1, 1, 1, 1], path="/?model_name=a").json() == [[[2] * 4]]
    assert w.predict([1, 1, 1, 1], path="/?model_name=b").json() == [[[5] * 4]]
    assert w.predict([1]).error["message"] == "ValueError: model_name is not given: choose one of a, b"
    assert w.predict([1], path="/?model_name=c").error["message"] == "ValueError: there is no model 'c': choose one of a, b"
    assert list(w.request("GET").json()["model_metadata"]) == ["a", "b"]


def test_input(serve):
    w = serve({"m/n.onnx": model(2, ("x", "z"), TensorProto.INT64, (None, 2)), "predictor.py": """
        import numpy
        class ONNXPredictor:
            def __init__(self, onnx_client, config):
                self.client = onnx_client
                model = onnx_client.get_model()
                self.facts = [model["session"].get_outputs()[0].name, [i.name for i in model["signatures"]], model["input_signatures"]]
            def predict(self, payload):
                if payload is None:
                    return self.facts
                if isinstance(payload, str):
                    payload = {name: numpy.array([[1, 2]], payload) for name in "xz"}
                return self.client.predict(payload)[0].tolist()
    """}, **onnx_settings(path="m"))
    assert w.predict(None).json() == ["y", ["x", "z"], {"x": {"shape": [None, 2], "type": "int64"}, "z": {"shape": [None, 2], "type": "int64"}}]
    assert w.predict({"x": [[1, 2]], "z": [3, 4], "more": 1}).json() == [[8, 12]]
    assert w.predict("float32").json() == [[4, 8]]
    for payload, message in [
        ([1, 2], "ValueError: the model has the inputs x, z: give a dict with them"),
        ({"x": [1, 2]}, "ValueError: the model's input z is missing; there is x"),
        ({"x": [1, 2], "z": ["a", 2]}, "ValueError: the input z wants int64: invalid literal"),
        ({"x": [1, 2], "z": [[1, 2], [3]]}, "ValueError: the input z wants int64: "),
        ({"x": [1, 2, 3], "z": [1, 2]}, "ValueError: the input x wants the shape [None, 2] and got [3]"),
        ("U3", "ValueError: the input x wants int64 and got an array of <U3"),
    ]:
        assert w.predict(payload).error["message"].startswith(message), message


@pytest.mark.parametrize("files, models, code, message, remedy", [
    ({}, {"path": "m"}, "missing_file", "predictor.models.path: the project has no m", "put the model there"),
    ({}, {"path": "../m"}, "missing_file", "predictor.models.path: ../m is outside of the project", "name a path of the project, or s3://BUCKET/KEY"),
    ({}, {"path": "gs://b/m"}, "missing_file", "gs://b/m is at a place that is not known", "or s3://BUCKET/KEY"),
    ({"m/a.txt": ""}, {"path": "m"}, "missing_file", "m has no .onnx file", "put exactly one .onnx file there"),
    ({"m/a.onnx": model(1), "m/b.onnx": b""}, {"path": "m"}, "missing_file", "m has 2 .onnx files (a.onnx, b.onnx)", "name the file"),
    ({"m/1/a.onnx": model(1), "m/2/x": ""}, {"path": "m"}, "missing_file", "m/2 has no .onnx file", "put exactly one"),
    ({"m/a.onnx": model(1)}, {"dir": "m"}, "missing_file", "predictor.models.dir: m has no folders", "give each model a folder there"),
    ({"m/a.onnx": model(1)[:40]}, {"path": "m"}, "init_error", "m is not a model that ONNX Runtime 1.", "it may be truncated"),
    ({"m/a.onnx": b"\x93NUMPY"}, {"path": "m"}, "init_error", "m is not a model that ONNX Runtime 1.", "of an opset newer"),
])
def test_models_that_cannot_be(start, files, models, code, message, remedy):
    failure = start({"predictor.py": PREDICTOR, **files}, **onnx_settings(**models)).failed()
    assert failure["code"] == code and message in failure["message"] and remedy in failure["remedy"], failure


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it as another user")
def test_models_that_cannot_be_read(start):
    skip_unless_others_reach_the_worker()
    failure = start({"predictor.py": PREDICTOR, "m/a.onnx": model(1)}, **onnx_settings(path="m"), user=65534, before=lambda w: os.chmod(w.project / "m", 0o700)).failed()
    assert failure["code"] == "init_error" and "the models cannot be read by user nobody: " in failure["message"] and "chmod -R o+rX" in failure["remedy"]


def test_versions_in_many_threads(serve):
    """Each is loaded once, however many ask."""
    w = serve({"predictor.py": CLIENT.format("PythonPredictor", "python_client", "predict").replace("self.loads += 1", "self.loads += 1; import time; time.sleep(0.3)"), "m/1/a.txt": "one", "m/2/b.txt": "two"}, models={"path": "m"}, threads=4)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: w.predict(path="/?model_version=%d" % (i % 2 + 1)).json(), range(8)))
    assert sorted(g[0][1] for g in got) == ["one"] * 4 + ["two"] * 4
    assert w.predict().json()[1] == 2


def test_packages_that_are_not_there(start):
    failure = start({"predictor.py": PREDICTOR, "m/a.onnx": model(1)}, **{**onnx_settings(path="m"), "env": {}}).failed()
    assert failure["code"] == "import_error" and failure["message"].startswith("onnx_client needs numpy, which is not installed for ") and failure["remedy"] == "add numpy to requirements.txt"
    files = {"predictor.py": PREDICTOR, "m/a.onnx": model(1), "numpy/__init__.py": ""}
    assert start(files, **{**onnx_settings(path="m"), "env": {}}).failed()["remedy"] == "add onnxruntime to requirements.txt"
    failure = start(PREDICTOR, **{**onnx_settings(path="s3://b/m"), "env": {}}).failed()
    assert failure["message"].startswith("predictor.models.path: s3://b/m needs boto3, which is not installed for ") and failure["remedy"] == "add boto3 to requirements.txt"
    failure = start("class ONNXPredictor:\n  def __init__(self, config): pass\n  def predict(self): pass\n", **onnx_settings(path="m")).failed()
    assert failure["message"] == "predictor.py: ONNXPredictor.__init__ does not take onnx_client, which has the models of predictor.models"
    assert failure["remedy"] == "write def __init__(self, onnx_client, config)"


# --- models that the user loads ------------------------------------------------


CLIENT = """
    import os
    class {0}:
        def __init__(self, config, {1}):
            self.client, self.loads = {1}, 0
            if config:
                self.client.get_model()
        def load_model(self, model_path):
            self.loads += 1
            names = os.listdir(model_path)
            return [names, open(os.path.join(model_path, names[0])).read()]
        def {2}(self, query_params):
            return self.client.get_model(**query_params), self.loads
"""


@pytest.mark.parametrize("kind, argument, method", [("PythonPredictor", "python_client", "predict"), ("Handler", "model_client", "handle_post")])
def test_python_client(serve, start, kind, argument, method):
    files = {"predictor.py": CLIENT.format(kind, argument, method), "m/1/a.txt": "one", "m/2/b.txt": "two", "m/x.txt": "x"}
    settings = {"class": kind, "models": {"path": "m"}}
    w = serve(files, **settings)
    assert w.predict().json() == [[["b.txt"], "two"], 1]
    assert w.predict(path="/?model_version=1").json() == [[["a.txt"], "one"], 2]
    assert w.predict().json() == [[["b.txt"], "two"], 2]
    if kind == "PythonPredictor":
        assert w.request("GET").json()["model_metadata"]["_cortex_default"]["versions"] == ["2", "1"]
    w = serve(files, **{**settings, "models": {"path": "m/x.txt"}})
    assert w.predict().json() == [[["x.txt"], "x"], 1]
    failure = start(files, config={"now": 1}, **settings).failed()
    assert failure["message"].endswith("RuntimeError: get_model works once __init__ has returned: call it in the method that answers")


def test_python_client_needs_load_model(start):
    failure = start("class PythonPredictor:\n  def __init__(self, config, python_client): pass\n  def predict(self): pass\n", models={"path": "m"}).failed()
    assert failure["message"] == "predictor.py: PythonPredictor has no method load_model, which predictor.multi_model_reloading needs"
    assert "def load_model" not in failure["remedy"] and "define load_model(self, model_path)" in failure["remedy"]
    failure = start("class PythonPredictor:\n  def predict(self): pass\n", models={"path": "m"}).failed()
    assert failure["remedy"] == "write def __init__(self, python_client, config)"


# --- S3 ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = "http://%s:%d" % (host, port)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    client.create_bucket(Bucket="models")
    for key, body in {
        "iris.onnx": model(2), "iris.onnx.old": b"x", "net/1/a.onnx": model(3), "net/2/a.onnx": model(4), "net/2/": b"", "netto/a.onnx": b"x",
        "all/a/n.onnx": model(5), "all/b/1/n.onnx": model(6), "many/a.onnx": model(1), "many/b.onnx": model(1), "odd/../../up.onnx": model(1),
    }.items():
        client.put_object(Bucket="models", Key=key, Body=body)
    client.create_bucket(Bucket="open", ACL="public-read")
    client.put_object(Bucket="open", Key="iris.onnx", Body=model(7), ACL="public-read")
    yield url
    server.stop()


def s3_settings(url, models, **env):
    settings = onnx_settings(**models)
    return {**settings, "env": {**PACKAGES, **KEYS, "AWS_ENDPOINT_URL": url, **env}}


@pytest.mark.parametrize("models, query, factor", [
    ({"path": "s3://models/iris.onnx"}, "", 2), ({"path": "s3://models/net"}, "", 4), ({"path": "s3://models/net/"}, "?model_version=1", 3),
    ({"path": "s3://models/net/1"}, "", 3), ({"dir": "s3://models/all"}, "?model_name=b", 6),
    ({"paths": [{"name": "a", "path": "s3://models/all/a"}, {"name": "i", "path": "s3://models/iris.onnx"}]}, "?model_name=a", 5),
])
def test_s3(serve, s3, tmp_path, models, query, factor):
    w = serve(PREDICTOR, **s3_settings(s3, models, TMPDIR=str(tmp_path)))
    assert w.predict([1, 1, 1, 1], path="/" + query).json() == [[[factor] * 4]]
    said = [f[2] for f in w.frames if f[0] == LOADING]
    assert any(s.startswith("fetching s3://models/") for s in said) and any(s.startswith("loading s3://models/") for s in said), said
    assert len(list(tmp_path.glob("soma-models-*"))) == 1
    w.process.terminate()
    assert w.wait() == 0 and not list(tmp_path.glob("soma-models-*"))


def test_s3_leavings_of_a_killed_process_are_removed(serve, s3, tmp_path):
    one = serve(PREDICTOR, **s3_settings(s3, {"path": "s3://models/iris.onnx"}, TMPDIR=str(tmp_path)))
    two = serve(PREDICTOR, **s3_settings(s3, {"path": "s3://models/iris.onnx"}, TMPDIR=str(tmp_path)))
    assert len(list(tmp_path.glob("soma-models-*"))) == 2
    one.process.kill()
    one.wait()
    serve(PREDICTOR, **s3_settings(s3, {"path": "s3://models/iris.onnx"}, TMPDIR=str(tmp_path)))
    assert len(list(tmp_path.glob("soma-models-*"))) == 2
    assert two.predict([1, 1, 1, 1]).status == 200


NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def test_s3_without_credentials(serve, s3):
    w = serve(PREDICTOR, **s3_settings(s3, {"path": "s3://open/iris.onnx"}, **NO_KEYS))
    assert w.predict([1, 1, 1, 1]).json() == [[[7] * 4]]


@pytest.mark.parametrize("source, env, code, message, remedy", [
    ("s3://nowhere/m", {}, "missing_file", "has no bucket nowhere", "AWS_ENDPOINT_URL"),
    ("s3:///m", {}, "missing_file", "s3:///m names no bucket", "write s3://BUCKET/KEY"),
    ("s3://models/iris.onx", {}, "missing_file", "s3://models/iris.onx is not there", "correct the key; s3://models/ has iris.onnx"),
    ("s3://models/all/c", {}, "missing_file", "s3://models/all/c is not there", "s3://models/all/ has a/, b/"),
    ("s3://models/none/c", {}, "missing_file", "s3://models/none/c is not there", "nothing is below s3://models/none/"),
    ("s3://models/many", {}, "missing_file", "s3://models/many has 2 .onnx files (a.onnx, b.onnx)", "name the file"),
    ("s3://models/odd", {}, "missing_file", "has the key odd/../../up.onnx, which no file can be named after", "rename it"),
    ("s3://models/iris.onnx", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "init_error", "http://127.0.0.1:9 cannot be reached for s3://models/iris.onnx", "AWS_ENDPOINT_URL"),
    ("s3://models/iris.onnx", NO_KEYS, "init_error", "may not be read without credentials, and there are none", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in env"),
])
def test_s3_failures(start, s3, source, env, code, message, remedy):
    failure = start(PREDICTOR, **s3_settings(s3, {"path": source}, AWS_MAX_ATTEMPTS="1", **env)).failed()
    assert failure["code"] == code and message in failure["message"], failure
    assert remedy in failure["remedy"], failure

"""ONNXPredictor and multi_model_reloading: models of the project, and at the places
that CONFIG says.

The packages are those of the tests' environment, put on the path of the worker's
interpreter.
"""
import os
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from onnx import TensorProto, helper

from harness import LOADING, skip_unless_others_reach_the_worker

PACKAGES = {"PYTHONPATH": sysconfig.get_path("purelib")}


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
    for version in ("x", "%C2%B2", "-1"):
        assert "give a number, or 'latest'" in w.predict([1, 1, 1, 1], path="/?model_version=" + version).error["message"]


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
    ({}, {"path": "../m"}, "missing_file", "predictor.models.path: ../m is outside of the project", "name a path of the project"),
    ({"m/a.txt": ""}, {"path": "m"}, "missing_file", "m has no .onnx file", "put exactly one .onnx file there"),
    ({"m/a.onnx": model(1), "m/b.onnx": b""}, {"path": "m"}, "missing_file", "m has 2 .onnx files (a.onnx, b.onnx)", "name the file"),
    ({"m/1/a.onnx": model(1), "m/2/x": ""}, {"path": "m"}, "missing_file", "m/2 has no .onnx file", "put exactly one"),
    ({"m/1/a.onnx": model(1), "m/01/a.onnx": model(1)}, {"path": "m"}, "init_error", "predictor.models: the folders m/01 and m/1 are the same version", "rename one of them"),
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


# --- at the places that CONFIG says ----------------------------------------------


def put(folder, files):
    """Files in a new folder; times differ from those of others."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def lead(link, to):
    """As the daemon does it: by a rename."""
    new = link.with_name(link.name + ".new")
    new.symlink_to(to)
    new.rename(link)


def at(path, source):
    return {"path": str(path), "source": source}


def in_place(path):
    return {**at(path, "file://%s" % path), "in_place": True}


def later(get, want, seconds=30):
    """get() until it is `want`: a worker looks once a second."""
    end = time.monotonic() + seconds
    while (got := get()) != want and time.monotonic() < end:
        time.sleep(0.1)
    assert got == want


def test_a_link_that_leads_to_a_newer_version(serve, tmp_path):
    link = tmp_path / "m"
    lead(link, put(tmp_path / "one", {"1/a.txt": "one"}))
    w = serve(CLIENT.format("PythonPredictor", "python_client", "predict"), models={"path": at(link, "s3://bucket/m/")})
    assert w.predict().json() == [[["a.txt"], "one"], 1]
    lead(link, put(tmp_path / "two", {"1/b.txt": "two"}))
    later(lambda: w.predict().json(), [[["b.txt"], "two"], 2])
    lead(link, put(tmp_path / "three", {"1/b.txt": "two", "3/c.txt": "three"}))
    later(lambda: w.predict().json()[0], [["c.txt"], "three"])
    later(lambda: w.request("GET").json()["model_metadata"]["_cortex_default"]["versions"], ["3", "1"])
    lead(link, put(tmp_path / "four", {"1/b.txt": "two"}))
    later(lambda: w.predict(path="/?model_version=3").status, 500)
    assert "choose one of 1" in w.predict(path="/?model_version=3").error["message"]


def test_what_is_new_and_cannot_be_used(serve, tmp_path):
    link = tmp_path / "m"
    lead(link, put(tmp_path / "one", {"n.onnx": model(2)}))
    w = serve(PREDICTOR, **onnx_settings(path=at(link, "s3://bucket/m/")))
    assert w.predict([1, 1, 1, 1]).json() == [[[2] * 4]]
    lead(link, put(tmp_path / "two", {"n.onnx": model(3)[:40]}))
    later(lambda: w.predict([1, 1, 1, 1]).json() == [[[2] * 4]] and "s3://bucket/m/ is not a model that ONNX Runtime" in w.log, True)
    assert ": check the file: it may be truncated" in w.log
    (tmp_path / "three").mkdir()
    lead(link, tmp_path / "three")
    empty = "s3://bucket/m/ is empty: put the model there; what there was before goes on"
    later(lambda: w.predict([1, 1, 1, 1]).json() == [[[2] * 4]] and empty in w.log, True)
    lead(link, put(tmp_path / "four", {"n.onnx": model(4)}))
    later(lambda: w.predict([1, 1, 1, 1]).json(), [[[4] * 4]])


def test_models_of_a_folder_come_and_go(serve, tmp_path):
    link = tmp_path / "all"
    lead(link, put(tmp_path / "one", {"a/n.onnx": model(2), "b/1/n.onnx": model(3)}))
    w = serve(PREDICTOR, **onnx_settings(dir=at(link, "gs://bucket/all")))
    assert w.predict([1, 1, 1, 1], path="/?model_name=a").json() == [[[2] * 4]]
    lead(link, put(tmp_path / "two", {"b/1/n.onnx": model(3), "b/2/n.onnx": model(5), "c/n.onnx": model(7)}))
    later(lambda: w.predict([1, 1, 1, 1], path="/?model_name=c").json(), [[[7] * 4]])
    assert w.predict([1, 1, 1, 1], path="/?model_name=b").json() == [[[5] * 4]]
    assert "choose one of b, c" in w.predict([1, 1, 1, 1], path="/?model_name=a").error["message"]


def test_a_file_that_is_replaced_in_place(serve, tmp_path):
    put(tmp_path, {"n.onnx": model(2)})
    w = serve(PREDICTOR, **onnx_settings(path=in_place(tmp_path / "n.onnx")))
    assert w.predict([1, 1, 1, 1]).json() == [[[2] * 4]]
    put(tmp_path, {"new": model(6)})
    (tmp_path / "new").rename(tmp_path / "n.onnx")
    later(lambda: w.predict([1, 1, 1, 1]).json(), [[[6] * 4]])


READER = """
    import os
    class PythonPredictor:
        def __init__(self, config, python_client):
            self.client, self.loads = python_client, []
        def load_model(self, model_path):
            self.loads.append(os.path.basename(model_path))
            return open(os.path.join(model_path, "model")).read()
        def predict(self, query_params):
            if "loads" in query_params:
                return self.loads
            return self.client.get_model(query_params.get("name"), query_params.get("version", "latest"))
"""


def test_versions_that_come_to_a_folder_in_place(serve, tmp_path):
    put(tmp_path, {"m/iris/1/model": "one"})
    w = serve(READER, models={"dir": in_place(tmp_path / "m")})
    iris = "/?name=iris"
    assert w.predict(path=iris).body.decode() == "one"
    put(tmp_path, {"m/iris/2/model": "two"})
    later(lambda: w.predict(path=iris).body.decode(), "two")
    put(tmp_path, {"m/rose/model": "red"})
    later(lambda: w.predict(path="/?name=rose").body.decode(), "red")
    # One that is not there yet keeps none of the others from being seen.
    (tmp_path / "m/lily").mkdir()
    put(tmp_path, {"m/iris/2/model": "two, trained again"})
    later(lambda: w.predict(path=iris).body.decode(), "two, trained again")
    assert w.predict(path=iris + "&version=1").body.decode() == "one"


def test_files_of_a_version_in_place(serve, tmp_path):
    put(tmp_path, {"m/1/model": "one", "m/2/model": "two"})
    w = serve(READER, models={"path": in_place(tmp_path / "m")})
    assert w.predict().body.decode() == "two"
    put(tmp_path, {"new": "two by a rename"})
    (tmp_path / "new").rename(tmp_path / "m/2/model")
    later(lambda: w.predict().body.decode(), "two by a rename")
    put(tmp_path, {"m/2/model": "two, written over"})
    later(lambda: w.predict().body.decode(), "two, written over")
    time.sleep(2.5)
    assert w.predict(path="/?loads=1").json() == ["2"] * 3  # what has not changed is not loaded again


def test_a_version_that_is_being_written(serve, tmp_path):
    put(tmp_path, {"m/1/model": "one"})
    w = serve(READER, models={"path": in_place(tmp_path / "m")})
    assert w.predict().body.decode() == "one"
    (tmp_path / "m/2").mkdir()
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert w.predict().body.decode() == "one"
        time.sleep(0.1)
    with open(tmp_path / "m/2/model", "w") as f:
        for part in range(25):
            f.write("part %d " % part)
            f.flush()
            assert w.predict().body.decode() == "one"
            time.sleep(0.1)
    later(lambda: w.predict().body.decode(), "".join("part %d " % part for part in range(25)))
    assert w.predict(path="/?loads=1").json() == ["1", "2"]


def test_folders_that_are_no_versions_in_place(serve, tmp_path):
    put(tmp_path, {"m/1/model": "one"})
    w = serve(READER, models={"path": in_place(tmp_path / "m")})
    assert w.predict().body.decode() == "one"
    put(tmp_path, {"m/\u00b2/model": "superscript", "m/01/model": "once more"})
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert w.predict().body.decode() == "one"
        time.sleep(0.1)
    assert w.log.count("m/01 and file://%s/m/1 are the same version: rename one of them; what there was before goes on" % tmp_path) == 1
    put(tmp_path, {"m/2/model": "two"})
    (tmp_path / "m/01/model").unlink()
    (tmp_path / "m/01").rmdir()
    later(lambda: w.predict().body.decode(), "two")


def test_one_that_was_half_written_at_the_start(serve, tmp_path):
    put(tmp_path, {"m/1/model": "ha"})
    w = serve(READER, models={"path": in_place(tmp_path / "m")})
    assert w.predict().body.decode() == "ha"
    put(tmp_path, {"m/1/model": "half, and now whole"})
    later(lambda: w.predict().body.decode(), "half, and now whole")


LRU = """
    import gc, os, weakref
    class Model:
        def __init__(self, text):
            self.text = text
    class PythonPredictor:
        def __init__(self, config, python_client):
            self.client, self.loads, self.alive = python_client, [], weakref.WeakSet()
        def load_model(self, model_path):
            text = open(os.path.join(model_path, "x")).read()
            self.loads.append(text)
            self.most = len(self.alive)  # before it is there
            model = Model(text)
            self.alive.add(model)
            return model
        def predict(self, query_params):
            model = self.client.get_model(query_params["name"])
            return model.text, self.loads, sorted(m.text for m in self.alive), self.most
"""


def test_the_model_that_was_used_longest_ago_goes(serve):
    files = {"predictor.py": LRU, **{"all/%s/x" % name: name for name in "abcd"}}
    w = serve(files, models={"dir": "all", "cache_size": 2, "disk_cache_size": 4})
    seen = [w.predict(path="/?name=" + name).json() for name in "abacad"]
    assert [s[0] for s in seen] == list("abacad")
    assert seen[-1][1] == ["a", "b", "c", "d"]
    assert [s[2] for s in seen] == [["a"], ["a", "b"], ["a", "b"], ["a", "c"], ["a", "c"], ["a", "d"]]
    assert max(s[3] for s in seen) == 1  # it made room first


def test_a_prediction_keeps_what_it_has_got(serve):
    source = LRU.replace('model = self.client.get_model(query_params["name"])', 'first = self.client.get_model("a"); model = self.client.get_model("b"); assert first.text == "a"')
    files = {"predictor.py": source, "all/a/x": "a", "all/b/x": "b"}
    w = serve(files, models={"dir": "all", "cache_size": 1, "disk_cache_size": 2})
    assert w.predict().json()[2] == ["a", "b"]
    assert w.predict().json()[1] == ["a", "b", "a", "b"]


BAD = "no such thing"  # what a reader of JSON does not take
JSON = READER.replace('return open(os.path.join(model_path, "model")).read()', 'return __import__("json").load(open(os.path.join(model_path, "model")))')


def loads(w):
    return w.predict(path="/?loads=1").json()


def test_the_newest_cannot_be_loaded(serve, tmp_path):
    """The one before it goes on, of those that are loaded."""
    link = tmp_path / "m"
    lead(link, put(tmp_path / "one", {"1/model": "1"}))
    w = serve(JSON, models={"path": at(link, "s3://bucket/m"), "cache_size": 1, "disk_cache_size": 3})
    assert w.predict().json() == 1
    lead(link, put(tmp_path / "two", {"1/model": "1", "2/model": BAD}))
    later(lambda: w.predict().json() == 1 and loads(w), ["1", "2"])
    for _ in range(5):
        assert w.predict().json() == 1
    assert loads(w) == ["1", "2"]  # it was tried, once
    assert w.log.count("what is new of s3://bucket/m/2 cannot be loaded: json.decoder.JSONDecodeError") == 1 and "; version 1 goes on" in w.log
    assert "JSONDecodeError" in w.predict(path="/?version=2").error["message"]  # who asks for that one is told
    lead(link, put(tmp_path / "three", {"1/model": "1", "2/model": "22"}))
    later(lambda: w.predict().json(), 22)
    assert loads(w) == ["1", "2", "2"]


def test_one_that_cannot_be_loaded_costs_the_others_nothing(serve):
    files = {"predictor.py": JSON.replace('os.path.basename(model_path)', 'model_path[-1]'), "all/a/model": "1", "all/b/model": BAD}
    w = serve(files, models={"dir": "all", "cache_size": 1, "disk_cache_size": 2})
    for _ in range(3):
        assert w.predict(path="/?name=a").json() == 1
        assert w.predict(path="/?name=b").error["message"].startswith("json.decoder.JSONDecodeError: Expecting value")
    assert loads(w) == ["a", "b", "a"]


def test_one_that_could_not_be_loaded_is_tried_again(serve):
    """Why may be no fault of its files."""
    source = JSON.replace("            return __import__", "            if len(self.loads) == 1:\n                raise OSError('no network')\n            return __import__")
    w = serve({"predictor.py": source, "m/model": "5"}, models={"path": "m"})
    assert "no network" in w.predict().error["message"] and "no network" in w.predict().error["message"]
    later(lambda: w.predict().status, 200, 10)
    assert loads(w) == ["m", "m"]


def test_a_small_cache_of_onnx_models(serve):
    files = {"predictor.py": PREDICTOR, "all/d/n.onnx": model(5)[:40], **{"all/%s/n.onnx" % name: model(i + 2) for i, name in enumerate("abc")}}
    w = serve(files, **onnx_settings(dir="all", cache_size=1, disk_cache_size=3))
    for name, factor in [("a", 2), ("b", 3), ("c", 4), ("a", 2)]:
        assert w.predict([1, 1, 1, 1], path="/?model_name=" + name).json() == [[[factor] * 4]]
    error = w.predict([1, 1, 1, 1], path="/?model_name=d").error["message"]
    assert error.startswith("RuntimeError: all/d is not a model that ONNX Runtime 1.") and error.endswith(": check the file: it may be truncated, or of an opset newer than this onnxruntime knows")


def test_models_that_the_class_opens_itself(serve):
    """Those of soma.models: there is no client, and no load_model."""
    w = serve("class PythonPredictor:\n  def __init__(self, config): pass\n  def predict(self): return 1\n", models={"path": at("/", "hf://org/name"), "open": True})
    assert w.predict().json() == 1

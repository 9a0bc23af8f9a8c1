"""Models that change at their source while replicas use them; the apps of Cortex's
users that had that, as they wrote them.

S3 is moto's server. The daemon asks it every 300 ms; a replica looks once a second.
"""

import importlib.metadata
import os
import pickle
import signal
import textwrap
import time

import boto3
import pytest
from onnx import TensorProto, helper

from soma.buckets import s3_server
from soma.daemon import Daemon
from soma.projects import yaml_value
from soma.waiting import wait_for

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
# With the versions that the test itself has. One environment for all.
PINNED = "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("numpy", "onnxruntime"))
SOON = 30


@pytest.fixture(scope="module")
def moto():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="module")
def bucket(moto):
    """put(key, body), and delete(key)."""
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    client.create_bucket(Bucket="models")

    class Bucket:
        def put(self, key, body):
            client.put_object(Bucket="models", Key=key, Body=body if isinstance(body, bytes) else body.encode())

        def delete(self, key):
            client.delete_object(Bucket="models", Key=key)

    return Bucket()


@pytest.fixture(scope="module")
def daemon(moto, bucket):
    with Daemon(env={**KEYS, "AWS_ENDPOINT_URL": moto}.items(), args=["--models-check", "300ms"]) as d:
        yield d


def onnx_model(factor):
    """y = x * factor."""
    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "f"], ["y"])], "g", [value("x")], [value("y")], [helper.make_tensor("f", TensorProto.FLOAT, [1], [factor])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    return made.SerializeToString()


def answer_of(daemon, name, query="", payload=None):
    answer = daemon.admin.post("/%s%s" % (name, query), json={} if payload is None else payload)
    assert answer.status_code == 200, answer.text
    return answer.json()


def comes(daemon, want, name, query="", payload=None):
    """An answer that is `want` sooner or later; every one until then is an answer."""
    wait_for(f"{name} answers {want}", lambda: answer_of(daemon, name, query, payload) == want, SOON)


# --- python ---------------------------------------------------------------------------

READER = """
import os


class PythonPredictor:
    def __init__(self, config, python_client):
        self.client = python_client

    def load_model(self, model_path):
        [name] = os.listdir(model_path)
        with open(os.path.join(model_path, name)) as f:
            return f.read()

    def predict(self, payload, query_params):
        return [self.client.get_model(query_params.get("name"), query_params.get("version", "latest")), os.getpid()]
"""


def reader(name, models, **keys):
    predictor = {"type": "python", "path": "predictor.py", "multi_model_reloading": models}
    return {"soma.yaml": yaml_value([{"name": name, "predictor": predictor, **keys}]), "predictor.py": READER}


def texts(daemon, name, query=""):
    return answer_of(daemon, name, query)[0]


def test_what_is_new_is_loaded_by_the_same_process(daemon, bucket):
    bucket.put("live/m.txt", "one")
    daemon.admin.deploy(reader("live", {"path": "s3://models/live/"}))
    first, pid = answer_of(daemon, "live")
    assert first == "one"
    bucket.put("live/m.txt", "two, and longer")
    comes(daemon, ["two, and longer", pid], "live")
    assert any(e["type"] == "model_ready" and "in a new version" in e["text"] for e in daemon.admin.events("live"))
    assert daemon.admin.api("live")["restarts"] == 0
    daemon.admin.delete("live")


def test_versions_that_come_and_go(daemon, bucket):
    bucket.put("many/1/m.txt", "one")
    daemon.admin.deploy(reader("many", {"path": "s3://models/many"}))
    assert texts(daemon, "many") == "one"
    bucket.put("many/2/m.txt", "two")
    wait_for("the newest is used", lambda: texts(daemon, "many") == "two", SOON)
    assert texts(daemon, "many", "?version=1") == "one"
    summary = daemon.admin.get("/many").json()["model_metadata"]["_cortex_default"]
    assert summary["versions"] == ["2", "1"]
    bucket.delete("many/2/m.txt")
    wait_for("the older is the newest again", lambda: texts(daemon, "many") == "one", SOON)
    daemon.admin.delete("many")


def test_a_model_that_is_added_to_a_folder(daemon, bucket):
    bucket.put("zoo/cat/m.txt", "meow")
    daemon.admin.deploy(reader("zoo", {"dir": "s3://models/zoo"}))
    assert texts(daemon, "zoo", "?name=cat") == "meow"
    bucket.put("zoo/dog/m.txt", "woof")
    wait_for("the other is there, too", lambda: daemon.admin.post("/zoo?name=dog", json={}).status_code == 200, SOON)
    assert texts(daemon, "zoo", "?name=dog") == "woof"
    daemon.admin.delete("zoo")


def test_a_source_in_trouble_changes_nothing(daemon, bucket):
    bucket.put("fragile/m.txt", "sound")
    daemon.admin.deploy(reader("fragile", {"path": "s3://models/fragile/"}))
    assert texts(daemon, "fragile") == "sound"
    bucket.delete("fragile/m.txt")
    wait_for("it is told", lambda: [e for e in daemon.admin.events("fragile") if e["type"] == "model_failed"], SOON)
    assert texts(daemon, "fragile") == "sound" and daemon.admin.api("fragile")["status"] == "live"
    time.sleep(1)
    assert len([e for e in daemon.admin.events("fragile") if e["type"] == "model_failed"]) == 1  # once
    bucket.put("fragile/m.txt", "sound again")
    wait_for("what came back is used", lambda: texts(daemon, "fragile") == "sound again", SOON)
    daemon.admin.delete("fragile")


def test_a_link_that_cannot_be_made_is_made_later(daemon, bucket):
    """As on a disk that is full: the revision serves on with what it has."""
    bucket.put("stuck/m.txt", "old")
    daemon.admin.deploy(reader("stuck", {"path": "s3://models/stuck/"}))
    text, pid = answer_of(daemon, "stuck")
    in_the_way = daemon.data / "models/pins/stuck-1/_.new"
    in_the_way.mkdir()
    bucket.put("stuck/m.txt", "newer")

    def failures():
        return [e["text"] for e in daemon.admin.events("stuck") if e["type"] == "model_failed"]

    wait_for("it is told", failures, SOON)
    assert "linking" in failures()[0] and "what was fetched before goes on being used" in failures()[0]
    os.kill(pid, signal.SIGKILL)
    wait_for("another replica serves", lambda: (a := daemon.admin.post("/stuck", json={})).status_code == 200 and a.json()[1] != pid, SOON)
    assert texts(daemon, "stuck") == "old" and daemon.admin.api("stuck")["status"] == "live"
    assert len(failures()) == 1 and not any("new version" in e["text"] for e in daemon.admin.events("stuck"))
    in_the_way.rmdir()
    wait_for("the newer one is used", lambda: texts(daemon, "stuck") == "newer", SOON)
    daemon.admin.delete("stuck")


def test_a_first_link_that_cannot_be_made_is_made_later(daemon, bucket):
    bucket.put("later/m.txt", "there")
    in_the_way = daemon.data / "models/pins/later-1/_.new"
    in_the_way.mkdir(parents=True)
    end = daemon.admin.deploy_failing(reader("later", {"path": "s3://models/later/"}))
    assert "linking" in end["text"], end
    in_the_way.rmdir()
    daemon.admin.wait_live("later")
    assert texts(daemon, "later") == "there"
    daemon.admin.delete("later")


def test_what_replicas_use_is_kept_and_what_none_uses_goes(daemon, bucket):
    bucket.put("turn/m.txt", "a")
    daemon.admin.deploy(reader("turn", {"path": "s3://models/turn/"}))
    paths = [daemon.admin.api("turn")["models"][0]["path"]]
    for text in ("bb", "ccc"):
        bucket.put("turn/m.txt", text)
        wait_for("it is there", lambda: texts(daemon, "turn") == text, SOON)
        paths.append(daemon.admin.api("turn")["models"][0]["path"])
    daemon.admin.ok("POST", "/v1/models/gc")
    there = [(daemon.data / "models/trees" / path.rpartition("/")[2]).exists() for path in paths]
    assert there == [False, True, True]  # the one before may still be read
    daemon.admin.delete("turn")


def test_replicas_that_a_restart_leaves_alone(own_daemon_with, bucket):
    d = own_daemon_with
    bucket.put("over/m.txt", "old")
    d.admin.deploy(reader("over", {"path": "s3://models/over/"}))
    first, pid = answer_of(d, "over")
    old = d.daemon_pid
    os.kill(old, signal.SIGKILL)
    wait_for("another daemon is there", lambda: d.daemon_pid != old and d.admin.is_ready(), 30)
    d.admin.wait_live("over")
    bucket.put("over/m.txt", "newer")
    comes(d, ["newer", pid], "over")


def test_a_version_that_is_added_in_place(daemon):
    folder = daemon.parent / "placed"
    for version, text in [("1", "one"), ("2", "two")]:
        (folder / "iris" / version).mkdir(parents=True)
        (folder / "iris" / version / "m.txt").write_text(text)
        if version == "1":
            daemon.admin.deploy(reader("placed", {"dir": str(folder)}))
            assert texts(daemon, "placed", "?name=iris") == "one"
    wait_for("the newest is used", lambda: texts(daemon, "placed", "?name=iris") == "two", SOON)
    daemon.admin.delete("placed")


@pytest.fixture
def own_daemon_with(moto, bucket):
    with Daemon(env={**KEYS, "AWS_ENDPOINT_URL": moto}.items(), args=["--models-check", "300ms"]) as d:
        yield d


# --- Cortex's apps ------------------------------------------------------------------------


def cortex(folder, config, predictor, requirements=None):
    files = {"cortex.yaml": textwrap.dedent(config), "predictor.py": textwrap.dedent(predictor)}
    if requirements is not None:
        files["requirements.txt"] = requirements
    return folder(files)


def test_live_reloading_of_a_python_app(daemon, bucket, folder):
    bucket.put("mpg/1/model.pkl", pickle.dumps({"slope": 2.0}))
    app = cortex(folder, """
        - name: mpg-estimator
          kind: RealtimeAPI
          predictor:
            type: python
            path: predictor.py
            multi_model_reloading:
              path: s3://models/mpg/
        """, """
        import os
        import pickle


        class PythonPredictor:
            def __init__(self, config, python_client):
                self.client = python_client

            def load_model(self, model_path):
                with open(os.path.join(model_path, "model.pkl"), "rb") as f:
                    return pickle.load(f)

            def predict(self, payload, query_params):
                model_version = query_params.get("version")
                model = self.client.get_model(model_version=model_version) if model_version else self.client.get_model()
                return {"prediction": model["slope"] * payload["weight"], "model": {"version": model_version or "latest"}}
        """)
    done = daemon.cli("deploy", app, check=0, timeout=200)
    done.says("mpg-estimator is live")
    assert "not acted on" not in done.out + done.err
    assert answer_of(daemon, "mpg-estimator", "", {"weight": 3}) == {"prediction": 6.0, "model": {"version": "latest"}}
    bucket.put("mpg/2/model.pkl", pickle.dumps({"slope": 5.0}))
    comes(daemon, {"prediction": 15.0, "model": {"version": "latest"}}, "mpg-estimator", "", {"weight": 3})
    assert answer_of(daemon, "mpg-estimator", "?version=1", {"weight": 3}) == {"prediction": 6.0, "model": {"version": "1"}}
    daemon.admin.delete("mpg-estimator")


def test_model_caching_of_a_python_app(daemon, bucket, folder):
    for name in "abc":
        bucket.put(f"cached/{name}/1/m.txt", name)
    app = cortex(folder, """
        - name: cached
          kind: RealtimeAPI
          predictor:
            type: python
            path: predictor.py
            multi_model_reloading:
              dir: s3://models/cached/
              cache_size: 1
              disk_cache_size: 2
        """, """
        import os


        class Model:
            alive = 0

            def __init__(self, text):
                self.text = text
                Model.alive += 1

            def __del__(self):
                Model.alive -= 1


        class PythonPredictor:
            def __init__(self, config, python_client):
                self.client = python_client
                self.loads = 0

            def load_model(self, model_path):
                self.loads += 1
                with open(os.path.join(model_path, "m.txt")) as f:
                    return Model(f.read())

            def predict(self, payload, query_params):
                model = self.client.get_model(query_params["model"])
                return [model.text, self.loads, Model.alive]
        """)
    daemon.cli("deploy", app, check=0, timeout=200).says("cached is live", "disk_cache_size", "all models stay on disk")
    assert [answer_of(daemon, "cached", f"?model={name}") for name in "aabac"] == [["a", 1, 1], ["a", 1, 1], ["b", 2, 1], ["a", 3, 1], ["c", 4, 1]]
    daemon.admin.delete("cached")


ONNX_PREDICTOR = """
class ONNXPredictor:
    def __init__(self, onnx_client, config):
        self.client = onnx_client

    def predict(self, payload, query_params):
        return self.client.predict(payload, query_params.get("model"), query_params.get("version", "latest"))[0].tolist()
"""


def test_multi_model_and_live_reloading_of_an_onnx_app(daemon, bucket, folder):
    bucket.put("nets/double/1/net.onnx", onnx_model(2))
    bucket.put("nets/triple.onnx", onnx_model(3))
    app = cortex(folder, """
        - name: nets
          kind: RealtimeAPI
          predictor:
            type: onnx
            path: predictor.py
            models:
              paths:
                - name: double
                  path: s3://models/nets/double/
                - name: triple
                  path: s3://models/nets/triple.onnx
        """, ONNX_PREDICTOR, PINNED)
    daemon.cli("deploy", app, check=0, timeout=400).says("nets is live")
    assert answer_of(daemon, "nets", "?model=double", [[1, 1]]) == [[2, 2]]
    assert answer_of(daemon, "nets", "?model=triple", [[1, 1]]) == [[3, 3]]
    bucket.put("nets/double/2/net.onnx", onnx_model(20))
    comes(daemon, [[20, 20]], "nets", "?model=double", [[1, 1]])
    assert answer_of(daemon, "nets", "?model=double&version=1", [[1, 1]]) == [[2, 2]]
    bucket.put("nets/triple.onnx", onnx_model(30))
    comes(daemon, [[30, 30]], "nets", "?model=triple", [[1, 1]])
    # What no ONNX Runtime takes changes nothing.
    bucket.put("nets/triple.onnx", onnx_model(31)[:30])
    wait_for("it was fetched", lambda: len([e for e in daemon.admin.events("nets") if "triple.onnx is there in a new version" in e["text"]]) >= 2, SOON)
    time.sleep(1.5)
    assert answer_of(daemon, "nets", "?model=triple", [[1, 1]]) == [[30, 30]]
    metadata = daemon.admin.get("/nets").json()["model_metadata"]
    assert metadata["double"]["versions"] == ["2", "1"] and metadata["double"]["input_signatures"] == {"x": {"shape": [None, 2], "type": "float32"}}
    daemon.admin.delete("nets")


def test_model_caching_of_an_onnx_app(daemon, bucket, folder):
    for i, name in enumerate("abc"):
        bucket.put(f"small/{name}/1/net.onnx", onnx_model(i + 2))
    app = cortex(folder, """
        - name: small
          kind: RealtimeAPI
          predictor:
            type: onnx
            path: predictor.py
            models:
              dir: s3://models/small/
              cache_size: 1
              disk_cache_size: 3
        """, ONNX_PREDICTOR, PINNED)
    daemon.cli("deploy", app, check=0, timeout=400).says("small is live")
    for name, factor in [("a", 2), ("b", 3), ("c", 4), ("a", 2)]:
        assert answer_of(daemon, "small", f"?model={name}", [[1, 1]]) == [[factor, factor]]
    daemon.admin.delete("small")

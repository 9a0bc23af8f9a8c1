"""Projects as Cortex's users wrote them, deployed with no edit, against an S3 of
the test's own (moto's server).

Credentials and the endpoint are in the daemon's environment, as they would be on
a machine with one AWS account, or in the api's `env`.
"""

import gzip
import importlib.metadata
import os
import pathlib
import pickle
import textwrap

import boto3
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from soma.buckets import s3_server
from soma.client import error_of, plain
from soma.daemon import Daemon
from soma.waiting import wait_for

FLOWER = {"sepal_length": 5.2, "sepal_width": 3.6, "petal_length": 1.5, "petal_width": 0.3}
LARGE = {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.3}

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


# With the versions that the test itself has: a pickle wants the same. One
# environment for all.
PINNED = "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("boto3", "numpy", "onnxruntime", "scikit-learn"))


def linear(model):
    """A classifier of scikit-learn as ONNX: Gemm and ArgMax."""
    rows = model.coef_.T.astype("float32")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "weights", "bias"], ["scores"]), helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)], "iris",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 4])], [helper.make_tensor_value_info("label", TensorProto.INT64, [None])],
        [helper.make_tensor("weights", TensorProto.FLOAT, rows.shape, rows.flatten()), helper.make_tensor("bias", TensorProto.FLOAT, [3], model.intercept_.astype("float32"))])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    return made.SerializeToString()


@pytest.fixture(scope="module")
def s3():
    """Its URL; the bucket `models` is filled."""
    with s3_server() as url:
        fill(url)
        yield url


def fill(url):
    iris = load_iris()
    model = LogisticRegression(max_iter=1000).fit(iris.data, iris.target)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    client.create_bucket(Bucket="models")
    client.put_object(Bucket="models", Key="iris/model.pkl", Body=pickle.dumps(model))
    client.put_object(Bucket="models", Key="onnx/iris.onnx", Body=linear(model))
    client.create_bucket(Bucket="cortex-examples")
    client.put_object(Bucket="cortex-examples", Key="onnx/iris-classifier/1/iris.onnx", Body=linear(model))
    client.put_object(Bucket="cortex-examples", Key="pytorch/iris-classifier/weights.pth", Body=pickle.dumps(model))


@pytest.fixture(scope="module")
def daemon(s3):
    with Daemon(env={**KEYS, "AWS_ENDPOINT_URL": s3}.items()) as d:
        yield d


# --- a pickle from S3 ---------------------------------------------------------

PICKLE = {
    "cortex.yaml": """
        - name: iris-classifier
          kind: RealtimeAPI
          predictor:
            type: python
            path: predictor.py
            config:
              bucket: models
              key: iris/model.pkl
            image: quay.io/cortexlabs/python-predictor-cpu:0.25.0
          monitoring:
            model_type: classification
          compute:
            cpu: 0.2
            mem: 200M
          networking:
            endpoint: /classify
            api_gateway: public
          autoscaling:
            min_replicas: 1
            max_replicas: 3
            target_replica_concurrency: 2
            window: 30s
          update_strategy:
            max_surge: 1
        """,
    "predictor.py": """
        import pickle

        import boto3

        labels = ["setosa", "versicolor", "virginica"]


        class PythonPredictor:
            def __init__(self, config):
                s3 = boto3.client("s3")
                s3.download_file(config["bucket"], config["key"], "/tmp/{file}")
                self.model = pickle.load(open("/tmp/{file}", "rb"))

            def predict(self, payload):
                measurements = [
                    payload["sepal_length"],
                    payload["sepal_width"],
                    payload["petal_length"],
                    payload["petal_width"],
                ]
                label_id = self.model.predict([measurements])[0]
                return labels[label_id]
        """,
}


@pytest.fixture(scope="module")
def project():
    """The files of a project; what it leaves in /tmp is removed at the end."""
    file = f"soma-e2e-{os.getpid()}.pkl"
    yield lambda files: {"requirements.txt": PINNED, **{path: textwrap.dedent(text).replace("{file}", file) for path, text in files.items()}}
    for path in ("/tmp/" + file, "/tmp/bare-" + file):
        pathlib.Path(path).unlink(missing_ok=True)


def test_a_pickle_from_s3(daemon, folder, project):
    done = daemon.cli("deploy", folder(project(PICKLE)), check=0, timeout=400)
    done.says("iris-classifier is live", f"{daemon.url}/classify")
    for key, why in [
        ("predictor.image", "replicas run on this machine, not in a container"),
        ("monitoring", "predictions are not counted by value"),
        ("networking.api_gateway", "there is no API gateway in front"),
    ]:
        assert any(key in line and why in line for line in (done.out + done.err).splitlines()), (key, done)
    answer = daemon.admin.post("/classify", json=FLOWER)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "setosa", "text/plain; charset=utf-8")
    assert daemon.admin.post("/classify", json=LARGE).text == "virginica"
    assert daemon.admin.get("/classify").json() == {"message": "make a prediction by sending a post request to this endpoint with a json payload"}
    assert daemon.admin.post("/classify", json={}).status_code == 500
    assert daemon.admin.post("/classify", data="{", headers={"content-type": "application/json"}).status_code == 400


def test_packages_that_only_cortex_had(daemon, folder, project):
    """The same without requirements.txt: Cortex's image had boto3, and the rest."""
    files = project(PICKLE)
    del files["requirements.txt"]
    files["cortex.yaml"] = files["cortex.yaml"].replace("iris-classifier", "bare").replace("/classify", "/bare")
    files["predictor.py"] = files["predictor.py"].replace("import boto3", "import boto3\nimport sklearn\nfrom fastapi.responses import Response").replace("return labels[label_id]", "return Response(labels[label_id], headers={'x-by': 'fastapi'})").replace('"/tmp/', '"/tmp/bare-')
    done = daemon.cli("deploy", folder(files), timeout=400, check=0)
    done.says("bare is live", "and part of Cortex's image")
    answer = daemon.admin.post("/bare", json=FLOWER)
    assert (answer.text, answer.headers["x-by"]) == ("setosa", "fastapi")


def test_what_is_wrong_with_s3_is_said(daemon, folder, project):
    """The predictor's own exception, with its traceback, and what to do."""
    files = project(PICKLE)
    files["cortex.yaml"] = files["cortex.yaml"].replace("key: iris/model.pkl", "key: iris/none.pkl").replace("name: iris-classifier", "name: wrong").replace("/classify", "/wrong")
    done = daemon.cli("deploy", folder(files, "wrong"), timeout=400)
    assert done.code != 0
    done.says("PythonPredictor.__init__ raised", "ClientError", "(404)", "predictor.py")
    keyless = {**files, "cortex.yaml": files["cortex.yaml"].replace("image: quay.io/cortexlabs/python-predictor-cpu:0.25.0", "env: {AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: ''}")}
    done = daemon.cli("deploy", folder(keyless, "keyless"), timeout=400)
    assert done.code != 0
    done.says("NoCredentialsError", "env: {AWS_ACCESS_KEY_ID: {from_secret: ...}", "soma secret set")
    daemon.admin.delete("wrong")


# --- models from S3 -----------------------------------------------------------

ONNX = {
    "cortex.yaml": """
        - name: iris-onnx
          kind: RealtimeAPI
          predictor:
            type: onnx
            path: predictor.py
            models:
              path: s3://models/onnx/iris.onnx
          monitoring:
            model_type: classification
        """,
    "predictor.py": """
        labels = ["setosa", "versicolor", "virginica"]


        class ONNXPredictor:
            def __init__(self, onnx_client, config):
                self.client = onnx_client

            def predict(self, payload):
                model_input = [
                    payload["sepal_length"],
                    payload["sepal_width"],
                    payload["petal_length"],
                    payload["petal_width"],
                ]

                prediction = self.client.predict(model_input)
                predicted_class_id = prediction[0][0]
                return labels[predicted_class_id]
        """,
}


def test_an_onnx_predictor(daemon, folder, project):
    done = daemon.cli("deploy", folder(project(ONNX)), check=0, timeout=400)
    done.says("iris-onnx is live", "fetching s3://models/onnx/iris.onnx", "monitoring")
    assert daemon.admin.post("/iris-onnx", json=FLOWER).text == "setosa"
    assert daemon.admin.post("/iris-onnx", json=LARGE).text == "virginica"
    summary = daemon.admin.get("/iris-onnx").json()
    assert summary["model_metadata"]["_cortex_default"]["versions"] == ["1"]
    assert summary["model_metadata"]["_cortex_default"]["input_signatures"] == {"input": {"shape": [None, 4], "type": "float32"}}


@pytest.mark.parametrize("old, new, words", [
    ("onnx/iris.onnx", "onnx/irs.onnx", ["predictor.models.path: ", "s3://models/onnx/irs.onnx"]),
    ("s3://models", "s3://modls", ["predictor.models.path: ", "modls"]),
    ("monitoring:", "env: {AWS_ENDPOINT_URL: 'http://127.0.0.1:9'}", ["predictor.models.path: ", "127.0.0.1:9"]),
])
def test_models_that_are_not_there(daemon, folder, project, old, new, words):
    files = project(ONNX)
    config = files["cortex.yaml"].replace("iris-onnx", "no-onnx")
    if old == "monitoring:":
        config = config.replace("  monitoring:\n    model_type: classification\n", "").replace("    models:", "    " + new + "\n    models:")
    done = daemon.cli("deploy", folder({**files, "cortex.yaml": config.replace(old, new)}), timeout=400)
    assert done.code != 0
    done.says(*words)
    daemon.admin.delete("no-onnx")


RELOADING = {
    "cortex.yaml": """
        - name: reloading
          kind: RealtimeAPI
          predictor:
            type: python
            path: predictor.py
            multi_model_reloading:
              paths:
                - name: iris
                  path: s3://models/iris/
            env:
              AWS_ACCESS_KEY_ID: {from_secret: aws-id}
              AWS_SECRET_ACCESS_KEY: {from_secret: aws-key}
        """,
    "predictor.py": """
        import os
        import pickle


        class PythonPredictor:
            def __init__(self, config, python_client):
                self.client = python_client

            def load_model(self, model_path):
                with open(os.path.join(model_path, "model.pkl"), "rb") as f:
                    return pickle.load(f)

            def predict(self, payload, query_params):
                model = self.client.get_model(query_params["model"], query_params.get("version", "latest"))
                return int(model.predict([payload])[0])
        """,
}


def test_multi_model_reloading_with_keys_from_secrets(daemon, folder, project):
    daemon.cli("secret", "set", "aws-id", stdin="id", check=0)
    daemon.cli("secret", "set", "aws-key", stdin="secret", check=0)
    daemon.cli("deploy", folder(project(RELOADING)), check=0, timeout=400).says("reloading is live")
    assert daemon.admin.post("/reloading?model=iris", json=list(LARGE.values())).json() == 2
    assert "choose one of iris" in daemon.admin.post("/reloading?model=other", json=[]).json()["error"]["message"]


# --- 0.35's Handler -----------------------------------------------------------

HANDLER = {
    "cortex.yaml": """
        - name: notes
          kind: RealtimeAPI
          handler:
            type: python
            path: handler.py
            config:
              greeting: hello
            log_level: debug
          compute:
            cpu: 200m
            node_groups: [cpu]
        """,
    "handler.py": """
        from starlette.responses import Response


        class Handler:
            def __init__(self, config, metrics_client):
                self.greeting = config["greeting"]
                self.metrics = metrics_client
                self.notes = {}
                self.done = []

            def handle_post(self, payload, query_params, headers):
                name = query_params["name"]
                self.notes[name] = payload["text"]
                self.metrics.increment("notes", tags={"language": headers.get("accept-language", "none")})
                return {"stored": name}, lambda: self.done.append(name)

            def handle_get(self, query_params):
                if "name" not in query_params:
                    return {"greeting": self.greeting, "done": self.done}
                if query_params["name"] not in self.notes:
                    return Response(status_code=404, content="no such note", media_type="text/plain")
                return self.notes[query_params["name"]]

            def handle_delete(self, query_params):
                del self.notes[query_params["name"]]
        """,
}


def test_a_handler(daemon, folder, project):
    files = {**project(HANDLER), "requirements.txt": "starlette\n"}
    done = daemon.cli("deploy", folder(files), check=0, timeout=400)
    done.says("notes is live", "compute.node_groups", "there is one machine")
    assert daemon.admin.post("/notes?name=a", json={"text": "first"}).json() == {"stored": "a"}
    assert daemon.admin.get("/notes?name=a").text == "first"
    assert daemon.admin.get("/notes").json()["greeting"] == "hello"
    wait_for("what comes after the answer", lambda: daemon.admin.get("/notes").json()["done"] == ["a"])
    missing = daemon.admin.get("/notes?name=b")
    assert (missing.status_code, missing.text, missing.headers["content-type"]) == (404, "no such note", "text/plain; charset=utf-8")
    assert plain("DELETE", daemon.url + "/notes?name=a").text == "null"
    refused = plain("PUT", daemon.url + "/notes?name=a", data="x")
    assert error_of(refused, 405, "method_not_allowed")["message"].startswith("PUT is not served here")
    assert refused.headers["allow"] == "POST, GET, HEAD, DELETE, OPTIONS"
    packed = daemon.admin.post("/notes?name=z", data=gzip.compress(b'{"text": "packed"}'), headers={"content-encoding": "gzip", "content-type": "application/json"})
    assert packed.json() == {"stored": "z"} and daemon.admin.get("/notes?name=z").text == "packed"


def test_a_class_of_the_other_block(daemon, folder, project):
    files = project(HANDLER)
    files["handler.py"] = files["handler.py"].replace("class Handler", "class PythonPredictor").replace("from starlette.responses import Response", "")
    done = daemon.cli("deploy", folder({"cortex.yaml": files["cortex.yaml"].replace("notes", "other"), "handler.py": files["handler.py"]}))
    assert done.code != 0
    done.says("handler.py defines no class Handler; its classes are PythonPredictor", "PythonPredictor is what the block predictor: is for")
    daemon.admin.delete("other")


# --- a splitter with a shadow -------------------------------------------------

# As 0.31 has it: a class, a model and a recorder, whose requests are copies. The weights are a pickle here.
SPLITTER = {
    "cortex.yaml": """
        - name: iris-classifier-pytorch
          kind: RealtimeAPI
          predictor:
            type: python
            path: pytorch_predictor.py
            config:
              model: s3://cortex-examples/pytorch/iris-classifier/weights.pth

        - name: iris-classifier-onnx
          kind: RealtimeAPI
          predictor:
            type: onnx
            path: onnx_predictor.py
            models:
              path: s3://cortex-examples/onnx/iris-classifier/

        - name: request-recorder
          kind: RealtimeAPI
          predictor:
            type: python
            path: request_recorder.py

        - name: iris-classifier
          kind: TrafficSplitter
          apis:
            - name: iris-classifier-onnx
              weight: 30
            - name: iris-classifier-pytorch
              weight: 70
            - name: request-recorder
              shadow: true
              weight: 100
        """,
    "onnx_predictor.py": ONNX["predictor.py"],
    "pytorch_predictor.py": """
        import pickle
        import re

        import boto3

        labels = ["setosa", "versicolor", "virginica"]


        class PythonPredictor:
            def __init__(self, config):
                bucket, key = re.match("s3://(.+?)/(.+)", config["model"]).groups()
                self.model = pickle.loads(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

            def predict(self, payload):
                names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
                return labels[self.model.predict([[payload[name] for name in names]])[0]]
        """,
    "request_recorder.py": """
        from cortex_internal.lib.log import logger as cortex_logger


        class PythonPredictor:
            def __init__(self, config):
                pass

            def predict(self, payload):
                cortex_logger.info("received payload", extra={"payload": payload})
                return payload
        """,
}


def test_a_traffic_splitter_with_a_shadow(daemon, folder, project):
    if any(api["name"] == "iris-classifier" for api in daemon.admin.apis()):
        daemon.admin.delete("iris-classifier")  # another test's, and of another kind
    daemon.cli("deploy", folder(project(SPLITTER)), check=0, timeout=400)
    for _ in range(5):
        assert daemon.admin.post("/iris-classifier", json=FLOWER).text == "setosa"
        assert daemon.admin.post("/iris-classifier", json=LARGE).text == "virginica"
    apis = {api["name"]: api for api in daemon.admin.api("iris-classifier")["splitter"]["apis"]}
    assert [apis[f"iris-classifier-{name}"]["requests"] for name in ("onnx", "pytorch")] == [3, 7]
    wait_for("all are recorded", lambda: 10 == len([line for line in daemon.admin.logs("request-recorder") if "received payload" in line["line"]]))
    assert apis["request-recorder"]["copies"] == 10 and apis["request-recorder"]["dropped"] == 0

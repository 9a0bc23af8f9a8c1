"""Config files with mistakes: all of them told at once, with place and remedy."""

import pytest

from soma import projects

CONFIG = 5


def refused(daemon, folder, yaml, files=None):
    """The CLI's words about a file that cannot be deployed."""
    done = daemon.cli("deploy", folder({"soma.yaml": yaml, "predictor.py": "", **(files or {})}), check=CONFIG)
    assert daemon.admin.info()["apis"] == 0, "nothing of it is deployed"
    return done


def test_all_problems_at_once(daemon, folder):
    done = refused(daemon, folder, """\
- name: Iris
  predictor:
    type: python
    path: predictr.py
    processes: 2
  compute:
    cpu: many
- name: two
  kind: RealtimeApi
  predictor:
    type: pyton
    path: predictor.py
""")
    done.says("soma.yaml:1:", "Iris", "lower-case",
              "soma.yaml:4:", "predictor.path", "no file 'predictr.py'",
              "soma.yaml:5:", "predictor.processes: unknown key", "processes_per_replica",
              "soma.yaml:7:", "compute.cpu", "'many'",
              "soma.yaml:9:", "RealtimeAPI",
              "soma.yaml:11:", "predictor.type", "python")
    assert done.err.count("error:") == 6, done


@pytest.mark.parametrize("yaml, words", [
    ("- name: a\n  predictor: {path: predictor.py}\n  colour: red\n", ["soma.yaml:3:", "colour", "unknown key"]),
    ("- name: a\n  predictor: {path: predictor.py}\n  request_timout: 5s\n", ["request_timeout"]),
    ("- name: a\n  predictor: {path: predictor.py, processes_per_replica: two}\n", ["processes_per_replica", "'two'"]),
    ("- name: a\n  predictor: {path: predictor.py, processes_per_replica: 0}\n", ["processes_per_replica", "0"]),
    ("- name: a\n  predictor: 7\n", ["predictor", "7"]),
    ("- name: a\n  predictor: {path: predictor.py}\n- name: a\n  predictor: {path: predictor.py}\n",
     ["soma.yaml:3:", "'a'", "line 1"]),
    ("- name: a\n\tpredictor: {path: predictor.py}\n", ["soma.yaml:2:", "tab"]),
    ("- name: a\n  predictor: {path: predictor.py\n", ["soma.yaml:"]),
    ("", ["soma.yaml", "no apis in this file"]), ("# nothing\n", ["soma.yaml"]), ("7\n", ["soma.yaml:1:", "list"]),
    ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)), ["soma.yaml", "alias"]),
    ("- name: a\n  predictor: {path: ../../etc/passwd}\n", ["predictor.path", "../../etc/passwd"]),
    ("- name: a\n  predictor: {path: /etc/passwd.py}\n", ["predictor.path", "/etc/passwd.py"]),
    ("- name: a\n  predictor: {type: tensorflow, path: predictor.py}\n", ["tensorflow", "command", "ONNX"]),
    ("- name: a\n  kind: BatchAPI\n  predictor: {path: predictor.py}\n", ["BatchAPI", "RealtimeAPI"]),
    ("- name: a\n  predictor: {path: predictor.py}\n  compute: {gpu: 1}\n", ["compute.gpu", "remove compute.gpu"]),
    ("- name: a\n  predictor: {command: 'server --port $PORT && true'}\n", ["predictor.command", "&&", "[sh, -c"]),
    ("- name: a\n  predictor: {command: [server], path: predictor.py}\n", ["predictor", "path"]),
    ("- name: a\n  predictor: {type: command}\n", ["predictor.command", "uvicorn"]),
    ("- name: a\n  predictor: {path: predictor.py}\n  networking: {endpoint: '/a b?'}\n", ["networking.endpoint"]),
    ("- name: a\n  predictor: {path: predictor.py, env: {A: [1]}}\n", ["predictor.env", "A"]),
    ("- name: a\n  predictor: {path: predictor.py}\n  request_timeout: fast\n", ["request_timeout", "'fast'"]),
    ("- name: \"\\xff\"\n  predictor: {path: predictor.py}\n", ["soma.yaml"]),
    ("- name: a\n  predictor: {type: onnx}\n", ["predictor.model", "model: model.onnx", "ONNXPredictor"]),
    ("- name: a\n  predictor: {model: nope.onnx}\n", ["predictor.model", "no file 'nope.onnx'"]),
    ("- name: a\n  predictor: {model: predictor.py}\n", ["predictor.model", ".onnx", "'predictor.py'"]),
    ("- name: a\n  predictor: {engine: pjrt}\n", ["predictor.engine", "onnx, echo", ".so", "'pjrt'"]),
    ("- name: a\n  predictor: {path: predictor.py, intra_op_threads: 2}\n", ["predictor.intra_op_threads", "only for type onnx", "python"]),
    ("- name: a\n  predictor: {type: onnx, path: predictor.py, models: {path: gs://b/m}}\n", ["predictor.models.path", "s3://BUCKET/KEY"]),
    ("- name: a\n  predictor: {path: predictor.py, dependencies: {conda: c.txt}}\n", ["dependencies.conda", "requirements.txt", "conda environment"]),
    ("- name: a\n  handler: {path: predictor.py}\n  predictor: {path: predictor.py}\n", ["handler", "one thing", "remove one"]),
    ("- name: a\n  handler: {path: predictor.py, protobuf_path: a.proto}\n", ["handler.protobuf_path", "gRPC", "JSON"]),
    ("- name: a\n  predictor: {path: predictor.py}\n  networking: {cors: {allow_credentials: true}}\n", ["allow_credentials", "origins by name"]),
    ("cluster_name: cortex\nregion: us-east-1\n", ["soma.yaml:1:", "cluster", "cortex.yaml"]),
], ids=range(35))
def test_a_mistake(daemon, folder, yaml, words):
    refused(daemon, folder, yaml).says(*words)


def test_bytes_that_are_no_utf8(daemon, folder):
    path = folder({"soma.yaml": b"- name: a\n  predictor: {path: p\xff.py}\n"})
    done = daemon.cli("deploy", path)
    assert done.code in (2, CONFIG), done
    done.says("soma.yaml", "UTF-8")


def test_two_apis_at_one_endpoint(daemon, folder):
    refused(daemon, folder, projects.yaml_value([
        projects.probe_api("a"), projects.probe_api("b", networking={"endpoint": "/a"})])).says("endpoint '/a' is taken by a at line 1")


def test_no_config_file(daemon, tmp_path):
    done = daemon.cli("deploy", tmp_path)
    assert done.code == 2
    done.says(str(tmp_path), "soma.yaml", "cortex.yaml")
    done = daemon.cli("deploy", tmp_path / "absent.yaml")
    assert done.code == 2
    done.says("absent.yaml")


def test_an_endpoint_that_another_api_has(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("has")))
    answer = daemon.admin.send(projects.probe_project(projects.probe_api("wants", networking={"endpoint": "/has"})))
    assert answer.status_code == 409
    message = answer.json()["error"]["message"]
    assert "/has" in message and "'has'" in message and "networking.endpoint" in message

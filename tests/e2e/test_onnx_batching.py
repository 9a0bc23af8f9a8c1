"""server_side_batching of native models: several requests in one run."""
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from test_onnx import engine_api, onnx_api, onnx_project
from test_server_timing import ASK, LATE, timing

from soma import models, projects
from soma.client import error_of
from soma.metrics import Metrics
from soma.waiting import wait_for

BATCHES = {"server_side_batching": {"max_batch_size": 16, "batch_interval": "20ms"}}


def test_each_caller_gets_its_own_rows(daemon):
    daemon.admin.deploy(onnx_project(models.linear(), onnx_api("joined", predictor=BATCHES)))
    weights = np.array([daemon.admin.post("/joined", json={"x": [row]}).json()["y"][0] for row in np.eye(3).tolist()])
    rest = np.array(daemon.admin.post("/joined", json={"x": [[0, 0, 0]]}).json()["y"][0])

    def client(number):
        bad = []
        for i in range(50):
            x = [[number, i, row] for row in range(1 + i % 3)]
            answer = daemon.admin.post("/joined", json={"x": x})
            if answer.status_code != 200 or not np.allclose(answer.json()["y"], np.array(x) @ (weights - rest) + rest, rtol=1e-4, atol=1e-3):
                bad.append((x, answer.text))
            if i % 10 == 0:
                error_of(daemon.admin.post("/joined", json={"x": [[1]]}), 400, "invalid")
        return bad

    with ThreadPoolExecutor(16) as pool:
        assert [bad for bad in pool.map(client, range(16)) if bad] == []


def test_full_batches_reach_the_replica(daemon):
    """64 requests to a model that takes 0.2 s, whatever it gets: four batches of 16, not 64 runs."""
    keys = {"engine_options": {"inputs": "x:int64[-1]", "delay_ms": 200}, **BATCHES}
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([engine_api("slow", "echo", **keys)])})
    before = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda i: daemon.admin.post("/slow", json={"x": [i]}), range(64)))
    assert [a.json() for a in answers] == [{"x": [i]} for i in range(64)]
    assert time.monotonic() - before < 5


def test_a_model_that_cannot_be_batched_fails_the_rollout(daemon):
    api = engine_api("fixed", "echo", engine_options={"inputs": "x:float32[1,3]"}, **BATCHES)
    told = daemon.admin.deploy_failing({"soma.yaml": projects.yaml_value([api])})
    assert "predictor.server_side_batching: the first dimension of the input 'x' is always 1" in json.dumps(told)


def test_a_model_whose_outputs_are_no_rows_fails_the_rollout(daemon):
    """Two requests of a row each would be told the two sizes of their common tensor."""
    shape = models.model([models.helper.make_node("Shape", ["x"], ["y"])], [models.value("x", "float32", ["batch", 2])], [models.value("y", "int64", [2])])
    told = daemon.admin.deploy_failing(onnx_project(shape, onnx_api("shape", predictor=BATCHES)))
    assert "predictor.server_side_batching: the first dimension of the output 'y' is always 2, however many rows go in" in json.dumps(told)


def test_a_model_that_turns_out_not_to_be_batched_is_shown_to_be_so(daemon):
    """Its output has a row for each number, not for each row: that is seen in the first batch, and no request suffers."""
    numbers = models.model([models.helper.make_node("Unique", ["x"], ["y"])], [models.value("x", "float32", ["batch", 2])], [models.value("y", "float32", ["found"])])
    api = onnx_api("numbers", predictor={"server_side_batching": {"max_batch_size": 16, "batch_interval": "300ms"}})
    daemon.admin.deploy(onnx_project(numbers, api))

    def note():
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: daemon.admin.post("/numbers", json={"x": [[1, 2]] * 3}), range(8)))
        assert [a.json() for a in answers] == [{"y": [1, 2]}] * 8
        return daemon.admin.api("numbers")["replicas"][0]["detail"]

    told = wait_for("it was tried", note)
    assert told.startswith("predictor.server_side_batching: the output 'y' has 2 rows where the inputs have ")
    assert "requests are run one by one from now on" in daemon.cli("get", "numbers", check=0).text
    assert "requests are run one by one from now on" in json.dumps(daemon.cli("get", "numbers", "-o", "json", check=0).json())


def test_what_batches_did_is_shown(daemon):
    keys = {"engine_options": {"inputs": "x:int64[-1]", "delay_ms": 100}, **BATCHES}
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([engine_api("shown", "echo", **keys)])})
    with ThreadPoolExecutor(16) as pool:
        times = [timing(a) for a in pool.map(lambda i: daemon.admin.post("/shown", json={"x": [i]}, headers=ASK), range(48))]
    for t in times:
        assert list(t) == ["queue", "batch", "predict"] and 100 <= t["predict"] < 100 + LATE
    m = wait_for("all are told", lambda: (lambda m: m if m["soma_batch_size_sum"] == 48 else None)(Metrics(daemon.admin, "shown")))
    assert m["soma_batch_size_bucket", "16"] == m["soma_batch_size_count"] < 48
    assert 0.1 * m["soma_batch_size_count"] <= m["soma_slot_busy_seconds_total"]
    assert daemon.admin.api("shown")["batches"]["count"] == m["soma_batch_size_count"]

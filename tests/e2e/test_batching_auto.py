"""batching: auto: the size of batches is learned, kept within the target, and shown."""
from concurrent.futures import ThreadPoolExecutor

from test_onnx import engine_api

from soma import projects
from soma.waiting import wait_for

# 10 ms, and 1 ms more for each.
PREDICTOR = """
import time

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        time.sleep(0.010 + 0.001 * len(payload))
        return [{"got": p, "n": len(payload)} for p in payload]
"""


# A GPU's: as long for 32 as for one, and the first batch of each size takes much longer.
COLD = """
import time

class PythonPredictor:
    def __init__(self, config):
        self.seen = set()

    def predict(self, payload):
        n = len(payload)
        time.sleep(0.050 + 0.0005 * max(0, n - 32) + (0 if n in self.seen else 0.2))
        self.seen.add(n)
        return [{"got": p, "n": n} for p in payload]
"""


def deploy(daemon, batching, source=PREDICTOR, **more):
    api = {"name": "learns", "predictor": {"path": "predictor.py", "batching": batching, **more}}
    daemon.admin.deploy({"predictor.py": source}, config=projects.yaml_value([api]))


def load(daemon, clients, rounds):
    """Sizes of the batches that answers came in."""
    def client(number):
        sizes = []
        for i in range(rounds):
            answer = daemon.admin.post("/learns", json=[number, i]).json()
            assert answer.get("got") == [number, i], answer
            sizes.append(answer["n"])
        return sizes

    with ThreadPoolExecutor(clients) as pool:
        return [n for sizes in pool.map(client, range(clients)) for n in sizes]


def learned(daemon, name="learns"):
    def what():
        (replica,) = [r for r in daemon.admin.api(name)["replicas"] if r["state"] == "ready"]
        return replica["batching"]

    return wait_for("a curve", what)


def test_the_size_grows_and_keeps_the_target(daemon):
    deploy(daemon, "auto")
    sizes = load(daemon, 32, 30)
    told = learned(daemon)
    assert max(sizes) > 2
    assert (told["latency_target_ms"], told["max_batch_size"]) == (100, 128)
    assert 2 < told["size"] <= 45
    assert [p["size"] for p in told["points"]] == sorted(p["size"] for p in told["points"])
    in_use = [p for p in told["points"] if p["size"] <= told["size"]]
    assert 2 * in_use[-1]["mean_ms"] <= 100
    assert in_use[-1]["requests_per_s"] > in_use[0]["requests_per_s"]
    shown = daemon.cli("get", "learns").says("batches up to", "for a latency of 100 ms", "requests/s", "now")
    assert str(told["points"][0]["size"]) in shown.out
    (replica,) = daemon.cli("get", "learns", "-o", "json").json()["replicas"]
    assert replica["batching"]["size"] > 2


def test_a_low_target_caps_the_size(daemon):
    """Of a model that larger batches do not make faster: what waits is no reason for them either."""
    deploy(daemon, {"latency_target": "40ms", "max_batch_size": 64}, source=PREDICTOR.replace("0.010 + 0.001", "0.004 + 0.004"))
    sizes = load(daemon, 32, 15)
    told = learned(daemon)
    # 2 * (4 + 4n) <= 40
    assert told["size"] <= 4 and sorted(sizes)[len(sizes) * 9 // 10] <= 4


def test_the_most_is_what_the_key_says(daemon):
    deploy(daemon, {"latency_target": "1s", "max_batch_size": 4})
    assert max(load(daemon, 16, 15)) == 4
    assert learned(daemon)["size"] == 4


def test_a_device_that_is_slow_at_first(daemon):
    deploy(daemon, {"latency_target": "400ms"}, source=COLD)
    sizes = load(daemon, 128, 15)
    told = learned(daemon)
    assert told["size"] >= 32 and sum(n >= 16 for n in sizes) >= len(sizes) / 2
    # What was slow only the first time is not in the curve.
    assert all(p["mean_ms"] < 200 for p in told["points"])


def test_of_a_native_model(daemon):
    keys = {"engine_options": {"inputs": "x:int64[-1]", "delay_ms": 20}, "batching": {"latency_target": "1s"}}
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([engine_api("native", "echo", **keys)])})
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda i: daemon.admin.post("/native", json={"x": [i]}).json(), range(500)))
    assert answers == [{"x": [i]} for i in range(500)]
    assert learned(daemon, "native")["size"] > 4


def test_nothing_is_shown_where_nothing_is_learned(daemon):
    api = {"name": "plain", "predictor": {"path": "predictor.py"}}
    daemon.admin.deploy({"predictor.py": PREDICTOR}, config=projects.yaml_value([api]))
    assert [r["batching"] for r in daemon.admin.api("plain")["replicas"]] == [None]
    assert "batches" not in daemon.cli("get", "plain").out


def test_beside_server_side_batching(daemon):
    api = {"name": "both", "predictor": {"path": "predictor.py", "threads_per_process": 4, "batching": "auto",
                                         "server_side_batching": {"max_batch_size": 4, "batch_interval": "1ms"}}}
    told = daemon.admin.send({"predictor.py": PREDICTOR}, config=projects.yaml_value([api]))
    assert told.status_code == 422
    assert "predictor.batching: there is server_side_batching, too: remove batching to have the size and interval that it says" in told.text

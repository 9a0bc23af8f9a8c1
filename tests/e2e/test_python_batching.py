"""server_side_batching of a class, in the file and the class that Cortex 0.25 to 0.33 took."""
from concurrent.futures import ThreadPoolExecutor

CORTEX_YAML = """
- name: batched
  kind: RealtimeAPI
  predictor:
    type: python
    path: predictor.py
    threads_per_process: 16
    server_side_batching:
      max_batch_size: 16
      batch_interval: 0.1s
"""
PREDICTOR = """
import time

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload, query_params):
        assert isinstance(payload, list) and len(payload) == len(query_params) <= 16
        time.sleep(0.1)
        return [{"got": p["x"], "k": q["k"], "n": len(payload)} for p, q in zip(payload, query_params)]
"""


def test_a_project_of_cortex(daemon):
    daemon.admin.deploy({"predictor.py": PREDICTOR}, config=CORTEX_YAML)

    def client(number):
        answers = [daemon.admin.post(f"/batched?k={number}", json={"x": [number, i]}).json() for i in range(5)]
        assert [(a["got"], a["k"]) for a in answers] == [([number, i], str(number)) for i in range(5)]
        return [a["n"] for a in answers]

    with ThreadPoolExecutor(32) as pool:
        sizes = [n for sizes in pool.map(client, range(32)) for n in sizes]
    assert sizes.count(16) > len(sizes) / 2


def test_a_thread_for_each(daemon):
    text = CORTEX_YAML.replace("threads_per_process: 16", "threads_per_process: 4")
    told = daemon.admin.send({"predictor.py": PREDICTOR}, config=text)
    assert told.status_code == 422
    assert "predictor.server_side_batching.max_batch_size: '16' is more than predictor.threads_per_process, '4'" in told.text

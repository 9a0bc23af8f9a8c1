"""The same under Ray Serve."""
import os
import sys

import numpy
import ray
from ray import serve


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0})
class Rows:
    def __init__(self):
        self.weights = numpy.memmap(os.environ["WEIGHTS"], mode="r", dtype="float32").reshape(-1, 1024)
        self.weights[:, 0].sum()

    async def __call__(self, request):
        return {"sum": float(self.weights[(await request.json())["row"]].sum())}


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"WEIGHTS": os.environ["WEIGHTS"], "PYTHONPATH": os.getcwd()}})
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Rows.bind(), blocking=True)

"""Ray Serve: one replica, one request at a time, and as many in its queue as can be in time."""
import os
import sys

import ray
import work
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=1, max_queued_requests=int(os.environ["QUEUE"]), ray_actor_options={"num_cpus": 0})
class Model:
    async def __call__(self, request):
        return {"y": work.compute((await request.json())["x"])}


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"WORK_ROUNDS": os.environ["WORK_ROUNDS"], "PYTHONPATH": os.getcwd()}})
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Model.bind(), blocking=True)

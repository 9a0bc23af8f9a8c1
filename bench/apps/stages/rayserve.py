"""Ray Serve: one replica, as a coroutine or as a method in its pool of threads."""
import os
import sys

import ray
import work
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve

app = FastAPI()
ALIKE = {"num_replicas": 1, "max_ongoing_requests": 1000, "ray_actor_options": {"num_cpus": 0}}


class Input(BaseModel):
    x: int


@serve.deployment(**ALIKE)
class Async:
    async def __call__(self, request):
        x = (await request.json())["x"]
        await work.await_before()
        y = await work.await_slot(x)
        work.begin_await_after()
        return {"y": y}


@serve.deployment(**ALIKE)
@serve.ingress(app)
class Sync:
    @app.post("/")
    def predict(self, payload: Input):
        work.wait_before()
        y = work.take_slot(payload.x)
        work.begin_wait_after()
        return {"y": y}


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"WORK_ROUNDS": os.environ["WORK_ROUNDS"], "PYTHONPATH": os.getcwd()}})
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run((Async if sys.argv[2] == "async" else Sync).bind(), blocking=True)

"""Ray Serve: two replicas; at SIGUSR1 the deployment is updated in place to the version that version.txt has then: rayserve.py PORT.
A file `done-N` says that version N runs."""
import asyncio
import os
import signal
import sys

import ray
import work
from ray import serve
from starlette.responses import StreamingResponse


@serve.deployment(num_replicas=2, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
class Model:
    def __init__(self, version):
        self.version = version

    async def __call__(self, request):
        payload = await request.json()
        if "stream" in payload:
            return StreamingResponse(self.stream(payload["stream"]), media_type="text/plain")
        return work.answer(payload["x"], self.version)

    async def stream(self, n):
        for i in range(n):
            yield f"{self.version} {i}\n"
            await asyncio.sleep(work.CHUNK_S)


def update():
    version = work.version()
    serve.run(Model.bind(version))  # what is bound has changed: an update in place
    with open(f"done-{version}", "w", encoding="ascii"):
        pass


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()}})
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    update()
    while True:
        signal.sigwait({signal.SIGUSR1})
        update()


if __name__ == "__main__":
    main()

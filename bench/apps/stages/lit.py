"""LitServe: its three methods as they are, one request at a time, or as coroutines (enable_async)."""
import sys

import litserve
import work


class Sync(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        work.wait_before()
        return request["x"]

    def predict(self, x):
        return work.compute(x)

    def encode_response(self, y):
        work.begin_wait_after()
        return {"y": y}


class Async(litserve.LitAPI):
    def setup(self, device):
        pass

    async def decode_request(self, request):
        await work.await_before()
        return request["x"]

    async def predict(self, x):
        return await work.await_slot(x)

    async def encode_response(self, y):
        work.begin_await_after()
        return {"y": y}


if __name__ == "__main__":
    api = Async(enable_async=True) if sys.argv[2] == "async" else Sync()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False)

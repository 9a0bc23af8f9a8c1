"""LitServe: who has waited longer than its timeout is dropped."""
import os
import sys

import litserve
import work


class Api(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["x"]

    def predict(self, x):
        return work.compute(x)

    def encode_response(self, y):
        return {"y": y}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1, timeout=float(os.environ["DEADLINE_S"]), fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False)

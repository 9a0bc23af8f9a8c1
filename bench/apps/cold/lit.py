"""The same under LitServe."""
import os
import sys

import litserve
import numpy


class Rows(litserve.LitAPI):
    def setup(self, device):
        self.weights = numpy.memmap(os.environ["WEIGHTS"], mode="r", dtype="float32").reshape(-1, 1024)
        self.weights[:, 0].sum()

    def decode_request(self, request):
        return request["row"]

    def predict(self, row):
        return float(self.weights[row].sum())

    def encode_response(self, output):
        return {"sum": output}


if __name__ == "__main__":
    server = litserve.LitServer(Rows(), accelerator="cpu", workers_per_device=1, timeout=60, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False)

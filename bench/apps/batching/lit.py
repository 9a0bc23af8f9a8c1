import sys

import litserve
from session import MAX_BATCH, MAX_WAIT_S, Session


class Batched(litserve.LitAPI):
    def setup(self, device):
        self.model = Session()

    def decode_request(self, request):
        return self.model.row(request)

    # `batch` as it is stacks the arrays; `unbatch` takes the result's rows.
    def predict(self, rows):
        return self.model.run(rows)

    def encode_response(self, row):
        return {"row": row.tolist()}


if __name__ == "__main__":
    api = Batched(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False)

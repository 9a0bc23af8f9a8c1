import sys

import litserve
from encoder import DEVICE, MAX_BATCH, MAX_WAIT_S, Encoder


class Batched(litserve.LitAPI):
    def setup(self, device):
        self.encoder = Encoder()

    def decode_request(self, request):
        return self.encoder.row(request["ids"])

    def batch(self, rows):
        return rows

    def predict(self, rows):
        return self.encoder.run(rows)

    def unbatch(self, rows):
        return rows

    def encode_response(self, row):
        return {"row": row}


if __name__ == "__main__":
    api = Batched(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_S)
    server = litserve.LitServer(api, accelerator=DEVICE, devices=1, workers_per_device=1, timeout=60, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False)

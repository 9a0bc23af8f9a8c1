import sys
import time

import litserve


class Sum(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request

    def predict(self, request):
        if "sleep" in request:
            time.sleep(request["sleep"])
        end = time.monotonic() + request.get("spin", 0)
        while time.monotonic() < end:
            pass
        return sum(request["x"])

    def encode_response(self, output):
        return {"sum": output}


if __name__ == "__main__":
    server = litserve.LitServer(Sum(), accelerator="cpu", workers_per_device=1, timeout=60, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning",
               generate_client_file=False)

"""S3 as moto has it, on this machine."""
import contextlib

import requests
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def s3_server():
    """The URL of one that has nothing. All of a process have the same buckets, also one after the other."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://%s:%d" % server.get_host_and_port()
        requests.post(url + "/moto-api/reset", timeout=30).raise_for_status()
        yield url
    finally:
        server.stop()

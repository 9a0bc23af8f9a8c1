"""Cortex's Handler (0.34, 0.35), and what the class of the config has to be."""
import socket
import time

import pytest

HANDLER = """
    class Handler:
        def __init__(self, config):
            self.items, self.seen = {}, []
        def handle_post(self, payload, query_params):
            self.items[query_params["key"]] = payload
            return {"stored": payload}, lambda: self.seen.append("stored " + query_params["key"])
        def handle_get(self, query_params, headers):
            if "key" in query_params:
                return self.items[query_params["key"]]
            return [self.seen, headers["x-mine"]]
        def handle_delete(self, query_params):
            del self.items[query_params["key"]]
"""


def test_verbs(serve):
    w = serve(HANDLER, **{"class": "Handler"})
    assert w.predict({"a": 1}, path="/?key=k").json() == {"stored": {"a": 1}}
    assert w.request("GET", path="/?key=k").json() == {"a": 1}
    head = w.request("HEAD", path="/?key=k")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "7")
    deadline = time.monotonic() + 10
    while w.request("GET", headers={"x-mine": "m"}).json() != [["stored k"], "m"]:
        assert time.monotonic() < deadline, "the callable did not run"
        time.sleep(0.01)
    assert w.request("DELETE", path="/?key=k").body == b"null"
    gone = w.request("GET", path="/?key=k", headers={"x-request-id": "r4"})
    assert gone.status == 500 and gone.error == {"code": "predict_error", "message": "KeyError: 'k'", "type": "KeyError", "request_id": "r4"}


def test_verbs_that_are_not_defined(serve):
    w = serve(HANDLER, **{"class": "Handler"})
    for method in ("PUT", "PATCH"):
        answer = w.request(method, body=b"x")
        assert answer.status == 405 and answer.headers["allow"] == "POST, GET, HEAD, DELETE, OPTIONS"
        assert answer.error["code"] == "method_not_allowed" and answer.error["message"] == method + " is not served here: send one of POST, GET, HEAD, DELETE, OPTIONS"
    assert w.request("OPTIONS").status == 204
    w = serve("class Handler:\n  def handle_put(self, payload): return payload\n  def handle_patch(self, payload): return 'patched'\n", **{"class": "Handler"})
    assert w.request("PUT", body=b"x").body == b"x" and w.request("PATCH", body=b"x").body == b"patched"
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert w.request(method).headers["allow"] == "PUT, PATCH, OPTIONS"


def test_result_with_callback(serve):
    w = serve("""
        import time
        class Handler:
            def handle_post(self, payload):
                def later():
                    time.sleep(0.3)
                    print("later")
                    raise RuntimeError("in the callback")
                return "now", later
            def handle_get(self):
                return ("a", 1)
            def handle_put(self):
                raise ValueError("wrong")
    """, **{"class": "Handler"})
    assert w.predict(1, headers={"x-request-id": "r1"}).body == b"now"
    assert "later" not in w.log
    log = w.wait_log("RuntimeError: in the callback")
    assert "\x1er1\x1flater\n" in log and "\x1er1\x1fthe callback of handle_post failed:\n" in log
    assert w.request("GET").json() == ["a", 1]
    assert w.request("PUT").error["message"] == "ValueError: wrong"


def test_timeout_names_the_method(serve):
    w = serve("import time\nclass Handler:\n  def handle_get(self): time.sleep(30)\n", **{"class": "Handler"}, predict_timeout_ms=200)
    assert w.request("GET").error["message"].startswith("handle_get ran longer than 200 ms (predict_timeout)")


def test_metrics_client(serve):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.1", 9125))
        except OSError:
            pytest.skip("something listens on port 9125")
        s.settimeout(10)
        w = serve("""
            class Handler:
                def __init__(self, config, metrics_client):
                    self.metrics = metrics_client
                def handle_post(self, payload):
                    self.metrics.increment("calls", tags={"model": "a", "version": 2})
                    self.metrics.gauge("open", 7)
                    self.metrics.histogram(metric="ms", value=1.5, tags={"x": "y"})
                    self.metrics.gauge(payload, 1)
        """, **{"class": "Handler"})
        answer = w.predict("cortex_mine")
        assert [s.recv(200) for _ in range(3)] == [b"calls:1|c|#model:a,version:2", b"open:7|g", b"ms:1.5|h|#x:y"]
    assert "begins with cortex_ or istio_, which is reserved: rename it" in answer.error["message"]
    assert w.predict("nobody_listens").body == b"null"


HAS = "class Handler:\n  def __init__(self, {}): pass\n  def handle_post(self): pass\n"


@pytest.mark.parametrize("kind, text, code, message, remedy", [
    ("Handler", HAS.format("config, tensorflow_client"), "bad_signature", "Handler.__init__ takes tensorflow_client, which is for TensorFlow Serving", "load the model with tensorflow"),
    ("Handler", HAS.format("config, proto_module_pb2"), "bad_signature", "Handler.__init__ takes proto_module_pb2, which is for gRPC", "take JSON in handle_post"),
    ("Handler", HAS.format("config, model_client"), "bad_signature", "takes model_client, which needs handler.multi_model_reloading", "set handler.multi_model_reloading.path, or load the model"),
    ("Handler", HAS.format("config, python_client"), "bad_signature", "takes an argument python_client", "may take config, model_client, metrics_client"),
    ("Handler", HAS.format("metrics_client"), "bad_signature", "does not take config", "def __init__(self, config)"),
    ("Handler", "class Handler:\n  def predict(self): pass\n", "bad_signature", "Handler has predict, and none of the methods handle_post, handle_get, handle_put", "rename predict to handle_post"),
    ("Handler", "class Handler:\n  def handle_async(self): pass\n", "bad_signature", "Handler has handle_async, which is for an AsyncAPI", "this is a RealtimeAPI: define handle_post"),
    ("Handler", "class Handler:\n  pass\n", "bad_signature", "Handler has none of the methods handle_post", "define handle_post(self, payload)"),
    ("Handler", "class Handler:\n  async def __init__(self, config): pass\n  def handle_get(self): pass\n", "bad_signature", "Handler.__init__ is async", "asyncio.run"),
    ("Handler", "class Handler:\n  def handle_get(self, request): pass\n", "bad_signature", "Handler.handle_get takes an argument request", "handle_get may take payload, query_params, headers"),
    ("Handler", "class Handler:\n  def handle_post(self, batch_id): pass\n", "bad_signature", "takes an argument batch_id", "handle_post may take payload"),
    ("Handler", "class PythonPredictor:\n  pass\n", "missing_class", "defines no class Handler; its classes are PythonPredictor", "PythonPredictor is what the block predictor: is for"),
    ("PythonPredictor", "class Handler:\n  pass\n", "missing_class", "defines no class PythonPredictor; its classes are Handler", "Handler is what the block handler: is for"),
    ("PythonPredictor", "class ONNXPredictor:\n  pass\n", "missing_class", "no class PythonPredictor", "set predictor.type to onnx, or rename the class to PythonPredictor"),
    ("ONNXPredictor", "class PythonPredictor:\n  pass\n", "missing_class", "no class ONNXPredictor", "set predictor.type to python, or rename the class to ONNXPredictor"),
    ("ONNXPredictor", "x = 1\n", "missing_class", "defines no class", "define class ONNXPredictor with __init__(self, onnx_client, config) and predict(self, payload)"),
    ("Handler", "x = 1\n", "missing_class", "defines no class", "define class Handler with __init__(self, config) and handle_post(self, payload)"),
])
def test_what_cannot_be(start, kind, text, code, message, remedy):
    failure = start(text, **{"class": kind}).failed()
    assert failure["code"] == code and message in failure["message"] and remedy in failure["remedy"], failure


def test_the_block_is_named(start):
    failure = start({"other.py": ""}, path="handler.py", **{"class": "Handler"}).failed()
    assert failure["remedy"] == "set handler.path to a file of the project; did you mean other.py?"
    failure = start("class Handler:\n  def __init__(self, config): config['k']\n  def handle_get(self): pass\n", **{"class": "Handler"}).failed()
    assert failure["message"] == "Handler.__init__ raised KeyError: 'k'" and failure["remedy"].endswith("set handler.config.k")


LOGS = """
    import os
    from cortex_internal.lib.log import logger{0}
    logger.debug("debugged while it is imported")
    class Handler:
        def handle_post(self):
            logger.info("informed", extra={{"a": 1}})
"""


def test_cortex_logger(serve):
    w = serve(LOGS.format(""), **{"class": "Handler"}, log_level="debug")
    w.predict(1, headers={"x-request-id": "r1"})
    assert "\x1er1\x1fINFO:cortex:informed\n" in w.wait_log("informed") and "DEBUG:cortex:debugged while it is imported\n" in w.log and w.log.count("informed") == 1
    w = serve(LOGS.format(", configure_logger\n    logger = configure_logger('cortex', os.environ['CORTEX_LOG_CONFIG_FILE'])"), **{"class": "Handler"})
    w.predict(1)
    assert "INFO:cortex:informed" in w.wait_log("informed") and "debugged" not in w.log
    w = serve({"predictor.py": LOGS.format(""), "cortex_internal/lib/log.py": "import logging\nlogger = logging.getLogger('mine')\nprint('mine')\n"}, **{"class": "Handler"})
    w.wait_log("mine")

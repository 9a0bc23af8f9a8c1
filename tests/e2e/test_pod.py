"""Cortex's containers of 0.36 and later: their command runs on this machine."""

import concurrent.futures

import pytest
import requests

from soma import projects
from soma.waiting import wait_for


def pod_api(name="pod", command=(projects.PYTHON, "probe.py"), pod=None, **container):
    """A pod as its users wrote it, around probe.py."""
    return {"name": name, "kind": "RealtimeAPI", "pod": {
        "port": 8080, **(pod or {}), "containers": [{
            "name": "api", "image": "quay.io/cortexlabs-test/realtime-hello-world", "command": list(command),
            "env": {"RESPONSE": "hello"}, "compute": {"cpu": "200m", "mem": "128Mi"}, **container}]}}


def files(*apis):
    return {"cortex.yaml": projects.yaml_value(list(apis)), "probe.py": projects.PROBE}


def test_a_pod_serves_as_a_command(daemon, folder):
    api = pod_api(args=["--port", "$(CORTEX_PORT)"], readiness_probe={"http_get": {"port": 8080, "path": "/"}})
    done = daemon.cli("deploy", folder(files(api)), check=0)
    done.says("pod.containers[].image", "not in a container", "pod is live")
    told = daemon.admin.post("/pod/some/path", data=b"x")
    assert told.status_code == 200 and told.json()["target"] == "/some/path"
    environment = daemon.admin.get("/pod/env").json()
    assert environment["RESPONSE"] == "hello" and environment["CORTEX_PORT"] == environment["PORT"]
    daemon.admin.delete("pod")


def test_its_queue_is_limited(daemon):
    """One request in the program, one that waits, and the third is refused."""
    api = pod_api("queue", pod={"max_concurrency": 1, "max_queue_length": 1})
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([api]), "probe.py": projects.PROBE})
    port = daemon.admin.get("/queue/env").json()["PORT"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(daemon.admin.get, "/queue/hold") for _ in range(2)]
        wait_for("one in it, one that waits", lambda: daemon.admin.api("queue")["queued"] == 1)
        refused = daemon.admin.get("/queue/echo")
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
        requests.get(f"http://127.0.0.1:{port}/go?n=2", timeout=30)  # beside Soma, which would let it wait too
        assert [w.result().status_code for w in waiting] == [200, 200]
    daemon.admin.delete("queue")


@pytest.mark.parametrize("api, words", [
    ({**pod_api(), "pod": {"containers": [{"name": "a", "image": "b"}]}}, ["pod.containers[].command", "cannot be known", "$(CORTEX_PORT)"]),
    ({**pod_api(), "pod": {"containers": [{"name": n, "image": "b", "command": ["c"]} for n in "ab"]}},
     ["pod.containers", "several containers", "an api of its own"]),
    (pod_api(compute={"gpu": 1}), ["pod.containers[].compute.gpu", "no accelerators"]),
], ids=["no command", "two containers", "gpu"])
def test_a_pod_that_is_refused(daemon, folder, api, words):
    daemon.cli("deploy", folder(files(api)), check=5).says("cortex.yaml:", *words)


STUBBORN = "import http.server; s = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler); print(s.server_port); s.serve_forever()"


def test_a_program_that_listens_elsewhere_is_told_so(daemon, folder):
    """Long before start_timeout, and with the remedy."""
    api = {"name": "stubborn", "predictor": {"command": [projects.PYTHON, "-uc", STUBBORN], "start_timeout": "8s"}}
    done = daemon.cli("deploy", folder({"soma.yaml": projects.yaml_value([api])}), check=1)
    port = next(word for line in done.text.splitlines() if "| " in line for word in line.split() if word.isdigit())
    done.says(f"it listens on port {port}, not on its $PORT", "start_timeout", "make the program listen on 127.0.0.1:$PORT")
    texts = [e["text"] for e in daemon.admin.events("stubborn")]
    told = next(i for i, text in enumerate(texts) if text.startswith("it listens on port"))
    assert texts[told].endswith("Remedy: make the program listen on 127.0.0.1:$PORT")
    assert not any("start_timeout" in text for text in texts[:told]), "it is told before the end"
    daemon.admin.delete("stubborn")

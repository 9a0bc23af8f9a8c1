"""A command api: somebody else's HTTP server, reached through Soma."""

import concurrent.futures
import hashlib
import json
import os
import threading

import pytest
import requests
import websockets.sync.client

from soma import projects
from soma.client import Raw, error_of, plain
from soma.waiting import seconds, wait_for


@pytest.fixture(scope="module")
def probe(daemon):
    """The probe as the api `probe`; its log and its counters are shared."""
    daemon.admin.deploy(projects.probe_project())
    return daemon.admin


def headers_of(answer):
    return {name.lower(): value for name, value in answer.json()["headers"]}


# --- what reaches the program ------------------------------------------------


@pytest.mark.parametrize("path, target", [
    ("/probe", "/"), ("/probe/", "/"), ("/probe/a/b", "/a/b"), ("/probe/a/", "/a/"),
    ("/probe?q=1", "/?q=1"), ("/probe/a?x=%2F&y", "/a?x=%2F&y"), ("/probe/%41%2f", "/%41%2f"),
    ("/probe//a", "//a"), ("/probe/?q", "/?q"),
])
def test_the_path_arrives_without_the_endpoint(daemon, probe, path, target):
    with Raw(daemon.port) as raw:  # a library would normalise it
        raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = raw.all().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head + body
    assert json.loads(body)["target"] == target


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_and_bodies_arrive(probe, method):
    answer = plain(method, probe.data_url + "/probe/echo", data=b"\x00\xffbody")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["method"], told["body"]) == (method, "\x00\xffbody")


def test_head_has_the_headers_and_no_body(probe):
    answer = plain("HEAD", probe.data_url + "/probe/echo")
    assert answer.status_code == 200 and answer.content == b""
    assert int(answer.headers["Content-Length"]) > 0


def test_the_programs_status_is_passed_on(probe):
    assert probe.get("/probe/echo?status=418 I am a teapot").status_code == 418


def test_forwarded_headers(probe):
    got = headers_of(probe.get("/probe/echo", headers={"X-Forwarded-For": "10.0.0.9", "X-Mine": "1"}))
    assert got["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
    assert got["x-forwarded-proto"] == "http"
    assert got["x-mine"] == "1"


def test_a_request_id_is_made_and_told_to_both_sides(probe):
    answer = probe.get("/probe/echo")
    assert answer.headers["X-Request-Id"] == headers_of(answer)["x-request-id"]
    other = probe.get("/probe/echo")
    assert other.headers["X-Request-Id"] != answer.headers["X-Request-Id"]


def test_a_request_id_of_the_client_is_kept(probe):
    answer = probe.get("/probe/echo", headers={"X-Request-Id": "mine-4711"})
    assert answer.headers["X-Request-Id"] == headers_of(answer)["x-request-id"] == "mine-4711"


def test_hop_by_hop_headers_stay_behind(probe, daemon):
    with Raw(daemon.port) as raw:
        raw.send(b"GET /probe/echo HTTP/1.1\r\nHost: x\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n"
                 b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\nX-Stays: 1\r\n\r\n")
        body = raw.all().partition(b"\r\n\r\n")[2]
    names = {name.lower() for name, _ in json.loads(body)["headers"]}
    assert "x-stays" in names
    assert not names & {"x-secret", "keep-alive", "te", "proxy-connection"}


def test_pipelined_requests_are_answered_in_order(probe, daemon):
    with Raw(daemon.port) as raw:
        raw.send(b"".join(b"POST /probe/echo?%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n%s\r\n%02d"
                          % (i, b"Connection: close\r\n" if i == 9 else b"", i) for i in range(10)))
        bodies = [part.partition(b"\r\n\r\n")[2] for part in raw.all().split(b"HTTP/1.1 200")[1:]]
    assert [json.loads(b)["body"] for b in bodies] == [f"{i:02d}" for i in range(10)]


def test_expect_100_continue(probe, daemon):
    with Raw(daemon.port) as raw:
        raw.send(b"POST /probe/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
                 b"Connection: close\r\n\r\n")
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        raw.send(b"hello")
        answer = raw.all()
    assert answer.startswith(b"HTTP/1.1 200") and b'"body": "hello"' in answer


# --- bodies, large and streamed ----------------------------------------------


def blocks(total, size=1 << 20):
    block = os.urandom(size)
    while total:
        part = block[:min(total, size)]
        total -= len(part)
        yield part


@pytest.mark.parametrize("length", [0, 1, 65536, 20 << 20])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_uploads_arrive_whole(probe, length, framing):
    data = b"".join(blocks(length))
    answer = probe.post("/probe/upload", data=data if framing == "length" else iter([data] if data else []))
    assert answer.json() == {"length": length, "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("framing", ["", "&chunked=1"])
def test_downloads_arrive_whole(probe, framing):
    answer = probe.get(f"/probe/download?n={20 << 20}{framing}")
    assert len(answer.content) == 20 << 20
    assert answer.content[:1024] == bytes(range(256)) * 4


def test_a_streamed_answer_comes_as_it_is_made(probe):
    """Each part is made only when the one before has been seen."""
    with requests.Session() as http:
        answer = http.get(probe.data_url + "/probe/stream?n=3", stream=True, timeout=seconds(20))
        parts = answer.iter_content(None)
        for i in range(3):
            assert next(parts) == b"part %d\n" % i
            probe.post("/probe/go")
        assert list(parts) == []


def test_websockets_pass_through(probe):
    url = probe.data_url.replace("http", "ws") + "/probe/ws"
    with websockets.sync.client.connect(url, max_size=None, open_timeout=seconds(10)) as ws:
        for message in ["hello", "", "ä" * 1000, b"\x00\xff" * 100000]:
            ws.send(message)
            assert ws.recv(timeout=seconds(20)) == message
        assert ws.ping().wait(seconds(10))


def test_a_server_sent_upgrade_that_is_refused_is_an_answer(probe):
    answer = probe.get("/probe/echo", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert answer.status_code == 200


# --- its process -------------------------------------------------------------


def test_its_environment(daemon, probe):
    daemon.admin.deploy(projects.probe_project(projects.probe_api(
        "env", predictor={"env": {"GREETING": "hi", "NUMBER": 7}}, compute={"cpu": 1})))
    env = probe.get("/env/env").json()
    assert env["GREETING"] == "hi" and env["NUMBER"] == "7"
    assert env["PORT"] == env["CORTEX_PORT"]
    assert env["SOMA_API"] == "env" and env["SOMA_REVISION"] == "1"
    assert env["SOMA_INSTANCE"] == daemon.instance
    assert env["OMP_NUM_THREADS"] == "1"
    if os.geteuid() == 0:
        assert 61184 <= env["uid"] < 65520, "as root, replicas are users of their own"
    assert "SOMA_TOKEN" not in env and daemon.admin.token not in env.values()


def test_the_users_of_two_apis_differ(daemon, probe):
    if os.geteuid() != 0:
        pytest.skip("changing users takes root")
    daemon.admin.deploy(projects.probe_project(projects.probe_api("other")))
    assert probe.get("/probe/env").json()["uid"] != probe.get("/other/env").json()["uid"]


def test_port_in_its_arguments(daemon):
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([{"name": "args", "predictor": {
        "command": [projects.PYTHON, "-c", "import os, sys; os.environ['PORT'] = sys.argv[1]; "
                    "exec(open('probe.py').read())", "${PORT}"]}}]), "probe.py": projects.PROBE})
    assert daemon.admin.get("/args/echo").status_code == 200


def test_a_readiness_path_is_waited_for(daemon):
    """Ready is 2xx on it, not an open port."""
    late = projects.PROBE.replace("    def do_seen(", (
        "    def do_health(self):\n        self.whole_body()\n"
        "        asked = len([s for s in seen if s['target'] == '/health'])\n"
        "        self.answer({}, '200 OK' if asked > 3 else '503 Not Yet')\n\n"
        "    def do_seen("))
    api = projects.probe_api("late", predictor={"readiness_path": "/health"})
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([api]), "probe.py": late})
    seen = daemon.admin.get("/late/seen").json()
    assert [s["target"] for s in seen] == ["/health"] * 4


def test_sd_notify_makes_it_ready_before_any_probe(daemon):
    """READY=1 counts even where the readiness path never answers 2xx."""
    source = projects.PROBE.replace('    print("listening"', (
        '    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
        '    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))\n'
        '    print("listening"'))
    api = projects.probe_api("notify", predictor={"readiness_path": "/echo?status=503"})
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([api]), "probe.py": source})
    assert daemon.admin.get("/notify/echo").status_code == 200


def test_several_replicas_share_the_requests(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("many", autoscaling={"min_replicas": 3})))
    api = daemon.admin.api("many")
    assert (api["requested"], api["ready"], len(api["replicas"])) == (3, 3, 3)
    pids = {daemon.admin.get("/many/echo").json()["pid"] for _ in range(12)}
    assert pids == set(daemon.admin.pids("many"))


def test_least_loaded_replica_is_chosen(daemon):
    """While two of three are busy, every request goes to the third."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("least", autoscaling={"min_replicas": 3})))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        held = [pool.submit(daemon.admin.post, "/least/hold") for _ in range(2)]
        wait_for("two replicas are busy", lambda: sum(
            r["in_flight"] for r in daemon.admin.api("least")["replicas"]) == 2)
        busy = {r["pid"] for r in daemon.admin.api("least")["replicas"] if r["in_flight"]}
        assert len(busy) == 2
        others = {daemon.admin.get("/least/echo").json()["pid"] for _ in range(6)}
        assert len(others) == 1 and not others & busy
        for pid in busy:
            os.kill(pid, 9)
        for request in held:
            error_of(request.result(), 502, "replica_failed")


def test_max_concurrency_keeps_the_rest_waiting(daemon):
    """One request at a time is given to the program; the others come after."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("one", predictor={"max_concurrency": 1})))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        held = pool.submit(daemon.admin.post, "/one/hold", data=b"first")
        wait_for("it is held", lambda: daemon.admin.api("one")["in_flight"] == 1)
        waiting = [pool.submit(daemon.admin.get, "/one/echo") for _ in range(3)]
        wait_for("three wait", lambda: daemon.admin.api("one")["in_flight"] == 4)
        assert sum(r["in_flight"] for r in daemon.admin.api("one")["replicas"]) == 1
        assert not any(w.done() for w in waiting)
        # The held one ends when its replica dies: POST is not repeated.
        os.kill(daemon.admin.pids("one")[0], 9)
        error_of(held.result(), 502, "replica_failed")
        assert [w.result().status_code for w in waiting] == [200] * 3


def test_processes_left_behind_by_a_replica_go_with_it(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("forks")))
    child = daemon.admin.get("/forks/fork").json()["child"]
    assert os.path.exists(f"/proc/{child}")
    os.kill(daemon.admin.pids("forks")[0], 9)
    wait_for("the child is gone", lambda: not os.path.exists(f"/proc/{child}"))
    daemon.admin.wait_live("forks")


# --- answers that are none ---------------------------------------------------


@pytest.mark.parametrize("path, cause", [
    ("exit?code=3", "exit code 3"), ("kill?signal=9", "signal 9 (SIGKILL)"),
    ("kill?signal=11", "signal 11 (SIGSEGV)"), ("kill?signal=6", "signal 6 (SIGABRT)"),
])
def test_a_program_that_dies_is_named_with_its_cause(daemon, probe, path, cause):
    name = "dies"
    daemon.admin.deploy(projects.probe_project(projects.probe_api(name)))
    daemon.admin.wait_live(name)
    answer = probe.post(f"/{name}/{path}", data=b"x")
    error = error_of(answer, 502, "replica_failed")
    assert error["cause"] == cause and error["api"] == name
    assert cause in error["message"] and "not repeated" in error["message"]
    assert error["request_id"] == answer.headers["X-Request-Id"]
    last = wait_for("its exit is shown", lambda: [
        r["last_exit"] for r in daemon.admin.api(name)["replicas"] if r["last_exit"]])
    assert last == [cause]
    daemon.admin.wait_live(name)
    daemon.admin.delete(name)


def test_an_answer_that_is_no_http(probe):
    error = error_of(probe.post("/probe/garbage"), 502, "replica_failed")
    assert "not HTTP" in error["message"] and error["cause"] == "bad response"


def test_an_answer_cut_short_is_cut_short_for_the_client(probe):
    """Never passed off as whole: the connection ends before the length does."""
    with pytest.raises(requests.exceptions.RequestException):
        probe.post("/probe/cut")


def test_a_client_that_goes_midway_harms_nobody(daemon, probe):
    for part in [b"POST /probe/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome",
                 b"POST /probe/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                 b"GET /probe/download?n=100000000 HTTP/1.1\r\nHost: x\r\n\r\n"]:
        wait_for("others are over", lambda: probe.api("probe")["in_flight"] == 0)
        with Raw(daemon.port) as raw:
            raw.send(part)
            wait_for("it is under way", lambda: probe.api("probe")["in_flight"] == 1)
        wait_for("it is over", lambda: probe.api("probe")["in_flight"] == 0)
    assert probe.get("/probe/echo").status_code == 200
    assert probe.api("probe")["restarts"] == 0


def test_the_closing_of_idle_connections_is_no_failure(daemon):
    """A server that ends every connection after its answer, without saying so.

    A request may meet the end on its way: one that may be repeated is; of any
    other it is told that the connection was closed, not that a replica died.
    """
    source = projects.PROBE.replace("return handler() is not False", "handler()\n        return False")
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([projects.probe_api("shy")]), "probe.py": source})
    with requests.Session() as http:
        http.trust_env = False
        for _ in range(200):
            assert http.get(daemon.url + "/shy/echo", timeout=seconds(10)).status_code == 200
        for _ in range(50):
            answer = http.post(daemon.url + "/shy/echo", data=b"x", timeout=seconds(10))
            if answer.status_code != 200:
                error = error_of(answer, 502, "replica_failed")
                assert error["cause"] == "connection closed"
                assert "died" not in error["message"]
    assert daemon.admin.api("shy")["restarts"] == 0


def test_load_is_answered_whole(daemon):
    """Sixteen clients at once, each answer its own."""
    daemon.admin.deploy(projects.probe_project(projects.probe_api("load", autoscaling={"min_replicas": 2})))
    wrong = []

    def client(number):
        with requests.Session() as http:
            http.trust_env = False
            for i in range(25):
                text = f"{number}-{i}" * 10
                answer = http.post(daemon.url + "/load/echo", data=text, timeout=seconds(30))
                if answer.status_code != 200 or answer.json()["body"] != text:
                    wrong.append((number, i, answer.status_code))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert daemon.admin.api("load")["requests"]["2xx"] == 400

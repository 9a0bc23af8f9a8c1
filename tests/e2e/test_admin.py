"""The admin API: who may use it, and what it says."""

import hashlib
import json
import os
import re
import stat

import pytest

from soma import projects
from soma.client import Admin, Raw, error_of, plain
from soma.waiting import wait_for

DEPLOYS_CODE = [("GET", "/v1/apis"), ("POST", "/v1/deploy"), ("POST", "/v1/plan"), ("GET", "/metrics"),
                ("GET", "/v1/info"), ("GET", "/v1/secrets"), ("PUT", "/v1/secrets/x"), ("DELETE", "/v1/apis/x"),
                ("POST", "/v1/apis/x/refresh"), ("GET", "/v1/apis/x/logs"), ("GET", "/v1/apis/x/events"),
                ("PUT", "/v1/blobs/" + "0" * 64), ("GET", "/nothing")]


def raw_get(port, *headers, path="/v1/apis"):
    """One request with exactly these headers; its status."""
    with Raw(port) as raw:
        lines = [f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]
        raw.send("\r\n".join(lines).encode())
        return int(raw.all().split(b" ", 2)[1])


# --- who may use it ----------------------------------------------------------


@pytest.mark.parametrize("method, path", DEPLOYS_CODE)
@pytest.mark.parametrize("authorization", [
    None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer x{token}",
    "Bearer {short}"])
def test_nothing_without_the_token(daemon, method, path, authorization):
    token = daemon.admin.token
    headers = {} if authorization is None else {
        "Authorization": authorization.format(token=token, short=token[:-1])}
    answer = plain(method, daemon.admin_url + path, headers=headers, json={"value": "x"})
    error = error_of(answer, 401, "unauthorized")
    assert "admin.token" in error["message"], "it says where the token is"
    assert token not in answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_health_needs_no_token(daemon):
    for url in (daemon.admin_url, daemon.url):
        for path in ("/healthz", "/readyz"):
            answer = plain("GET", url + path)
            assert (answer.status_code, answer.text.strip()) == (200, "ok")


def test_the_token_is_for_its_owner_only(daemon):
    path = daemon.data / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{32,}\n", path.read_text())
    note = daemon.parent / f".config/soma/daemons/{daemon.admin_port}.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert json.loads(note.read_text())["admin"] == daemon.admin_url
    told = json.loads((daemon.data / "run/admin.json").read_text())
    assert daemon.admin.token not in json.dumps(told)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000", "{own}"])
def test_web_pages_are_refused_even_with_the_token(daemon, origin):
    origin = origin.format(own=daemon.admin_url)
    for path in ("/v1/apis", "/healthz"):
        answer = daemon.admin.call("GET", path, headers={"Origin": origin})
        error = error_of(answer, 403, "forbidden")
        assert "web page" in error["message"] and "Origin" in error["message"]
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_browsers_preflight_is_refused(daemon):
    answer = plain("OPTIONS", daemon.admin_url + "/v1/deploy", headers={
        "Origin": "http://evil.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization"})
    assert answer.status_code == 403
    assert not [h for h in answer.headers if h.lower().startswith("access-control")]


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.evil.example:{port}", "localhost.evil.example",
    "10.0.0.1", "0x7f.1", "[::2]", ""])
def test_a_foreign_host_is_refused_even_with_the_token(daemon, host):
    """A name that somebody else's DNS points at 127.0.0.1."""
    host = host.format(port=daemon.admin_port)
    assert raw_get(daemon.admin_port, f"Host: {host}", f"Authorization: Bearer {daemon.admin.token}") in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:{port}", "LOCALHOST:{port}", "127.0.0.1:{port}", "127.0.0.1",
                                  "127.1.2.3", "[::1]:{port}"])
def test_our_own_names_are_taken(daemon, host):
    host = host.format(port=daemon.admin_port)
    assert raw_get(daemon.admin_port, f"Host: {host}", f"Authorization: Bearer {daemon.admin.token}") == 200


def test_the_host_refusal_says_what_to_use(daemon):
    error = error_of(daemon.admin.call("GET", "/v1/apis", headers={"Host": "evil.example"}), 403, "forbidden")
    assert daemon.admin_url in error["message"]


@pytest.mark.parametrize("path", ["/v1/apis", "/v1/info", "/metrics", "/v1/secrets", "/v1/deploy"])
def test_the_data_plane_does_not_reach_it(daemon, path):
    for headers in ({}, {"Authorization": f"Bearer {daemon.admin.token}"},
                    {"Authorization": f"Bearer {daemon.admin.token}", "Host": f"127.0.0.1:{daemon.admin_port}"}):
        error_of(plain("GET", daemon.url + path, headers=headers), 404, "not_found")


def test_it_listens_on_loopback_only(daemon):
    assert daemon.admin_url.startswith("http://127.0.0.1:")


# --- what it says ------------------------------------------------------------


def test_info(daemon):
    info = daemon.admin.info()
    assert info["pid"] == daemon.daemon_pid and info["keeper_pid"] == daemon.keeper_pid
    assert os.path.realpath(info["data_dir"]) == os.path.realpath(daemon.data)
    assert (info["data_url"], info["admin_url"]) == (daemon.url, daemon.admin_url)
    assert info["version"] and info["uptime_ms"] >= 0 and info["apis"] == len(daemon.admin.apis())


def test_unknown_resources_and_methods(daemon):
    error = error_of(daemon.admin.call("GET", "/v1/nothing"), 404, "not_found")
    assert "/v1/nothing" in error["message"]
    answer = daemon.admin.call("PATCH", "/v1/apis")
    error_of(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"
    answer = daemon.admin.call("PATCH", "/v1/apis/x")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"GET", "DELETE"}
    answer = daemon.admin.call("POST", "/v1/secrets/x")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"PUT", "DELETE"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b'"x"', b"{}", b'{"config":7}', b"\xff\xfe",
                                  b'{"config":"a","files":7}', b'{"config":"a","files":[7]}',
                                  b'{"config":"","files":[{}]}', b"[" * 1_000_000])
@pytest.mark.parametrize("path", ["/v1/plan", "/v1/deploy"])
def test_a_deploy_that_is_none(daemon, path, body):
    answer = daemon.admin.call("POST", path, data=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "", "a/", "x" * 2000, "a\0b"])
def test_a_project_stays_in_its_folder(daemon, path):
    request, _ = Admin.request_of(projects.probe_project())
    request["files"].append({"path": path, "size": 0, "mode": 0o644, "sha256": "0" * 64})
    for call in ("/v1/plan", "/v1/deploy"):
        answer = daemon.admin.call("POST", call, json=request)
        assert answer.status_code in (400, 422), answer.text


EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("extra", [
    [{"path": "a", "sha256": EMPTY}, {"path": "a/b", "sha256": EMPTY}],
    [{"path": "a/b", "sha256": EMPTY}, {"path": "a", "sha256": EMPTY}],
    [{"path": "a", "sha256": EMPTY}, {"path": "a", "sha256": EMPTY}],
    [{"path": "a", "sha256": "../../../etc/passwd"}], [{"path": "a", "sha256": "0" * 63}],
    [{"path": "a", "sha256": "A" * 64}], [{"path": "a"}],
], ids=["a file and a folder", "a folder and a file", "twice", "a path as hash", "short", "capitals", "no hash"])
def test_files_that_cannot_be(daemon, extra):
    request, blobs = Admin.request_of({**projects.probe_project(), "empty": b""})
    for sha, data in blobs.items():
        daemon.admin.ok("PUT", f"/v1/blobs/{sha}", data=data)
    request["files"] += [{"size": 0, "mode": 0o644, **f} for f in extra]
    answer = daemon.admin.call("POST", "/v1/deploy", json=request)
    assert answer.status_code in (400, 422), answer.text
    assert "'a'" in answer.json()["error"]["message"] or "a/b" in answer.json()["error"]["message"]


def test_blobs(daemon):
    sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    assert daemon.admin.call("PUT", f"/v1/blobs/{sha}", data=b"test").status_code == 201
    assert daemon.admin.call("PUT", f"/v1/blobs/{sha}", data=b"test").status_code == 200
    other = "1" * 64
    error = error_of(daemon.admin.call("PUT", f"/v1/blobs/{other}", data=b"test"), 422, "unprocessable")
    assert "SHA-256" in error["message"] and sha in error["message"] and "deploy again" in error["message"]
    for bad in ("x", "../admin.token", "0" * 63, "Z" * 64):
        assert daemon.admin.call("PUT", f"/v1/blobs/{bad}", data=b"x").status_code in (400, 404, 422)


def test_a_deploy_without_its_blobs_names_them(daemon):
    request, blobs = Admin.request_of({**projects.probe_project(), "new": os.urandom(20)})
    answer = daemon.admin.call("POST", "/v1/deploy", json=request)
    assert answer.status_code == 409
    assert set(answer.json()["missing"]) <= set(blobs)
    assert len(answer.json()["missing"]) == len(set(answer.json()["missing"])) > 0


def test_an_api_as_it_is_told(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("told", networking={"endpoint": "/a/b"})))
    for _ in range(3):
        assert plain("GET", daemon.url + "/a/b/echo").status_code == 200
    plain("GET", daemon.url + "/a/b/echo?status=404")
    plain("GET", daemon.url + "/a/b/echo?status=500")
    api = wait_for("all are counted", lambda: (a := daemon.admin.api("told"))["requests"]["5xx"] and a)
    assert (api["kind"], api["predictor"], api["revision"], api["status"]) == ("RealtimeAPI", "command", 1, "live")
    assert (api["requested"], api["ready"], api["in_flight"], api["message"]) == (1, 1, 0, None)
    assert (api["url"], api["endpoint"]) == (daemon.url + "/a/b", "/a/b")
    assert api["requests"] == {"2xx": 3, "4xx": 1, "5xx": 1}
    assert 0 < api["latency_ms"]["p50"] <= api["latency_ms"]["p99"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", api["updated"])
    replica, = api["replicas"]
    assert replica["id"] == "told-1-0" and replica["state"] == "ready" and replica["restarts"] == 0
    assert os.path.exists(f"/proc/{replica['pid']}") and replica["last_exit"] is None
    assert api["sample"].startswith("curl ") and api["url"] in api["sample"] and "\n" not in api["sample"]


def test_its_events_tell_the_rollout(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("events")))
    events = daemon.admin.events("events")
    types = [e["type"] for e in events]
    assert types == ["deploy", "replica_start", "replica_ready", "live"]
    assert [e["seq"] for e in events] == sorted({e["seq"] for e in events})
    assert {e["revision"] for e in events} == {1}
    later = daemon.admin.call("GET", f"/v1/apis/events/events?after={events[1]['seq']}")
    assert [json.loads(line)["type"] for line in later.text.splitlines()] == types[2:]


def test_its_logs_say_which_replica(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("prints")))
    daemon.admin.get("/prints/print?text=hello world")
    daemon.admin.get("/prints/print?err=1&text=to%20error")
    lines = wait_for("both lines", lambda: (found := [
        entry for entry in daemon.admin.logs("prints") if entry["line"] in ("hello world", "to error")])[1:] and found)
    assert {entry["replica"] for entry in lines} == {"prints-1-0"}
    assert all(entry["time"].endswith("Z") for entry in lines)


def test_followers_see_lines_as_they_come(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("follow")))
    with daemon.admin.call("GET", "/v1/apis/follow/logs?follow=1&tail=0", stream=True) as feed:
        lines = feed.iter_lines()
        for word in ("one", "two"):
            daemon.admin.get(f"/follow/print?text={word}")
            assert json.loads(next(lines))["line"] == word
        daemon.admin.delete("follow")
        assert all(json.loads(line) for line in lines), "the feed ends with its api"


@pytest.mark.parametrize("text", ["tab\there", "quote\"back\\slash", "ünïcödé ✓", "\x1b[31mred", "a\x7fb"])
def test_any_line_is_kept_in_one_piece(daemon, text):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("lines")))
    daemon.admin.get("/lines/print", params={"text": text})
    wait_for("the line", lambda: text in [entry["line"] for entry in daemon.admin.logs("lines")])


def test_bytes_that_are_no_text_do_not_break_the_logs(daemon):
    source = projects.PROBE.replace('print("listening", flush=True)',
                                    'os.write(1, b"bad \\xff\\xfe\\x00 bytes\\n" + b"x" * 300000 + b"\\nend\\n")')
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([projects.probe_api("bytes")]), "probe.py": source})
    lines = wait_for("the end", lambda: (
        found := [entry["line"] for entry in daemon.admin.logs("bytes")])[-1:] == ["end"] and found)
    assert lines[0].startswith("bad ") and lines[0].endswith(" bytes")
    assert sum(len(line) for line in lines[1:-1]) >= 100000, "a long line is cut or split, not dropped"


def test_metrics(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("counted")))
    for _ in range(3):
        daemon.admin.get("/counted/echo")
    answer = daemon.admin.call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    mine = [line for line in answer.text.splitlines() if 'api="counted"' in line]
    requests_line = [line for line in mine if "requests_total" in line and '"2xx"' in line]
    assert requests_line and requests_line[0].endswith(" 3"), mine
    assert [line for line in mine if "_bucket" in line and 'le="+Inf"' in line][0].endswith(" 3")
    for word in ("in_flight", "restarts", "loop_lag"):
        assert word in answer.text
    for line in answer.text.splitlines():
        assert line.startswith("#") or re.fullmatch(r'[a-z_]+(\{[^}]*\})? [-+0-9.eEinfa]+', line), line


# --- secrets -----------------------------------------------------------------


def test_secrets_reach_the_program_and_nobody_else(daemon):
    admin = daemon.admin
    uses = projects.probe_project(projects.probe_api("uses", predictor={"env": {"TOKEN": {"from_secret": "tok"}}}))
    answer = admin.send(uses)
    assert answer.status_code == 422 and "soma secret set tok" in answer.json()["error"]["message"]
    assert admin.ok("PUT", "/v1/secrets/tok", json={"value": "hunter2!"})["message"] == "set tok"
    admin.deploy(uses)
    assert admin.get("/uses/env").json()["TOKEN"] == "hunter2!"
    listed = admin.call("GET", "/v1/secrets")
    assert "tok" in [s["name"] for s in listed.json()["secrets"]]
    shown = listed.text + json.dumps(admin.api("uses")) + json.dumps(admin.events("uses")) + daemon.log()
    assert "hunter2!" not in shown
    for path in daemon.data.rglob("*"):
        if path.is_file() and b"hunter2!" in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, f"{path} has it, for everybody to read"
    # A new value takes a refresh.
    admin.ok("PUT", "/v1/secrets/tok", json={"value": "changed"})
    admin.ok("POST", "/v1/apis/uses/refresh")
    wait_for("the new value", lambda: admin.get("/uses/env").json()["TOKEN"] == "changed")
    assert admin.call("DELETE", "/v1/secrets/tok").status_code == 200
    error_of(admin.call("DELETE", "/v1/secrets/tok"), 404, "not_found")


@pytest.mark.parametrize("name, body", [("a/b", {"value": "x"}), ("x", {}), ("x", {"value": 7}), ("x", []),
                                        ("a b", {"value": "x"}), ("x", {"value": "a\0b"})])
def test_secrets_that_cannot_be(daemon, name, body):
    answer = daemon.admin.call("PUT", f"/v1/secrets/{name}", json=body)
    assert answer.status_code in (400, 404, 422), answer.text

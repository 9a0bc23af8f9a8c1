"""The admin API and the data plane, as a program would use them."""

import hashlib
import json
import socket
import time

import requests

from .waiting import seconds, wait_for


class Deployed(dict):
    """A deploy's answer; `end` is the event that ended its rollout."""

    end = None


class Admin:
    def __init__(self, url, token, data_url):
        self.url, self.token, self.data_url = url, token, data_url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, timeout=30, **kwargs):
        return self.http.request(method, self.url + path, timeout=seconds(timeout), **kwargs)

    def ok(self, method, path, **kwargs):
        answer = self.call(method, path, **kwargs)
        assert answer.status_code in (200, 201), f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def is_ready(self):
        try:
            return self.call("GET", "/readyz").status_code == 200
        except requests.RequestException:
            return False

    # --- deploying ---

    @staticmethod
    def request_of(files, config=None, force=False, config_name="soma.yaml"):
        """A deploy request and the blobs it names, from {path: text or bytes}."""
        files = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        if config is None:
            config = files.pop(config_name).decode()
        elif not isinstance(config, str):
            config = json.dumps(config)  # JSON is YAML
        blobs = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
        return {"config_name": config_name, "config": config, "force": force, "files": [
            {"path": path, "size": len(data), "mode": 0o644, "sha256": hashlib.sha256(data).hexdigest()}
            for path, data in files.items()]}, blobs

    def send(self, files, config=None, force=False):
        """Plan, upload, deploy; the raw answer of the last call."""
        request, blobs = self.request_of(files, config, force)
        plan = self.call("POST", "/v1/plan", json=request)
        if plan.status_code != 200:
            return plan
        for sha in plan.json()["missing"]:
            self.ok("PUT", f"/v1/blobs/{sha}", data=blobs[sha])
        return self.call("POST", "/v1/deploy", json=request)

    def deploy(self, files, config=None, force=False, timeout=60):
        """Deploys and waits until every api of it is live; fails if one isn't."""
        answer = self.send(files, config, force)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        done = answer.json()
        for api in done["apis"]:
            if api["change"] != "unchanged":
                end = self.outcome(api["name"], api["revision"], timeout)
                assert end["type"] == "live", f"{api['name']} failed: {end}"
        return done

    def deploy_failing(self, files, config=None, timeout=60):
        """Deploys one api; the event that says why it failed."""
        answer = self.send(files, config)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        api = answer.json()["apis"][0]
        end = self.outcome(api["name"], api["revision"], timeout)
        assert end["type"] == "failed", end
        return end

    def outcome(self, name, revision, timeout=60):
        """The event that ends a rollout: exactly one `live` or `failed`."""
        deadline = time.monotonic() + seconds(timeout)
        with self.call("GET", f"/v1/apis/{name}/events?follow=1", timeout=timeout, stream=True) as feed:
            for line in feed.iter_lines():
                event = json.loads(line)
                if event["revision"] == revision and event["type"] in ("live", "failed"):
                    return event
                assert time.monotonic() < deadline, f"no end of revision {revision} of {name}"
        raise AssertionError(f"the events of {name} ended without live or failed")

    def events(self, name):
        answer = self.call("GET", f"/v1/apis/{name}/events")
        return [json.loads(line) for line in answer.text.splitlines()]

    def logs(self, name, tail=1000):
        answer = self.call("GET", f"/v1/apis/{name}/logs?tail={tail}")
        return [json.loads(line) for line in answer.text.splitlines()]

    def delete(self, name):
        self.ok("DELETE", f"/v1/apis/{name}")
        wait_for(f"{name} is gone", lambda: self.call("GET", f"/v1/apis/{name}").status_code == 404, 30)

    # --- looking ---

    def api(self, name):
        return self.ok("GET", f"/v1/apis/{name}")

    def apis(self):
        return self.ok("GET", "/v1/apis")["apis"]

    def info(self):
        return self.ok("GET", "/v1/info")

    def pids(self, name, state="ready"):
        return [r["pid"] for r in self.api(name)["replicas"] if state in (None, r["state"])]

    def wait_live(self, name, timeout=60):
        def live():
            api = self.api(name)
            return api if api["status"] == "live" else None
        return wait_for(f"{name} is live", live, timeout)

    # --- the data plane ---

    def post(self, path, timeout=60, **kwargs):
        return plain("POST", self.data_url + path, timeout, **kwargs)

    def get(self, path, timeout=60, **kwargs):
        return plain("GET", self.data_url + path, timeout, **kwargs)

    def call_data(self, method, path, timeout=60, **kwargs):
        return plain(method, self.data_url + path, timeout, **kwargs)


def plain(method, url, timeout=60, **kwargs):
    """One request on a connection of its own, no proxies, no token."""
    with requests.Session() as http:
        http.trust_env = False
        return http.request(method, url, timeout=seconds(timeout), **kwargs)


def error_of(answer, status, code):
    """The typed error of an answer, after checking that it is one."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"].startswith("application/json")
    error = answer.json()["error"]
    assert error["code"] == code, error
    assert error["message"] and error["request_id"], error
    return error


class Raw:
    """A socket for requests that no library would send."""

    def __init__(self, port, timeout=20):
        self.sock = socket.create_connection(("127.0.0.1", port), seconds(timeout))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """False when the other side has closed already."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def until(self, mark):
        data = b""
        while mark not in data:
            more = self.sock.recv(65536)
            assert more, f"the connection ended before {mark!r}: {data!r}"
            data += more
        return data

    def all(self):
        """What comes until the other side closes."""
        data = b""
        try:
            while more := self.sock.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data

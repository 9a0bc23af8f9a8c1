"""Splitters to deploy, the apis that they send to, and what became of their requests."""

import collections

import requests

from soma.projects import python_api, python_project
from soma.waiting import wait_for

# Each says who it is; `y` is what its answers differ by, `fail_every` says of how many of its requests one fails.
SOURCE = """\
import time


class PythonPredictor:
    def __init__(self, config):
        self.config, self.n = config, 0

    def predict(self, payload, query_params, headers):
        self.n += 1
        time.sleep(self.config.get("sleep", 0))
        if self.n % self.config.get("fail_every", 1 << 60) == 0:
            raise ValueError("this one fails")
        return {"name": self.config.get("says", self.config["name"]), "y": self.config.get("y", 0),
                "shadow": headers.get("x-soma-shadow") if self.config.get("tells", True) else None, "payload": payload}
"""


def target(name, keys=None, **config):
    return python_api(name, predictor={"config": {"name": name, **config}}, **(keys or {}))


def splitter(name, *apis, **keys):
    return {"name": name, "kind": "TrafficSplitter",
            "apis": [dict(zip(("name", "weight", "shadow"), api)) for api in apis], **keys}


def project(*apis, source=SOURCE):
    return python_project(source, *apis)


def who(daemon, path, n, **keys):
    """How many of n requests each api had, over one connection."""
    had = collections.Counter()
    with requests.Session() as http:
        http.trust_env = False
        url = f"http://127.0.0.1:{daemon.port}{path}"
        for _ in range(n):
            answer = http.post(url, json={}, timeout=30, **keys)
            assert answer.status_code == 200, answer.text
            had[answer.json()["name"]] += 1
    return had


def shares(daemon, name):
    return {t["name"]: t for t in daemon.admin.api(name)["splitter"]["apis"]}


def weights(daemon, name):
    return {n: t["weight"] for n, t in shares(daemon, name).items()}


def canary(daemon, name):
    return daemon.admin.api(name)["splitter"]["canary"]


def compared(daemon, name, target):
    """What was compared, once all copies were."""
    def all_of_them():
        t = shares(daemon, name)[target]
        return t if t["compared"] + t["failed"] + t["not_compared"] == t["copies"] else None
    return wait_for("all copies are compared", all_of_them)

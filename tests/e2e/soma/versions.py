"""Load on an api whose answers say which version they are of."""

import collections
import threading
import time

import requests

from .projects import predictor, python_api, python_project


def project(word, name="api", init="pass", source=None, **keys):
    """A predictor that answers with its version's name; init: what it does first."""
    keys = {"autoscaling": {"min_replicas": 1, "max_replicas": 8, "keep_idle": "10m"},
            "update_strategy": {"watch": "30s"}, **keys}
    return python_project(source or predictor(f"return {word!r}", init=init), python_api(name, **keys))


class Asked:
    """with Asked(daemon, "api") as asked: ...; then asked.failed, asked.counts, asked.order.

    Clients that send one request after the other, `pause` seconds apart. An answer is right with 200 and the name of a version.
    """

    def __init__(self, daemon, name="api", clients=4, pause=0.0):
        self.url, self.pause = f"http://127.0.0.1:{daemon.port}/{name}", pause
        self.failed, self.order, self.slowest = [], [], 0.0
        self.lock, self.ending = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    @property
    def counts(self):
        with self.lock:
            return collections.Counter(self.order)

    def _client(self):
        with requests.Session() as session:
            session.trust_env = False
            while not self.ending.is_set():
                began = time.monotonic()
                try:
                    answer = session.post(self.url, json={}, timeout=120)
                    status, text = answer.status_code, answer.text
                except requests.RequestException as e:
                    status, text = None, repr(e)
                with self.lock:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if status == 200:
                        self.order.append(text)
                    else:
                        self.failed.append((status, text))
                self.ending.wait(self.pause)

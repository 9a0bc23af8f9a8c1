"""Constant load of unique requests, every answer of which is checked.

A Target knows how to ask one api and what the right answer is. Load runs
clients in threads until it is left, and sorts what they got: right, refused
with a typed 502, or wrong.
"""

import collections
import contextlib
import http.client
import json
import random
import threading
import time

from .waiting import seconds

Request = collections.namedtuple("Request", "method path body headers repeatable")


class Target:
    """One api that echoes: how to ask it, and whether the answer is right."""

    def __init__(self, name, python, retry_safe):
        self.name, self.python, self.retry_safe = name, python, retry_safe

    def request(self, rng, text):
        """One of: idempotent by method, by key, by the api, or not at all."""
        kind = rng.choice(["plain", "key", "method"])
        if kind == "method" and self.python:
            kind = "key"  # a predictor takes what POST brings
        path = f"/{self.name}" if self.python else f"/{self.name}/echo"
        headers = {"Content-Type": "application/json"}
        if kind == "key":
            headers["Idempotency-Key"] = text
        method = "PUT" if kind == "method" else "POST"
        repeatable = kind != "plain" or self.retry_safe
        return Request(method, path, json.dumps({"text": text}), headers, repeatable)

    def is_right(self, text, status, body):
        if status != 200:
            return False
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(body)
            return (told if self.python else json.loads(told["body"]))["text"] == text
        return False


class Load:
    """with Load(...) as load: ...; then load.right, load.refused, load.wrong.

    again: a broken connection is tried again, as clients of a service that may
    restart do; else it counts as wrong. allowed(request, error) says whether a
    typed 502 is the right answer to a request. pause: seconds between an answer
    and the next request of a client.
    """

    def __init__(self, port, targets, clients=6, seed=1, again=False, deadline=30, pause=0):
        self.port, self.targets, self.again, self.deadline, self.pause = port, targets, again, deadline, pause
        self.right, self.refused, self.wrong = 0, [], []
        self.retried = 0
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(n, random.Random(seed * 1000 + n)))
                        for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    @property
    def answered(self):
        return self.right + len(self.refused)

    def _client(self, number, rng):
        self_connection = None
        for i in range(1 << 30):
            if self.ending.is_set():
                break
            target = rng.choice(self.targets)
            text = f"{number}-{i}-{rng.randrange(1 << 30)}"
            self_connection = self._one(self_connection, target, target.request(rng, text), text)
            if self.pause:
                self.ending.wait(self.pause)
        if self_connection:
            self_connection.close()

    def _one(self, connection, target, request, text):
        began = time.monotonic()
        while True:
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds(self.deadline))
                connection.request(request.method, request.path, request.body, request.headers)
                answer = connection.getresponse()
                status, body = answer.status, answer.read()
                break
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                connection = None
                if not self.again or time.monotonic() - began > seconds(self.deadline):
                    self._note(target, request, text, None, repr(e), began)
                    return None
                self.retried += 1
                self.ending.wait(0.01)
        self._note(target, request, text, status, body, began)
        return connection

    def _note(self, target, request, text, status, body, began):
        took = time.monotonic() - began
        with self.lock:
            if target.is_right(text, status, body):
                self.right += 1
            elif status == 502 and not request.repeatable:
                self.refused.append((target.name, json.loads(body)["error"], took))
            else:
                self.wrong.append((target.name, request, status, body, took))

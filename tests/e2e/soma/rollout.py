"""A rollout that is looked at from outside: its moments, its processes, and how it has ended."""

import os
import sqlite3
import threading
import time

import requests

from . import procs, projects
from .load import Target
from .waiting import seconds, wait_for

NAME, REPLICAS = "roll", 2

SOURCE = """import os, time

class PythonPredictor:
    def __init__(self, config):
        time.sleep(0.1)

    def predict(self, payload):
        return {"text": payload["text"], "version": %d, "revision": int(os.environ["SOMA_REVISION"])}
"""


def version(number, environment=False, **keys):
    """The project's next version; with an environment of its own it has to be built first."""
    api = projects.python_api(NAME, **{"predictor": {"zygote": "init"}, "autoscaling": {"min_replicas": REPLICAS}, **keys})
    files = projects.python_project(SOURCE % number, api)
    if environment:
        files["dependencies.sh"] = f"echo version {number}\n"
    return files


class Versions(Target):
    """Right is an answer of any version that there may be."""

    def __init__(self):
        super().__init__(NAME, True, False)
        self.allowed = set()

    def is_right(self, text, status, body):
        import json
        return super().is_right(text, status, body) and json.loads(body)["version"] in self.allowed


def kind(daemon, pid):
    """The revision that a process belongs to, or what else it is."""
    told = procs.environ(pid)
    return told.get("SOMA_REVISION") or procs.command_line(pid)


def newborn(daemon, old):
    """Processes of a later revision than `old`, and of what is built for it."""
    return [p for p in procs.marked(daemon.instance) if kind(daemon, p) != str(old)]


class Moment(threading.Thread):
    """Calls `then` once, at a moment of the rollout that follows revision `old`.

    A moment is the type of an event (the n-th), a name of MARKS (something on
    the disk), "leaving" (the first of `pids` has ended), or seconds from now.
    """

    MARKS = {"blob": "blobs", "project": "projects", "commit": "state.db-wal"}

    def __init__(self, daemon, old, pids, moment, nth, then):
        super().__init__(daemon=True)
        self.daemon_, self.old, self.pids, self.moment, self.nth, self.then = daemon, old, pids, moment, nth, then
        self.came, self.ending, self.lock = False, threading.Event(), threading.Lock()
        self.before = {mark: self._look(mark) for mark in self.MARKS}

    def run(self):
        if isinstance(self.moment, float):
            there = not self.ending.wait(self.moment)
        elif self.moment in self.MARKS:
            there = self._mark()
        elif self.moment == "leaving":
            there = self._leaving()
        else:
            there = self._event()
        with self.lock:
            self.came = there and not self.ending.is_set()
        if self.came:
            self.then()

    def _leaving(self):
        while all(map(procs.alive, self.pids)):
            if self.ending.wait(0.001):
                return False
        return True

    def _look(self, mark):
        path = self.daemon_.data / self.MARKS[mark]
        if mark == "commit":
            told = path.stat() if path.exists() else None
            return told and (told.st_mtime_ns, told.st_size)
        return sum(len(files) + len(folders) for _, folders, files in os.walk(path))

    def _mark(self):
        # The store writes at other times, too: from the project on it is this deploy's.
        for mark in ("project", "commit") if self.moment == "commit" else (self.moment,):
            before = self._look(mark) if mark == "commit" else self.before[mark]
            while self._look(mark) == before:
                if self.ending.wait(0.0005):
                    return False
        return True

    def _event(self):
        import json
        left = self.nth
        try:
            with self.daemon_.admin.call("GET", f"/v1/apis/{NAME}/events?follow=1", stream=True) as feed:
                for line in feed.iter_lines(chunk_size=1):
                    event = json.loads(line)
                    if event["revision"] > self.old and event["type"] == self.moment:
                        left -= 1
                    if not left:
                        return True
                    if self.ending.is_set():
                        return False
        except requests.RequestException:
            pass  # its end came with somebody else's
        return False

    def end(self):
        """It comes now or never; what it does has been done then."""
        with self.lock:
            self.ending.set()
        if self.came:
            self.join()


def whole(daemon, timeout=60):
    """What the api is once all replicas of one revision are there, and nothing else. Fails if that does not come by itself."""
    def look():
        try:
            api = daemon.admin.api(NAME)
        except (requests.RequestException, AssertionError):
            return None
        told = {p: kind(daemon, p) for p in procs.marked(daemon.instance)}
        ready = {r["pid"] for r in api["replicas"] if r["state"] == "ready"}
        zygote = {api["zygote"]["pid"]} if api["zygote"] else set()
        right = (api["status"] == "live" and len(ready) == len(api["replicas"]) == REPLICAS and
                 set(told.values()) == {str(api["revision"])} and ready <= set(told) <= ready | zygote)
        seen[:] = [api["revision"], api["status"], api["replicas"], told]
        return api if right else None
    seen = []
    try:
        return wait_for("one revision, whole and alone", look, timeout)
    except AssertionError as e:
        raise AssertionError(f"{e}; seen last: {seen}") from None


def answers(daemon, n=12):
    """The versions and revisions that answer now."""
    told = [daemon.admin.post(f"/{NAME}", json={"text": "x"}).json() for _ in range(n)]
    return {(t["version"], t["revision"]) for t in told}


def history(daemon):
    return daemon.admin.call("GET", f"/v1/apis/{NAME}/revisions").json()["revisions"]


def store_is_whole(daemon):
    with sqlite3.connect(daemon.data / "state.db", timeout=seconds(10)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []

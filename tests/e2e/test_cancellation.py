"""A client that goes away: how soon each stage knows.

The numbers are printed. SOMA_STRICT_TIMES=1 holds them to what an idle machine
shows: 95% within 10 ms, all within 100 ms.
"""

import json
import math
import os
import time

import pytest

from soma import models, projects
from soma.client import Raw
from soma.waiting import seconds, wait_for

STRICT = bool(os.environ.get("SOMA_STRICT_TIMES"))
SAMPLES = 40
MOMENT = 0.01 if STRICT else seconds(1)  # after which a replica must know
NEXT_MS = 1000  # of a run of the echo engine

# Notes what happened to whom, and when; CLOCK_MONOTONIC is the same in all processes.
PREDICTOR = """
import asyncio, os, time, soma

notes = {}

def note(id):
    notes[id] = time.monotonic()

def hold(path):
    while not os.path.exists(path):
        time.sleep(0.0005)

class PythonPredictor:
    async def pre_predict(self, payload):
        if payload["do"] == "pre":
            note("begun " + payload["id"])
            try:
                await asyncio.sleep(3600)
            finally:
                note(payload["id"])
        return payload

    def predict(self, payload):
        if payload["do"] == "notes":
            return notes
        if payload["do"] == "hold":
            note("begun " + payload["id"])
            return hold(payload["path"])
        if payload["do"] == "polls":
            note("begun " + payload["id"])
            while not soma.cancelled():
                time.sleep(0.0005)
        if payload["do"] in ("steps", "awaits"):
            return getattr(self, payload["do"])(payload["id"])
        note(payload["id"])

    def steps(self, id):
        try:
            while True:
                yield "step"
                time.sleep(0.001)
        finally:
            note(id)

    async def awaits(self, id):
        try:
            yield "step"
            await asyncio.sleep(3600)
        finally:
            note(id)
"""
BATCHED = """
import os, time

ran = []

class PythonPredictor:
    def predict(self, payload):
        if payload[0]["do"] == "notes":
            return [ran] * len(payload)
        ran.extend(p["id"] for p in payload)
        while any(p["do"] == "hold" and not os.path.exists(p["path"]) for p in payload):
            time.sleep(0.0005)
        return ["done"] * len(payload)
"""
SERVER = """
import asyncio, json, os, time

notes = {}

async def serve(reader, writer):
    try:
        while line := await reader.readline():
            path = line.split()[1].decode()
            while (await reader.readline()).strip():
                pass
            if path == "/notes":
                body = json.dumps(notes).encode()
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
                continue
            notes["begun " + path] = time.monotonic()
            if path.startswith("/stream"):
                writer.write(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n4\\r\\nstep\\r\\n")
            await reader.read(1)
            notes[path] = time.monotonic()
            return
    except OSError:
        notes[path] = time.monotonic()
    finally:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"""
BATCHES = {"threads_per_process": 8, "server_side_batching": {"max_batch_size": 8, "batch_interval": "5s"}}


@pytest.fixture(scope="module")
def apis(daemon):
    daemon.admin.deploy({**projects.python_project(
        PREDICTOR, projects.python_api("one", request_timeout="1h", predictor={"max_in_flight": 2}), projects.python_api("many", predictor={"threads_per_process": 4}),
        projects.python_api("batched", "batched.py", predictor=BATCHES)), "batched.py": BATCHED})
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([
        {"name": "native", "predictor": {"type": "onnx", "model": "model.onnx", "max_in_flight": 4}},
        {"name": "echo", "predictor": {"type": "engine", "engine": "echo", "max_in_flight": 4, "engine_options": {
            "inputs": "x:int64[-1]", "delay_ms": NEXT_MS}}},
        {"name": "command", "predictor": {"type": "command", "command": [projects.PYTHON, "server.py"]}},
        {"name": "narrow", "predictor": {"type": "command", "command": [projects.PYTHON, "server.py"], "max_concurrency": 1}}]),
        "server.py": SERVER, "model.onnx": models.data(models.endless())})
    return daemon


class Client:
    """One request, whose answer nobody will read to its end."""

    def __init__(self, daemon, path, body=None):
        body = json.dumps(body).encode() if body else b""
        self.raw = Raw(daemon.port)
        self.raw.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def leave(self):
        """When it went."""
        gone = time.monotonic()
        self.raw.sock.close()
        return gone


def judge(what, times):
    """times: seconds from a client's close until something was done about it."""
    ms = sorted(t * 1000 for t in times)
    assert ms[0] > 0, ms
    p95 = ms[math.ceil(0.95 * len(ms)) - 1]
    print(f"{what}: p50 {ms[len(ms) // 2]:.1f} ms, p95 {p95:.1f} ms, max {ms[-1]:.1f} ms")
    assert p95 < (10 if STRICT else seconds(500)), ms
    assert ms[-1] < (100 if STRICT else seconds(2000)), ms


def until(what, condition):
    """When it came true, looked at without a pause."""
    deadline = time.monotonic() + seconds(15)
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
    return time.monotonic()


def in_flight(daemon, api):
    """(in all, with its replica, in the queue)"""
    told = daemon.admin.api(api)
    return told["in_flight"], sum(r["in_flight"] for r in told["replicas"]), told["queued"]


def notes(daemon, api):
    if api in ("command", "narrow"):
        return daemon.admin.get(f"/{api}/notes").json()
    return daemon.admin.post(f"/{api}", json={"do": "notes", "id": "notes"}).json()


def leave_while_waiting(daemon, api, body, before, at):
    """What a client's going takes to be known where `before` are there without it, and it is the `at`th number."""
    times = []
    for i in range(SAMPLES):
        c = Client(daemon, f"/{api}", body(i))
        wait_for("it is there", lambda: in_flight(daemon, api)[at] == before[at] + 1)
        gone = c.leave()
        times.append(until("it is forgotten", lambda: in_flight(daemon, api) == before) - gone)
    return times


def leave_while_working(daemon, api, ask, read):
    """The same by what the user's code notes. ask(i): a client, and the name of its note; read: what it has read when it
    goes, None: nothing, it has begun."""
    times = []
    for i in range(SAMPLES):
        client, name = ask(i)
        if read:
            client.raw.until(read)
        else:
            wait_for("it has begun", lambda: f"begun {name}" in notes(daemon, api))  # noqa: B023
        gone = client.leave()
        times.append(wait_for("it is noted", lambda: notes(daemon, api).get(name)) - gone)  # noqa: B023
    return times


# --- it waits ----------------------------------------------------------------


def held(daemon, api, name, begun):
    """A file that ends what a client holds; that one has begun."""
    path = daemon.parent / f"go-{name}"
    client = Client(daemon, f"/{api}", {"do": "hold", "id": name, "path": str(path)})
    wait_for("it is held", begun)
    return path, client


@pytest.mark.parametrize("api", ["one", "batched"])
def test_it_waits_in_the_replica(apis, api):
    """python: for the slot; batched: for a batch's turn. What has left is never run."""
    path, holder = held(apis, api, f"replica-{api}", lambda: apis.admin.api(api)["stages"]["predict"] == 1)
    assert in_flight(apis, api) == (1, 1, 0)
    judge(f"waits in {api}", leave_while_waiting(apis, api, lambda i: {"do": "note", "id": f"left{i}"}, (1, 1, 0), 1))
    time.sleep(MOMENT)
    path.touch()
    holder.raw.until(b"HTTP/1.1 200 OK")
    assert not [id for id in notes(apis, api) if id.startswith("left")]


def test_it_is_known_before_the_slot_is_free(apis):
    """A client goes, the slot falls free a moment later: nothing is run for nobody."""
    late, n = 0, SAMPLES if STRICT else 4
    for i in range(n):
        path, holder = held(apis, "one", f"slot-{i}", lambda: in_flight(apis, "one") == (1, 1, 0))
        waits = Client(apis, "/one", {"do": "note", "id": f"gone{i}"})
        wait_for("it waits", lambda: in_flight(apis, "one") == (2, 2, 0))
        waits.leave()
        time.sleep(MOMENT)
        path.touch()
        holder.raw.until(b"HTTP/1.1 200 OK")
        late += f"gone{i}" in notes(apis, "one")
    print(f"run for nobody: {late} of {n}")
    assert late <= 0.05 * n


def test_it_waits_in_the_gate(apis):
    path, holder = held(apis, "one", "gate", lambda: in_flight(apis, "one") == (1, 1, 0))
    others = [Client(apis, "/one", {"do": "note", "id": f"other{i}"}) for i in range(64)]
    full = wait_for("the replica is full", lambda: (n := in_flight(apis, "one"))[0] == 65 and n)
    judge("waits in the gate", leave_while_waiting(apis, "one", lambda i: {"do": "note", "id": f"queued{i}"}, full, 2))
    path.touch()
    for client in [holder, *others]:
        client.raw.until(b"HTTP/1.1 200 OK")
    assert not [id for id in notes(apis, "one") if id.startswith("queued")]


def test_it_waits_for_a_native_slot(apis):
    """Those that left are not run: the next is answered as soon as the one before them is."""
    begun = time.monotonic()
    holder = Client(apis, "/echo", {"x": [1]})
    wait_for("it runs", lambda: in_flight(apis, "echo") == (1, 1, 0))
    times = []
    while time.monotonic() - begun < 0.8 * NEXT_MS / 1000:
        c = Client(apis, "/echo", {"x": [2]})
        wait_for("it waits", lambda: in_flight(apis, "echo") == (2, 2, 0))
        gone = c.leave()
        times.append(until("it is forgotten", lambda: in_flight(apis, "echo")[0] == 1) - gone)
    judge("waits for a native slot", times)
    assert apis.admin.post("/echo", json={"x": [3]}).json() == {"x": [3]}
    assert time.monotonic() - begun < 2.5 * NEXT_MS / 1000
    holder.leave()


def test_it_waits_for_a_command(apis):
    holder = Client(apis, "/narrow/hold")
    wait_for("it is held", lambda: in_flight(apis, "narrow") == (1, 1, 0))
    judge("waits for a command", leave_while_waiting(apis, "narrow", lambda i: None, (1, 1, 0), 2))
    holder.leave()
    assert set(notes(apis, "narrow")) == {"begun /hold", "/hold"}


# --- it is worked on ---------------------------------------------------------


@pytest.mark.parametrize("do, read", [("pre", None), ("steps", b"step"), ("awaits", b"step"), ("polls", None)])
def test_python_works_on_it(apis, do, read):
    """pre_predict, generators of both kinds, and a predict that asks."""
    def ask(i):
        return Client(apis, "/many", {"do": do, "id": f"{do}{i}"}), f"{do}{i}"
    judge(f"python, {do}", leave_while_working(apis, "many", ask, read))


def test_a_model_runs_for_it(apis):
    """The run is ended: the next request has the slot."""
    times = []
    for _ in range(SAMPLES):
        c = Client(apis, "/native", {"x": 1 << 40})
        wait_for("it runs", lambda: in_flight(apis, "native") == (1, 1, 0))
        following = Client(apis, "/native", {"x": 1})
        wait_for("the next waits", lambda: in_flight(apis, "native") == (2, 2, 0))
        gone = c.leave()
        following.raw.until(b'{"y":1}')
        times.append(time.monotonic() - gone)
    judge("a model runs", times)


@pytest.mark.parametrize("path, read", [("hold", None), ("stream", b"step")])
def test_a_command_works_on_it(apis, path, read):
    def ask(i):
        return Client(apis, f"/command/{path}{i}"), f"/{path}{i}"
    judge(f"a command, {path}", leave_while_working(apis, "command", ask, read))

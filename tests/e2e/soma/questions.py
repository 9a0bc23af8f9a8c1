"""Unique questions with known answers, made from a seed and a number.

Some are spoiled: they raise, kill their process, have the wrong type or shape.
Each knows what it may be answered with, whatever happens to its neighbours.
"""

import json
import random
import zlib

from . import models, projects

TABLE = 1000  # rows of the model's table
BATCHES = {"max_batch_size": 16, "batch_interval": "5ms"}
ENDLESS = "endless"

PREDICTOR = """
import os, signal, zlib

class Teapot(Exception):
    def __init__(self, detail):
        self.status_code, self.detail = 418, detail

def spoil(id, do):
    if do == "raise":
        raise KeyError(id)
    if do == "status":
        raise Teapot(id)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "exit":
        os._exit(3)
    return object() if do == "type" else None

def answer(payload):
    return {"id": payload["id"], "sum": zlib.crc32(payload["data"].encode())}
"""
PLAIN = PREDICTOR + """
class PythonPredictor:
    def predict(self, payload):
        return spoil(payload["id"], payload["do"]) or answer(payload)
"""
BATCHED = PREDICTOR + """
def one(payload):
    try:
        return spoil(payload["id"], payload["do"]) or answer(payload)
    except Exception as e:
        return e

class PythonPredictor:
    def predict(self, payload):
        for p in payload:
            if p["do"] == "all":
                raise ValueError("all of " + p["id"])
        return [one(p) for p in payload]
"""
STREAM = PREDICTOR + """
import json

class PythonPredictor:
    def predict(self, payload):
        told, i = answer(payload), 0
        while i < payload["n"] or payload["do"] == "endless":
            yield json.dumps({**told, "i": i}) + "\\n"
            i += 1
            if i == payload["n"] // 2:
                yield spoil(payload["id"], payload["do"]) or ""
"""
COMMAND = """
import asyncio, os, signal, sys, zlib

async def serve(reader, writer):
    try:
        while line := await reader.readline():
            path, length = line.split()[1].decode(), 0
            while (line := await reader.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = await reader.readexactly(length)
            if path == "/kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if path == "/garbage":
                writer.write(b"this is no HTTP\\r\\n\\r\\n")
                return
            text = b"%s %d" % (body[:80].split(b" ")[0], zlib.crc32(body))
            short = path == "/cut"
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(text) + short, text))
            if short:
                return
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"""


def deploy(admin, replicas):
    """The apis that are asked; their names."""
    keys = {"autoscaling": {"min_replicas": replicas}}
    threads = {"threads_per_process": 16, "server_side_batching": BATCHES}
    admin.deploy({**projects.python_project(
        PLAIN, projects.python_api("plain", **keys),
        projects.python_api("batched", "batched.py", predictor=threads, **keys),
        projects.python_api("stream", "stream.py", predictor={"threads_per_process": 4}, **keys)),
        "batched.py": BATCHED, "stream.py": STREAM})
    admin.deploy({"soma.yaml": projects.yaml_value([
        {"name": "native", "predictor": {"type": "onnx", "model": "model.onnx", "server_side_batching": BATCHES,
                                         "threads_per_process": 2}, **keys},
        {"name": "command", "predictor": {"type": "command", "command": [projects.PYTHON, "server.py"]}, **keys}]),
        "server.py": COMMAND, "model.onnx": models.data(models.looked_up(TABLE))})
    return list(APIS)


class Question:
    """One request: `bytes` to send, and judge() of what came."""

    def __init__(self, seed, number, kill_every):
        self.seed = seed
        rng = self.rng = random.Random(f"{seed}-{number}")
        self.api = rng.choices(list(APIS), [w for w, _ in APIS.values()])[0]
        self.id = f"{number}-{rng.getrandbits(48):x}"
        self.repeatable = rng.random() < 0.5
        self.kill_every = kill_every
        self.path, self.leaves = f"/{self.api}", None
        body = APIS[self.api][1](self).encode()
        if rng.random() < 0.1 or self.do == ENDLESS:
            self.leaves = "reading" if self.do == ENDLESS else rng.choice(["before", "sending", "waiting", "reading"])
        key = f"Idempotency-Key: {self.id}\r\n" if self.repeatable else ""
        self.bytes = (f"POST {self.path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Request-Id: {self.id}\r\n"
                      f"{key}Content-Length: {len(body)}\r\n\r\n").encode() + body

    def spoiled(self, kinds, killers=("kill",)):
        """What is to go wrong, "" mostly; what kills is rare, since a process has to be started each time."""
        if self.rng.random() < 1 / self.kill_every:
            return self.rng.choice(killers)
        return self.rng.choice(kinds) if self.rng.random() < 0.05 else ""

    def data(self):
        size = self.rng.choice([0, 3, 10, 40, 100, 100, 2000, 20000])
        return f"{self.rng.getrandbits(64):016x}" * (size // 16 + 1)

    # --- what each api is asked ---

    def python(self, kinds, killers, **more):
        self.do, data = self.spoiled(kinds, killers), self.data()
        self.told = {"id": self.id, "sum": zlib.crc32(data.encode())}
        if self.do == "json":
            return '{"id": "' + self.id
        return json.dumps({"id": self.id, "data": data, "do": self.do, **more})

    def plain(self):
        return self.python(["raise", "status", "type", "json"], ["kill", "exit"])

    def batched(self):
        return self.python(["raise", "status", "type", "json", "all"], ["kill", "exit"])

    def stream(self):
        self.n = self.rng.randrange(2, 9)
        return self.python(["raise", "status", "type", "json", ENDLESS], ["kill", "exit"], n=self.n)

    def native(self):
        self.do = self.spoiled(["range", "shape", "json"], [""])
        rows, columns = self.rng.randrange(1, 5), self.rng.choice([1, 2, 3, 5, 8, 40])
        x = [[self.rng.randrange(TABLE) for _ in range(columns)] for _ in range(rows)]
        self.told = {"y": [[3 * v + 7 for v in row] for row in x]}
        if self.do == "range":
            x[-1][-1] = TABLE + self.rng.randrange(9)
        return json.dumps({"x": x[0] if self.do == "shape" else x})[:-1 if self.do == "json" else None]

    def command(self):
        self.do = self.spoiled(["garbage", "cut"])
        self.path += f"/{self.do}"
        body = f"{self.id} {self.data()}"
        self.told = f"{self.id} {zlib.crc32(body.encode())}"
        return body

    # --- and may be answered ---

    def judge(self, status, headers, body, whole):
        """In a word how it ended, None when that is wrong. whole: the answer was not cut short."""
        if status == 200:
            return self.judge_answer(body, whole)
        if not whole:
            return None
        if status == 418:
            return "status" if self.do == "status" and body == self.id.encode() else None
        try:
            error = json.loads(body)["error"]
            if error["request_id"] == self.id and error["message"]:
                return self.judge_error(status, error)
        except (ValueError, KeyError, TypeError):
            pass
        return None

    def judge_answer(self, body, whole):
        if self.api == "stream":
            return self.judge_stream(body, whole)
        if not whole:
            return "cut" if self.do == "cut" and self.told.startswith(body.decode()) else None
        if self.do:
            return None
        return "right" if (body.decode() if self.api == "command" else json.loads(body)) == self.told else None

    def judge_stream(self, body, whole):
        lines = body.decode().splitlines()
        broken = self.do in ("raise", "status", "type") and not whole
        error = json.loads(lines.pop())["error"] if broken and lines and '"error"' in lines[-1] else None
        if not whole and lines and not lines[-1].endswith("}"):
            lines.pop()
        if [json.loads(line) for line in lines] != [{**self.told, "i": i} for i in range(len(lines))]:
            return None
        if whole:
            return "right" if not self.do and len(lines) == self.n else None
        if error:
            return "error" if error["request_id"] == self.id else None
        return "cut"

    def is_culprit(self, id):
        """Whether that question fails the batch that it is in."""
        other = Question(self.seed, int(id.partition("-")[0]), self.kill_every)
        return other.id == id and other.do == "all"

    def judge_error(self, status, error):
        code, message = error["code"], error["message"]
        if status == 502 and code == "replica_failed" and error["api"] == self.api:
            if "not HTTP" in message:
                return "garbage" if self.do == "garbage" else None
            twice = message.startswith("2 replicas of") or self.api == "command"
            return "died" if not self.repeatable or twice else None
        if status == 400 and code == "invalid":
            return "refused" if self.do in ("json", "shape", "range") else None
        if status == 500 and code == "predict_error":
            if message.startswith("ValueError: all of ") and self.api == "batched":
                return "all" if self.is_culprit(message.rpartition(" ")[2]) else None
            if self.do == "raise":
                return "error" if message == f"KeyError: '{self.id}'" else None
            return "error" if self.do in ("type", "range", "status", "raise") else None
        return None


# How often each is asked.
APIS = {"plain": (30, Question.plain), "batched": (25, Question.batched), "stream": (15, Question.stream),
        "native": (20, Question.native), "command": (10, Question.command)}

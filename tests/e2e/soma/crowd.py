"""Asks the questions first..last of a seed at once, some of whose clients leave: a program.

Reads what to do as JSON on its input, prints what came of it.
"""

import asyncio
import collections
import json
import socket
import struct
import sys
import time

from .questions import Question

PATIENCE_S = 120
WRONG_MAX = 20  # of what was wrong, told in full


class Lost(Exception):
    pass


class Connection(asyncio.Protocol):
    """One at a time: a question and its answer."""

    def connection_made(self, transport):
        self.transport, self.open, self.done = transport, True, None
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data, want=None):
        """The future of (status, headers, body, whole); with `want` it may come as soon as so many bytes are there."""
        self.buffer, self.head, self.want, self.since = bytearray(), None, want, time.monotonic()
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.done

    def finish(self, result):
        if self.done and not self.done.done():
            self.done.set_result(result)

    def data_received(self, data):
        self.buffer += data
        if self.want and len(self.buffer) >= self.want:
            self.finish(None)
        elif result := self.parse():
            self.finish(result)

    def connection_lost(self, error):
        self.open = False
        if self.done and not self.done.done():
            result = self.parse()
            self.finish((*self.head, self.body(), False) if not result and self.head else result or (0, {}, bytes(self.buffer), False))

    def parse(self):
        if not self.head:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            self.head, self.chunks = (int(lines[0].split()[1]), headers), bytearray()
            del self.buffer[:end + 4]
        if "transfer-encoding" in self.head[1]:
            return self.parse_chunks()
        length = int(self.head[1]["content-length"])
        return (*self.head, bytes(self.buffer), True) if len(self.buffer) >= length else None

    def parse_chunks(self):
        while (end := self.buffer.find(b"\r\n")) >= 0:
            size = int(self.buffer[:end], 16)
            if len(self.buffer) < end + size + 4:
                return None
            self.chunks += self.buffer[end + 2:end + 2 + size]
            del self.buffer[:end + size + 4]
            if size == 0:
                return (*self.head, bytes(self.chunks), True)
        return None

    def body(self):
        return bytes(self.chunks) if "transfer-encoding" in self.head[1] else bytes(self.buffer)

    def leave(self, rng):
        """By an end of the connection, or by a reset."""
        self.done = None
        if self.open and rng.random() < 0.5:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Crowd:
    def __init__(self, port, seed, first, last, clients, kill_every):
        self.port, self.seed, self.kill_every = port, seed, kill_every
        self.numbers, self.clients = iter(range(first, last)), clients
        self.ends, self.wrong, self.open = collections.Counter(), [], set()
        self.slowest = 0, ""

    async def run(self):
        watch = asyncio.create_task(self.watch())
        await asyncio.gather(*(self.client() for _ in range(self.clients)))
        watch.cancel()
        return {"ends": self.ends, "wrong": self.wrong, "slowest": self.slowest}

    async def watch(self):
        while True:
            await asyncio.sleep(1)
            for c in list(self.open):
                if c.done and not c.done.done() and time.monotonic() - c.since > PATIENCE_S:
                    c.done.set_exception(Lost("no answer"))

    async def client(self):
        c = None
        for number in self.numbers:
            q = Question(self.seed, number, self.kill_every)
            if not c or not c.open:
                _, c = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
                self.open.add(c)
            try:
                kept = await self.one(c, q)
            except Lost:
                kept = self.note(q, (0, {}, b"no answer", False))
            if not kept:
                self.open.discard(c)
                c.transport.abort()
                c = None

    async def one(self, c, q):
        """Whether the connection can be used again."""
        if not q.leaves:
            answer = await c.ask(q.bytes)
            self.slowest = max(self.slowest, (time.monotonic() - c.since, q.id))
            return self.note(q, answer)
        if q.leaves == "before":
            c.ask(q.bytes[:q.rng.choice([0, 10, 60])])
        elif q.leaves == "sending":
            c.ask(q.bytes[:q.rng.randrange(100, len(q.bytes))])
        elif q.leaves == "waiting":
            c.ask(q.bytes)
            await asyncio.sleep(q.rng.choice([0, 0, 0.001, 0.003, 0.01]))
        else:
            await c.ask(q.bytes, q.rng.choice([1, 100, 250]))
        c.leave(q.rng)
        self.ends[f"{q.api} left {q.leaves}"] += 1
        return False

    def note(self, q, answer):
        status, headers, body, whole = answer
        try:
            word = q.judge(status, headers, body, whole)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            word, body = None, f"{e!r}: {body!r}".encode()
        self.ends[f"{q.api} {word or 'WRONG'}"] += 1
        if not word and len(self.wrong) < WRONG_MAX:
            self.wrong.append([q.id, q.api, q.do, q.repeatable, status, whole, body[:600].decode(errors="replace")])
        return whole and headers.get("connection", "").lower() != "close"


if __name__ == "__main__":
    json.dump(asyncio.run(Crowd(**json.load(sys.stdin)).run()), sys.stdout)

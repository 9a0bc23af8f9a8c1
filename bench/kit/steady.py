"""A steady load that lasts until it is told to end: short requests by a Poisson process, and streams of which so many live at any time."""
import asyncio
import gc
import json
import random
import subprocess
import sys
import time

from . import machine
from .open_loop import Connection
from .paths import BENCH

DRAIN_S = 15  # for what is on its way when it ends
LEAD_S = 0.1
SPIN_S = 0.002


class Steady:
    """with Steady(port, path, rate, streams, chunks) as load: ...; load.told has all that came of it, at times of time.perf_counter(),
    which is one clock for all processes: `requests`: [due, answered or None, status, version], `streams`: [begun, ended, whole, version]."""

    def __init__(self, port, path, rate, streams, chunks, seed=1):
        self.todo = {"port": port, "path": path, "rate": rate, "streams": streams, "chunks": chunks, "seed": seed}

    def __enter__(self):
        self.process = subprocess.Popen(machine.pinned(machine.LOAD_CORE, [sys.executable, "-m", "kit.steady", json.dumps(self.todo)]), cwd=BENCH,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()  # its first request is due
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
        text, _ = self.process.communicate()
        if not kind:
            if self.process.returncode:
                raise RuntimeError(f"the load ended with {self.process.returncode}")
            self.told = json.loads(text)


class _Load:
    def __init__(self, port, path, rate, streams, chunks, seed):
        self.port, self.path, self.rate, self.n_streams, self.chunks = port, path, rate, streams, chunks
        self.rng, self.ending, self.left, self.idle = random.Random(seed), asyncio.Event(), 0, []
        self.requests, self.streams = [], []

    def _request(self, body):
        return (f"POST {self.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()

    async def _ask(self, idle, body, on_answer):
        """By a connection of `idle`; one more when there is none."""
        loop = asyncio.get_running_loop()
        try:
            connection = idle.pop() if idle else (await loop.create_connection(lambda: Connection(idle), "127.0.0.1", self.port))[1]
        except OSError:
            on_answer(0, b"")
            return
        connection.ask(self._request(body), on_answer)

    async def _one(self, x, due):
        row = [due, None, 0, None]
        self.requests.append(row)
        self.left += 1

        def on_answer(status, body):
            self.left -= 1
            row[2] = status
            if status == 200:
                row[1], told = time.perf_counter(), json.loads(body)
                row[3] = told["version"] if told["y"] == x + 1 else None
        await self._ask(self.idle, json.dumps({"x": x}), on_answer)

    async def _arrive(self):
        due, x = time.perf_counter() + LEAD_S, 0
        print(flush=True)
        while not self.ending.is_set():
            while (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(max(0, wait - SPIN_S))
            asyncio.ensure_future(self._one(x, due))
            due, x = due + self.rng.expovariate(self.rate), x + 1

    async def _stream(self, first_s):
        """One after the other, each on a connection of its own."""
        await asyncio.sleep(first_s)
        while not self.ending.is_set():
            done, begun, idle = asyncio.get_running_loop().create_future(), time.perf_counter(), []
            await self._ask(idle, json.dumps({"stream": self.chunks}), lambda status, body: done.set_result((status, body)))
            status, body = await done
            lines = body.decode().splitlines()
            whole = status == 200 and [line.split()[1] for line in lines] == [str(i) for i in range(self.chunks)]
            self.streams.append([begun, time.perf_counter(), whole, int(lines[0].split()[0]) if whole else None])
            for connection in idle:
                connection.transport.close()
            if not whole:
                await asyncio.sleep(0.05)

    async def run(self):
        asyncio.get_running_loop().add_reader(0, self._on_input)
        streams = [asyncio.ensure_future(self._stream(LEAD_S + self.rng.random())) for _ in range(self.n_streams)]
        await self._arrive()
        end = time.perf_counter() + DRAIN_S
        while (self.left or not all(s.done() for s in streams)) and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        return {"requests": self.requests, "streams": self.streams, "unfinished": sum(not s.done() for s in streams)}

    def _on_input(self):
        """Its end: the load is to end."""
        asyncio.get_running_loop().remove_reader(0)
        self.ending.set()


def main():
    gc.disable()
    json.dump(asyncio.run(_Load(**json.loads(sys.argv[1])).run()), sys.stdout)


if __name__ == "__main__":
    main()

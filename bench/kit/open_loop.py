"""Open load: requests come when they come, whether or not the last ones are answered, as people's do."""
import asyncio
import gc
import json
import random
import subprocess
import sys
import time

from . import machine
from .paths import BENCH

DRAIN_S = 1.5  # for what is on its way when the last has been sent; later is no answer
LEAD_S = 0.05
SPIN_S = 0.002  # before a request is due: the loop's own sleep is as coarse as this


def arrivals(rate, seconds, seed):
    """Seconds from the start at which requests come: a Poisson process."""
    rng, at, times = random.Random(seed), 0.0, []
    while True:
        at += rng.expovariate(rate)
        if at >= seconds:
            return times
        times.append(at)


def load(port, path, bodies, times, headers="", patience_s=None, drain_s=DRAIN_S, spin_s=SPIN_S, lead_s=LEAD_S):
    """Posts each body at its time, in seconds from the start, and gives [answered at, or None; status; answer] of each; the
    status of one whose connection broke, or that had no answer in time, is 0. path: of all, or a list with one for each.
    headers: more of them, each with its CRLF. patience_s: a client closes its connection after so long. drain_s: how long answers
    are awaited when the last has been sent. spin_s: 0 where a core that is kept busy would disturb more than a millisecond does. lead_s: from the sender's own
    start to the first request: of several that send at once none is to start up while another measures."""
    todo = {"port": port, "paths": [path] * len(bodies) if isinstance(path, str) else path, "bodies": bodies, "times": times, "headers": headers,
            "patience_s": patience_s, "drain_s": drain_s, "spin_s": spin_s, "lead_s": lead_s}
    done = subprocess.run(machine.pinned(machine.LOAD_CORE, [sys.executable, "-m", "kit.open_loop"]), cwd=BENCH,
                          input=json.dumps(todo), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class Connection(asyncio.Protocol):
    """One that is kept, with one request at a time."""

    def __init__(self, idle):
        self.idle, self.data, self.asked = idle, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, request, on_answer, patience_s=None):
        """on_answer(status, body), once."""
        self.asked, self.patience = on_answer, None
        self.transport.write(request)
        if patience_s is not None:
            self.patience = asyncio.get_running_loop().call_later(patience_s, self.transport.abort)

    def data_received(self, data):
        self.data += data
        answer = _answer(self.data)
        if not answer or not self.asked:
            return
        status, body, keep = answer
        self.data, asked, self.asked = b"", self.asked, None
        if self.patience:
            self.patience.cancel()
        if keep:
            self.idle.append(self)
        else:
            self.transport.close()
        asked(status, body)

    def connection_lost(self, error):
        if self in self.idle:
            self.idle.remove(self)
        asked, self.asked = self.asked, None
        if asked:
            asked(0, b"")


def _answer(data):
    """(status, body, whether the connection is kept) once all is there."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    status, length, chunked, keep = int(head.split(b" ", 2)[1]), 0, False, True
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"connection":
            keep = value.strip() != b"close"
    if not chunked:
        return (status, body, keep) if len(body) >= length else None
    whole = b""
    while True:
        size, end, body = body.partition(b"\r\n")
        if not end or len(body) < int(size, 16) + 2:
            return None
        if int(size, 16) == 0:
            return status, whole, keep
        whole, body = whole + body[:int(size, 16)], body[int(size, 16) + 2:]


async def _run(port, paths, bodies, times, headers, patience_s, drain_s, spin_s, lead_s):
    loop, idle, begin = asyncio.get_running_loop(), [], time.perf_counter() + lead_s
    answers, left = [[None, 0, ""] for _ in times], len(times)
    head = f"HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{headers}Content-Length: "
    requests = [f"POST {path} {head}{len(body)}\r\n\r\n{body}".encode() for path, body in zip(paths, bodies)]

    def on_answer(i, status, body):
        nonlocal left
        left -= 1
        answers[i] = [time.perf_counter() - begin if status else None, status, body]

    async def ask(i):
        """By a connection that is idle; one more whenever all are busy."""
        try:
            connection = idle.pop() if idle else (
                await loop.create_connection(lambda: Connection(idle), "127.0.0.1", port))[1]
        except OSError:
            on_answer(i, 0, b"")
            return
        connection.ask(requests[i], lambda status, body: on_answer(i, status, body), patience_s)

    asked = []
    for i, due in enumerate(times):
        while (wait := begin + due - time.perf_counter()) > 0:
            await asyncio.sleep(max(0, wait - spin_s))
        asked.append(loop.create_task(ask(i)))
    end = time.perf_counter() + drain_s
    while left and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    return [[at, status, body.decode(errors="replace") if body else ""] for at, status, body in answers]


def main():
    """A process of its own, since it is pinned: reads what to do on its input, prints what came of it."""
    todo = json.load(sys.stdin)
    gc.disable()
    json.dump(asyncio.run(_run(**todo)), sys.stdout)


if __name__ == "__main__":
    main()

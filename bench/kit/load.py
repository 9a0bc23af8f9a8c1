"""The load: wrk for throughput, a client of our own for one question at a time."""
import http.client
import json
import subprocess
import time

from . import machine
from .paths import WORK

_SCRIPT = """
wrk.method = %(method)s
wrk.body = %(body)s
%(headers)s
%(turns)s
done = function(summary, latency)
  io.write(string.format('RESULT {"requests":%%d,"us":%%d,"bad":%%d,"broken":%%d,"p50_us":%%d,"p99_us":%%d}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


# Further bodies: made once, sent in turn.
_TURNS = """
local bodies, requests, turn = {%s}, {}, 0
init = function()
  for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end
end
request = function()
  turn = turn %% #requests + 1
  return requests[turn]
end
"""


class Case:
    """One kind of request, and what its answer must be."""

    def __init__(self, name, method, path, body=None, is_right=lambda answer: True, type="application/json", more=()):
        """more: bodies that the load sends beside the first, in turn."""
        self.name, self.method, self.path, self.body, self.more = name, method, path, body, more
        self.is_right, self.type = is_right, type

    def headers(self):
        return {"Content-Type": self.type} if self.body is not None else {}

    def check(self, port):
        """Asks once; raises with the answer when it is wrong."""
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            client.request(self.method, self.path, self.body, self.headers())
            answer = client.getresponse()
            body = answer.read()
        finally:
            client.close()
        if answer.status != 200 or not self.is_right(body):
            raise AssertionError(f"{self.method} {self.path}: {answer.status} {body[:500]!r}")

    def script(self):
        path = WORK / "scripts" / f"{self.name}.lua"
        path.parent.mkdir(parents=True, exist_ok=True)
        headers = "\n".join(f"wrk.headers[{_lua(k)}] = {_lua(v)}" for k, v in self.headers().items())
        body = "nil" if self.body is None else _lua(self.body)
        turns = _TURNS % ",\n".join(map(_lua, [self.body, *self.more])) if self.more else ""
        path.write_text(_SCRIPT % {"method": _lua(self.method), "body": body, "headers": headers, "turns": turns})
        return path


def _lua(text):
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return '"' + "".join(c if c.isascii() and c.isalnum() or c in " ./-_:,[]{}" else f"\\{ord(c):03d}" for c in text) + '"'


def wrk(port, case, connections, seconds, running=lambda load: None):
    """{"rps","p50_us","p99_us","requests","bad"} of so many seconds; running(process) is called once it runs."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", case.script(),
               f"http://127.0.0.1:{port}{case.path}"]
    load = subprocess.Popen(machine.pinned(machine.LOAD_CORE, command), stdout=subprocess.PIPE, text=True)
    running(load)
    text = load.communicate()[0]
    line = next((line for line in text.splitlines() if line.startswith("RESULT ")), None)
    if load.returncode or not line:
        raise RuntimeError(f"wrk failed: {text[-500:]}")
    told = json.loads(line[7:])
    return {"rps": told["requests"] * 1e6 / told["us"], "requests": told["requests"],
            "p50_us": told["p50_us"], "p99_us": told["p99_us"], "bad": told["bad"] + told["broken"]}


class Client:
    """One connection, one request after the other."""

    def __init__(self, port, timeout=60):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(self, case):
        """(status, body, seconds)"""
        start = time.perf_counter()
        self.http.request(case.method, case.path, case.body, case.headers())
        answer = self.http.getresponse()
        body = answer.read()
        return answer.status, body, time.perf_counter() - start

    def close(self):
        self.http.close()

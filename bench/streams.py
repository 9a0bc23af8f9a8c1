"""Many streams of small chunks, as token streams are, through Soma, nginx and haproxy, all before the same source."""
import json
import shutil
import subprocess

from kit import machine, peers, results, rounds
from kit.load import Case
from kit.nginx import location
from kit.paths import APPS, WORK
from kit.peers import Server

TITLE = "Token streams"
STREAMS, RATE = 500, 40
SECONDS = 4  # of each measurement: /proc counts CPU in hundredths of a second
LATE_STEP = 1.05  # between two bins of the reader's times (chunks_client.c), the first 1 us
SLOW = 8     # who take a flood a little at a time, in the second case
MADE, MADE_RATE = "made in Python", 10
RELAY = "floor (bare epoll relay)"
ALONE, AMONG = "all read", f"and {SLOW} slow readers"

NGINX = """
worker_processes 1;
daemon off;
error_log {dir}/nginx.error.log;
pid {dir}/nginx.pid;
{user}
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log {dir}/nginx.access.log combined buffer=64k flush=1s;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  tcp_nodelay on;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;{location}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option forwardfor
  option http-keep-alive
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-request 30s
frontend main
  bind 127.0.0.1:{port}
  unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-response set-header X-Request-Id %[unique-id]
  default_backend backend
backend backend
  server one 127.0.0.1:{backend} pool-max-conn 64
"""


class Streams(Case):
    """So many streams at once, so many chunks a second each; `slow` more that read slowly what comes fast."""

    def __init__(self, prefix, slow=0):
        super().__init__("streams", "GET", f"{prefix}/", is_right=lambda body: body == b"ok")
        self.stream, self.flood = f"{prefix}/stream", f"{prefix}/flood"
        self.slow, self.rate = slow, RATE


class Made(Case):
    """The same of an app in Python, which answers a POST once and a GET with a stream."""

    slow, rate = 0, MADE_RATE

    def __init__(self):
        super().__init__("made", "POST", "/tokens", "{}", lambda body: body == b"ok")
        self.stream = self.path


class Streaming:
    """What a server's load() is here: the client of chunks.c instead of wrk."""

    source = None  # pid of the backend, whose CPU is told beside

    def load(self, case, connections, seconds):
        command = [peers.build_chunks(), "client", self.port, case.stream, connections, case.rate, seconds]
        if case.slow:
            command += [case.flood, case.slow]
        client = subprocess.Popen(machine.pinned(machine.LOAD_CORE, command), stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.PIPE)
        line = client.stdout.readline()
        cpu, load = self.cpu_s(), self.load_s(client.pid)
        result = client.stdout.readline()
        cpu, load, mb = self.cpu_s() - cpu, self.load_s(client.pid) - load, self.pss_mb()
        _, errors = client.communicate()
        if line != "begin\n" or not result:
            raise RuntimeError(f"{self.name}: {errors}")
        told = json.loads(result)
        expected = connections * case.rate * told["seconds"]
        return {"rps": told["chunks"] / told["seconds"], "requests": told["chunks"], "p50_us": told["p50_us"],
                "p99_us": told["p99_us"], "late": told["late"], "bad": told["bad"], "share": told["chunks"] / expected,
                "cpu_us": cpu * 1e6 / max(1, told["chunks"]), "load": load / told["seconds"], "mb": mb}

    def pss_mb(self):
        """Memory of the proxy's processes."""
        if not self.process:
            return 0.0
        return machine.pss_mb(pid for pid in self.pids() if machine.command_line(pid)[:2] != ["./chunks", "backend"])[0]

    def load_s(self, client):
        """Seconds of CPU that source and client have used."""
        return machine.tree_cpu_s([pid for pid in (client, self.source) if pid])


class Proxy(Streaming, Server):
    pass


class Gateway(Streaming, peers.Soma):
    """Soma, and not the source of its `command` api."""

    uncounted = ("chunks",)

    def add_backend(self, chunks):
        command = ["taskset", "-c", str(machine.BACKEND_CORE), "./chunks", "backend", "$PORT", str(RATE)]
        self.deploy({"chunks": chunks}, [{"name": "tokens", "predictor": {"type": "command", "command": command},
                                          "autoscaling": {"max_replica_concurrency": 4096}}])
        (pid,) = [pid for pid in self.pids() if machine.command_line(pid)[:2] == ["./chunks", "backend"]]
        return pid, int(machine.command_line(pid)[2])


def proxies(backend, chunks):
    """The peers, configured for the backend's port."""
    folder = WORK / "streams"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    user = "user root;" if machine.is_root() else ""
    port = peers.free_port()
    relay = Proxy(RELAY, [chunks, "relay", port, backend], port)
    port = peers.free_port()
    (folder / "nginx.conf").write_text(NGINX.format(dir=folder, port=port, backend=backend, user=user, location=location("proxy_buffering off;")))
    nginx = Proxy("nginx", ["nginx", "-p", folder, "-c", folder / "nginx.conf"], port)
    port = peers.free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend))
    return [relay, nginx, Proxy("haproxy", ["haproxy", "-db", "-f", folder / "haproxy.cfg"], port)]


def measure_gateways(options):
    chunks = peers.build_chunks()
    with peers.all_ended() as started:
        soma = Gateway()
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        source, backend = soma.add_backend(chunks)
        relay, nginx, haproxy = proxies(backend, chunks)
        for server in (relay, nginx, haproxy):
            started.append(server)
            server.start(Streams(""))
        direct = Proxy("no proxy", [], backend)
        for server in (direct, relay, nginx, haproxy, soma):
            server.source = source

        def case(server, slow=0):
            return Streams("/tokens" if server is soma else "", slow)

        alone = rounds.Rounds([direct, relay, nginx, haproxy, soma], options.rounds, SECONDS)
        alone.run({ALONE: case}, [STREAMS])
        # The relay would wait for who is slow.
        among = rounds.Rounds([direct, nginx, haproxy, soma], options.rounds, SECONDS, others=[relay])
        among.run({AMONG: lambda server: case(server, SLOW)}, [STREAMS])
    return alone, among


def makers(started):
    """Soma and FastAPI with a generator for each stream."""
    port, home = peers.free_port(), peers.install_environment("fastapi")
    command = [home / "bin/uvicorn", "tokens:app", "--host", "127.0.0.1", "--port", port, "--no-access-log",
               "--loop", "uvloop", "--http", "httptools"]
    fastapi = Proxy("FastAPI, async generator", command, port, cwd=APPS / "fastapi")
    soma = Gateway("Soma, generator in a thread")
    for server in (soma, fastapi):
        started.append(server)
    soma.start(Case("soma-up", "GET", "/healthz"))
    soma.deploy({"tokens.py": APPS / "soma/tokens.py"}, [{
        "name": "tokens", "handler": {"type": "python", "path": "tokens.py"},
        "autoscaling": {"max_replica_concurrency": 4096}}])
    fastapi.start(Made())
    return soma, fastapi


def measure_makers(options):
    with peers.all_ended() as started:
        soma, fastapi = makers(started)
        measured = rounds.Rounds([soma, fastapi], options.rounds, SECONDS)
        measured.run({MADE: lambda server: Made()}, [STREAMS])
    return measured


def run(options):
    peers.install_programs()
    alone, among = measure_gateways(options)
    made = measure_makers(options)
    busy = rounds.Rounds([], 0, 0)
    busy.busy = alone.busy + among.busy + made.busy
    return {"cells": alone.record() + among.record() + made.record(), "busy": busy.busy_record(), "streams": STREAMS,
            "rate": RATE, "made_rate": MADE_RATE, "seconds": SECONDS}


def render(told):
    cells = results.Cells(told["cells"])
    n, rate = told["streams"], told["rate"]

    def servers(case):
        return [r["server"] for r in told["cells"] if r["case"] == case]

    def of_all(server, case, share):
        """The milliseconds that so many of the chunks of all rounds took at most: rounds differ by much."""
        bins = [sum(counts) for counts in zip(*cells.values(server, case, n, "late"))]
        left = share * sum(bins)
        for i, count in enumerate(bins):
            if left <= count:
                return LATE_STEP ** (i + left / max(1, count)) / 1000
            left -= count

    def added(server, case, share):
        """Beyond the source's own."""
        return of_all(server, case, share) - of_all("no proxy", case, share)

    text = [f"{n} streams of {rate} chunks a second each, {n * rate} a second in all, every one written and passed on by "
            "itself. CPU of the gateway's processes per chunk in microseconds: median (least to most of the rounds), and "
            "Soma's as a share of the others' (median of the rounds' ratios). Time from a chunk's writing to its reading in "
            "milliseconds, of the chunks of all rounds; \"added\" is beyond what it takes without a proxy. The relay is "
            "chunks.c's, which passes bytes and knows no HTTP.", ""]
    rows = []
    for s in servers(ALONE):
        own = s in ("no proxy", "Soma")
        rows.append([s, "" if s == "no proxy" else cells.spread(s, ALONE, n, "cpu_us"),
                     "" if own else f"{cells.ratio('Soma', s, ALONE, n, 'cpu_us'):.2f}",
                     *(f"{of_all(s, ALONE, share):.2f}" if s == "no proxy" else f"+{added(s, ALONE, share):.2f}" for share in (0.5, 0.99)),
                     f"{cells.median(s, ALONE, n, 'share'):.1%}", f"{cells.median(s, ALONE, n, 'load'):.0%}"])
    text += results.table(["", "CPU, us per chunk", "Soma ÷", "p50 added", "p99 added", "chunks that came",
                           "core of source and reader"], rows)
    text += ["", f"The same with {SLOW} more clients that are sent as much as they take, and take a kilobyte in 25 ms: time of "
             "the others' chunks, in milliseconds, and the gateway's memory at the end.", ""]
    rows = [[s, *(f"{of_all(s, case, share):.2f}" for case in (ALONE, AMONG) for share in (0.5, 0.99)),
             *("" if s == "no proxy" else f"{cells.median(s, case, n, 'mb'):.1f}" for case in (ALONE, AMONG))]
            for s in servers(AMONG)]
    text += results.table(["", "p50", "p99", "with slow ones: p50", "p99", "MB", "with slow ones: MB"], rows)
    text += ["", f"Chunks made in Python, {n} streams of {told['made_rate']} a second, by a generator each. CPU of the whole "
             "process tree per chunk in microseconds, time of a chunk in milliseconds.", ""]
    rows = [[s, cells.spread(s, MADE, n, "cpu_us"), *(f"{cells.median(s, MADE, n, w) / 1000:.2f}" for w in ("p50_us", "p99_us")),
             f"{cells.median(s, MADE, n, 'share'):.1%}", f"{cells.median(s, MADE, n, 'mb'):.0f}"] for s in servers(MADE)]
    text += results.table(["", "CPU, us per chunk", "p50", "p99", "chunks that came", "MB"], rows)
    return text

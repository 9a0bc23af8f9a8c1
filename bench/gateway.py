"""A proxied request through Soma, nginx and haproxy, all before the same backend."""
import json
import shutil
import socket
import threading

from kit import machine, peers, results, rounds
from kit.load import Case
from kit.nginx import location
from kit.paths import WORK
from kit.peers import Server

TITLE = "Gateway"
CONNECTIONS = (1, 32)
LARGE = 10 * 1024
BARE, FLOOR = "bare epoll proxy", "floor (the same, bare)"

NGINX = """
worker_processes 1;
daemon off;
error_log {dir}/nginx.error.log;
pid {dir}/nginx.pid;
{user}
events {{ worker_connections 4096; }}
http {{
  log_format fields escape=json '{{"time":"$time_iso8601","status":$status,"s":$request_time,"in":$request_length,'
    '"out":$body_bytes_sent,"method":"$request_method","path":"$uri","peer":"$remote_addr:$remote_port",'
    '"request_id":"$request_id"}}';
  access_log {dir}/nginx.access.log fields buffer=64k flush=1s;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000000;
  client_header_timeout 30s;
  client_body_timeout 60s;
  send_timeout 60s;
  client_max_body_size 0;
  client_body_buffer_size 64k;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;{location}
    location = /nginx-status {{ stub_status; access_log off; }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
  log 127.0.0.1:{log} format raw local0
defaults
  mode http
  log global
  option forwardfor
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-request 30s
  timeout http-keep-alive 75s
frontend main
  bind 127.0.0.1:{port}
  unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-response set-header X-Request-Id %[unique-id]
  log-format '{{"time":"%tr","status":%ST,"ms":%Ta,"in":%U,"out":%B,"method":"%HM","path":"%HP","peer":"%ci:%cp","request_id":"%ID"}}'
  default_backend backend
backend backend
  server one 127.0.0.1:{backend} pool-max-conn 64
frontend status
  bind 127.0.0.1:{status}
  stats enable
  stats uri /
"""


class Sink:
    """Takes haproxy's log lines, as a log daemon on this machine does."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        while True:
            self.socket.recv(65536)


class Gateway(peers.Soma):
    """Soma's gateway alone: the backend is a `command` api, and its process is not counted."""

    uncounted = ("floor",)

    def add_backend(self, floor):
        command = ["taskset", "-c", str(machine.BACKEND_CORE), "./floor", "echo", "$PORT"]
        self.deploy({"floor": floor}, [{"name": "echo", "predictor": {"type": "command", "command": command},
                                        "autoscaling": {"max_replica_concurrency": 1024}}])
        (pid,) = [pid for pid in self.pids() if machine.command_line(pid)[:2] == ["./floor", "echo"]]
        return int(machine.command_line(pid)[2])


def proxies(backend):
    """The peers, configured for the backend's port."""
    folder = WORK / "gateway"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    user = "user root;" if machine.is_root() else ""
    port, status = peers.free_port(), peers.free_port()
    (folder / "nginx.conf").write_text(NGINX.format(dir=folder, port=port, backend=backend, user=user, location=location()))
    nginx = Server("nginx", ["nginx", "-p", folder, "-c", folder / "nginx.conf"], port)
    port = peers.free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend, status=status, log=Sink().port))
    haproxy = Server("haproxy", ["haproxy", "-db", "-f", folder / "haproxy.cfg"], port)
    port = peers.free_port()
    bare = Server(BARE, [peers.build_floor(), "proxy", port, backend], port)
    port = peers.free_port()
    floor = Server(FLOOR, [peers.build_floor(), "gate", port, backend, folder / "floor.access.log"], port)
    return [bare, floor, nginx, haproxy]


def cases():
    large = "y" * LARGE
    get = {"GET 30 B": 30, "GET 10 KB": LARGE}
    made = {}
    for name, size in get.items():
        made[name] = lambda prefix, size=size: Case(
            f"gateway-get-{size}-{len(prefix)}", "GET", f"{prefix}/{size}", is_right=lambda body: body == b"x" * size)
    for name, text in {"POST 30 B": '{"text": "thirty bytes or so"}', "POST 10 KB": json.dumps({"text": large})}.items():
        made[name] = lambda prefix, text=text: Case(
            f"gateway-post-{len(text)}-{len(prefix)}", "POST", prefix or "/", text,
            is_right=lambda body: body == text.encode())
    return made


def run(options):
    peers.install_programs()
    floor = peers.build_floor()
    made = cases()
    with peers.all_ended() as started:
        soma = Gateway()
        started.append(soma)
        soma.start(Case("soma-up", "GET", "/healthz"))
        backend = soma.add_backend(floor)
        others = proxies(backend)
        for server in others:
            started.append(server)
            server.start(made["GET 30 B"](""))
        direct = Server("no proxy", [], backend)
        measured = rounds.Rounds([direct, *others, soma], options.rounds, options.seconds)
        measured.run({name: lambda server, make=make: make("/echo" if server is soma else "")
                      for name, make in made.items()}, CONNECTIONS)
    return {"cells": measured.record(), "busy": measured.busy_record()}


def render(told):
    cells = results.Cells(told["cells"])
    servers = [BARE, FLOOR, "nginx", "haproxy", "Soma"]
    text = ["CPU time of the gateway's processes per request, in microseconds: median (least to most of the rounds), "
            "and Soma's as a share of others' (median of the rounds' ratios). The floor is the bare proxy with what a gateway has to do "
            "here beside it: it looks at each header, and has request ids, forwarded headers, idle timeouts, counters and a line of log.", ""]
    rows = []
    for case, c in cells.groups():
        rows.append([f"{case}, c={c}", *(cells.spread(s, case, c, "cpu_us") for s in servers),
                     *(f"{cells.ratio('Soma', s, case, c, 'cpu_us'):.2f}" for s in ("nginx", "haproxy", FLOOR)),
                     f"{cells.ratio(FLOOR, 'nginx', case, c, 'cpu_us'):.2f}"])
    text += results.table(["", *servers, "÷ nginx", "÷ haproxy", "÷ floor", "floor ÷ nginx"], rows)
    text += ["", "Time of a request at one connection, in microseconds: p50 beyond the backend's own, and p99.", ""]
    rows = []
    for case, c in cells.groups():
        if c == 1:
            none = cells.median("no proxy", case, c, "p50_us")
            rows.append([case, f"{none:.0f}", *(
                f"+{cells.median(s, case, c, 'p50_us') - none:.0f} (p99 {cells.median(s, case, c, 'p99_us'):.0f})"
                for s in servers)])
    text += results.table(["c=1", "no proxy", *servers], rows)
    text += ["", "Requests per second: median (least to most).", ""]
    rows = [[f"{case}, c={c}", *(cells.spread(s, case, c, "rps", 0) for s in ["no proxy", *servers])]
            for case, c in cells.groups()]
    text += results.table(["", "no proxy", *servers], rows)
    return text

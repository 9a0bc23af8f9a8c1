"""Overload: three and ten times what one slot can do, from callers who wait a tenth of a second and go."""
import json
import os

from kit import machine, open_loop, peers, results, rounds
from kit.load import Case
from kit.paths import APPS, WORK
from kit.peers import Server
from stages import calibrate, quantile_us

HERE = APPS / "overload"
TITLE = "Overload"
PREDICT_S, DEADLINE_S = 0.020, 0.100
IN_TIME = int(DEADLINE_S / PREDICT_S) - 1  # so many at once can be answered in time
FACTORS = (3, 10)
LOAD_S, AFTER_S = 4, 0.5  # of overload, and of one request each 50 ms after it
PROBE_S = 0.050

NGINX = """
worker_processes 1;
daemon off;
error_log {dir}/nginx.error.log crit;
pid {dir}/nginx.pid;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  limit_conn_zone $server_port zone=all:1m;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    limit_conn all {most};
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_ignore_client_abort on;
    }}
  }}
}}
"""


# --- servers -----------------------------------------------------------------


class App:
    """A server, and how it wants to be asked."""

    headers = ""  # that say how long the caller waits

    def __init__(self, server, path="/"):
        self.server, self.path = server, path

    def case(self):
        return Case("overload-up", "POST", self.path, body(0), lambda text: len(json.loads(text)["y"]) == 64)

    def start(self, hash_rounds):
        self.server.env["WORK_ROUNDS"] = str(hash_rounds)
        self.server.start(self.case())
        return [self.server]


class SomaApp(App):
    headers = f"X-Request-Timeout: {DEADLINE_S}\r\n"

    def __init__(self):
        super().__init__(peers.Soma(), "/model")

    def start(self, hash_rounds):
        self.server.start(Case("soma-up", "GET", "/healthz"))
        self.server.deploy({"predictor.py": HERE / "soma_app.py", "work.py": HERE / "work.py"}, [{
            "name": "model",
            "predictor": {"type": "python", "path": "predictor.py", "env": {"WORK_ROUNDS": str(hash_rounds)}}}])
        self.server.wait(self.case())
        return [self.server]


class NginxApp(App):
    """nginx before uvicorn, both on the server's core."""

    def __init__(self):
        home, self.backend = peers.install_environment("fastapi"), peers.free_port()
        self.uvicorn = Server("uvicorn", [home / "bin/uvicorn", "rival:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                                          "--host", "127.0.0.1", "--port", str(self.backend)], self.backend, cwd=HERE,
                              env={"PYTHONDONTWRITEBYTECODE": "1"})
        folder, port = WORK / "overload-nginx", peers.free_port()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(dir=folder, backend=self.backend, port=port, most=IN_TIME,
                                       user="user root;" if os.geteuid() == 0 else ""))
        super().__init__(Server("nginx → uvicorn", ["/usr/sbin/nginx", "-c", config, "-e", folder / "nginx.error.log"], port))

    def start(self, hash_rounds):
        self.uvicorn.env["WORK_ROUNDS"] = str(hash_rounds)
        self.uvicorn.start(self.case())
        self.server.start(self.case())
        return [self.uvicorn, self.server]


def peer(name, environment, command, path="/", **env):
    port, home = peers.free_port(), peers.install_environment(environment)
    command = [home / "bin/python", *(str(port) if part == "PORT" else part for part in command)]
    return App(Server(name, command, port, cwd=HERE, env={"PYTHONDONTWRITEBYTECODE": "1", **env}), path)


APPS_OF = [
    SomaApp,
    NginxApp,
    lambda: peer("LitServe", "litserve", ["lit.py", "PORT"], "/predict", DEADLINE_S=str(DEADLINE_S)),
    lambda: peer("Ray Serve", "ray", ["rayserve.py", "PORT"], QUEUE=str(IN_TIME), RAY_USAGE_STATS_ENABLED="0"),
]


# --- measuring ---------------------------------------------------------------


def body(x):
    return json.dumps({"x": x})


def capacity(app):
    """Answers a second to as many callers as keep the slot busy, each of whom asks again; once nothing is left of others."""
    app.server.wait(app.case())
    return app.server.load(app.case(), 2, 2)["rps"]


def measure(app, factor, seed):
    best = capacity(app)
    times = open_loop.arrivals(factor * best, LOAD_S, seed)
    n = len(times)
    times += [LOAD_S + PROBE_S * (i + 1) for i in range(int(AFTER_S / PROBE_S))]
    answers = open_loop.load(app.server.port, app.path, [body(i) for i in range(len(times))], times, app.headers, DEADLINE_S)
    good, refused, gone, wrong, took, refusals = 0, 0, 0, 0, [], []
    recovered = LOAD_S
    for i, (due, (at, status, text)) in enumerate(zip(times, answers)):
        if i >= n:  # who comes after the crowd
            if status != 200:
                recovered = due
        elif status == 200:
            good += at - due <= DEADLINE_S
            wrong += len(json.loads(text)["y"]) != 64
            took.append(at - due)
        elif status in (429, 503):
            refused += 1
            refusals.append(at - due)
        elif status in (0, 504):
            gone += 1
        else:
            wrong += 1
    return {"capacity": best, "rps": good / LOAD_S, "goodput": good / LOAD_S / best, "bad": wrong, "refused": refused / n, "gone": gone / n,
            "p99_us": quantile_us(took, 0.99), "refusal_us": quantile_us(refusals, 0.99), "recovery_us": (recovered - LOAD_S) * 1e6}


def run(options):
    peers.install_programs()
    hash_rounds = calibrate()
    measured = rounds.Rounds([], options.rounds, options.seconds)
    for turn in range(options.rounds):
        for make in APPS_OF:
            app = make()
            with peers.all_ended() as started:
                started += [app.server] + ([app.uvicorn] if isinstance(app, NginxApp) else [])
                measured.servers = app.start(hash_rounds)
                for factor in FACTORS:
                    watch = machine.Busy(measured._roots)
                    watch.begin()
                    told = measure(app, factor, turn)
                    told["busy"] = watch.end()
                    measured.cells.setdefault((app.server.name, f"×{factor}", 1), []).append(told)
                    measured.busy.append(told["busy"])
                    rounds.progress(f"{app.server.name}, ×{factor}: {told['rps']:.1f}/s in time of {told['capacity']:.1f} ({told['goodput']:.0%}), "
                                    f"{told['refused']:.0%} refused, {told['gone']:.0%} had gone, {told['bad']} wrong")
    rounds.progress("")
    return {"cells": measured.record(), "busy": measured.busy_record(), "seconds": LOAD_S}


# --- the page ----------------------------------------------------------------


def render(told):
    cells = results.Cells(told["cells"])
    servers = list(dict.fromkeys(r["server"] for r in told["cells"]))
    text = [f"A prediction takes {PREDICT_S * 1000:.0f} ms, one at a time. Callers come by an open Poisson process, and close their "
            f"connection after {DEADLINE_S * 1000:.0f} ms. Goodput: answers that came before, as a share of what two callers who ask again got just "
            "before; median (least to most of the rounds). Refused: by 503 at once. Gone: without an answer in time. After the crowd one "
            f"request comes each {PROBE_S * 1000:.0f} ms; recovery is when the last of these failed."]
    for factor in FACTORS:
        case, rows = f"×{factor}", []
        for s in servers:
            shares = cells.values(s, case, 1, "goodput")
            rows.append([s, f"{cells.median(s, case, 1, 'capacity'):.1f}", cells.spread(s, case, 1, "rps"),
                         f"{sorted(shares)[len(shares) // 2]:.0%} ({min(shares):.0%}–{max(shares):.0%})",
                         *(f"{cells.median(s, case, 1, what):.0%}" for what in ("refused", "gone")),
                         *(f"{cells.median(s, case, 1, what) / 1000:.1f}" for what in ("p99_us", "refusal_us", "recovery_us"))])
        text += ["", f"{factor} times as many requests as can be answered:", ""]
        text += results.table(["", "capacity/s", "in time/s", "goodput", "refused", "gone", "p99 ms", "refusal p99 ms", "recovery ms"], rows)
    return text

"""`soma upgrade`: another daemon takes over, and no client notices.

Each connection of the load is kept and used again and again, and none may break:
a broken one counts as wrong.
"""

import json
import os
import random
import re
import signal
import shutil
import socket
import subprocess
import threading
import time

import pytest
import requests

from soma import procs, projects
from soma.daemon import BIN, Daemon, clean_environment
from soma.load import Load, Target
from soma.upgrades import ask, daemons, peer, script, text_of, upgrade
from soma.waiting import seconds, wait_for

SEED = int(os.environ.get("SOMA_TEST_SEED", "20260302"))
REPLICAS = 2


def deploy(daemon):
    keys = {"autoscaling": {"min_replicas": REPLICAS}}
    daemon.admin.deploy(projects.probe_project(projects.probe_api("cmd", **keys)))
    daemon.admin.deploy(projects.python_project(projects.predictor("return payload"), projects.python_api("py", **keys)))
    return [Target("cmd", False, False), Target("py", True, False)]


def pids_of(daemon, targets):
    def ready():
        found = {t.name: sorted(daemon.admin.pids(t.name)) for t in targets}
        return found if all(len(p) == REPLICAS for p in found.values()) else None
    return wait_for("all replicas are ready", ready, 30)


STREAM = """import time
for n in range(payload["n"]):
    yield f"{n},"
    time.sleep(0.1)
"""


class Streams:
    """So many at any time, each of a second or so on a connection of its own; `cut` are those that did not come whole."""

    def __init__(self, daemon, n):
        keys = {"predictor": {"threads_per_process": max(1, n // REPLICAS)}, "autoscaling": {"min_replicas": REPLICAS}}
        daemon.admin.deploy(projects.python_project(projects.predictor(STREAM), projects.python_api("stream", **keys)))
        self.url, self.whole, self.cut, self.ending = daemon.url + "/stream", 0, [], threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(random.Random(SEED + i),)) for i in range(n)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def _client(self, rng):
        while not self.ending.is_set():
            n = rng.randrange(5, 20)
            try:
                answer = requests.post(self.url, json={"n": n}, timeout=seconds(60))
                right = answer.status_code == 200 and answer.text == "".join(f"{i}," for i in range(n))
                said = answer.text
            except requests.RequestException as e:
                right, said = False, repr(e)
            if right:
                self.whole += 1
            else:
                self.cut.append(said)


def logged(daemon):
    """The ids of all requests in the access log."""
    lines = [json.loads(line) for line in (daemon.data / "logs/access.jsonl").read_text().splitlines()]
    assert all(line["status"] == 200 for line in lines)
    return [line["request_id"] for line in lines]


def run(daemon, upgrades, streams):
    rng = random.Random(SEED)
    targets = deploy(daemon)
    pids = pids_of(daemon, targets)
    live = Streams(daemon, streams)
    keeper_fds = procs.fd_count(daemon.keeper_pid)
    with live, Load(daemon.port, targets, seed=SEED) as load:
        for _ in range(upgrades):
            wait_for("answers", lambda n=load.answered + 20 + rng.randrange(40): load.answered > n)
            upgrade(daemon).says("upgraded from")
        wait_for("answers after the last", lambda n=load.answered: load.answered > n + 50)
        assert pids_of(daemon, targets) == pids, "replicas did not keep their pids"
    print(f"{upgrades} upgrades, {load.right} right, {live.whole} streams")
    assert live.cut == [] and live.whole >= streams
    assert load.wrong == [] and load.refused == [], f"seed {SEED}"
    wait_for("each request is logged once", lambda: len(logged(daemon)) == load.right + live.whole)
    assert len(set(logged(daemon))) == load.right + live.whole
    wait_for("those that have yielded have ended", lambda: daemons(daemon) == [daemon.daemon_pid], 30)
    assert procs.fd_count(daemon.keeper_pid) <= keeper_fds + 4
    assert procs.zombies_of(daemon.keeper_pid) == []


def test_3_upgrades_under_load(own_daemon):
    run(own_daemon, 3, 8)


@pytest.mark.soak
def test_20_upgrades_under_load(own_daemon):
    run(own_daemon, 20, 200)


# --- what is under way in the old one ---


def holds(daemon, name, n):
    def ready():
        lines = [line["line"] for line in daemon.admin.logs(name)]
        return sum("held" in line for line in lines) >= n
    wait_for(f"{n} requests are held in {name}", ready, 30)


SLOW = """import time
time.sleep(payload.get("sleep", 0))
return {"n": payload.get("n"), "forwarded": headers.get("x-forwarded-for"), "at": time.monotonic()}
"""


def one_place(daemon):
    daemon.admin.deploy(projects.python_project(projects.predictor(SLOW), projects.python_api(
        "one", predictor={"threads_per_process": 1, "max_in_flight": 1}, autoscaling={"max_replicas": 1})))


def go(daemon, name):
    return daemon.admin.http.get(f"{daemon.url}/{name}/go", timeout=seconds(30))


def test_what_a_replica_has_is_answered_by_the_old_one(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    pids = daemon.admin.pids("probe")
    held = ask(daemon, "/probe/hold")
    holds(daemon, "probe", 1)
    old = daemon.daemon_pid
    upgrade(daemon)
    assert procs.alive(old), "it left a request behind"
    wait_for("the replica is ready", lambda: daemon.admin.pids("probe") == pids)
    go(daemon, "probe")
    answer = text_of(held)
    assert answer.headers["Connection"] == "close"
    wait_for("it has ended", lambda: not procs.alive(old), 20)


def test_a_stream_goes_on(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    stream = daemon.admin.http.get(f"{daemon.url}/probe/stream?n=4", stream=True, timeout=seconds(60))
    chunks = stream.iter_content(None)
    got = [next(chunks)]
    for _ in range(3):
        upgrade(daemon)
        go(daemon, "probe")
        got.append(next(chunks))
    assert len(got) == 4 and list(chunks) == []


def test_who_waits_is_passed_on(own_daemon):
    daemon = own_daemon
    one_place(daemon)
    first = ask(daemon, "/one", method="POST", json={"sleep": 4})
    wait_for("it runs", lambda: daemon.admin.api("one")["in_flight"] == 1)
    waiting = [ask(daemon, "/one", method="POST", json={"n": n}, headers={"X-Forwarded-For": "10.0.0.1"})
               for n in range(5)]
    wait_for("they wait", lambda: daemon.admin.api("one")["in_flight"] == 6)
    upgrade(daemon)
    wait_for("the new one has them", lambda: daemon.admin.api("one")["in_flight"] == 5)
    assert first.is_alive()
    at = text_of(first).json()["at"]
    told = [text_of(t).json() for t in waiting]
    assert [t["n"] for t in told] == list(range(5))
    assert {t["forwarded"] for t in told} == {"10.0.0.1, 127.0.0.1"}
    # The replica has one place, which the old one's request had.
    assert all(t["at"] >= at for t in told)


def test_the_next_request_on_a_kept_connection(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    kept = [socket.create_connection(("127.0.0.1", daemon.port), timeout=seconds(20)) for _ in range(3)]
    old = daemon.daemon_pid
    upgrade(daemon)
    upgrade(daemon)
    for s in kept:
        s.sendall(b"POST /probe/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        answer = b"".join(iter(lambda s=s: s.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"connection: close" in answer.lower() and b'"body": "hi"' in answer, answer
    wait_for("it has ended", lambda: not procs.alive(old), 20)


def test_a_call_that_was_passed_on_is_taken_over(own_daemon):
    """The same call once more, by another way than the first came: it runs once."""
    daemon = own_daemon
    one_place(daemon)
    slow = ask(daemon, "/one", method="POST", json={"sleep": 3})
    wait_for("it runs", lambda: daemon.admin.api("one")["in_flight"] == 1)
    call = {"method": "POST", "json": {"n": 7}, "headers": {"Idempotency-Key": "k"}}
    first = ask(daemon, "/one", **call)
    wait_for("it waits", lambda: daemon.admin.api("one")["in_flight"] == 2)
    upgrade(daemon)
    wait_for("the new one has it", lambda: daemon.admin.api("one")["in_flight"] == 1)
    second = ask(daemon, "/one", **call)
    first.join(seconds(20))
    assert first.answer.status_code == 409, first.answer
    assert slow.is_alive() and second.is_alive()
    assert text_of(second).json()["n"] == 7
    text_of(slow)


# --- how it is asked for, and what is refused ---


def test_by_signal(own_daemon):
    old = own_daemon.daemon_pid
    os.kill(own_daemon.keeper_pid, signal.SIGUSR2)
    wait_for("another daemon", lambda: own_daemon.daemon_pid != old and not procs.alive(old), 30)
    wait_for("it is ready", own_daemon.admin.is_ready)


BAD = {
    "not executable": ("", 0o644, ["is not executable"]),
    "another program": ("#!/bin/sh\necho hello\n", 0o755, ["is no Soma that can take over", "hello"]),
    "a missing library": ("#!/bin/sh\necho 'error while loading shared libraries: libx.so' >&2\nexit 127\n",
                          0o755, ["cannot take over", "libx.so", "exit code 127"]),
    "a missing interpreter": ("#!/no/such/thing\n", 0o755, ["is missing"]),
    "no format": ("\x7fELF nonsense", 0o755, ["no program for this machine"]),
    "others may write it": ("#!/bin/sh\n", 0o777, ["may write"]),
    "dies at once": ("#!/bin/sh\n[ \"$2\" = --check ] && echo soma-daemon 9.9 && exit\nkill -SEGV $$\n", 0o755,
                     ["ended before it could take over", "signal 11"]),
}


@pytest.mark.parametrize("what", BAD)
def test_a_program_that_cannot_is_refused(daemon, tmp_path, what):
    if what == "others may write it" and os.geteuid():
        pytest.skip("only root minds")
    text, mode, words = BAD[what]
    before = daemon.daemon_pid
    said = daemon.cli("upgrade", "--binary", script(tmp_path / "soma-new", text, mode), check=1)
    said.says(*words)
    assert daemon.daemon_pid == before and daemon.admin.is_ready()
    assert daemons(daemon) == [before]


def test_the_file_is_replaced(tmp_path):
    """As a package does; first by another that serves, then by one that dies when it has taken over."""
    place, build = tmp_path / "soma", BIN.parent
    shutil.copy(BIN, place)
    libraries = {os.path.dirname(path) for path in re.findall(r"=> (/\S+)", subprocess.check_output(["ldd", BIN], text=True))
                 if path.startswith(str(build))}
    env = {"SOMA_WORKER_DIR": build / "python/soma", "SOMA_HOST_DIR": build / "host",
           "LD_LIBRARY_PATH": ":".join(libraries)}
    with Daemon(prefix=["/bin/sh", "-c", f'shift; exec {place} "$@"', "sh"], env=env) as daemon:
        for other in (lambda path: shutil.copy(BIN, path), lambda path: peer(path, "ready(); keeper.recv(100)")):
            other(tmp_path / "next")
            os.replace(tmp_path / "next", place)
            daemon.cli("upgrade")
            wait_for("a daemon serves", daemon.admin.is_ready, 30)
        assert os.readlink(f"/proc/{daemon.daemon_pid}/exe") == f"{place} (deleted)"
        # Replicas are started by the program that is there now.
        daemon.admin.deploy(projects.probe_project())


def test_a_store_that_is_newer(own_daemon):
    import sqlite3
    with sqlite3.connect(own_daemon.data / "state.db") as db:
        version, = db.execute("PRAGMA user_version").fetchone()
        db.execute("PRAGMA user_version=99")
    own_daemon.cli("upgrade", check=1).says("was written by a newer Soma", "schema 99")
    with sqlite3.connect(own_daemon.data / "state.db") as db:
        db.execute(f"PRAGMA user_version={version}")
    upgrade(own_daemon)


def test_what_was_deployed_is_not_run(own_daemon):
    own_daemon.cli("upgrade", "--binary", script(own_daemon.data / "x", "#!/bin/sh\n"), check=1).says(
        "lies in the data directory")


# --- deaths ---


def dies(daemon, tmp_path, behind):
    """The new one dies behind READY; a daemon of the program from before serves, and nobody is refused."""
    targets = deploy(daemon)
    pids = pids_of(daemon, targets)
    old = daemon.daemon_pid
    with Load(daemon.port, targets, seed=SEED) as load:
        wait_for("answers", lambda: load.answered > 50)
        said = daemon.cli("upgrade", "--binary", peer(tmp_path / "soma-new", behind), check=1)
        wait_for("a daemon serves", lambda: daemon.daemon_pid != old and daemon.admin.is_ready(), 30)
        wait_for("answers after it", lambda n=load.answered: load.answered > n + 50)
    assert load.wrong == [] and load.refused == []
    assert pids_of(daemon, targets) == pids
    upgrade(daemon)
    return said


def test_the_new_one_dies_when_it_has_taken_over(own_daemon, tmp_path):
    dies(own_daemon, tmp_path, "ready(); keeper.recv(100)").says("ended before it served", "the program that served before")


def test_the_new_one_dies_while_the_old_one_yields(own_daemon, tmp_path):
    dies(own_daemon, tmp_path, "ready()").says("ended before it could take over")


def test_the_old_one_dies_before_it_has_yielded(own_daemon, tmp_path):
    """Its connections are lost, as with any kill; the new one takes over."""
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    old = daemon.daemon_pid
    os.kill(old, signal.SIGSTOP)
    os.kill(daemon.keeper_pid, signal.SIGUSR2)
    wait_for("the new one has been started", lambda: len(daemons(daemon)) == 2, 30)
    time.sleep(1)
    os.kill(old, signal.SIGKILL)
    wait_for("it serves", lambda: daemon.daemon_pid != old and daemon.admin.is_ready(), 30)
    wait_for("it answers", lambda: daemon.admin.http.get(daemon.url + "/probe/echo").status_code == 200, 30)
    assert "--take-over" in procs.command_line(daemon.daemon_pid)


def test_the_old_one_is_killed_behind_it(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    held = ask(daemon, "/probe/hold")
    holds(daemon, "probe", 1)
    old = daemon.daemon_pid
    upgrade(daemon)
    os.kill(old, signal.SIGKILL)
    held.join(seconds(20))
    assert isinstance(held.answer, Exception)
    go(daemon, "probe")
    assert daemon.admin.is_ready()


# --- the grace time, and the end of Soma meanwhile ---


def test_the_grace_is_over():
    with Daemon(args=["--upgrade-grace", "2s"]) as daemon:
        daemon.admin.deploy(projects.probe_project())
        held = ask(daemon, "/probe/hold")
        holds(daemon, "probe", 1)
        old = daemon.daemon_pid
        upgrade(daemon)
        held.join(seconds(20))
        assert held.answer.status_code == 504, held.answer
        wait_for("it has ended", lambda: not procs.alive(old), 20)
        go(daemon, "probe")


def test_soma_stops_while_the_old_one_has_a_request(own_daemon):
    """The end of Soma waits for it, too."""
    daemon = own_daemon
    one_place(daemon)
    slow = ask(daemon, "/one", method="POST", json={"sleep": 3})
    wait_for("it runs", lambda: daemon.admin.api("one")["in_flight"] == 1)
    upgrade(daemon)
    wait_for("the replica is known", lambda: daemon.admin.pids("one"))
    daemon.stop()
    text_of(slow)


def test_a_replica_that_the_old_one_needs_is_not_ended(own_daemon):
    """A deploy behind the upgrade: the old revision's replica ends with its last request."""
    daemon = own_daemon
    one_place(daemon)
    slow = ask(daemon, "/one", method="POST", json={"sleep": 4})
    wait_for("it runs", lambda: daemon.admin.api("one")["in_flight"] == 1)
    pid, = daemon.admin.pids("one")
    upgrade(daemon)
    wait_for("the replica is known", lambda: daemon.admin.pids("one") == [pid])
    one_place_again(daemon)
    assert procs.alive(pid) and slow.is_alive()
    text_of(slow)
    wait_for("it has ended", lambda: not procs.alive(pid), 20)


def one_place_again(daemon):
    daemon.admin.ok("POST", "/v1/apis/one/refresh")
    wait_for("the next revision serves", lambda: daemon.admin.api("one")["revision"] == 2
             and len(daemon.admin.pids("one")) >= 1, 30)


def test_a_deploy_goes_on(own_daemon, folder):
    """Its rollout is followed from one daemon to the next, by the command line as well."""
    daemon = own_daemon
    project = folder(projects.python_project(projects.predictor("return 1", init="import time; time.sleep(4)"),
                                             projects.python_api("slow")))
    done = []
    thread = threading.Thread(target=lambda: done.append(daemon.cli("deploy", project)))
    thread.start()
    wait_for("it is starting", lambda: [a for a in daemon.admin.apis() if a["name"] == "slow"])
    upgrade(daemon)
    upgrade(daemon)
    thread.join(seconds(60))
    assert done[0].code == 0, done
    assert daemon.admin.api("slow")["status"] == "live"


def test_logs_are_followed_on(own_daemon):
    daemon = own_daemon
    daemon.admin.deploy(projects.probe_project())
    process = subprocess.Popen([BIN, "logs", "probe", "-f"], stdout=subprocess.PIPE, text=True,
                               env=clean_environment(HOME=daemon.parent, SOMA_ADMIN=daemon.admin_url))
    try:
        for n in range(2):
            daemon.admin.http.get(f"{daemon.url}/probe/print?text=line-{n}-")
            assert any(f"line-{n}-" in line for line in iter(process.stdout.readline, ""))
            upgrade(daemon)
            time.sleep(2)
    finally:
        process.kill()
        process.wait()

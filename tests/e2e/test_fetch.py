"""`soma fetch` by http: real servers, real files; what is seen of a model is whole."""
import concurrent.futures
import contextlib
import json
import random
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse

import pytest

from conftest import IS_ROOT
from soma import sources
from soma.daemon import BIN
from soma.shelves import MIB
from soma.sources import Hub, noise
from soma.waiting import seconds, wait_for


# --- plain addresses ---


def test_one_file(shelf, server):
    data = noise(40 * MIB)
    server.put("/m/model.bin", data)
    told = shelf.get(server.url + "/m/model.bin", {"model.bin": data})
    assert [line["state"] for line in told.lines][0] == "listing"
    assert told.last["etag"] == server.files["/m/model.bin"].etag
    assert all(line["done"] <= line["total"] == len(data) for line in told.lines if line["state"] == "fetching")
    wanted = [headers["Range"] for _, headers in server.requests("/m/model.bin")]
    assert len(wanted) == len(set(wanted)) >= 5, "in ranges, each once"
    assert server.sent == len(data) + 1
    # Again: one look, and nothing is sent.
    again = shelf.get(server.url + "/m/model.bin", {"model.bin": data}, state="same")
    assert server.sent == len(data) + 2 and again.last["tree"] == told.last["tree"]


@pytest.mark.parametrize("how", [
    {"ranges": False}, {"length": False}, {"ranges": False, "length": False}, {"etag": ""}, {"etag": 'W/"1"'}, {"ranges": False, "etag": ""}])
def test_servers_that_can_less(shelf, server, how):
    data = noise(9 * MIB)
    server.put("/model.bin", data, **how)
    shelf.get(server.url + "/model.bin", {"model.bin": data})


@pytest.mark.parametrize("size", [0, 1, 2, 8 * MIB, 8 * MIB + 1])
def test_sizes(shelf, server, size):
    data = noise(size)
    server.put("/model.bin", data)
    shelf.get(server.url + "/model.bin", {"model.bin": data})


@pytest.mark.parametrize("path, name", [("/a%20b.bin", "a b.bin"), ("/", "model"), ("/a/", "model"), ("/x%2Fy", "model"), ("/..", "model"), ("/a%0Ab", "model"), ("/m.pt?key=SECRET", "m.pt")])
def test_the_name_is_that_of_the_address(shelf, server, path, name):
    server.put(urllib.parse.urlsplit(path).path, b"weights")
    told = shelf.get(server.url + path, {name: b"weights"})
    assert "SECRET" not in told.text


def test_a_check_fetches_nothing(shelf, server):
    file = server.put("/model.bin", b"one")
    url = server.url + "/model.bin"
    assert shelf.fetch(url, "--check").last == {"state": "changed"}
    shelf.get(url, {"model.bin": b"one"})
    before = shelf.refs()[0]["checked_at"]
    time.sleep(1.1)
    shelf.get(url, {"model.bin": b"one"}, "--check", state="same")
    assert shelf.refs()[0]["checked_at"] > before
    file.data, file.etag = b"another", '"2"'
    told = shelf.fetch(url, "--check")
    assert told.code == 0 and told.last == {"state": "changed"}
    shelf.get(url, {"model.bin": b"another"})


def test_a_check_of_what_nothing_is_known_by(shelf, server):
    """Neither ETag nor Last-Modified: a look fetches nothing and finds nothing, unless the size is another; a pull fetches."""
    file = server.put("/model.bin", b"one", etag="")
    url = server.url + "/model.bin"
    assert shelf.fetch(url, "--check").last == {"state": "changed"}
    shelf.get(url, {"model.bin": b"one"})
    shelf.get(url, {"model.bin": b"one"}, "--check", state="same")
    file.data = b"two"
    assert shelf.fetch(url, "--check").state == "same"
    shelf.get(url, {"model.bin": b"two"})
    file.data = b"three"
    assert shelf.fetch(url, "--check").state == "changed"
    shelf.get(url, {"model.bin": b"three"})
    file.length = file.ranges = False
    assert shelf.fetch(url, "--check").state == "same"


def test_what_is_the_same_is_kept_once(shelf, server):
    data = noise(MIB)
    server.put("/a/model.bin", data)
    server.put("/b/model.bin", data)
    one = shelf.get(server.url + "/a/model.bin", {"model.bin": data})
    two = shelf.get(server.url + "/b/model.bin", {"model.bin": data})
    assert one.last["path"] == two.last["path"] and len(list(shelf.dir.glob("files/*/*"))) == 1
    assert len(shelf.refs()) == 2


@pytest.mark.parametrize("status, code, again", [(403, "forbidden", False), (401, "forbidden", False), (404, "not_found", False), (410, "not_found", False),
                                                 (418, "broken", False), (503, "unreachable", True)])
def test_refusals(shelf, server, status, code, again):
    server.put("/model.bin", b"x", status=status)
    told = shelf.fetch(server.url.replace("//", "//user:HUNTER2@") + "/model.bin?sig=SECRET")
    told.failed(code, f"{server.url}/model.bin", str(status), again=again)
    assert "SECRET" not in told.text and "HUNTER2" not in told.text


def test_a_password_in_the_address(shelf, server):
    server.put("/model.bin", b"x", token="Basic dTpw")
    shelf.get(server.url.replace("//", "//u:p@") + "/model.bin", {"model.bin": b"x"})


def test_nobody_answers(shelf):
    told = shelf.fetch("http://127.0.0.1:1/model.bin")
    told.failed("unreachable", "127.0.0.1:1/model.bin", "refused", "http_proxy", again=True)
    assert not list(shelf.dir.glob("trees/*")) and not shelf.refs()


@pytest.mark.parametrize("url", ["ftp://h/x", "model.bin", "http://", "https:///x", "s3://", "s3:///key", "s3://buck et/x", "hf://", "hf://a/b/c", "hf://../x", "hf://a/b@..",
                                 "gs:///x", "http://h/a b", "file:///etc/passwd"])
def test_what_is_no_address(shelf, url):
    shelf.fetch(url).failed("bad_url", "write", again=False)


def test_arguments(shelf):
    assert shelf.fetch("http://h/x", "--what").code == 2
    assert shelf.fetch("http://h/x", "--limit", "many").code == 2
    done = subprocess.run([BIN, "help"], capture_output=True, text=True)
    assert done.returncode == 0 and "fetch " not in done.stdout.replace("fetches", "")


def test_a_folder_that_is_nowhere(shelf):
    done = subprocess.run([BIN, "fetch", "--dir", shelf.dir / "not" / "there", "http://127.0.0.1:1/x"], capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1 and told["state"] == "failed" and told["code"] == "broken" and not told["again"], told
    assert str(shelf.dir / "not" / "there") in told["message"] and "make it" in told["message"]


# --- what goes wrong on the way ---


def test_dropped_at_99_percent(shelf, server):
    data = noise(20 * MIB)
    server.put("/model.bin", data, drop=0.99, drops=4)
    shelf.get(server.url + "/model.bin", {"model.bin": data})
    assert server.sent < len(data) * 1.01, "it goes on where it was"


def test_dropped_without_ranges(shelf, server):
    data = noise(2 * MIB)
    server.put("/model.bin", data, ranges=False, drop=0.5, drops=2)
    shelf.get(server.url + "/model.bin", {"model.bin": data})


def test_dropped_each_time(shelf, server):
    server.put("/model.bin", noise(30_000), drop=0.0, drops=1000)
    shelf.fetch(server.url + "/model.bin").failed("unreachable", "closed the connection", again=True)


def test_busy_for_a_while(shelf, server):
    data = noise(MIB)
    server.put("/model.bin", data, statuses=[503, 429, 500])
    shelf.get(server.url + "/model.bin", {"model.bin": data})
    assert len(server.requests("/model.bin")) == 5


def test_a_slow_drip_is_given_up_and_asked_again(shelf, server):
    data = noise(9 * MIB)
    file = server.put("/model.bin", data, stall_at=MIB)
    timer = threading.Timer(seconds(1.5), lambda: setattr(file, "stall_at", None))
    timer.start()
    shelf.get(server.url + "/model.bin", {"model.bin": data}, "--slow", "2")
    assert server.sent < len(data) + MIB


def test_redirects(shelf, server):
    data = noise(10 * MIB)
    server.put("/model.bin", redirect="/2")
    server.put("/2", redirect=server.other_url + "/3?x=1")
    server.put("/3", data)
    shelf.get(server.url.replace("//", "//u:PASSWORD@") + "/model.bin", {"model.bin": data})
    assert all("Authorization" in headers for _, headers in server.requests("/model.bin"))
    assert not any("Authorization" in headers for _, headers in server.requests("/3")), "no password for another host"


def test_redirects_in_a_circle(shelf, server):
    server.put("/model.bin", redirect="/2")
    server.put("/2", redirect="/model.bin")
    shelf.fetch(server.url + "/model.bin").failed("broken", "more than 5 times", again=False)
    server.put("/file", redirect="file:///etc/passwd")
    shelf.fetch(server.url + "/file").failed("broken", "no address that can be fetched")


def test_where_a_redirect_led_is_no_more(shelf, server):
    """Signed addresses end: the first is asked for another."""
    data = noise(96 * MIB)  # more ranges than are asked for at once
    server.put("/model.bin", redirect="/signed/1")
    server.put("/signed/1", data, rate=30 * MIB)
    server.put("/signed/2", data)

    def on_sent(sent):
        if sent > 4 * MIB and server.files["/signed/1"].status == 200:
            server.files["/signed/1"].status = 403
            server.files["/model.bin"].redirect = "/signed/2"

    server.on_sent = on_sent
    shelf.get(server.url + "/model.bin", {"model.bin": data})
    assert server.requests("/signed/2")


class Changing:
    """The file at /model.bin becomes another after some bytes, `times` times."""

    def __init__(self, server, times):
        self.server, self.times, self.version = server, times, 0
        self.data = noise(96 * MIB)  # more ranges than are asked for at once
        self.first = self.data
        server.put("/model.bin", self.data, rate=100 * MIB)
        self.next = 3 * MIB
        server.on_sent = self.on_sent

    def on_sent(self, sent):
        with self.server.lock:
            if self.version < self.times and sent > self.next:
                self.version += 1
                self.next = sent + 5 * MIB
                self.data = self.first[self.version:] + self.first[:self.version]  # made at once: the server waits for it
                self.server.put("/model.bin", self.data, rate=100 * MIB)


def test_changed_under_our_feet(shelf, server):
    """Begun anew once; what comes is of one version."""
    change = Changing(server, 1)
    told = shelf.fetch(server.url + "/model.bin")
    assert told.code == 0 and change.version == 1, told.text
    shelf.check(told, {"model.bin": change.data})


def test_changed_twice(shelf, server):
    change = Changing(server, 100)
    shelf.fetch(server.url + "/model.bin").failed("changed", "changes while it is fetched", again=True)
    assert change.version >= 2
    assert not list(shelf.dir.glob("trees/*")) and not shelf.refs()


def test_larger_than_allowed(shelf, server):
    server.put("/model.bin", noise(2 * MIB))
    shelf.fetch(server.url + "/model.bin", "--limit", str(MIB)).failed("too_large", "2.0 MiB", "1.0 MiB", again=False)
    assert server.sent == 1
    server.put("/model.bin", noise(2 * MIB), ranges=False, length=False)
    shelf.fetch(server.url + "/model.bin", "--limit", str(MIB)).failed("too_large", "larger than the 1.0 MiB")
    shelf.get(server.url + "/model.bin", {"model.bin": noise(2 * MIB)}, "--limit", str(2 * MIB))


# --- going on ---


def pull_killed(shelf, server, url, after, **how):
    """Starts a pull, and kills it when so many bytes have been sent. The answer:
    did it end before?"""
    process = shelf.start(url, **how)
    begun = server.sent

    def on_sent(sent):
        if sent - begun >= after:
            process.send_signal(signal.SIGKILL)

    server.on_sent = on_sent
    process.communicate(timeout=seconds(60))
    server.on_sent = None
    return process.returncode == 0


def test_a_pull_goes_on_where_it_was_killed(shelf, server):
    data = noise(64 * MIB)
    server.put("/model.bin", data, rate=8 * MIB)
    assert not pull_killed(shelf, server, server.url + "/model.bin", 48 * MIB)
    assert list(shelf.dir.glob("parts/*/0.part"))
    server.files["/model.bin"].rate = None
    before = server.sent
    told = shelf.get(server.url + "/model.bin", {"model.bin": data})
    assert server.sent - before < 40 * MIB, "most of it was there"
    assert told.lines[1]["done"] > 20 * MIB, told.lines


def test_whole_pages_are_written(shelf, server, monkeypatch):
    """A page that is written in two halves costs twice."""
    monkeypatch.setattr(sources, "PIECE", 50_001)  # no page ends where one of them does
    data = noise(64 * MIB + 100)
    server.put("/model.bin", data, rate=8 * MIB)
    assert not pull_killed(shelf, server, server.url + "/model.bin", 30 * MIB)
    (note,) = (json.loads(f.read_text()) for f in shelf.dir.glob("parts/*/0.json"))
    assert note["have"] and all(at % 4096 == 0 for have in note["have"] for at in have), note
    server.files["/model.bin"].rate = None
    shelf.get(server.url + "/model.bin", {"model.bin": data})


def test_what_changed_meanwhile_is_not_gone_on_with(shelf, server):
    server.put("/model.bin", noise(64 * MIB), rate=8 * MIB)
    assert not pull_killed(shelf, server, server.url + "/model.bin", 32 * MIB)
    data = noise(64 * MIB, seed=1)
    server.put("/model.bin", data)
    shelf.get(server.url + "/model.bin", {"model.bin": data})



def kill_and_go_on(shelf, server, url, files, kills, env=()):
    total, killed = sum(map(len, files.values())), 0
    for n in range(kills):
        draw = random.Random(n)
        if shelf.dir.exists() and shelf.refs():
            shutil.rmtree(shelf.dir)
        if pull_killed(shelf, server, url, draw.randrange(total + total // 10), env=env):
            continue
        killed += 1
        shelf.nothing_half()
    assert killed > kills // 3
    told = shelf.fetch(url, env=env)
    assert told.code == 0, told.text
    shelf.check(told, files)
    return killed


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_at_random_bytes(shelf, server, kills):
    data = noise(32 * MIB)
    server.put("/model.bin", data, rate=60 * MIB)
    kill_and_go_on(shelf, server, server.url + "/model.bin", {"model.bin": data}, kills)


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_a_model_of_many_files_killed_at_random_bytes(shelf, server, kills):
    files = {f"part-{n}.safetensors": noise(n * 700_000, seed=n) for n in range(8)} | {"config.json": b"{}"}
    hub = Hub(server, "org/name", files)
    for file in server.files.values():
        file.rate = 60 * MIB
    kill_and_go_on(shelf, server, hub.url, files, kills, env={"HF_ENDPOINT": server.url})


def test_asked_to_end(shelf, server):
    """SIGTERM: what is there is kept."""
    data = noise(64 * MIB)
    server.put("/model.bin", data, rate=8 * MIB)
    process = shelf.start(server.url + "/model.bin")
    wait_for("half of it has come", lambda: server.sent > 32 * MIB, 30)
    process.terminate()
    process.communicate(timeout=seconds(10))
    server.files["/model.bin"].rate = None
    before = server.sent
    shelf.get(server.url + "/model.bin", {"model.bin": data})
    assert server.sent - before < 48 * MIB


def test_two_pulls_at_once_fetch_once(shelf, server):
    data = noise(16 * MIB)
    server.put("/model.bin", data, rate=20 * MIB)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda _: shelf.fetch(server.url + "/model.bin"), range(3)))
    assert sorted(t.state for t in told) == ["ready", "same", "same"], [t.text for t in told]
    assert len(data) <= server.sent < len(data) + 10
    shelf.check(told[0], {"model.bin": data})


def test_pulls_of_several_urls_at_once(shelf, server):
    files = {f"/{n}.bin": noise(3 * MIB, seed=n % 3) for n in range(6)}
    for path, data in files.items():
        server.put(path, data)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        told = list(pool.map(lambda path: shelf.fetch(server.url + path), files))
    for (path, data), t in zip(files.items(), told):
        shelf.check(t, {path[1:]: data})
    shelf.nothing_half()


# --- disks ---


@contextlib.contextmanager
def mounted(folder, *args):
    folder.mkdir(exist_ok=True)
    if not IS_ROOT or subprocess.run(["mount", *args, folder], capture_output=True).returncode != 0:
        pytest.skip("to mount a file system takes root, and a machine that lets it")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_too_little_room(shelf, server):
    with mounted(shelf.dir, "-t", "tmpfs", "-o", "size=100m", "tmpfs"):
        server.put("/model.bin", noise(60 * MIB))
        told = shelf.fetch(server.url + "/model.bin")
        told.failed("no_space", "needs 60 MiB", "100 MiB are free at", str(shelf.dir), "soma models rm", again=True)
        assert server.sent == 1, "it is known before anything is fetched"


def test_the_disk_fills_up(shelf, server):
    """Others may fill it meanwhile: what came is kept, and gone on with."""
    data = noise(60 * MIB)
    with mounted(shelf.dir, "-t", "tmpfs", "-o", "size=140m", "tmpfs"):
        server.put("/model.bin", data, rate=8 * MIB)
        filler = shelf.dir / "filler"

        once = threading.Lock()

        def on_sent(sent):
            if sent > 16 * MIB and once.acquire(blocking=False):
                filler.write_bytes(bytes(70 * MIB))

        server.on_sent = on_sent
        told = shelf.fetch(server.url + "/model.bin")
        told.failed("no_space", "are free", str(shelf.dir), "kept", again=True)
        server.on_sent = None
        filler.unlink()
        server.files["/model.bin"].rate = None
        before = server.sent
        shelf.get(server.url + "/model.bin", {"model.bin": data})
        assert server.sent - before < 58 * MIB


def test_full_to_the_last_byte(shelf, server):
    """A source that does not say how much there is."""
    with mounted(shelf.dir, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        server.put("/model.bin", noise(8 * MIB), ranges=False, length=False)
        shelf.fetch(server.url + "/model.bin").failed("no_space", "no space is left", str(shelf.dir), again=True)
        assert not shelf.refs()


def test_a_shelf_that_may_not_be_written(shelf, server):
    server.put("/model.bin", b"one")
    server.put("/other.bin", b"two")
    with mounted(shelf.dir, "-t", "tmpfs", "tmpfs"):
        shelf.get(server.url + "/model.bin", {"model.bin": b"one"})
        subprocess.run(["mount", "-o", "remount,ro", shelf.dir], check=True)
        shelf.fetch(server.url + "/other.bin").failed("forbidden", "cannot write", str(shelf.dir), again=False)
        told = shelf.fetch(server.url + "/model.bin", "--check")
        assert told.code == 0 and told.state == "same", "what is there can be looked at"

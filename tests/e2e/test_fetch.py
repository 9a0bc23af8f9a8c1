"""`soma fetch`: real servers, real files; what is seen of a model is whole."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from conftest import IS_ROOT
from soma import sources
from soma.buckets import s3_server
from soma.daemon import BIN, clean_environment
from soma.sources import Hub, noise, sha256
from soma.waiting import seconds, wait_for

MIB = 1 << 20
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
STEERING = ("AWS_", "HF_", "GS_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Told:
    """What a fetch said, line by line, and how it ended."""

    def __init__(self, code, text, errors):
        self.code, self.text, self.errors = code, text, errors
        self.lines = [json.loads(line) for line in text.splitlines()]
        self.last = self.lines[-1] if self.lines else {}

    @property
    def state(self):
        return self.last.get("state")

    def failed(self, code, *words, again=None):
        assert self.code == 1 and self.state == "failed", self.text + self.errors
        assert self.last["code"] == code, self.last
        for word in words:
            assert word in self.last["message"], self.last
        if again is not None:
            assert self.last["again"] is again, self.last
        return self.last


class Shelf:
    """A folder of models, and `soma fetch` into it."""

    def __init__(self, folder):
        self.folder, self.dir = folder, folder / "models"
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)

    def start(self, url, *args, env=(), prefix=()):
        around = {k: v for k, v in clean_environment().items() if not k.startswith(STEERING)}
        around.update({"HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true", **dict(env)})
        return subprocess.Popen([*prefix, BIN, "fetch", "--dir", self.dir, *args, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around)

    def fetch(self, url, *args, timeout=60, **how):
        process = self.start(url, *args, **how)
        try:
            text, errors = process.communicate(timeout=seconds(timeout))
        except BaseException:
            process.kill()
            process.wait()
            raise
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors
        return Told(process.returncode, text, errors)

    def get(self, url, files, *args, state="ready", **how):
        """Fetches, and checks that the tree has these files and no others."""
        told = self.fetch(url, *args, **how)
        assert told.code == 0 and told.state == state, told.text + told.errors
        self.check(told, files)
        return told

    def check(self, told, files):
        tree = pathlib.Path(told.last["path"])
        there = {str(p.relative_to(tree)): p for p in tree.rglob("*") if p.is_file()}
        assert sorted(there) == sorted(files)
        for path, data in files.items():
            assert there[path].read_bytes() == data, path
            assert there[path].stat().st_mode & 0o777 == 0o444
        assert told.last["bytes"] == sum(map(len, files.values())) and told.last["files"] == len(files)
        lines = "".join(f"{sha256(data)} {len(data)} {path}\n" for path, data in sorted(files.items(), key=lambda f: f[0].encode()))
        assert told.last["tree"] == sha256(lines.encode()) == tree.name
        manifest = json.loads((self.dir / "trees" / f"{tree.name}.json").read_text())
        assert {f["path"]: f["sha256"] for f in manifest["files"]} == {path: sha256(data) for path, data in files.items()}
        assert not list(self.dir.glob("parts/*")), "what is through leaves no parts"

    def nothing_half(self):
        """Every file, tree and ref that is seen is whole."""
        for file in self.dir.glob("files/*/*"):
            assert sha256(file.read_bytes()) == file.parent.name + file.name
        for ref in self.dir.glob("refs/*.json"):
            tree = self.dir / "trees" / json.loads(ref.read_text())["tree"]
            for row in json.loads((tree.parent / f"{tree.name}.json").read_text())["files"]:
                assert sha256((tree / row["path"]).read_bytes()) == row["sha256"]

    def refs(self):
        return [json.loads(f.read_text()) for f in self.dir.glob("refs/*.json")]


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


@pytest.fixture
def server():
    with sources.Server() as s:
        yield s


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


# --- the hub ---


def hub_model(server, token=None, **more):
    files = {"config.json": b'{"a": 1}', "model-00001-of-00002.safetensors": noise(9 * MIB), "model-00002-of-00002.safetensors": noise(3 * MIB, 1),
             "tokenizer/vocab.txt": b"a\nb\n", "sp ce/\u00e4.json": b"{}", **more}
    return Hub(server, "org/name", files | {"pytorch_model.bin": noise(5000), "flax_model.msgpack": noise(5000), ".gitattributes": b"x"}, token=token), files


def test_the_hub(shelf, server):
    hub, files = hub_model(server, token="Bearer hf_SECRET")
    env = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_SECRET"}
    told = shelf.get("hf://org/name", files, env=env)
    assert told.last["etag"] == hub.commit and "SECRET" not in told.text
    assert not any("Authorization" in headers for _, path, headers in server.asked if path.startswith("/cdn/")), "the token is for the hub alone"
    assert not server.requests(f"/org/name/resolve/{hub.commit}/pytorch_model.bin")
    shelf.get("hf://org/name", files, env=env, state="same")
    shelf.get(f"hf://org/name@{hub.commit}", files, env=env)


def test_another_commit_of_the_hub(shelf, server):
    """What both have is fetched once, small files without a SHA-256 included."""
    _, files = hub_model(server)
    env = {"HF_ENDPOINT": server.url}
    shelf.get("hf://org/name", files, env=env)
    hub, files = hub_model(server, **{"config.json": b'{"a": 2}'})
    begun = len(server.asked)
    shelf.get("hf://org/name", files, env=env)
    assert [path for _, path, _ in server.asked[begun:] if not path.startswith("/api/")] == [f"/org/name/resolve/{hub.commit}/config.json"]


def test_the_hub_refuses(shelf, server):
    hub_model(server, token="Bearer hf_SECRET")
    env = {"HF_ENDPOINT": server.url}
    shelf.fetch("hf://org/name", env=env).failed("forbidden", "hf://org/name", "set HF_TOKEN", again=False)
    shelf.fetch("hf://org/name", env={**env, "HF_TOKEN": "other"}).failed("forbidden", "terms", again=False)
    shelf.fetch("hf://org/other", env=env).failed("not_found", "hf://org/other")
    (shelf.home / ".cache/huggingface").mkdir(parents=True)
    (shelf.home / ".cache/huggingface/token").write_text("hf_SECRET\n")
    assert shelf.fetch("hf://org/name", env=env).code == 0, "where its own tools keep the token"


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"sha": "0123", "siblings": [{"rfilename": "a"}]}', b'{"sha": "../x", "siblings": []}',
                                    b'{"sha": "0123", "siblings": [{"rfilename": "a", "size": 1, "lfs": {"sha256": "x", "size": 1}}]}'])
def test_the_hub_makes_no_sense(shelf, server, answer):
    server.put("/api/models/org/name/revision/main", answer, ranges=False)
    shelf.fetch("hf://org/name", env={"HF_ENDPOINT": server.url}).failed("broken", "HF_ENDPOINT")


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a//b", "a\0b", "x" * 300, "a\nb", "a\x1b[31mb", "a\x7f", "a\u009b31m"])
def test_evil_names(shelf, server, path):
    files = [{"rfilename": "config.json", "size": 2}, {"rfilename": path, "size": 2}]
    server.put("/api/models/org/name/revision/main", json.dumps({"sha": "0123", "siblings": files}).encode(), ranges=False)
    last = shelf.fetch("hf://org/name", env={"HF_ENDPOINT": server.url}).failed("broken", "cannot be one here", again=False)
    assert last["message"].isprintable()
    assert not list(shelf.folder.rglob("*evil*"))


def test_names_that_collide(shelf, server):
    files = [{"rfilename": name, "size": 2} for name in ("a", "a-b", "a/b")]
    server.put("/api/models/org/name/revision/main", json.dumps({"sha": "0123", "siblings": files}).encode(), ranges=False)
    shelf.fetch("hf://org/name", env={"HF_ENDPOINT": server.url}).failed("broken", "'a/b'", again=False)


def test_a_wrong_checksum(shelf, server):
    hub, files = hub_model(server)
    name = "model-00002-of-00002.safetensors"
    server.files[f"/cdn/{sha256(files[name])}"].data = noise(3 * MIB, 7)
    told = shelf.fetch("hf://org/name", env={"HF_ENDPOINT": server.url})
    told.failed("corrupt", name, sha256(files[name]), sha256(noise(3 * MIB, 7)), again=False)
    assert not shelf.refs() and not list(shelf.dir.glob("trees/*"))
    # Mended at the source: what was right is not fetched again.
    server.files[f"/cdn/{sha256(files[name])}"].data = files[name]
    before = server.sent
    shelf.get("hf://org/name", files, env={"HF_ENDPOINT": server.url})
    assert server.sent - before < 4 * MIB


def test_a_checksum_that_was_wrong_once(shelf, server):
    """A bit that fell over on the way: fetched again."""
    _, files = hub_model(server)
    at = f"/cdn/{sha256(files['model-00002-of-00002.safetensors'])}"
    good = server.files[at].data
    server.files[at].data = bytes([good[0] ^ 1]) + good[1:]

    def on_sent(_):
        if any(path == at for _, path, _ in server.asked):
            server.files[at].data = good

    server.on_sent = on_sent
    shelf.get("hf://org/name", files, env={"HF_ENDPOINT": server.url})
    assert len(server.requests(at)) >= 2


def fill_cache(folder, hub, files):
    """As the hub's own library leaves it."""
    root = folder / "models--org--name"
    (root / "blobs").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(hub.commit)
    for path, data in files.items():
        name = sha256(data) if len(data) >= 1000 else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        (root / "blobs" / name).write_bytes(data)
        link = root / "snapshots" / hub.commit / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(root / "blobs" / name, link.parent))
    return root


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", "HOME"])
def test_what_the_user_has_is_copied(shelf, server, variable):
    hub, files = hub_model(server)
    folder = {"HF_HUB_CACHE": shelf.folder / "c", "HF_HOME": shelf.folder / "c/hub", "HOME": shelf.home / ".cache/huggingface/hub"}[variable]
    fill_cache(folder, hub, files)
    env = {"HF_ENDPOINT": server.url}
    if variable != "HOME":
        env[variable] = str(shelf.folder / "c")
    shelf.get("hf://org/name", files, env=env)
    asked = {urllib.parse.unquote(path.partition(f"/resolve/{hub.commit}/")[2]) for _, path, _ in server.asked if "/resolve/" in path}
    assert asked == {path for path, data in files.items() if len(data) < 1000}, "those that the hub states no SHA-256 of"


def test_a_planted_cache_is_not_believed(shelf, server):
    """What has no SHA-256 at the source could be anything there."""
    hub, files = hub_model(server)
    root = fill_cache(shelf.folder / "c", hub, files)
    (root / "snapshots" / hub.commit / "config.json").resolve().write_bytes(b'{"a": 6}')
    shelf.get("hf://org/name", files, env={"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(shelf.folder / "c")})


def test_a_url_by_another_way_is_another_model(shelf, server):
    file = server.put("/m.bin", b"one", etag='"same"')
    url, via = server.url + "/m.bin", {"SOMA_MODEL_VIA": "ab" * 32}
    shelf.get(url, {"m.bin": b"one"})
    file.data = b"two"  # as another server's, where the way leads there
    shelf.get(url, {"m.bin": b"two"}, env=via)
    shelf.get(url, {"m.bin": b"one"}, state="same")
    shelf.get(url, {"m.bin": b"two"}, env=via, state="same")


def test_a_cache_that_is_wrong_is_passed_over(shelf, server):
    hub, files = hub_model(server)
    name = "model-00001-of-00002.safetensors"
    root = fill_cache(shelf.folder / "c", hub, files)
    (root / "blobs" / sha256(files[name])).write_bytes(noise(9 * MIB, 9))
    shelf.get("hf://org/name", files, env={"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(shelf.folder / "c")})
    assert server.requests(f"/org/name/resolve/{hub.commit}/{name}")


def test_a_bad_file_of_the_shelf_is_fetched_again(shelf, server):
    """What verifying found bad is marked by being writable."""
    _, files = hub_model(server)
    env = {"HF_ENDPOINT": server.url}
    told = shelf.get("hf://org/name", files, env=env)
    bad = pathlib.Path(told.last["path"]) / "model-00002-of-00002.safetensors"
    bad.chmod(0o644)
    with open(bad, "r+b") as file:
        file.write(b"?")
    before = server.sent
    again = shelf.get("hf://org/name", files, env=env)
    assert again.last["path"] == told.last["path"] and 3 * MIB <= server.sent - before < 4 * MIB


# --- S3 and Google ---


@pytest.fixture(scope="module")
def s3():
    before = os.environ.get("MOTO_S3_DEFAULT_MAX_KEYS")
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "7"  # pages are small
    with s3_server() as url:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
        client.create_bucket(Bucket="models")
        client.url = url
        yield client
    if before is None:
        del os.environ["MOTO_S3_DEFAULT_MAX_KEYS"]


def fill(s3, prefix, files):
    for path, data in files.items():
        s3.put_object(Bucket="models", Key=prefix + path, Body=data)


def test_an_object(shelf, s3):
    data = noise(20 * MIB)
    fill(s3, "one/", {"model.bin": data, "model.bin.old": b"x"})
    env = {**KEYS, "AWS_ENDPOINT_URL": s3.url}
    told = shelf.get("s3://models/one/model.bin", {"model.bin": data}, env=env)
    assert told.last["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
    shelf.get("s3://models/one/model.bin", {"model.bin": data}, env=env, state="same")
    fill(s3, "one/", {"model.bin": b"new"})
    assert shelf.fetch("s3://models/one/model.bin", "--check", env=env).last == {"state": "changed"}
    shelf.get("s3://models/one/model.bin", {"model.bin": b"new"}, env=env)


@pytest.mark.parametrize("prefix", ["many", "many/"])
def test_a_prefix_of_several_pages(shelf, s3, prefix):
    files = {f"layer-{n}/w.bin": noise(1000 + n, n) for n in range(20)} | {"config.json": b"{}", "sp ce/a+b &\u00e4.txt": b"odd", "100%.txt": b"%"}
    fill(s3, "many/", files)
    fill(s3, "", {"many-others/x": b"no", "many/": b"", "many/empty/": b""})
    env = {**KEYS, "AWS_ENDPOINT_URL_S3": s3.url, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    told = shelf.get("s3://models/" + prefix, files, env=env)
    assert len(told.last["etag"]) == 64
    shelf.get("s3://models/" + prefix, files, env=env, state="same")
    # One of them changes: the others are there.
    fill(s3, "many/", {"config.json": b'{"b": 2}'})
    shelf.get("s3://models/" + prefix, files | {"config.json": b'{"b": 2}'}, env=env)


def test_what_has_not_changed_of_many_is_not_fetched_again(shelf, server):
    """A file that another pull has brought is known by its ETag: one that is new, or was found bad, comes alone."""
    def put(name, data, etag):
        files[name] = data
        server.put("/bucket/a/" + name, data, etag=f'"{etag}"')
        rows = "".join(f"<Contents><Key>a/{n}</Key><ETag>{server.files['/bucket/a/' + n].etag}</ETag><Size>{len(d)}</Size></Contents>" for n, d in files.items())
        server.put("/bucket", f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}</ListBucketResult>'.encode(), ranges=False)

    def fetched():
        found = {n: len(server.requests("/bucket/a/" + n)) for n in files}
        return [n for n in files if found[n] > before.get(n, 0)], before.update(found)

    files, before, env = {}, {}, {**KEYS, "AWS_ENDPOINT_URL": server.url}
    for n, name in enumerate(("x.bin", "y.bin", "sub/z.bin")):
        put(name, noise(50_000, n), n)
    shelf.get("s3://bucket/a/", files, env=env)
    assert fetched()[0] == ["x.bin", "y.bin", "sub/z.bin"]
    put("y.bin", noise(50_000, 7), 7)
    told = shelf.get("s3://bucket/a/", files, env=env)
    assert fetched()[0] == ["y.bin"]
    bad = pathlib.Path(told.last["path"]) / "x.bin"
    bad.chmod(0o644)  # as `models verify` marks it
    bad.write_bytes(b"?" * 50_000)
    shelf.get("s3://bucket/a/", files, env=env)
    assert fetched()[0] == ["x.bin"]
    put("x.bin", noise(50_000, 8), 0)
    server.files["/bucket/a/x.bin"].data = files["x.bin"] = noise(50_001, 8)
    put("w.bin", b"new", 9)
    shelf.get("s3://bucket/a/", files, env=env)
    assert fetched()[0] == ["x.bin", "w.bin"], "an ETag with another size is another file"


def test_nothing_there(shelf, s3):
    env = {**KEYS, "AWS_ENDPOINT_URL": s3.url}
    shelf.fetch("s3://models/none/at/all", env=env).failed("not_found", "s3://models/none/at/all", again=False)
    shelf.fetch("s3://nobucket/x", env=env).failed("not_found", "s3://nobucket/x", "NoSuchBucket", again=False)


def test_what_s3_says_is_no_command_for_a_terminal(shelf, server):
    server.put("/bucket", status=403, page="<Error><Code>No\x1b[31mWay\u009b</Code></Error>".encode())
    told = shelf.fetch("s3://bucket/a/", env={**KEYS, "AWS_ENDPOINT_URL": server.url})
    assert told.failed("forbidden", "(No?[31mWay??)")["message"].isprintable()


def test_a_sum_that_s3_states(shelf, s3):
    data = noise(2 * MIB)
    s3.put_object(Bucket="models", Key="sums/model.bin", Body=data, ChecksumAlgorithm="SHA256")
    env = {**KEYS, "AWS_ENDPOINT_URL": s3.url}
    shelf.get("s3://models/sums/model.bin", {"model.bin": data}, env=env)
    (shelf.folder / "other").mkdir()
    Shelf(shelf.folder / "other").get("s3://models/sums/", {"model.bin": data}, env=env)


def test_profiles(shelf, s3):
    (shelf.home / ".aws").mkdir()
    (shelf.home / ".aws/credentials").write_text("[work]\naws_access_key_id = id\naws_secret_access_key = SECRET\n")
    fill(s3, "p/", {"m.bin": b"x"})
    told = shelf.get("s3://models/p/m.bin", {"m.bin": b"x"}, env={"AWS_PROFILE": "work", "AWS_ENDPOINT_URL": s3.url})
    assert "SECRET" not in told.text


class Endpoint(sources.Server):
    """S3 that knows one object, and looks at signatures as botocore makes them."""

    def __init__(self, key, data, keys, region="eu-west-1", token=None):
        super().__init__()
        self.region, self.wrong = region, []
        self.credentials = botocore.credentials.Credentials(*keys, token)
        self.put("/bucket/" + urllib.parse.quote(key, safe="/~"), data)

    def answer(self, handler):
        told = handler.headers.get("Authorization", "")
        names = told.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = botocore.awsrequest.AWSRequest(handler.command, self.url + handler.path, headers={n: handler.headers[n] for n in names if handler.headers.get(n)})
        request.context["timestamp"] = handler.headers.get("X-Amz-Date", "")
        auth = botocore.auth.S3SigV4Auth(self.credentials, "s3", self.region)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        if not told.endswith("Signature=" + auth.signature(text, request)):
            self.wrong.append(handler.path)
            return self.short(handler, 403)
        super().answer(handler)


def test_signatures_are_those_of_botocore(shelf):
    data = noise(20 * MIB)
    key = "a dir/w=1+2&\u00e4~(x).bin"
    with Endpoint(key, data, ("AKID", "SE/CR+ET"), token="TO/KEN==") as endpoint:
        env = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SE/CR+ET", "AWS_SESSION_TOKEN": "TO/KEN==", "AWS_DEFAULT_REGION": "eu-west-1",
               "AWS_ENDPOINT_URL": endpoint.url + "/"}
        told = shelf.get("s3://bucket/" + key, {"w=1+2&\u00e4~(x).bin": data}, env=env)
        assert endpoint.wrong == [] and "CR+ET" not in told.text
        env["AWS_SECRET_ACCESS_KEY"] = "other"
        shelf.fetch("s3://bucket/" + key, env=env).failed("forbidden", "403", "check the keys", again=False)
        assert endpoint.wrong
        shelf.fetch("s3://bucket/" + key, env={"AWS_ENDPOINT_URL": endpoint.url}).failed("forbidden", "there are no credentials")


def test_google(shelf, s3, server):
    files = {f"{n}.bin": noise(100 + n, n) for n in range(10)}
    fill(s3, "g/", files)
    told = shelf.get("gs://models/g/", files, env={"GS_ACCESS_KEY_ID": "id", "GS_SECRET_ACCESS_KEY": "SECRET", "GS_ENDPOINT_URL": s3.url})
    assert "SECRET" not in told.text
    server.put("/bucket/m.bin", b"weights", token="Bearer TOKEN")
    shelf.get("gs://bucket/m.bin", {"m.bin": b"weights"}, env={"GS_TOKEN": "TOKEN", "GS_ENDPOINT_URL": server.url})


def page(keys, more=""):
    rows = "".join(f"<Contents><Key>{k}</Key><ETag>&quot;1&quot;</ETag><Size>1</Size></Contents>" for k in keys)
    return f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{more}{rows}</ListBucketResult>'.encode()


@pytest.mark.parametrize("answer", [b"", b"<html>", b"<ListBucketResult>", page(["b"]), page(["a/x"], "<IsTruncated>true</IsTruncated>"),
                                    page(["a/x"]).replace(b"<Size>1", b"<Size>-1"), b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + page(["a/x"]), page(["a/&#0;"]),
                                    page(["a/%00"], "<EncodingType>url</EncodingType>")])
def test_lists_that_make_no_sense(shelf, server, answer):
    server.put("/bucket", answer, ranges=False)
    shelf.fetch("s3://bucket/a/", env={**KEYS, "AWS_ENDPOINT_URL": server.url}).failed("broken", "speak S3", again=False)


@pytest.mark.parametrize("key", ["a/../../evil", "a//etc/evil", "a/./evil", "a/x/../evil"])
def test_keys_that_lead_out(shelf, server, key):
    server.put("/bucket", page(["a/good", key]), ranges=False)
    shelf.fetch("s3://bucket/a/", env={**KEYS, "AWS_ENDPOINT_URL": server.url}).failed("broken", "cannot be one here", again=False)
    assert not list(shelf.folder.rglob("*evil*"))


def test_keys_that_collide(shelf, server):
    server.put("/bucket", page(["a/x", "a/x-y", "a/x/y"]), ranges=False)
    shelf.fetch("s3://bucket/a/", env={**KEYS, "AWS_ENDPOINT_URL": server.url}).failed("broken", "'x/y'", again=False)

"""Models that apis name by URL: fetched once by the daemon, shared, kept, shown.

S3 is moto's server; what drips and what fails is sources.py's.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import time

import boto3
import pytest
import requests

from soma.buckets import s3_server
from soma.client import error_of
from soma.daemon import Daemon
from soma.projects import yaml_value
from soma.sources import Hub, Server
from soma.waiting import seconds, wait_for

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s3cret-key", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
IS_ROOT = os.geteuid() == 0

# Tells what its model is: the files' names and what is in them.
PREDICTOR = """
import os


class PythonPredictor:
    def __init__(self, config, python_client):
        self.client = python_client

    def load_model(self, model_path):
        found = {}
        for folder, _, names in os.walk(model_path):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    found[os.path.relpath(path, model_path)] = [os.path.getsize(path), f.read(20).decode()]
        return found

    def predict(self, payload, query_params):
        return {"model": self.client.get_model(query_params.get("name")), "hub": [os.environ.get("HF_HUB_CACHE"), os.environ.get("HF_HUB_OFFLINE")]}
"""


@pytest.fixture
def place():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def moto():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="module")
def bucket(moto):
    """The client of one that has models."""
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="s3cret-key")
    client.create_bucket(Bucket="models")
    for key, body in {"one/m.txt": "one", "net/1/a.txt": "first", "net/2/b.txt": "second", "net/2/deep/c.txt": "deeper", "all/a/x": "A", "all/b/y": "B"}.items():
        client.put_object(Bucket="models", Key=key, Body=body.encode())
    return client


@pytest.fixture(scope="module")
def daemon(moto, bucket):
    with Daemon(env={**KEYS, "AWS_ENDPOINT_URL": moto}.items(), args=["--models-check", "300ms"]) as d:
        yield d


def project(name, models, predictor=None, **keys):
    if isinstance(models, str):
        models = {"path": models}
    spec = {"type": "python", "path": "predictor.py", "multi_model_reloading": models, **(predictor or {})}
    return {"soma.yaml": yaml_value([{"name": name, "predictor": spec, **keys}]), "predictor.py": PREDICTOR}


def model_of(daemon, name, query=""):
    answer = daemon.admin.post("/%s%s" % (name, query), json={})
    assert answer.status_code == 200, answer.text
    return answer.json()["model"]


def fetches(daemon):
    """By how they ended, since the daemon's start."""
    text = daemon.admin.call("GET", "/metrics").text
    found = {}
    for line in text.splitlines():
        if line.startswith("soma_model_fetches_total{"):
            found[line.split('"')[1]] = int(line.split()[-1])
    return found


def models(daemon):
    return {m["url"]: m for m in daemon.admin.ok("GET", "/v1/models")["models"]}


def in_place(daemon):
    """A folder that replicas can read."""
    folder = daemon.parent / "own"
    folder.mkdir(exist_ok=True)
    (folder / "m.txt").write_text("mine")
    return folder


# --- where models may be ----------------------------------------------------------


@pytest.mark.parametrize("name, source, want", [
    ("file", "s3://models/one/m.txt", {"m.txt": [3, "one"]}),
    ("prefix", "s3://models/one/", {"m.txt": [3, "one"]}),
    ("versions", "s3://models/net", {"b.txt": [6, "second"], "deep/c.txt": [6, "deeper"]}),
])
def test_s3(daemon, name, source, want):
    daemon.admin.deploy(project(name, source))
    assert model_of(daemon, name) == want
    [shown] = daemon.admin.api(name)["models"]
    assert (shown["source"], shown["state"], shown["name"]) == (source, "ready", "_")
    assert pathlib.Path(shown["path"]).parent.name == "trees"
    assert [e["type"] for e in daemon.admin.events(name) if e["type"].startswith("model_")][-1] == "model_ready"
    daemon.admin.delete(name)


def test_several_by_name_and_a_folder_of_models(daemon):
    daemon.admin.deploy(project("several", {"paths": [{"name": "a", "path": "s3://models/all/a"}, {"name": "n", "path": "s3://models/net/1"}]}))
    assert model_of(daemon, "several", "?name=a") == {"x": [1, "A"]}
    assert model_of(daemon, "several", "?name=n") == {"a.txt": [5, "first"]}
    daemon.admin.deploy(project("several", {"dir": "s3://models/all"}))
    assert model_of(daemon, "several", "?name=b") == {"y": [1, "B"]}
    daemon.admin.delete("several")


def test_http(daemon, place):
    place.put("/m/net.bin", b"n" * 3_000_000)
    daemon.admin.deploy(project("plain", place.url + "/m/net.bin?key=hidden"))
    assert model_of(daemon, "plain") == {"net.bin": [3_000_000, "n" * 20]}
    assert "hidden" not in daemon.log()
    daemon.admin.delete("plain")


def test_a_source_by_which_nothing_new_is_known(daemon, place):
    """Without ETag and Last-Modified it is asked as others are, and not fetched each time."""
    file = place.put("/unmarked.bin", b"u" * 300_000, etag="")
    daemon.admin.deploy(project("unmarked", place.url + "/unmarked.bin"))
    looks = len(place.requests("/unmarked.bin"))
    wait_for("it has been asked several times", lambda: len(place.requests("/unmarked.bin")) >= looks + 5, 30)
    assert place.sent < 2 * 300_000, "the model was fetched again"
    told = [e["text"] for e in daemon.admin.events("unmarked") if "neither ETag nor Last-Modified" in e["text"]]
    assert len(told) == 1 and place.url + "/unmarked.bin" in told[0] and "soma models pull" in told[0]
    file.data = b"w" * 300_000
    daemon.cli("models", "pull", place.url + "/unmarked.bin", check=0, timeout=60)
    wait_for("what was pulled is used", lambda: model_of(daemon, "unmarked") == {"unmarked.bin": [300_000, "w" * 20]}, 30)
    file.data = b"v" * 300_001
    wait_for("another size is noticed", lambda: model_of(daemon, "unmarked") == {"unmarked.bin": [300_001, "v" * 20]}, 30)
    daemon.admin.delete("unmarked")


def test_the_hub(daemon, place):
    """By its own libraries, too: what was fetched is where they look for it."""
    there = Hub(place, "org/tiny", {"config.json": b'{"model_type": "tiny"}', "model.safetensors": b"w" * 5000}, token="Bearer hf-hidden")
    env = {"HF_ENDPOINT": place.url, "HF_TOKEN": "hf-hidden"}
    daemon.admin.deploy(project("hub", there.url, {"env": env}))
    answer = daemon.admin.post("/hub", json={}).json()
    assert answer["model"] == {"config.json": [22, '{"model_type": "tiny'], "model.safetensors": [5000, "w" * 20]}
    place_of = lambda revision: str(daemon.data / f"models/pins/hub-{revision}/.hub")  # noqa: E731
    assert answer["hub"] == [place_of(1), "1"]
    hub = pathlib.Path(place_of(1)) / "models--org--tiny"
    assert (hub / "refs/main").read_text() == there.commit
    assert sorted(p.name for p in (hub / "snapshots" / there.commit).iterdir()) == ["config.json", "model.safetensors"]
    assert "hf-hidden" not in daemon.log()
    daemon.admin.deploy(project("hub", there.url, {"env": {**env, "HF_HUB_OFFLINE": "0"}}))
    assert daemon.admin.post("/hub", json={}).json()["hub"] == [place_of(2), "0"]
    daemon.admin.delete("hub")


# Tells what the hub's own libraries find by a model's name.
BY_NAME = """
import os


class PythonPredictor:
    def __init__(self, config):
        self.root = os.path.join(os.environ["HF_HUB_CACHE"], "models--org--moves")

    def predict(self, payload):
        with open(os.path.join(self.root, "refs/main")) as f:
            commit = f.read()
        with open(os.path.join(self.root, "snapshots", commit, "config.json")) as f:
            return {"commit": commit, "config": f.read(), "pid": os.getpid()}
"""


def by_name(name, url, env):
    spec = {"type": "python", "path": "predictor.py", "models": {"path": url}, "env": env}
    return {"soma.yaml": yaml_value([{"name": name, "predictor": spec}]), "predictor.py": BY_NAME}


def test_a_model_of_the_hub_is_its_pinned_version_by_name_too(daemon, place):
    """Whatever others fetch of it meanwhile, and as what revision it was asked for."""
    env = {"HF_ENDPOINT": place.url}
    tagged = Hub(place, "org/moves", {"config.json": b"{}"}, revision="v1")
    old = Hub(place, "org/moves", {"config.json": b'{"old": 1}'})
    daemon.admin.deploy(by_name("stays", "hf://org/moves", env))
    first = daemon.admin.post("/stays", json={}).json()
    assert (first["commit"], first["config"]) == (old.commit, '{"old": 1}')
    new = Hub(place, "org/moves", {"config.json": b'{"new": 2}'})
    daemon.admin.deploy(by_name("tagged", "hf://org/moves@v1", env))
    daemon.admin.deploy(by_name("newer", "hf://org/moves", env))
    assert daemon.admin.post("/newer", json={}).json()["commit"] == new.commit
    answer = daemon.admin.post("/tagged", json={}).json()
    assert (answer["commit"], answer["config"]) == (tagged.commit, "{}")
    # The next replica, too.
    os.kill(first["pid"], 9)
    wait_for("another replica is there", lambda: daemon.admin.api("stays")["restarts"] == 1 and daemon.admin.api("stays")["status"] == "live")
    again = daemon.admin.post("/stays", json={}).json()
    assert again["pid"] != first["pid"] and (again["commit"], again["config"]) == (old.commit, '{"old": 1}')
    for name in ("stays", "tagged", "newer"):
        daemon.admin.delete(name)


def test_a_signature_is_read_by_nobody(daemon, place):
    """The words of a command are every user's to read."""
    place.put("/signed.bin", b"s" * 3_000_000, rate=1_000_000)
    url = place.url + "/signed.bin?X-Amz-Signature=0hidden0"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pull = pool.submit(daemon.cli, "models", "pull", url, check=0, timeout=60)
        wait_for("it comes", lambda: len(place.requests("/signed.bin")) > 1, 20)
        words = [p.read_bytes().split(b"\0") for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
        fetching = [w for w in words if b"fetch" in w and str(daemon.data / "models").encode() in w]
        pull.result()
    assert fetching and not any(b"hidden" in word for w in fetching for word in w)
    daemon.cli("models", "rm", url, check=0)


def own_libraries(pid):
    """Those that a process has loaded which are none of the system's."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    found = {line.split(maxsplit=5)[5] for line in maps.splitlines() if ".so" in line}
    return {path for path in found if not path.startswith(("/usr/", "/lib"))}


def test_libraries_that_its_user_cannot_get_to(daemon, place):
    """What this program was built with may lie in somebody's home; a fetch has it from where all users get to."""
    if not own_libraries(daemon.daemon_pid):
        pytest.skip("all libraries are the system's")
    place.put("/slow.bin", b"s" * 3_000_000, rate=1_000_000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pull = pool.submit(daemon.cli, "models", "pull", place.url + "/slow.bin", check=0, timeout=60)
        wait_for("it comes", lambda: len(place.requests("/slow.bin")) > 1, 20)
        words = {int(p.parent.name): p.read_bytes().split(b"\0") for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists()}
        pids = [pid for pid, w in words.items() if w[1:2] == [b"fetch"] and str(daemon.data / "models").encode() in w]
        loaded = [own_libraries(pid) for pid in pids]
        pull.result()
    assert loaded and all(each and all(path.startswith(str(daemon.data / "lib")) for path in each) for each in loaded), loaded
    daemon.cli("models", "rm", place.url + "/slow.bin", check=0)


def test_what_an_endpoint_of_ones_own_says_is_for_oneself(daemon, place):
    """Under one URL and one commit: nobody gets what another's endpoint calls that."""
    good = Hub(place, "org/shared", {"config.json": b"good"})
    with Server() as other:
        Hub(other, "org/shared", {"config.json": b"evil"})
        listed = "/api/models/org/shared/revision/main"
        evil = json.loads(other.files[listed].data)
        other.put(f"/org/shared/resolve/{good.commit}/config.json", b"evil")
        other.put(listed, json.dumps({**evil, "sha": good.commit}).encode(), ranges=False)
        daemon.admin.deploy(project("evil", good.url, {"env": {"HF_ENDPOINT": other.url}}))
        daemon.admin.deploy(project("good", good.url, {"env": {"HF_ENDPOINT": place.url}}))
        assert model_of(daemon, "evil") == {"config.json": [4, "evil"]}
        assert model_of(daemon, "good") == {"config.json": [4, "good"]}
        rows = [m for m in daemon.admin.ok("GET", "/v1/models")["models"] if m["url"] == good.url]
        assert [m["state"] for m in rows] == ["ready", "ready"] and rows[0]["path"] != rows[1]["path"]
        # Each is found to be the same by the next.
        before = fetches(daemon)["ready"]
        time.sleep(1)
        assert fetches(daemon)["ready"] == before
        daemon.admin.delete("evil")
        daemon.admin.delete("good")
    daemon.cli("models", "rm", good.url, check=0)
    assert good.url not in models(daemon)


@pytest.mark.parametrize("form", ["%s", "file://%s"])
def test_in_place(daemon, form):
    folder = in_place(daemon)
    daemon.admin.deploy(project("inplace", form % folder))
    assert model_of(daemon, "inplace") == {"m.txt": [4, "mine"]}
    [shown] = daemon.admin.api("inplace")["models"]
    assert shown["path"] == str(folder)  # nothing was copied
    assert form % folder not in models(daemon)
    daemon.admin.delete("inplace")


@pytest.mark.skipif(not IS_ROOT, reason="only root has replicas of other users")
def test_in_place_where_the_replica_may_not_read(daemon):
    folder = daemon.parent / "shut"
    folder.mkdir(mode=0o700)
    end = daemon.admin.deploy_failing(project("shut", str(folder)))
    assert str(folder) in end["text"] and "chmod" in end["text"], end
    daemon.admin.delete("shut")


# --- what is wrong ------------------------------------------------------------------


@pytest.mark.parametrize("source, words", [
    ("s3://models/one/none.txt", ["predictor.multi_model_reloading.path: ", "s3://models/one/none.txt"]),
    ("s3://nowhere/m", ["nowhere"]),
    ("/no/such/folder", ["/no/such/folder is not on this machine", "put the model there"]),
    ("file:///no/such/folder", ["/no/such/folder is not on this machine"]),
])
def test_what_is_not_there(daemon, source, words):
    end = daemon.admin.deploy_failing(project("wrong", source))
    assert all(w in end["text"] for w in words), end
    api = daemon.admin.api("wrong")
    assert api["status"] == "error" and words[-1] in api["message"]
    error = error_of(daemon.admin.post("/wrong", json={}), 503, "unavailable")
    assert words[0] in error["message"] + error.get("cause", "")
    shown = daemon.cli("get", "wrong", check=0)
    shown.says(words[-1])
    daemon.admin.delete("wrong")


def test_a_secret_that_is_missing_in_env_is_no_model(daemon):
    daemon.cli("secret", "set", "bad-key", stdin="not-the-one", check=0)
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_SECRET_ACCESS_KEY": {"from_secret": "bad-key"}}
    end = daemon.admin.deploy_failing(project("secretive", "s3://models/one/m.txt", {"env": env}), timeout=120)
    assert "127.0.0.1:9" in end["text"]
    assert "not-the-one" not in daemon.log() and "s3cret-key" not in daemon.log()
    assert not any("not-the-one" in json.dumps(e) for e in daemon.admin.events("secretive"))
    daemon.admin.delete("secretive")


def test_the_older_revision_goes_on(daemon):
    daemon.admin.deploy(project("steady", "s3://models/one/m.txt"))
    daemon.admin.deploy_failing(project("steady", "s3://models/one/none.txt"))
    assert model_of(daemon, "steady") == {"m.txt": [3, "one"]}
    # A deploy of what is right is live again.
    daemon.admin.deploy(project("steady", "s3://models/net/1"))
    assert model_of(daemon, "steady") == {"a.txt": [5, "first"]}
    daemon.admin.delete("steady")


def test_a_source_that_comes_back(daemon, place):
    """The rollout has failed, and goes on trying."""
    file = place.put("/m.bin", b"here", status=503)
    end = daemon.admin.deploy_failing(project("patient", place.url + "/m.bin"), timeout=200)
    assert "predictor.multi_model_reloading.path" in end["text"]
    assert any(e["type"] == "model_failed" and "trying again in" in e["text"] for e in daemon.admin.events("patient"))
    file.status = 200
    daemon.admin.wait_live("patient", 120)
    assert model_of(daemon, "patient") == {"m.bin": [4, "here"]}
    daemon.admin.delete("patient")


# --- on its way -----------------------------------------------------------------------


def test_progress(daemon, place):
    size = 4 << 20
    file = place.put("/big.bin", b"b" * size, rate=400_000)
    answer = daemon.admin.send(project("slow", place.url + "/big.bin", on_cold="retry"))
    assert answer.status_code == 200, answer.text

    def under_way():
        [shown] = daemon.admin.api("slow")["models"] or [None]
        return shown if shown["state"] == "fetching" and 0 < shown["bytes_done"] < size else None

    shown = wait_for("the model is on its way", under_way, 30)
    assert shown["bytes_total"] == size and shown["bytes_per_s"] > 0 and shown["eta_s"] > 0
    waits = daemon.admin.post("/slow", json={})
    assert waits.status_code == 503, waits.text
    loading = waits.json()["loading"]
    assert loading["stage"] == "models" and 0 < loading["bytes_done"] < loading["bytes_total"] == size
    assert loading["eta_s"] > 0 and int(waits.headers["Retry-After"]) >= 1
    daemon.cli("get", "slow", check=0).says("fetching", "4.0 MiB")
    file.rate = None
    daemon.admin.wait_live("slow")
    assert model_of(daemon, "slow") == {"big.bin": [size, "b" * 20]}
    assert len([e for e in daemon.admin.events("slow") if e["type"] == "model_fetching"]) >= 2
    daemon.admin.delete("slow")


def test_two_apis_fetch_once(daemon, place):
    place.put("/shared.bin", b"s" * (1 << 20), rate=1_000_000)
    for name in ("twin-a", "twin-b"):
        assert daemon.admin.send(project(name, place.url + "/shared.bin")).status_code == 200
    for name in ("twin-a", "twin-b"):
        daemon.admin.wait_live(name)
        assert model_of(daemon, name) == {"shared.bin": [1 << 20, "s" * 20]}
    assert place.sent < 1.5 * (1 << 20), "the same bytes came twice"
    used = models(daemon)[place.url + "/shared.bin"]["used_by"]
    assert sorted(u["api"] for u in used) == ["twin-a", "twin-b"]
    assert daemon.admin.api("twin-a")["models"][0]["path"] == daemon.admin.api("twin-b")["models"][0]["path"]
    for name in ("twin-a", "twin-b"):
        daemon.admin.delete(name)


def test_an_api_that_is_deleted_meanwhile(daemon, place):
    place.put("/late.bin", b"l" * (2 << 20), rate=100_000)
    assert daemon.admin.send(project("brief", place.url + "/late.bin")).status_code == 200
    wait_for("its fetch has begun", lambda: place.sent > 0, 30)
    daemon.admin.delete("brief")
    wait_for("nothing fetches any more", lambda: place.url + "/late.bin" not in models(daemon), 30)


# --- after a restart -------------------------------------------------------------------


def test_a_daemon_that_comes_back_fetches_nothing(own_daemon):
    with Server() as place:
        place.put("/kept.bin", b"kept")
        own_daemon.admin.deploy(project("kept", place.url + "/kept.bin"))
        own_daemon.stop()
    own_daemon.start()
    own_daemon.admin.wait_live("kept")
    assert model_of(own_daemon, "kept") == {"kept.bin": [4, "kept"]}
    assert fetches(own_daemon) == {"ready": 0, "same": 0, "failed": 0}


# --- the store ----------------------------------------------------------------------------


def test_what_is_in_use_stays(daemon):
    url = "s3://models/net"
    daemon.admin.deploy(project("user", url))
    answer = daemon.admin.call("DELETE", "/v1/models", params={"url": url})
    error = error_of(answer, 409, "conflict")
    assert "user (revision 1)" in error["message"]
    tree = pathlib.Path(daemon.admin.api("user")["models"][0]["path"])
    daemon.admin.ok("POST", "/v1/models/gc")
    assert tree.is_dir() and model_of(daemon, "user")
    daemon.admin.delete("user")
    daemon.cli("models", "rm", url, check=0).says("removed a model of")
    wait_for("its tree is gone", lambda: not tree.exists(), 20)
    assert url not in models(daemon)


def test_a_bound_on_the_store(moto, bucket, place):
    for name in ("a", "b", "c"):
        place.put(f"/{name}.bin", name.encode() * 1_000_000)
    with Daemon(args=["--models-size", "2200Ki"]) as d:
        d.admin.deploy(project("holder", place.url + "/a.bin"))
        d.cli("models", "pull", place.url + "/b.bin", check=0, timeout=60)
        time.sleep(1.1)  # "used" is kept in seconds
        d.cli("models", "pull", place.url + "/c.bin", check=0, timeout=60)
        wait_for("the one that was used longest ago and that nobody has went", lambda: sorted(u[-5:] for u in models(d)) == ["a.bin", "c.bin"], 20)
        assert model_of(d, "holder")
        assert d.cli("models", "df", check=0).out.count("limit") == 1


def test_the_command(daemon, place):
    place.put("/m.bin", b"m" * 100_000)
    url = place.url + "/m.bin"
    daemon.cli("models", "list", check=0)
    pulled = daemon.cli("models", "pull", url, check=0, timeout=60)
    pulled.says(url + " is there: 98 KiB in 1 file")
    assert json.loads(daemon.cli("models", "pull", url, "-o", "json", check=0).out)["state"] == "ready"
    daemon.cli("models", "list", check=0).says("model", "used by", url)
    listed = json.loads(daemon.cli("models", "list", "-o", "json", check=0).out)["models"]
    [row] = [m for m in listed if m["url"] == url]
    assert (row["bytes"], row["n_files"], row["state"], row["used_by"]) == (100_000, 1, "ready", [])
    daemon.cli("models", "info", url, check=0).says("m.bin", "98 KiB", row["path"])
    info = json.loads(daemon.cli("models", "info", url, "-o", "json", check=0).out)
    assert [f["path"] for f in info["files"]] == ["m.bin"] and len(info["files"][0]["sha256"]) == 64
    daemon.cli("models", "verify", url, check=0).says("whole, 98 KiB")
    daemon.cli("models", "df", check=0).says("in use", "free")
    wait_for("the disk was looked at", lambda: json.loads(daemon.cli("models", "df", "-o", "json", check=0).out)["bytes"] >= 100_000)
    daemon.cli("models", "rm", url, check=0)
    daemon.cli("models", "gc", check=0).says("freed")
    daemon.cli("models", "info", url, check=4).says("there is no model", "soma models list")


def test_what_a_url_has_in_secret_is_not_shown(daemon, place):
    for word in ("a:hunter2@", "hunter2@"):
        url = place.url.replace("//", "//" + word) + "/m.bin"
        refused = daemon.cli("models", "pull", url, check=None)
        assert refused.code != 0 and "hunter2" not in refused.text
        refused.says("a user or a password in it", "signed")
    place.put("/sig.bin", b"s" * 1000)
    url = place.url + "/sig.bin?X-Signature=hunter2"
    whole = daemon.cli("models", "pull", url, check=0, timeout=60)
    told = [whole] + [daemon.cli("models", *words, check=0) for words in (["list"], ["info", url], ["verify", url])]
    daemon.admin.deploy(project("signed", url))
    for one in [*told, daemon.cli("get", "signed", check=0)]:
        assert "hunter2" not in one.text
    for one in told:
        one.says("/sig.bin?...")
    place.files["/sig.bin"].status = 503
    daemon.admin.send(project("signed", url + "2", on_cold="retry"))
    wait_for("its trouble is shown", lambda: "/sig.bin?...: " in daemon.cli("get", "signed", check=0).text, 30)
    assert "hunter2" not in daemon.cli("get", "signed", check=0).text + daemon.log()
    daemon.admin.delete("signed")


def test_a_file_that_has_changed_on_the_disk(daemon, place):
    place.put("/rot.bin", b"r" * 50_000)
    url = place.url + "/rot.bin"
    daemon.cli("models", "pull", url, check=0)
    [file] = pathlib.Path(models(daemon)[url]["path"]).iterdir()
    if not IS_ROOT:
        file.chmod(0o644)
    with open(file, "r+b") as f:
        f.write(b"x")
    if not IS_ROOT:
        file.chmod(0o444)
    daemon.cli("models", "verify", url, check=1).says("rot.bin", "soma models pull")
    daemon.cli("models", "pull", url, check=0)
    daemon.cli("models", "verify", url, check=0).says("whole")
    daemon.cli("models", "rm", url, check=0)


@pytest.mark.skipif(not IS_ROOT, reason="users of their own take root")
def test_who_writes_the_models(daemon, place):
    """Fetches have a user of their own, and only what they write is that user's."""
    place.put("/who.bin", b"x" * 100_000)
    url = place.url + "/who.bin"
    daemon.cli("models", "pull", url)
    models = daemon.data / "models"
    owners = {name: (models / name).lstat().st_uid for name in (".", "pins", "files", "trees", "refs", "parts", ".lock")}
    assert owners == {".": 0, "pins": 0, "files": 61182, "trees": 61182, "refs": 61182, "parts": 61182, ".lock": 61182}
    assert {path.stat().st_uid for folder in ("files", "trees", "refs") for path in (models / folder).rglob("*")} == {61182}


@pytest.mark.skipif(not IS_ROOT, reason="users of their own take root")
def test_the_daemon_follows_no_planted_link(daemon, place, tmp_path):
    """What the user who fetches could plant there leads the daemon, which is root, nowhere."""
    place.put("/plant.bin", b"p" * 50_000)
    url = place.url + "/plant.bin"
    daemon.cli("models", "pull", url)
    models, key = daemon.data / "models", hashlib.sha256(url.encode()).hexdigest()
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    ref = secret / "ref.json"
    ref.write_text((models / "refs" / f"{key}.json").read_text())
    ref.chmod(0o600)
    before = ref.read_text(), ref.stat().st_uid
    (secret / ("0" * 62)).write_text("a file whose name is a sum's")
    (models / "refs" / f"{key}.json").unlink()
    for link, to in ((f"refs/{key}.json", ref), ("files/fe", secret), (f"parts/{key}", secret), ("trees/" + "ab" * 32, secret)):
        (models / link).symlink_to(to)
        os.lchown(models / link, 61182, 61182)
    daemon.cli("models", "info", url, check=4).says("there is no model")
    daemon.cli("models", "gc")
    assert sorted(path.name for path in secret.iterdir()) == ["0" * 62, "ref.json"]
    assert (ref.read_text(), ref.stat().st_uid) == before and ref.stat().st_mode & 0o777 == 0o600
    daemon.cli("models", "pull", url, check=1).says("cannot write")
    for link in ("files/fe", f"parts/{key}"):
        (models / link).unlink()
    daemon.cli("models", "pull", url, check=0)
    daemon.cli("models", "verify", url, check=0).says("whole")
    assert not (models / "refs" / f"{key}.json").is_symlink() and (ref.read_text(), ref.stat().st_uid) == before


def test_verify_tells_how_far_it_is(daemon, place):
    place.put("/long.bin", os.urandom(1 << 20) * 400)
    url = place.url + "/long.bin"
    daemon.cli("models", "pull", url)
    answer = daemon.admin.call("POST", "/v1/models/verify?progress=true", json={"url": url})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.status_code == 200 and lines[-1] == {"state": "verified", "models": [{"url": url, "bytes": 400 << 20, "bad": None}], "whole": True}
    told = lines[:-1]
    assert told and all(line["state"] == "verifying" and line["total"] == 400 << 20 for line in told)
    assert [line["done"] for line in told] == sorted(line["done"] for line in told)
    daemon.cli("models", "verify", url, check=0).says("whole, 400 MiB")
    daemon.cli("models", "rm", url)


def first_line(daemon, url):
    """Of a verify that goes on, and its connection, which ends with `lines`."""
    answer = requests.post(daemon.admin.url + "/v1/models/verify?progress=true", json={"url": url}, headers=dict(daemon.admin.http.headers), stream=True, timeout=30)
    lines = answer.iter_lines()
    return lines, json.loads(next(lines))


def test_verify_ends_with_its_client_and_with_the_daemon(place):
    place.put("/endless.bin", b"e" * 1000)
    place.put("/small.bin", b"s" * 1000)
    url, small = place.url + "/endless.bin", place.url + "/small.bin"
    with Daemon() as d:
        d.cli("models", "pull", url, check=0)
        d.cli("models", "pull", small, check=0)
        # What would take minutes to read takes no disk: zeros that nobody wrote.
        [file] = pathlib.Path(models(d)[url]["path"]).iterdir()
        file.chmod(0o644)
        os.truncate(file, 1 << 40)
        file.chmod(0o444)
        lines, line = first_line(d, url)
        assert line["state"] == "verifying"
        error_of(d.admin.call("POST", "/v1/models/verify", json={"url": small}), 409, "busy")
        lines.close()
        wait_for("its work ends with it", lambda: d.admin.call("POST", "/v1/models/verify", json={"url": small}).status_code == 200, 20)
        lines, line = first_line(d, url)
        began = time.monotonic()
        d.stop()
        assert time.monotonic() - began < seconds(20)
        lines.close()


@pytest.mark.parametrize("args, code, words", [
    (["pull"], 2, ["a URL is missing"]), (["nope"], 2, ["usage: soma models list"]), (["list", "x"], 2, ["'x' is too much"]),
    (["pull", "ftp://host/x"], 1, ["ftp://host/x", "s3://BUCKET/KEY"]), (["rm", "s3://models/never"], 4, ["there is no model"]),
    (["pull", "s3://models/one/none.txt"], 1, ["s3://models/one/none.txt"]),
])
def test_what_the_command_refuses(daemon, args, code, words):
    daemon.cli("models", *args, check=code, timeout=120).says(*words)


def test_metrics(daemon, place):
    place.put("/count.bin", b"c" * 10_000)
    url = place.url + "/count.bin"
    before = fetches(daemon)
    daemon.cli("models", "pull", url, check=0)
    daemon.cli("models", "pull", url, check=0)
    daemon.cli("models", "pull", place.url + "/none.bin", check=1, timeout=120)
    after = fetches(daemon)
    assert {k: after[k] - before[k] for k in after} == {"ready": 1, "same": 1, "failed": 1}

    def bytes_shown():
        lines = daemon.admin.call("GET", "/metrics").text.splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("soma_model_bytes ")))

    wait_for("the disk was looked at", lambda: bytes_shown() >= 10_000)
    daemon.cli("models", "rm", url, check=0)

"""`soma fetch` from the hub."""
import hashlib
import json
import os
import pathlib
import urllib.parse

import pytest

from soma.shelves import MIB
from soma.sources import Hub, noise, sha256


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

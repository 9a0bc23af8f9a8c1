"""The test hub: its files are what they say, whatever range of them is asked for; and its models are of their true size."""
import array
import hashlib
import json
import os
import pickle
import statistics
import subprocess
import sys
import zipfile
import zlib

import boto3
import pytest
import requests
from botocore.config import Config

from test_tree import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from hub import archive, families, made, serve  # noqa: E402

IDS = ["openai-community/gpt2-xl", "facebook/blenderbot-3B", "FacebookAI/roberta-large", "google-t5/t5-3b", "google-t5/t5-11b"]


@pytest.fixture(scope="module")
def values():
    return made.Values()


@pytest.fixture(scope="module")
def true_models():
    return {model.id: model for model in families.all_models("full")}


def started(*command):
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True)
    return process, json.loads(process.stdout.readline())["url"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    process, url = started("hub.serve", "--scale", "tiny", "--cache", tmp_path_factory.mktemp("hub"), "--shard", "1M")
    yield url
    process.kill()
    process.wait()


def info(hub, id, revision=None):
    answer = requests.get(f"{hub}/api/models/{id}{'/revision/' + revision if revision else ''}?blobs=true", timeout=60)
    assert answer.status_code == 200
    return answer.json()


class ReadAt:
    """A file of made.py as Python reads files."""

    def __init__(self, file):
        self.file, self.at = file, 0

    def seekable(self):
        return True

    def seek(self, at, whence=os.SEEK_SET):
        self.at = at + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.file.size}[whence]
        return self.at

    def tell(self):
        return self.at

    def read(self, n=-1):
        end = self.file.size if n < 0 else min(self.file.size, self.at + n)
        data = self.file.read(self.at, end)
        self.at = end
        return data


# --- the models --------------------------------------------------------------


def test_they_have_as_many_parameters_as_the_true_ones(true_models):
    """And what their files have beside: the masks of one, and of T5 a table that is never used."""
    counts = {"openai-community/gpt2-xl": 1_557_611_200 + 48 * 1024 * 1024, "facebook/blenderbot-3B": 2_696_268_800 + 8008,
              "FacebookAI/roberta-large": 355_412_057, "google-t5/t5-3b": 2_851_598_336 + 32 * 32, "google-t5/t5-11b": 11_307_321_344 + 32 * 128}
    assert {id: model.parameters() for id, model in true_models.items()} == counts
    assert list(counts) == IDS == list(true_models)


def test_tiny_ones_have_the_same_layout(true_models):
    """The same names but for the number of layers, and types."""
    def pattern(model):
        return {(".".join("N" if part.isdigit() else part for part in t.name.split(".")), t.dtype, len(t.shape), t.kind) for t in model.tensors}
    for model in families.all_models("tiny"):
        assert pattern(model) == pattern(true_models[model.id])
        assert sum(map(families.size, model.tensors)) < 8 << 20
        assert model.config.keys() == true_models[model.id].config.keys()


# --- bytes -------------------------------------------------------------------


def test_values_are_small_and_each_tensors_own(values):
    kinds = {"small": (0, 0.02), "one": (1, 0.02), "unit": (0, 1)}
    for kind, (mean, deviation) in kinds.items():
        seen = []
        for name in ("a.weight", "b.weight"):
            file = made.File(name)
            file.tensor(families.Tensor(name, "F32", (300, 300), kind), values)
            seen.append(array.array("f", file.done().read()))
        assert seen[0] != seen[1]
        for row in seen:
            assert statistics.fmean(row) == pytest.approx(mean, abs=deviation / 50)
            assert statistics.pstdev(row) == pytest.approx(deviation, rel=0.02)


def test_sixteen_bits_are_the_same_kind_of_values(values):
    file = made.File("a")
    file.tensor(families.Tensor("a", "F16", (200, 200), "one"), values)
    bits = array.array("H", file.done().read())
    assert min(bits) > 0x3b00 and max(bits) < 0x3c80  # from 0.875 to 1.125


def test_bytes_are_the_same_however_a_file_is_cut(values):
    """Beyond the end of what repeats, too."""
    tensors = [families.Tensor("large", "F32", (3, 1 << 21), "small"), families.Tensor("mask", "F32", (1, 1, 40, 40), "mask"),
               families.Tensor("ids", "I64", (1, 50), "range"), families.Tensor("none", "F16", (70,), "zero")]
    file = made.torch_archive("weights.bin", tensors, values)
    whole = file.read()
    assert len(whole) == file.size > 24 << 20
    for begin, end in [(0, 1), (1, 100), (16777000, 16778000), (5, 20 << 20), (file.size - 7, file.size), (file.size, file.size)]:
        assert file.read(begin, end) == whole[begin:end]
    assert file.sha256() == hashlib.sha256(whole).hexdigest()
    assert made.torch_archive("weights.bin", tensors, made.Values(values.period)).identity == file.identity
    assert made.torch_archive("weights.bin", tensors[1:], values).identity != file.identity


def test_a_mask_and_positions(values):
    file = made.File("a")
    file.tensor(families.Tensor("a", "F32", (1, 1, 3, 3), "mask"), values)
    file.tensor(families.Tensor("b", "I64", (1, 4), "range"), values)
    data = file.done().read()
    assert list(array.array("f", data[:36])) == [1, 0, 0, 1, 1, 0, 1, 1, 1] and list(array.array("q", data[36:])) == [0, 1, 2, 3]


def test_checksums_from_those_of_what_repeats(values):
    tensor = families.Tensor("large", "F32", (3, 1 << 21), "small")
    file = made.File("a")
    file.tensor(tensor, values)
    assert made.checksum(tensor, values) == zlib.crc32(file.done().read())
    a, b = b"The quick brown fox ", b"jumps over the lazy dog"
    assert archive.shift_checksum(zlib.crc32(a), len(b)) ^ zlib.crc32(b) == zlib.crc32(a + b)


# --- formats -----------------------------------------------------------------


def test_a_safetensors_file_of_true_size(true_models, values):
    model = true_models["openai-community/gpt2-xl"]
    file = made.safetensors("model.safetensors", model.tensors, values)
    n = int.from_bytes(file.read(0, 8), "little")
    head = json.loads(file.read(8, 8 + n))
    assert head.pop("__metadata__") == {"format": "pt"} and n % 8 == 0
    assert head["h.47.attn.c_attn.weight"]["shape"] == [1600, 4800] and head["h.0.attn.bias"]["dtype"] == "F32"
    at = 0
    for told in head.values():
        assert told["data_offsets"][0] == at
        at = told["data_offsets"][1]
    assert file.size == 8 + n + at and 6.42e9 < file.size < 6.44e9


@pytest.mark.parametrize("id, size", [("facebook/blenderbot-3B", 5.39e9), ("google-t5/t5-11b", 45.2e9)])
def test_an_archive_of_true_size(true_models, values, id, size):
    """Its last records lie behind four gigabytes, and are found."""
    model = true_models[id]
    file = made.torch_archive("pytorch_model.bin", model.tensors, values, model.tied)
    assert file.size == pytest.approx(size, rel=0.005)
    with zipfile.ZipFile(ReadAt(file)) as z:
        records = {r.filename.partition("/")[2]: r for r in z.infolist()}
        assert len(records) == len(model.tensors) + 4 and all(r.filename.startswith("pytorch_model/") for r in z.infolist())
        last = records[f"data/{len(model.tensors) - 1}"]
        assert last.header_offset > 4 << 30
        for name in (last.filename, "pytorch_model/version", "pytorch_model/byteorder"):
            assert len(z.read(name)) == z.getinfo(name).file_size  # and its checksum is right
        heads = [file.read(r.header_offset, r.header_offset + 30) for r in records.values()]
        begins = [r.header_offset + 30 + int.from_bytes(h[26:28], "little") + int.from_bytes(h[28:30], "little") for r, h in zip(records.values(), heads)]
        assert all(begin % archive.ALIGNMENT == 0 for begin in begins)


class Known(pickle.Unpickler):
    """Tensors as what they are made of."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return super().find_class(module, name)
        assert (module, name) in {("torch._utils", "_rebuild_tensor_v2"), ("torch", "FloatStorage"), ("torch", "HalfStorage"), ("torch", "LongStorage")}
        return (lambda *made_of: made_of) if name.startswith("_") else name

    def persistent_load(self, told):
        return told


def test_the_pickle_in_an_archive(values):
    model = next(m for m in families.all_models("tiny") if m.id == "facebook/blenderbot-3B")
    file = made.torch_archive("pytorch_model.bin", model.tensors, values, model.tied)
    with zipfile.ZipFile(ReadAt(file)) as z:
        assert z.testzip() is None
        with z.open("pytorch_model/data.pkl") as f:
            state = Known(f).load()
        storages = {n: z.getinfo(f"pytorch_model/data/{n}").file_size for n in range(len(model.tensors))}
    assert list(state) == [t.name for t in model.tensors] + list(model.tied)
    for key, t in enumerate(model.tensors):
        storage, offset, shape, strides, grad, hooks = state[t.name]
        assert storage == ("storage", "HalfStorage", str(key), "cpu", families.count(t.shape)) and offset == 0 and shape == t.shape and not grad and not hooks
        assert len(strides) == len(shape) and strides[-1] == 1 and storages[key] == families.size(t)
    assert state["lm_head.weight"][0] == state["model.shared.weight"][0]
    assert state._metadata["model.decoder"] == {"version": 1}


# --- the protocol ------------------------------------------------------------


@pytest.mark.parametrize("id", IDS)
def test_files_are_what_the_list_says(hub, id):
    told = info(hub, id)
    assert told == info(hub, id, "main") == info(hub, id, told["sha"])
    weights = [s for s in told["siblings"] if "sha256" in s.get("lfs", {})]
    assert weights
    for sibling in told["siblings"]:
        url = f"{hub}/{id}/resolve/{told['sha']}/{sibling['rfilename']}"
        data = requests.get(url, timeout=60)
        assert data.status_code == 200 and len(data.content) == sibling["size"]
        assert [step.status_code for step in data.history] == [302 if "lfs" in sibling else 307]
        if sibling in weights:
            assert hashlib.sha256(data.content).hexdigest() == sibling["lfs"]["sha256"] == data.headers["ETag"].strip('"')
        cut = requests.get(url, headers={"Range": f"bytes=10-{sibling['size'] // 2}"}, timeout=60)
        assert cut.status_code == 206 and cut.content == data.content[10:sibling["size"] // 2 + 1]
        assert cut.headers["Content-Range"] == f"bytes 10-{sibling['size'] // 2}/{sibling['size']}"


def test_what_a_head_says(hub):
    id = "openai-community/gpt2-xl"
    told = info(hub, id)
    large = next(s for s in told["siblings"] if s["rfilename"].endswith(".safetensors"))
    head = requests.head(f"{hub}/{id}/resolve/main/{large['rfilename']}", timeout=60)
    assert head.status_code == 302 and head.headers["X-Repo-Commit"] == told["sha"]
    assert head.headers["X-Linked-ETag"].strip('"') == large["lfs"]["sha256"] and int(head.headers["X-Linked-Size"]) == large["size"]
    followed = requests.head(head.headers["Location"], timeout=60)
    assert followed.status_code == 200 and int(followed.headers["Content-Length"]) == large["size"] and followed.headers["Accept-Ranges"] == "bytes"
    small = requests.head(f"{hub}/{id}/resolve/main/config.json", timeout=60)
    assert small.status_code == 307 and small.headers["ETag"] and small.headers["X-Repo-Commit"] == told["sha"]
    assert small.headers["Location"].startswith("/")  # on the same host
    followed = requests.head(hub + small.headers["Location"], timeout=60)
    assert followed.status_code == 200 and followed.headers["ETag"] == small.headers["ETag"] and followed.headers["X-Repo-Commit"] == told["sha"]


def test_an_index_of_what_is_cut(hub):
    base = f"{hub}/openai-community/gpt2-xl/resolve/main"
    index = requests.get(f"{base}/model.safetensors.index.json", timeout=60).json()
    total = 0
    for name in set(index["weight_map"].values()):
        data = requests.get(f"{base}/{name}", timeout=60).content
        n = int.from_bytes(data[:8], "little")
        head = json.loads(data[8:8 + n])
        head.pop("__metadata__")
        assert set(head) == {key for key, file in index["weight_map"].items() if file == name}
        total += len(data) - 8 - n
    assert total == index["metadata"]["total_size"] and len(set(index["weight_map"].values())) > 1


@pytest.mark.parametrize("path, status, code", [
    ("api/models/nobody/nothing", 401, "RepoNotFound"), ("nobody/nothing/resolve/main/config.json", 401, "RepoNotFound"),
    ("api/models/google-t5/t5-3b/revision/v9", 404, "RevisionNotFound"), ("google-t5/t5-3b/resolve/main/none.json", 404, "EntryNotFound")])
def test_what_is_not_there(hub, path, status, code):
    answer = requests.get(f"{hub}/{path}", timeout=60)
    assert answer.status_code == status and answer.headers["X-Error-Code"] == code and answer.json()["error"]


def test_conditions(hub):
    url = f"{hub}/google-t5/t5-3b/resolve/main/config.json"
    etag = requests.head(url, timeout=60).headers["ETag"]
    assert requests.get(url, headers={"If-Match": etag}, timeout=60).status_code == 200
    assert requests.get(url, headers={"If-Match": '"other"'}, timeout=60).status_code == 412
    assert requests.get(url, headers={"If-None-Match": etag}, timeout=60).status_code == 304
    assert requests.get(url, headers={"Range": "bytes=9000000-"}, timeout=60).status_code == 416
    assert requests.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'}, timeout=60).status_code == 200


def test_ranges():
    assert serve.parse_range("bytes=0-9", 100) == (0, 10) and serve.parse_range("bytes=90-", 100) == (90, 100)
    assert serve.parse_range("bytes=-10", 100) == (90, 100) and serve.parse_range("bytes=95-200", 100) == (95, 100)
    for wrong in ("bytes=", "bytes=-", "bytes=100-", "bytes=5-4", "bytes=0-1,3-4", "rows=1-2"):
        with pytest.raises(serve.BadRange):
            serve.parse_range(wrong, 100)


def test_an_object_by_s3_and_http():
    process, url = started("hub.objects", "--size", "1M", "--sha256")
    try:
        s3 = boto3.client("s3", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1",
                          config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
        (listed,) = s3.list_objects_v2(Bucket="models", Prefix="4g/")["Contents"]
        body = s3.get_object(Bucket="models", Key=listed["Key"])["Body"].read()
        assert len(body) == listed["Size"] > 1 << 20
        assert body == requests.get(f"{url}/models/{listed['Key']}", timeout=60).content
        assert s3.get_object(Bucket="models", Key=listed["Key"], Range="bytes=100-199")["Body"].read() == body[100:200]
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchKey"):
            s3.get_object(Bucket="models", Key="4g/none")
    finally:
        process.kill()
        process.wait()

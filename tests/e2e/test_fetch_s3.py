"""`soma fetch` from S3 and Google."""
import hashlib
import os
import pathlib
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from soma import sources
from soma.buckets import s3_server
from soma.shelves import KEYS, MIB, Shelf
from soma.sources import noise


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

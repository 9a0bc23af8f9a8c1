"""Request bodies in a Content-Encoding."""
import gzip
import json
import zlib

import pytest

BODY = json.dumps({"x": [[1, 2], [3, 4]], "s": "words " * 100}).encode()


@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
def test_packed_inputs(serve, coding, pack):
    host = serve()
    plain = host.request(body=BODY)
    assert plain.status == 200
    assert host.request(body=pack(BODY), headers={"content-encoding": coding}).json() == plain.json()


@pytest.mark.parametrize("coding, body, status, code, words", [
    ("gzip", b"{}", 400, "invalid", "the body is not valid gzip: incorrect header check"),
    ("gzip", gzip.compress(BODY, mtime=0)[:-3], 400, "invalid", "the gzip body ends too early"),
    ("gzip", gzip.compress(b"{", mtime=0), 400, "invalid", "the body is not JSON"),
    ("br", b"{}", 415, "unsupported_encoding", "Content-Encoding 'br' is not one that is unpacked here"),
    ("gzip", gzip.compress(bytes(200 << 20), mtime=0), 413, "too_large", "the gzip body unpacks to more than 64 MiB"),
])
def test_what_is_wrong_is_said(serve, coding, body, status, code, words):
    host = serve()
    answer = host.request(body=body, headers={"content-encoding": coding})
    assert answer.status == status and answer.error["code"] == code
    assert words in answer.error["message"]
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert host.request(body=gzip.compress(BODY), headers={"content-encoding": "gzip"}).status == 200

"""Requests: what predict is given."""
import gzip
import zlib

import pytest

ECHO = """
    class PythonPredictor:
        def predict(self, payload, query_params, headers):
            return {"type": type(payload).__name__, "payload": payload if not isinstance(payload, bytes) else payload.hex(),
                    "query": dict(query_params), "all": query_params.getlist("a"), "headers": dict(headers)}
"""


@pytest.fixture(scope="module")
def echo():
    from harness import Worker

    with Worker(ECHO) as w:
        yield w.ready()


@pytest.mark.parametrize("content_type, body, kind, payload", [
    ("application/json", b'{"a": [1, 2.5, null, true, "\\u00e4\\ud83d\\ude00"]}', "dict", {"a": [1, 2.5, None, True, "ä😀"]}),
    ("Application/JSON; charset=utf-8", b" 3 ", "int", 3),
    ("text/plain", "ä".encode(), "str", "ä"),
    ("text/plain; charset=latin-1", b"\xe4", "str", "ä"),
    ('text/plain; charset="UTF-16"', "ä".encode("utf-16"), "str", "ä"),
    ("text/plain", b"", "str", ""),
    ("application/octet-stream", b"\x00\xff", "bytes", "00ff"),
    ("application/vnd.api+json", b"{}", "bytes", "7b7d"),
    (None, b"abc", "bytes", "616263"),
    (None, b"", "bytes", ""),
])
def test_payload_by_content_type(echo, content_type, body, kind, payload):
    got = echo.request(body=body, headers={"content-type": content_type} if content_type else {}).json()
    assert (got["type"], got["payload"]) == (kind, payload)


@pytest.mark.parametrize("content_type, body, message", [
    ("text/plain", b"\xff", "request body is not text: 'utf-8' codec can't decode"),
    ("text/plain; charset=klingon", b"x", "unknown encoding: klingon"),
    ("text/plain; charset=Punycode-", b"x-y", "unknown encoding: Punycode-"),
    ("application/json", b"", "request body is not valid JSON: it is empty"),
    ("multipart/form-data", b"x", "request body is not a form: the content type names no boundary"),
    ("multipart/form-data; boundary=b", b"x", "does not end in its boundary --b--"),
    ("application/x-www-form-urlencoded", b"a=\xff", "request body is not a form"),
])
def test_bad_payload(echo, content_type, body, message):
    answer = echo.request(body=body, headers={"content-type": content_type, "x-request-id": "r9"})
    assert answer.status == 400
    assert answer.error["code"] == "invalid" and answer.error["request_id"] == "r9"
    assert message in answer.error["message"]


def test_payload_is_parsed_only_if_wanted(serve):
    w = serve("class PythonPredictor:\n  def predict(self): return 1\n")
    assert w.predict(raw="{").json() == 1


def test_query_and_headers(echo):
    got = echo.request(body=b"", path="/any?a=1&a=2&b=%C3%A4+x&c", headers={"X-Mine": "q", "X-Request-Id": "r1"}).json()
    assert got["query"] == {"a": "2", "b": "ä x", "c": ""} and got["all"] == ["1", "2"]
    assert got["headers"]["x-mine"] == "q" and got["headers"]["x-request-id"] == "r1"
    made = echo.request(body=b"").json()["headers"]["x-request-id"]
    assert len(made) == 16


def test_headers_are_caseless(serve):
    w = serve("""
        class PythonPredictor:
            def predict(self, headers, query_params):
                return [headers["x-A"], headers.get("nope", 4), "X-a" in headers, headers.getlist("X-A"), len(query_params),
                        ("x-a", "2") in headers.items(), query_params.get("z")]
    """)
    raw = w.raw(b"POST / HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    assert raw.endswith(b'["1",4,true,["1","2"],0,true,null]')


# --- HTTP ----------------------------------------------------------------------


def test_other_methods(echo):
    get = echo.request("GET")
    assert get.status == 200 and get.json() == {"message": "make a prediction by sending a post request to this endpoint with a json payload"}
    head = echo.request("HEAD")
    assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) == len(get.body)
    options = echo.request("OPTIONS")
    assert options.status == 204 and options.body == b"" and "content-length" not in options.headers
    assert "POST" in options.headers["allow"] and "access-control-allow-origin" not in options.headers
    for method in ("PUT", "DELETE", "PATCH"):
        answer = echo.request(method, body=b"x")
        assert answer.status == 405 and "POST" in answer.headers["allow"] and answer.error["code"] == "method_not_allowed"


def test_keep_alive_and_close(echo):
    c = echo.connect()
    for i in range(5):
        assert echo.predict(i, connection=c).json()["payload"] == i
    raw = echo.raw(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx")
    assert b"\r\nconnection: close\r\n" in raw
    assert b"connection: close" in echo.raw(b"GET / HTTP/1.0\r\n\r\n")


def test_chunked_and_piecemeal(echo):
    def pieces():
        yield b"[1,"
        yield b"2]"

    assert echo.request(body=pieces(), headers={"content-type": "application/json"}).json()["payload"] == [1, 2]
    data = b"POST /?a=9 HTTP/1.1\r\nHost: x\r\nX-Long: " + b"v" * 300 + b"\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n[1,2,3]"
    c = echo.connect()
    c.connect()
    for i in range(len(data)):
        c.sock.send(data[i : i + 1])
    assert b'"x-long":"' + b"v" * 300 + b'"' in c.sock.recv(4096)


def test_pipelining(echo):
    one = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    data = b"".join(one % (len(b"%d" % i), b"%d" % i) for i in range(1000)) + b"GET / HTTP/1.1\r\n\r\n" * 500
    raw = echo.raw(data)
    assert [int(p.split(b",")[0].rstrip(b"}")) for p in raw.split(b'"payload":')[1:]] == list(range(1000))
    assert raw.count(b"make a prediction") == 500


def test_half_closed_client_is_answered(echo):
    raw = echo.raw(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx", shut=True)
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")


def test_expect_continue(echo):
    c = echo.connect()
    c.connect()
    c.sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert c.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    c.sock.sendall(b"abc")
    assert b"616263" in c.sock.recv(4096)


@pytest.mark.parametrize("data, status", [
    (b"GARBAGE\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nx: " + b"y" * (21 << 20) + b"\r\n\r\n", 431),
    (b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * 12000 + b"\r\n", 431),
])
def test_malformed(echo, data, status):
    raw = echo.raw(data)
    assert raw.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in raw and b'"code":"invalid"' in raw


def test_body_limit(serve):
    w = serve(ECHO, max_body=1000)
    assert w.request(body=b"x" * 1000).status == 200
    for answer in (w.raw(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001),
                   w.raw(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"1ff\r\n" + b"x" * 511 + b"\r\n1ff\r\n" + b"x" * 511 + b"\r\n0\r\n\r\n")):
        assert answer.startswith(b"HTTP/1.1 413 ") and b"over the limit of 1000 bytes" in answer and b'"too_large"' in answer
    assert w.predict(raw=b"%-1000d" % 5).json()["payload"] == 5  # the parser's padding is not the client's


def test_big_bodies_both_ways(serve):
    w = serve("class PythonPredictor:\n  def predict(self, payload): return payload[::-1]\n")
    body = bytes(range(256)) * (1 << 17)  # 32 MiB
    assert w.request(body=body).body == body[::-1]
    chunks = (body[i : i + 100000] for i in range(0, len(body), 100000))
    assert w.request(body=chunks).body == body[::-1]
    assert w.predict(body[:1000000].hex()).body.decode() == body[:1000000].hex()[::-1]


def test_client_gone_before_and_while_it_runs(serve):
    w = serve("""
        import time
        class PythonPredictor:
            seen = []
            def predict(self, payload):
                self.seen.append(payload)
                time.sleep(0.3 if payload == "slow" else 0)
                return self.seen
    """)
    slow, waits = w.connect(), w.connect()
    slow.request("POST", "/", '"slow"', {"content-type": "application/json"})
    import time
    time.sleep(0.1)
    waits.request("POST", "/", '"never"', {"content-type": "application/json"})
    time.sleep(0.05)
    waits.close()
    slow.close()
    assert w.predict("last").json() == ["slow", "last"]


# --- packed bodies ---------------------------------------------------------------


def deflate(data, bits):
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("encoding, pack", [
    ("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress),
    ("deflate", lambda data: deflate(data, -15)), ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
])
def test_packed_body(echo, encoding, pack):
    data = b'{"a": [1, 2, "' + b"x" * 1000 + b'"]}'
    got = echo.predict(raw=pack(data), headers={"Content-Encoding": encoding, "x-mine": "m"}).json()
    assert got["payload"] == {"a": [1, 2, "x" * 1000]}
    assert got["headers"]["content-length"] == str(len(data)) and "content-encoding" not in got["headers"] and got["headers"]["x-mine"] == "m"
    chunked = echo.request(body=(c for c in [pack(data)]), headers={"content-encoding": encoding, "content-type": "application/json"}).json()
    assert chunked["payload"] == got["payload"] and "content-length" not in chunked["headers"]


def test_body_that_says_identity_or_is_empty(echo):
    assert echo.predict(7, headers={"content-encoding": "identity"}).json()["payload"] == 7
    assert echo.request(body=b"", headers={"content-encoding": "gzip"}).json()["payload"] == ""


@pytest.mark.parametrize("encoding, body, status, code, message", [
    ("gzip", b"{}", 400, "invalid", "the body is not valid gzip"),
    ("gzip", gzip.compress(b"[1]" * 100, mtime=0)[:-5], 400, "invalid", "the gzip body ends too early"),
    ("gzip", gzip.compress(b"1", mtime=0) + b"x", 400, "invalid", "the gzip body ends too early"),
    ("deflate", b"\xff" * 10, 400, "invalid", "the body is not valid deflate"),
    ("br", b"x", 415, "unsupported_encoding", "Content-Encoding 'br' is not one that is unpacked here"),
    ("gzip, gzip", b"x", 415, "unsupported_encoding", "Content-Encoding 'gzip, gzip'"),
])
def test_packed_body_that_cannot_be(echo, encoding, body, status, code, message):
    answer = echo.predict(raw=body, headers={"content-encoding": encoding, "x-request-id": "r7"})
    assert answer.status == status and answer.error["code"] == code and message in answer.error["message"] and answer.error["request_id"] == "r7"
    assert answer.headers["accept-encoding"] == ("gzip, deflate" if status == 415 else None)
    assert echo.predict(1).json()["payload"] == 1


def test_bomb(serve):
    w = serve("class PythonPredictor:\n  def predict(self, payload): return len(payload)\n")
    bomb = gzip.compress(bytes(1 << 20) * 300, 9)
    answer = w.request(body=bomb, headers={"content-encoding": "gzip"})
    assert answer.status == 413 and answer.error["code"] == "too_large" and "unpacks to more than 64" in answer.error["message"]
    assert w.request(body=gzip.compress(bytes(60 << 20)), headers={"content-encoding": "gzip"}).json() == 60 << 20
    w = serve("class PythonPredictor:\n  def predict(self, payload): return len(payload)\n", max_body=1000)
    assert w.request(body=gzip.compress(bytes(1000)), headers={"content-encoding": "gzip"}).json() == 1000
    assert w.request(body=gzip.compress(bytes(1001)), headers={"content-encoding": "gzip"}).status == 413

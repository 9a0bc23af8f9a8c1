"""Malformed requests: refused, closed, and nothing behind them is served.

Every case is followed on the same connection by a well-formed request to
/probe/smuggled. If that ever reaches the replica, two parties disagree about
where a request ends: request smuggling.
"""

import re

import pytest

from soma import projects
from soma.client import Raw

SMUGGLED = b"POST /probe/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def post(*headers, body=b"", target=b"/probe/echo", method=b"POST", version=b"HTTP/1.1", host=True):
    lines = [b"%s %s %s" % (method, target, version), *([b"Host: x"] if host else []), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CL5 = b"Content-Length: 5"
TE = b"Transfer-Encoding: chunked"
LAST = b"0\r\n\r\n"
KIB64 = b"a" * (64 * 1024)

# {what is wrong: the bytes}, in the classes of the issue.
CASES = {
    # Content-Length with Transfer-Encoding
    "cl and te": post(CL5, TE, body=LAST),
    "te and cl": post(TE, CL5, body=LAST),
    "cl 0 and te": post(b"Content-Length: 0", TE, body=LAST),
    "cl and te of another case": post(CL5, b"TRANSFER-ENCODING: Chunked", body=LAST),
    "cl and unknown te": post(CL5, b"Transfer-Encoding: gzip", body=b"hello"),
    "cl and te on a GET": post(CL5, TE, body=LAST, method=b"GET"),

    # bad or several Content-Length
    "two cl that differ": post(CL5, b"Content-Length: 6", body=b"hello"),
    "two cl, the same": post(CL5, CL5, body=b"hello"),
    "cl list that differs": post(b"Content-Length: 5, 6", body=b"hello"),
    "cl list, the same": post(b"Content-Length: 5, 5", body=b"hello"),
    "cl negative": post(b"Content-Length: -5", body=b"hello"),
    "cl with plus": post(b"Content-Length: +5", body=b"hello"),
    "cl hexadecimal": post(b"Content-Length: 0x5", body=b"hello"),
    "cl empty": post(b"Content-Length:", body=b"hello"),
    "cl a word": post(b"Content-Length: five", body=b"hello"),
    "cl with a blank inside": post(b"Content-Length: 5 5", body=b"hello"),
    "cl with a fraction": post(b"Content-Length: 5.0", body=b"hello"),
    "cl with an exponent": post(b"Content-Length: 5e0", body=b"hello"),
    "cl above 2^64": post(b"Content-Length: 18446744073709551621", body=b"hello"),
    "cl of 40 digits": post(b"Content-Length: " + b"9" * 40, body=b"hello"),
    "cl with trailing letter": post(b"Content-Length: 5a", body=b"hello"),
    "cl with underscore": post(b"Content-Length: 1_0", body=b"hello"),
    "cl with comma only": post(b"Content-Length: 5,", body=b"hello"),

    # Transfer-Encoding that does not end in chunked, or is hidden
    "te identity": post(b"Transfer-Encoding: identity", body=b"hello"),
    "te gzip": post(b"Transfer-Encoding: gzip", body=b"hello"),
    "te chunked, gzip": post(b"Transfer-Encoding: chunked, gzip", body=LAST),
    "te chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=LAST),
    "te in two headers, not last": post(TE, b"Transfer-Encoding: identity", body=LAST),
    "te in two headers, both chunked": post(TE, TE, body=LAST),
    "te xchunked": post(b"Transfer-Encoding: xchunked", body=LAST),
    "te chunkedx": post(b"Transfer-Encoding: chunkedx", body=LAST),
    "te quoted": post(b'Transfer-Encoding: "chunked"', body=LAST),
    "te with vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=LAST),
    "te with parameter": post(b"Transfer-Encoding: chunked;x=1", body=LAST),
    "te empty": post(b"Transfer-Encoding:", body=LAST),
    "te in HTTP/1.0": post(TE, body=LAST, version=b"HTTP/1.0"),

    # chunks
    "chunk size a word": post(TE, body=b"five\r\nhello\r\n" + LAST),
    "chunk size negative": post(TE, body=b"-5\r\nhello\r\n" + LAST),
    "chunk size with plus": post(TE, body=b"+5\r\nhello\r\n" + LAST),
    "chunk size with 0x": post(TE, body=b"0x5\r\nhello\r\n" + LAST),
    "chunk size empty": post(TE, body=b"\r\nhello\r\n" + LAST),
    "chunk size above 2^64": post(TE, body=b"10000000000000005\r\nhello\r\n" + LAST),
    "chunk size then blank": post(TE, body=b"5 \r\nhello\r\n" + LAST),
    "chunk size ended by LF": post(TE, body=b"5\nhello\r\n" + LAST),
    "chunk size ended by CR": post(TE, body=b"5\rhello\r\n" + LAST),
    "chunk longer than said": post(TE, body=b"5\r\nhello!\r\n" + LAST),
    "chunk shorter than said": post(TE, body=b"5\r\nhell\r\n" + LAST),
    "chunk data ended by LF": post(TE, body=b"5\r\nhello\n" + LAST),
    "chunk extension with bare LF": post(TE, body=b"5;a\nb\r\nhello\r\n" + LAST),
    "chunk extension with bare CR": post(TE, body=b"5;a\rb\r\nhello\r\n" + LAST),
    "chunk extension without end": post(TE, body=b"5;" + KIB64 * 2),
    "trailer with a blank before the colon": post(TE, body=b"0\r\nX : 1\r\n\r\n"),
    "trailer folded": post(TE, body=b"0\r\nX: 1\r\n 2\r\n\r\n"),
    "trailer ended by LF": post(TE, body=b"0\r\nX: 1\n\r\n"),
    "trailer without a colon": post(TE, body=b"0\r\nnocolon\r\n\r\n"),

    # line ends, blanks, control characters
    "lines ended by LF": post(CL5, body=b"hello").replace(b"\r\n", b"\n"),
    "request line ended by LF": b"POST /probe/echo HTTP/1.1\nHost: x\r\n\r\n",
    "header ended by LF": b"POST /probe/echo HTTP/1.1\r\nHost: x\nX: 1\r\n\r\n",
    "headers ended by LF LF": b"POST /probe/echo HTTP/1.1\r\nHost: x\n\n",
    "bare CR in a value": post(b"X: a\rb"),
    "bare CR in a name": post(b"X\r: a"),
    "CR CR LF": post(b"X: a\r"),
    "NUL in a value": post(b"X: a\x00b"),
    "NUL in a name": post(b"X\x00: a"),
    "NUL in the target": post(target=b"/probe/echo\x00"),
    "blank before the colon": post(b"X : 1"),
    "tab before the colon": post(b"X\t: 1"),
    "blank before the colon of cl": post(b"Content-Length : 5", body=b"hello"),
    "blank before the colon of te": post(b"Transfer-Encoding : chunked", body=LAST),
    "folded header": post(b"X: 1\r\n 2"),
    "folded by a tab": post(b"X: 1\r\n\t2"),
    "folded te": post(b"Transfer-Encoding:\r\n chunked", body=LAST),
    "first header folded": b"POST /probe/echo HTTP/1.1\r\n Host: x\r\n\r\n",
    "no colon": post(b"nonsense"),
    "empty name": post(b": 1"),
    "name with a bracket": post(b"X(y): 1"),
    "name with a letter above 127": post(b"X\xe4: 1"),
    "control character in a value": post(b"X: a\x01b"),
    "delete in a value": post(b"X: a\x7fb"),
    "escape in a value": post(b"X: \x1b[31m"),

    # request line
    "no version": b"POST /probe/echo\r\nHost: x\r\n\r\n",
    "version 2.0": post(version=b"HTTP/2.0"),
    "version 9.9": post(version=b"HTTP/9.9"),
    "version in lower case": post(version=b"http/1.1"),
    "version a word": post(version=b"HTTP/one.one"),
    "two blanks": b"POST  /probe/echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank in the target": b"POST /probe/echo x HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab for a blank": b"POST\t/probe/echo\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "control character in the target": post(target=b"/probe/\x01"),
    "letter above 127 in the target": post(target=b"/probe/\xff"),
    "target without a slash": post(target=b"probe/echo"),
    "unknown method": post(method=b"GETX"),
    "method with a blank before": b" POST /probe/echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": post(method=b"CONNECT", target=b"evil:80"),
    "line too long": post(target=b"/probe/" + b"a" * (20 * 1024)),
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "binary": bytes(range(256)),

    # Host
    "no Host": post(host=False),
    "two Hosts": post(b"Host: y"),
    "Host with a path": b"POST /probe/echo HTTP/1.1\r\nHost: x/evil\r\n\r\n",
    "Host with a blank": b"POST /probe/echo HTTP/1.1\r\nHost: x y\r\n\r\n",

    # limits
    "headers above 64 KiB": post(*[b"X-%d: %s" % (i, b"a" * 1000) for i in range(70)]),
    "one header above 64 KiB": post(b"X: " + KIB64),
    "a name above 64 KiB": post(KIB64 + b": 1"),
    "200 headers": post(*[b"X-%d: 1" % i for i in range(200)]),
}
assert len(CASES) >= 60


@pytest.fixture(scope="module")
def probe(daemon):
    daemon.admin.deploy(projects.probe_project())
    return daemon


def seen(probe):
    return probe.admin.get("/probe/seen").json()


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES.keys())
def test_refused_closed_and_nothing_behind_it(probe, bad):
    before = len(seen(probe))
    with Raw(probe.port) as raw:
        raw.send(bad + SMUGGLED * 2)
        answer = raw.all()  # returns when the daemon closes
    status = answer[:12]
    assert answer == b"" or status[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), answer
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) <= 1, f"more than one answer: {answer}"
    if answer:
        assert b"Connection: close" in answer
    new = seen(probe)[before:]
    assert not [r for r in new if "smuggled" in r["target"]], f"served: {new}"


@pytest.mark.parametrize("name, status", [
    ("headers above 64 KiB", b"431"), ("200 headers", b"431"), ("line too long", b"414"),
    ("cl and te", b"400"), ("two cl that differ", b"400"), ("te gzip", b"501"), ("version 2.0", b"505"),
    ("no Host", b"400"), ("NUL in a value", b"400"), ("folded header", b"400"),
    ("blank before the colon", b"400"),
])
def test_the_status_fits_the_fault(probe, name, status):
    with Raw(probe.port) as raw:
        raw.send(CASES[name])
        answer = raw.all()
    assert answer.split(b" ", 2)[1] == status, answer
    assert b'"error"' in answer and b'"message"' in answer and b'"request_id"' in answer


@pytest.mark.parametrize("bad", [CASES[name] for name in ["cl and te", "two cl that differ", "NUL in a value"]])
def test_in_pieces_of_one_byte(probe, bad):
    """Where the bytes are cut makes no difference."""
    before = len(seen(probe))
    with Raw(probe.port) as raw:
        for byte in bad + SMUGGLED:
            if not raw.send(bytes([byte])):
                break
        answer = raw.all()
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert not [r for r in seen(probe)[before:] if "smuggled" in r["target"]]


GOOD = {
    "plain": post(CL5, body=b"hello"),
    "names in lower case": post(b"content-length: 5", body=b"hello"),
    "no blank behind the colon": post(b"Content-Length:5", body=b"hello"),
    "blanks around a value": post(b"Content-Length:   5  ", body=b"hello"),
    "cl with zeros before": post(b"Content-Length: 0000000005", body=b"hello"),
    "te in upper case": post(b"Transfer-Encoding: CHUNKED", body=b"5\r\nhello\r\n" + LAST),
    "chunk sizes with zeros before": post(TE, body=b"00005\r\nhello\r\n000\r\n\r\n"),
    "chunk extensions": post(TE, body=b"5;name=value\r\nhello\r\n0;last\r\n\r\n"),
    "chunk extension quoted": post(TE, body=b'5;name="a;b"\r\nhello\r\n' + LAST),
    "several chunks and a trailer": post(TE, body=b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n"),
    "an empty value": post(b"X-Empty:", CL5, body=b"hello"),
    "letters above 127 in a value": post(b"X-High: \xe4\xf6", CL5, body=b"hello"),
    "an absolute target": post(CL5, target=b"http://x/probe/echo", body=b"hello"),
    "an empty line before": b"\r\n" + post(CL5, body=b"hello"),
    "100 headers": post(CL5, *[b"X-%d: 1" % i for i in range(100)], body=b"hello"),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD.keys())
def test_what_is_unusual_but_right_is_served(probe, good):
    """Strict, not squeamish; and the next request on the connection, too."""
    with Raw(probe.port) as raw:
        raw.send(good + post(b"Connection: close", CL5, body=b"again"))
        answer = raw.all()
    assert answer.count(b"HTTP/1.1 200") == 2, answer
    assert b'"body": "hello"' in answer and b'"body": "again"' in answer


def test_the_daemon_is_as_before(probe):
    assert probe.admin.get("/probe/echo").status_code == 200
    assert probe.admin.api("probe")["restarts"] == 0

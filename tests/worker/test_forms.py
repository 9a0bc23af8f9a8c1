"""Forms, and the objects that predict gets them and other parts of a request in."""
import json
import sys
import time
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_urlencoded(serve):
    w = serve("class PythonPredictor:\n  def predict(self, payload): return [payload['a'], payload.getlist('a'), payload.get('b')]\n")
    assert w.request(body="a=1&a=%C3%A4+2&b=", headers={"content-type": "application/x-www-form-urlencoded"}).json() == ["ä 2", ["1", "ä 2"], ""]


MULTIPART = b"""preamble\r
--XX\r
Content-Disposition: form-data; name="field"\r
\r
v\xc3\xa4lue\r
--XX\r
content-disposition: form-data; name="file"; filename="a b.bin"\r
Content-Type: image/png\r
\r
\x00\r\n--X\r\n\xff\n\r
--XX--\r
"""


def test_multipart(serve):
    w = serve("""
        class PythonPredictor:
            def predict(self, payload):
                f = payload["file"]
                return [payload["field"], f.filename, f.content_type, f.file.read().hex(), list(payload)]
    """)
    got = w.request(body=MULTIPART, headers={"content-type": "multipart/form-data; boundary=XX"}).json()
    assert got == ["välue", "a b.bin", "image/png", b"\x00\r\n--X\r\n\xff\n".hex(), ["field", "file"]]


STARLETTE = {
    "starlette/__init__.py": "",
    "starlette/datastructures.py": """
        class Headers(dict):
            def __init__(self, headers=None, raw=None):
                super().__init__(headers or {k.decode(): v.decode() for k, v in raw})
        class QueryParams(str): pass
        class FormData(dict): pass
        class UploadFile:
            def __init__(self, filename, file=None, content_type=""):
                self.filename, self.file, self.content_type = filename, file, content_type
    """,
}


def test_starlette_is_used_if_the_user_imports_it(serve):
    w = serve({**STARLETTE, "predictor.py": """
        import starlette.datastructures as s
        class PythonPredictor:
            def predict(self, headers, query_params, payload):
                return [isinstance(headers, s.Headers), isinstance(query_params, s.QueryParams), query_params, isinstance(payload, s.FormData),
                        isinstance(payload["file"], s.UploadFile), payload["file"].content_type]
    """})
    got = w.request(body=MULTIPART, path="/?a=b", headers={"content-type": "multipart/form-data; boundary=XX"}).json()
    assert got == [True, True, "a=b", True, True, "image/png"]


FORM = """
    class PythonPredictor:
        def predict(self, payload):
            return [[name, value if isinstance(value, str) else [value.filename, value.content_type, value.size, value.read().decode("latin-1")]] for name, value in payload.multi_items()]
"""


@pytest.fixture(scope="module")
def form():
    from harness import Worker

    with Worker(FORM) as w:
        yield w.ready()


def ask(worker, body, content_type="multipart/form-data; boundary=XX"):
    return worker.request(body=body, headers={"content-type": content_type, "x-request-id": "r3"})


def part(head, content=b"x"):
    return b"--XX\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


NAMED = b'Content-Disposition: form-data; name="a"'


@pytest.mark.parametrize("body, parsed", [
    (b"--XX--", []), (b"--XX--\r\nepilogue", []), (b"preamble\r\n--XX--", []),
    (part(NAMED) + part(NAMED, b"y") + b"--XX--", [["a", "x"], ["a", "y"]]),
    (part(NAMED, b"") + b"--XX--", [["a", ""]]),
    (part(NAMED, b"\r\n\r\n") + b"--XX--", [["a", "\r\n\r\n"]]),
    (b"--XX \t \r\n" + NAMED + b"\r\n\r\nx\r\n--XX--", [["a", "x"]]),
    (part(b"content-disposition: form-data; filename=f.txt; NAME=a\r\ncontent-type: text/plain", b"\xff") + b"--XX--", [["a", ["f.txt", "text/plain", 1, "\xff"]]]),
    (part(NAMED + b'; filename=""') + b"--XX--", [["a", ["", None, 1, "x"]]]),
    (part(NAMED + rb'; filename="C:\my\a \"b\".txt"') + b"--XX--", [["a", [r'C:\my\a "b".txt', None, 1, "x"]]]),
    (part(NAMED + "; filename=\"ä;=.txt\"".encode()) + b"--XX--", [["a", ["ä;=.txt", None, 1, "x"]]]),
    (part(NAMED + b"; filename=plain; filename*=utf-8''%c3%a4%20b") + b"--XX--", [["a", ["ä b", None, 1, "x"]]]),
    (part(b"content-disposition: form-data;\r\n name=a") + b"--XX--", [["a", "x"]]),
    (part(NAMED + b"\r\ncontent-type: text/plain; charset=latin-1", b"\xe4") + b"--XX--", [["a", "ä"]]),
    # A form inside of it, whose boundary begins as this one's.
    (part(NAMED + b'\r\ncontent-type: multipart/mixed; boundary="XXY"', b"--XXY\r\n\r\nin\r\n--XXY--\r\n") + b"--XX--", [["a", "--XXY\r\n\r\nin\r\n--XXY--\r\n"]]),
])
def test_multipart_form(form, body, parsed):
    assert ask(form, body).json() == parsed


@pytest.mark.parametrize("content_type, body, status, message", [
    ("multipart/form-data", b"--XX--", 400, "request body is not a form: the content type names no boundary"),
    ("multipart/form-data; boundary=", b"--XX--", 400, "the content type names no boundary"),
    ("multipart/form-data; boundary=" + "X" * 71, b"", 400, "the boundary is longer than 70 characters"),
    ("multipart/form-data; boundary=XX", b"", 400, "the multipart body does not end in its boundary --XX--"),
    ("multipart/form-data; boundary=XX", part(NAMED), 400, "does not end in its boundary --XX--"),
    ("multipart/form-data; boundary=XX", part(NAMED) + b"--XX", 400, "does not end in its boundary --XX--"),
    ("multipart/form-data; boundary=XX", b"--XX\r\nx\r\n--XX--", 400, "a part of the multipart body has no empty line behind its head"),
    ("multipart/form-data; boundary=XX", b"--XX\r\n--XX--", 400, "no empty line behind its head"),
    ("multipart/form-data; boundary=XX", part(b"content-disposition: form-data") + b"--XX--", 400, "a part of the multipart body has no name"),
    ("multipart/form-data; boundary=XX", b"--XX\r\n\r\nx\r\n--XX--", 400, "a part of the multipart body has no name"),
    ("multipart/form-data; boundary=XX", part(NAMED, b"\xff") + b"--XX--", 400, "can't decode byte 0xff"),
    ("multipart/form-data; boundary=XX", part(NAMED + b"\r\ncontent-type: a/b; charset=klingon") + b"--XX--", 400, "the part 'a' has the unknown charset klingon"),
    ("multipart/form-data; boundary=XX", part(NAMED + b"\r\nx: " + b"y" * 20000) + b"--XX--", 413, "request body is not taken: the head of a part of the multipart body is over 16384 bytes"),
    ("multipart/form-data; boundary=XX", part(NAMED) * 1001 + b"--XX--", 413, "the multipart body has more than 1000 parts"),
    ("application/x-www-form-urlencoded", b"a=1&" * 1000 + b"a=1", 413, "request body is not taken: the form has more than 1000 fields"),
])
def test_forms_that_cannot_be(form, content_type, body, status, message):
    answer = ask(form, body, content_type)
    assert answer.status == status and answer.error["code"] == ("invalid" if status == 400 else "too_large")
    assert message in answer.error["message"] and answer.error["request_id"] == "r3"


def test_most_parts(form):
    assert len(ask(form, part(NAMED) * 1000 + b"--XX--").json()) == 1000
    assert len(ask(form, b"a=1&" * 999 + b"a=1", "application/x-www-form-urlencoded").json()) == 1000


@pytest.mark.parametrize("make", [
    lambda n: part(NAMED) * (n // 50) + b"--XX--", lambda n: part(NAMED, b"\r\n--X" * (n // 5)) + b"--XX--", lambda n: part(NAMED, b"\r\n--XXY" * (n // 7)) + b"--XX--",
    lambda n: part(NAMED + b"\r\nContent-Type: a/b; charset=punycode", b"-" + b"a" * n) + b"--XX--",
    lambda n: b"\r\n--XX" + b" " * n, lambda n: part(b"a:" * (n // 2)) + b"--XX--", lambda n: (part(NAMED + b'; x="y' * 2000)) * (n // 14000) + b"--XX--",
], ids=["parts", "dashes", "longer boundaries", "charset", "blanks", "head", "parameters"])
def test_time_grows_with_the_body_alone(make):
    """Ten times the bytes: ten times the time, a hundred times if it were their square."""
    package = types.ModuleType("_soma")
    package.__path__ = [str(ROOT / "python/soma")]
    sys.modules["_soma"] = package
    from _soma import forms

    def took(n):
        body, best = make(n), 1e9
        for _ in range(3):
            start = time.perf_counter()
            try:
                forms.parse("multipart/form-data; boundary=XX", body)
            except (ValueError, OverflowError):
                pass
            best = min(best, time.perf_counter() - start)
        return best

    assert took(1000000) < 40 * took(100000) + 0.01


OBJECTS = """
    class PythonPredictor:
        def predict(self, payload, query_params, headers):
            return [repr(eval(e, {"headers": headers, "query_params": query_params})) for e in payload["e"].split("|")]
"""


def test_headers_and_query_params_are_like_starlettes(serve):
    w = serve(OBJECTS)
    cases = {
        "headers['X-A']": "'1'", "headers.get('x-a')": "'1'", "headers.getlist('X-a')": "['1', '2']", "'X-A' in headers": "True",
        "[i for i in headers.items() if i[0] == 'x-a']": "[('x-a', '1'), ('x-a', '2')]", "headers.keys().count('x-a')": "2", "dict(headers)['x-a']": "'1'",
        "headers.get('none', 5)": "5", "headers.raw[0]": "(b'host', b'x')", "len(headers)": "6", "headers.values()[0]": "'x'",
        "query_params['a']": "'2'", "query_params.getlist('a')": "['1', '2']", "query_params.multi_items()": "[('a', '1'), ('a', '2'), ('b', '')]",
        "dict(query_params)": "{'a': '2', 'b': ''}", "str(query_params)": "'a=1&a=2&b='", "list(query_params.items())": "[('a', '2'), ('b', '')]", "query_params.get('c') is None": "True",
    }
    body = ('{"e": "%s"}' % "|".join(cases)).encode()
    raw = w.raw(b"POST /?a=1&a=2&b HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nx-a: 2\r\nx-request-id: r\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    got = json.loads(raw.split(b"\r\n\r\n", 1)[1])
    assert got == list(cases.values())


def test_upload_file(serve):
    w = serve("""
        class PythonPredictor:
            def predict(self, payload):
                f = payload["a"]
                first = f.read(2)
                f.seek(0)
                return [first.decode(), f.file.read().decode(), f.headers["content-type"], payload.get("none"), payload.getlist("a")[0] is f, repr(f)]
    """)
    got = ask(w, part(NAMED + b'; filename="f"\r\nContent-Type: a/b', b"xyz") + b"--XX--").json()
    assert got[:5] == ["xy", "xyz", "a/b", None, True] and got[5].startswith("UploadFile(filename='f', size=3")

"""Forms through the whole path, as a client's library sends them and as it should not."""

import pytest

from soma.client import error_of
from soma.projects import predictor, python_api, python_project

EDGE = {"content-type": "multipart/form-data; boundary=XX"}
PART = b'--XX\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n'


@pytest.fixture(scope="module")
def form(daemon):
    body = "return [[k, v if isinstance(v, str) else [v.filename, v.content_type, v.file.read().decode('latin-1')]] for k, v in payload.multi_items()]"
    daemon.admin.deploy(python_project(predictor(body), python_api("form")))
    return lambda **request: daemon.admin.post("/form", **request)


def test_files_and_fields(form):
    answer = form(data=[("a", "1"), ("a", "ä"), ("b", "")], files={"f": ("ä b.bin", bytes(range(256)), "image/png"), "g": ("g", b"")})
    assert answer.json() == [["a", "1"], ["a", "ä"], ["b", ""], ["f", ["ä b.bin", "image/png", bytes(range(256)).decode("latin-1")]], ["g", ["g", None, ""]]]
    assert form(data={"a": ["1", "2 &"], "b": "ä"}).json() == [["a", "1"], ["a", "2 &"], ["b", "ä"]]


def test_a_big_file(form):
    assert len(form(files={"f": ("f", b"\r\n--" * (4 << 20))}).json()[0][1][2]) == 16 << 20


@pytest.mark.parametrize("body, headers, status, code, message", [
    (PART * 100000 + b"--XX--", EDGE, 413, "too_large", "the multipart body has more than 1000 parts"),
    (PART + b"--XX--", {"content-type": "multipart/form-data"}, 400, "invalid", "the content type names no boundary"),
    (PART, EDGE, 400, "invalid", "the multipart body does not end in its boundary --XX--"),
    (b"a=1&" * 100000, {"content-type": "application/x-www-form-urlencoded"}, 413, "too_large", "the form has more than 1000 fields"),
], ids=["100,000 parts", "no boundary", "no end", "100,000 fields"])
def test_forms_that_cannot_be(form, body, headers, status, code, message):
    answer = form(data=body, headers=headers)
    assert message in error_of(answer, status, code)["message"]
    assert answer.elapsed.total_seconds() < 5
    assert form(data={"a": "1"}).json() == [["a", "1"]]

"""JSON in and out, against Python's json where both are right."""
import json
import math
import random

import pytest


@pytest.fixture(scope="module")
def echo():
    from harness import Worker

    with Worker("class PythonPredictor:\n  def predict(self, payload): return payload\n") as w:
        yield w.ready()


@pytest.fixture(scope="module")
def evaluator():
    from harness import Worker

    with Worker("""
        import collections, decimal, enum, math, datetime
        class E(enum.IntEnum):
            A = 1
        class S(str, enum.Enum):
            A = "a"
        class Row(collections.namedtuple("Row", "a b")): pass
        class Loud(int):
            def __repr__(self): return "loud"
            __str__ = __repr__
        class Array:
            def tolist(self): return []
        class Scalar(Array):
            shape = ()
            def item(self): return 1
        def loop():
            l = []
            l.append(l)
            return l
        def deep(n):
            l = []
            for _ in range(n): l = [l]
            return l
        class PythonPredictor:
            def predict(self, payload): return eval(payload)
    """) as w:
        yield w.ready()


def test_numbers_of_every_size(echo):
    values = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**64), 10**400, -(10**400), 0.1, -0.0, 1e-320, 5e-324, 1.7976931348623157e308, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, 1e22, 100.0]
    answer = echo.predict(values)
    assert answer.body.decode() == json.dumps(values, separators=(",", ":"))


def test_random_values(echo):
    rng = random.Random(3)

    def value(depth):
        kind = rng.randrange(8 if depth < 5 else 6)
        if kind == 0:
            return rng.choice([None, True, False])
        if kind == 1:
            return rng.randrange(-(2 ** rng.randrange(1, 80)), 2 ** rng.randrange(1, 80))
        if kind == 2:
            return rng.uniform(-1, 1) * 10 ** rng.randrange(-300, 300)
        if kind in (3, 4, 5):
            return "".join(chr(rng.choice([rng.randrange(128), rng.randrange(0x80, 0xD800), rng.randrange(0xE000, 0x110000)])) for _ in range(rng.randrange(20)))
        if kind == 6:
            return [value(depth + 1) for _ in range(rng.randrange(6))]
        return {str(value(9)): value(depth + 1) for _ in range(rng.randrange(6))}

    for _ in range(200):
        v = value(0)
        raw = json.dumps(v, ensure_ascii=rng.random() < 0.5)
        answer = echo.predict(raw=raw)
        if isinstance(v, str):
            assert answer.body.decode() == v
        else:
            assert answer.body.decode() == json.dumps(v, ensure_ascii=False, separators=(",", ":")).replace("\\b", "\\u0008").replace("\\f", "\\u000c")


def test_duplicate_keys(echo):
    assert echo.predict(raw='{"a":1,"b":2,"a":3}').json() == {"a": 3, "b": 2}


@pytest.mark.parametrize("raw, message", [
    (b"{", "at byte 1"), (b"[1,]", "trailing comma is not allowed at byte 2"), (b'{"a":1,}', "at byte"), (b"[NaN]", "at byte 1"), (b"[Infinity]", "at byte 1"), (b"[-Infinity]", "at byte"),
    (b"nul", "at byte"), (b"[1] x", "at byte 4"), (b"01", "at byte"), (b"'a'", "at byte"), (b"[1 // x\n]", "at byte"), (b'"a\nb"', "at byte"),
    (b'"\xff"', "at byte 1"), (b'"\xc0\x80"', "at byte"), (b'"\xed\xa0\x80"', "at byte"), (b'"\\ud800"', "at byte"), (b'"\\udc00\\ud800"', "at byte"), (b'"\\x"', "at byte"),
    (b"\xef\xbb\xbf{}", "at byte 0"), (b"\x00", "at byte 0"), (b"", "it is empty"), (b"  ", "at byte"),
    (b"[1e999]", "number out of range: 1e999 at byte 1"), (b"[-1e999]", "number out of range: -1e999 at byte 1"),
    (b"[" + b"1" * 400 + b".0]", "number out of range: 1111111111111111111111111111111111111111... at byte 1"),
    (b"[" + b"9" * 100000 + b"]", "integer of 100000 digits at byte 1 is longer than this Python takes"),
    (b"[" * 1030 + b"]" * 1030, "nested deeper than 1024 levels"),
    (b"[" * 1000000 + b"]" * 1000000, "nested deeper than 1024 levels"),
    (b'{"a":' * 1000000 + b"1" + b"}" * 1000000, "nested deeper than 1024 levels"),
    (b"[" * 1000000, "at byte 1000000"),
])
def test_refused(echo, raw, message):
    answer = echo.predict(raw=raw, headers={"x-request-id": "r2"})
    assert answer.status == 400
    assert answer.error["code"] == "invalid" and answer.error["request_id"] == "r2"
    assert answer.error["message"].startswith("request body is not valid JSON: ")
    assert message in answer.error["message"]


def test_depth_that_is_taken(echo):
    raw = "[" * 1000 + "]" * 1000
    assert echo.predict(raw=raw).body.decode() == raw


@pytest.mark.parametrize("expression, text", [
    ("None", "null"), ("True", "true"), ("[]", "[]"), ("{}", "{}"), ("()", "[]"), ("3", "3"), ("2.0", "2.0"), ("-0.0", "-0.0"), ("1e16", "1e+16"), ("1e-7", "1e-07"),
    ("(1, [2, (3,)])", "[1,[2,[3]]]"), ("{1: 2, 1.5: 3, None: 4, True: 5, E.A: 6}", '{"1":6,"1.5":3,"null":4}'), ("{False: 1}", '{"false":1}'),
    ("[E.A, S.A, Row(1, 2), Loud(7)]", '[1,"a",[1,2],7]'), ("collections.OrderedDict([('b', 1), ('a', 2)])", '{"b":1,"a":2}'),
    ("(lambda d: d.move_to_end('b') or d)(collections.OrderedDict([('b', 1), ('a', 2)]))", '{"a":2,"b":1}'), ("collections.Counter('aa')", '{"a":2}'),
    ("['\\x00\\x1f\\\"\\\\/\\x7f\\u2028ä😀']", '["\\u0000\\u001f\\"\\\\/\x7f\u2028ä😀"]'), ("-2**64", "-18446744073709551616"), ("['\\n\\r\\t']", '["\\n\\r\\t"]'),
])
def test_written(evaluator, expression, text):
    answer = evaluator.request(body=expression, headers={"content-type": "text/plain"})
    assert (answer.status, answer.headers["content-type"], answer.body.decode()) == (200, "application/json", text)


@pytest.mark.parametrize("expression, message", [
    ("{'a': [1, float('nan')]}", "ValueError: JSON has no NaN; return None in its place (at result['a'][1])"),
    ("float('inf')", "ValueError: JSON has no infinity; return None in its place"),
    ("[-math.inf]", "ValueError: JSON has no -infinity; return None in its place (at result[0])"),
    ("object()", "TypeError: Object of type object is not JSON serializable"),
    ("{'x': {1: Array()}}", "TypeError: Object of type Array is not JSON serializable; return its .tolist() (at result['x'][1])"),
    ("[Scalar()]", "TypeError: Object of type Scalar is not JSON serializable; return its .item() (at result[0])"),
    ("[b'x']", "TypeError: Object of type bytes is not JSON serializable; return bytes by themselves, or decode them (at result[0])"),
    ("{1, 2}", "TypeError: Object of type set is not JSON serializable; return a list of it"),
    ("[(i for i in 'ab')]", "TypeError: Object of type generator is not JSON serializable; return a list of it (at result[0])"),
    ("decimal.Decimal(1)", "TypeError: Object of type Decimal is not JSON serializable"),
    ("{(1, 2): 3}", "TypeError: keys must be str, int, float, bool or None, not tuple"),
    ("{float('nan'): 3}", "ValueError: JSON has no NaN"),
    ("['\\ud800']", "ValueError: a str holds a lone surrogate, which UTF-8 cannot carry; encode it with errors='replace' first (at result[0])"),
    ("'\\ud800'", "surrogates not allowed"),
    ("loop()", "ValueError: the result is nested deeper than 1024 levels, or holds itself (at result...[0][0]"),
    ("deep(5000)", "nested deeper than 1024 levels"),
])
def test_not_json(evaluator, expression, message):
    answer = evaluator.request(body=expression, headers={"content-type": "text/plain"})
    assert answer.status == 500
    assert answer.error["code"] == "predict_error"
    assert message in answer.error["message"]


def test_floats_round_trip(echo):
    rng = random.Random(1)
    values = [rng.random() * 10 ** rng.randrange(-30, 30) for _ in range(5000)]
    got = echo.predict(values).json()
    assert got == values and all(math.isfinite(v) for v in got)

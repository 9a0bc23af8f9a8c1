"""`soma schema` and the parser agree about files that are made of the schema."""

import json
import os
import re
import subprocess

import hypothesis
import jsonschema
import pytest
from hypothesis import strategies

from soma.daemon import BIN

CHECK = BIN.parent / "tests" / "spec_check"

# What a schema cannot say: an error of the parser about a file that the schema
# accepts must be one of these.
BEYOND_A_SCHEMA = [
    # the bounds of quantities, and sizes in bytes
    r"expected (a duration|cores|a size) (from|of at least|above)", r"expected (a duration|cores|a size) such as .* found '[^']*\d{7}", r"longer than 128 KiB", r"integer '\d+' does not fit into 64 bits",
    # texts that YAML cannot hold, paths that lead nowhere
    r"text has a NUL character", r"without '\.\.'", r"expected a file of the project", r"a path inside the project", r"expected a Python file",
    r"expected a path such as /iris", r"expected a command such as",
    # keys of another type of predictor, or that its type asks for
    r"only for type ", r"predictor\.type: required ", r"(predictor|handler)\.(path|model|models|engine|command): required key is missing",
    r"predictor\.model: expected a file whose name ends in \.onnx", r"not (served|run) by this version yet",
    # rules that span keys
    r"autoscaling\.\w+_replicas: ", r"is more than max_replica_concurrency", r"expected a multiple of 10s", r"cannot be 0 while max_surge is 0",
    r"is less than compute\.mem,", r"needs origins by name", r"stands for all origins",
    r"says no place: give path", r"only one of path, paths and dir", r"cache_size", r"two models have the name",
    r"paths\[\]\.name: expected letters", r"is more than \w+\.threads_per_process", r"there is server_side_batching, too",
    r"there is multi_model_reloading, too",
    # warm-up requests
    r"there is body, too", r"only beside body_file", r"expected a media type", r"has one path: write /", r"is Soma's to say", r"is said by content_type",
    # what it is told by that is not there: which of several keys there are
    r"(predictor|handler)\.type: required key is missing",
    # what is in a command
    r"no shell runs the command", r"there is no program in it", r"quote is not closed", r"PORT is chosen by Soma",
    # pods
    r"several containers of one replica", r"pod\.containers\[\]\.command: required here", r"give exactly one of", r"asks at port \d+",
    r"is given in the container, too", r"is not for pods", r"is more than pod\.max_concurrency",
    # splitters
    r"add up to", r"only one may be", r"give it one weight", r"is a TrafficSplitter itself",
    r"none of this splitter's apis", r"is the shadow, which", r"is the only api that answers", r"let the steps grow", r"they begin with",
    r"no more than the last step",
]
BASES = [
    {"predictor": {"path": "p.py"}}, {"predictor": {"type": "onnx", "path": "p.py", "models": {"path": "m.onnx"}}},
    {"predictor": {"command": ["serve", "$PORT"]}}, {"predictor": {"model": "m.onnx"}}, {"predictor": {"engine": "e.so"}},
    {"handler": {"path": "h.py"}}, {"pod": {"containers": [{"name": "a", "image": "b", "command": ["c"]}]}},
]
SPLITTER = {"kind": "TrafficSplitter", "apis": [{"name": "b", "weight": 100}]}
WRONG = [None, True, -1, 0, 1.5, 10 ** 9, "", "x y", "nope", "/", "5", "-3s", "..", [], [None], [[]], {}, {"a": None}, {"nope": 1}, [{"nope": 1}]]
SMALL_MAP = {"type": "object", "maxProperties": 2, "additionalProperties": {"type": ["string", "boolean"]}, "propertyNames": {"pattern": "^[a-z]+$"}}


@pytest.fixture(scope="module")
def schema():
    return json.loads(subprocess.run([BIN, "schema"], check=True, capture_output=True, text=True).stdout)


def strings(schema):
    most = schema.get("maxLength", 1000)
    if "pattern" in schema:  # Python's $ stands before a last line end, too
        return strategies.from_regex(schema["pattern"]).filter(lambda t: len(t.encode()) <= most and not t.endswith("\n"))
    return strategies.text(min_size=schema.get("minLength", 0), max_size=20)


def numbers(schema, kind):
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if kind == "integer":
        return strategies.integers(int(low), int(high))
    return strategies.floats(low if above is None else above, high if below is None else below, exclude_min=above is not None,
                             exclude_max=below is not None, allow_nan=False, allow_infinity=False)


def objects(schema):
    if "properties" in schema:
        return strategies.fixed_dictionaries({name: values(schema["properties"][name]) for name in schema.get("required", [])})
    names = strategies.from_regex(schema["propertyNames"]["pattern"]).filter(lambda t: not t.endswith("\n"))
    return strategies.dictionaries(names, values(schema["additionalProperties"]), max_size=3)


def values(schema):
    """What the schema accepts, of the subset of JSON schema that `soma schema` writes."""
    if "enum" in schema:
        return strategies.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return strategies.one_of(*map(values, schema["anyOf"]))
    kind = schema["type"]
    if isinstance(kind, list):
        return strategies.one_of(*(values({**schema, "type": k}) for k in kind))
    if kind in ("integer", "number"):
        return numbers(schema, kind)
    if kind == "array":
        return strategies.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=max(3, schema.get("minItems", 0)))
    return {"string": strings, "object": objects, "boolean": lambda _: strategies.booleans(), "null": lambda _: strategies.none()}[kind](schema)


class Parser:
    def __init__(self):
        self.process = subprocess.Popen([CHECK], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def errors(self, document):
        text = re.sub(r"\\u(d[89ab]..)\\u(d[c-f]..)", lambda m: "\\U%08x" % (
            0x10000 + ((int(m[1], 16) & 0x3ff) << 10) + (int(m[2], 16) & 0x3ff)), json.dumps(document))
        self.process.stdin.write(text.encode() + b"\0")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["errors"]


@pytest.fixture(scope="module")
def parser():
    p = Parser()
    yield p
    p.process.stdin.close()
    assert p.process.wait(10) == 0


def leaves(schema, path=()):
    """(path, schema) of each key that is no map of the table's own."""
    for name, of in schema["properties"].items():
        inner = next((s for s in [of, *of.get("anyOf", [])] if "properties" in s), None)
        listed = next((s["items"] for s in [of, *of.get("anyOf", [])] if "properties" in s.get("items", ())), None)
        if inner:
            yield from leaves(inner, path + (name,))
        elif listed:
            yield from leaves(listed, path + (name, 0))
        elif name in ("config", "engine_options"):
            yield path + (name,), SMALL_MAP  # any map is fine; big ones are slow
        elif name == "body":
            yield path + (name,), {"anyOf": [SMALL_MAP, {"type": ["string", "number", "null"], "minimum": -5, "maximum": 5}]}
        else:
            yield path + (name,), of


def put(document, path, value):
    at = document
    for i, name in enumerate(path[:-1]):
        empty = [{}] if path[i + 1] == 0 else {}
        if name == 0:
            at = at[0]
        elif not isinstance(at.get(name), type(empty)) or not at[name]:
            at[name] = empty
            at = at[name]
        else:
            at = at[name]
    if not isinstance(at, (dict, list)):
        return
    at[path[-1]] = value


def copy_of(document):
    return json.loads(json.dumps(document))


def splitter_of(draw, keys):
    splitter = {"name": "a", **copy_of(SPLITTER)}
    for path, schema in draw(strategies.lists(strategies.sampled_from(keys), max_size=4)):
        put(splitter, path, draw(values(schema)))
    return splitter, keys


def api_of(draw, keys):
    """An api of some type with a few more keys, mostly of its own block."""
    base = copy_of(draw(strategies.sampled_from(BASES)))
    block = next(iter(base))
    own = [key for key in keys if key[0][0] == block]
    rest = [key for key in keys if key[0][0] not in ("predictor", "handler", "pod", "name")]
    api = {"name": "a", **base}
    for path, schema in draw(strategies.lists(strategies.one_of(strategies.sampled_from(own), strategies.sampled_from(rest)), max_size=4)):
        put(api, path, draw(values(schema)))
    return api, own + rest


def keys_of(schema, kind):
    return list(leaves(schema["definitions"][kind]))


KINDS = pytest.mark.parametrize("kind, made, least", [("api", api_of, 100), ("splitter", splitter_of, 8)])


def agree(parser, validator, document):
    told = parser.errors(document)
    refused = next(validator.iter_errors(document), None)
    if refused is not None:
        assert told, f"the schema refuses what the parser takes: {json.dumps(document)}: {refused.message}"
        return
    unexpected = [line for line in told if not any(re.search(reason, line) for reason in BEYOND_A_SCHEMA)]
    assert not unexpected, f"the schema accepts what the parser refuses: {json.dumps(document)}: {unexpected}"


SETTINGS = hypothesis.settings(max_examples=5000 if os.environ.get("SOMA_SOAK") else 120, deadline=None, derandomize=True, database=None,
                               suppress_health_check=list(hypothesis.HealthCheck))


@KINDS
def test_files_made_of_the_schema(schema, parser, kind, made, least):
    keys = keys_of(schema, kind)
    validator = jsonschema.Draft7Validator(schema)
    assert len(keys) > least

    @SETTINGS
    @hypothesis.given(strategies.data())
    def run(data):
        api, _ = made(data.draw, keys)
        agree(parser, validator, data.draw(strategies.sampled_from([api, [api]])))
    run()


def test_each_key_by_itself(schema, parser):
    """Its smallest values, on top of each type of predictor that may have it."""
    validator = jsonschema.Draft7Validator(schema)
    for bases, path, of in [(bases, *leaf) for kind, bases in (("api", BASES), ("splitter", [SPLITTER])) for leaf in keys_of(schema, kind)]:
        @hypothesis.settings(SETTINGS, max_examples=8)
        @hypothesis.given(values(of))
        def run(value):
            for base in bases:
                if path[0] in ("predictor", "handler", "pod") and path[0] not in base:
                    continue
                api = {"name": "a", **copy_of(base)}
                put(api, path, value)
                agree(parser, validator, api)
        run()


@KINDS
def test_files_with_a_mistake(schema, parser, kind, made, least):
    keys = keys_of(schema, kind)
    validator = jsonschema.Draft7Validator(schema)

    @SETTINGS
    @hypothesis.given(strategies.data())
    def run(data):
        api, mine = made(data.draw, keys)
        path, _ = data.draw(strategies.sampled_from(mine))
        how = data.draw(strategies.sampled_from(["wrong", "cut", "unknown", "gone"]))
        if how == "cut":  # a value where a map belongs
            path = path[:data.draw(strategies.integers(1, len(path)))]
        elif how == "unknown":
            path = path[:-1] + ("zebra",)
        if how == "gone":
            api.pop(data.draw(strategies.sampled_from(sorted(api))))
        else:
            put(api, path, data.draw(strategies.sampled_from(WRONG)))
        agree(parser, validator, api)
    run()

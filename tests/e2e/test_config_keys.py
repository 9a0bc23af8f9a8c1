"""The table of keys: all of Cortex's are in it, and each says what happens."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

from soma.daemon import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECK = BIN.parent / "tests" / "spec_check"
KINDS = {"R": 1, "A": 2, "B": 4, "T": 8, "S": 16}
COMMAND, ENGINE, ONNX, TENSORFLOW, ONNX_CLASS = 2, 4, 8, 16, 32

# Values of keys that have neither a default nor an example, by their last word.
VALUES = {
    "node_groups": ["a"], "api_gateway": "none", "local_port": 8889, "target_replica_concurrency": 2, "target_in_flight": 1, "key": "label",
    "image": "quay.io/x", "shm_size": "64Mi", "shm": "64Mi", "base_packages": "none", "cache_size": 1, "disk_cache_size": 2, "batching": "auto",
    "multi_model_reloading": {"path": "s3://bucket/a"}, "cors": {"max_age": "1h"}, "update_strategy": {"max_surge": 1},
    "monitoring": {"model_type": "regression"}, "liveness_probe": {"tcp_socket": {"port": 8080}}, "pre_stop": {"exec": {"command": ["a"]}},
    "method": "PUT", "expect": {"status": 200},
    "exec": {"command": ["a"]}, "http_get": {"port": 8080}, "tcp_socket": {"port": 8080},
}
PLACES = {"path": "s3://bucket/a", "cache_size": 1, "disk_cache_size": 2}
# What must stand beside a key, by a part of its path.
BESIDE = {
    "monitoring.key": {"monitoring.model_type": "regression"},
    "cors.allow_credentials": {"networking.cors.allow_origins": ["https://a.example"]},
    "predictor.models": {"predictor.type": "onnx", "predictor.models": PLACES},
    "predictor.multi_model_reloading": {"predictor.multi_model_reloading": PLACES},
    "handler.multi_model_reloading": {"handler.multi_model_reloading": PLACES},
    "liveness_probe.http_get": {"pod.containers[].liveness_probe.http_get": {"port": 8080}},
    "warmup[].content_type": {"warmup[].body_file": "a.bin"},
    "pre_stop.http_get": {"pod.containers[].pre_stop.http_get": {"port": 8080}},
    **{f"{probe}.{key}": {f"pod.containers[].{probe}.tcp_socket": {"port": 8080}} for probe in ("readiness_probe", "liveness_probe")
       for key in ("initial_delay_seconds", "timeout_seconds", "period_seconds", "success_threshold", "failure_threshold")},
}
BLOCKS = {"predictor": {"path": "p.py"}, "handler": {"path": "p.py"}, "pod": {"containers": [{"name": "a", "image": "b", "command": ["c"]}]}}


def table():
    if not CHECK.exists():
        return []  # the session's fixture says what is missing
    return json.loads(subprocess.run([CHECK, "--keys"], check=True, capture_output=True, text=True).stdout)


TABLE = {row["path"]: row for row in table()}


def parse(api):
    """What is told about a file with this api."""
    done = subprocess.run([CHECK], input=yaml.safe_dump(api, sort_keys=False), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def put(api, path, value):
    """Sets a key of the table, and the maps and lists that it is in."""
    at = api
    *maps, last = re.split(r"\.", path)
    for name in maps:
        if name.endswith("[]"):
            at = at.setdefault(name[:-2], [{}])[0]
        else:
            at = at.setdefault(name, {})
    if isinstance(at.get(last), dict) and isinstance(value, dict):
        at[last].update(value)
    else:
        at[last] = value


def value_of(row):
    last = row["path"].rsplit(".", 1)[-1]
    if "def" in row and row["def"] != "*":
        return yaml.safe_load(row["def"])
    if "example" in row:
        return yaml.safe_load(row["example"])[last]
    return ["*"] if "def" in row else VALUES.get(last, "x")


def api_with(row):
    """The least file that has this key."""
    block = row["path"].split(".")[0]
    block = block if block in BLOCKS else "predictor"
    api = {"name": "a", block: json.loads(json.dumps(BLOCKS[block]))}
    for part, beside in BESIDE.items():
        if part in row["path"]:
            for path, value in beside.items():
                put(api, path, json.loads(json.dumps(value)))
    put(api, row["path"], value_of(row))
    return api


def cortex_keys():
    lines = (ROOT / "tests/data/cortex-keys.txt").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def span(versions):
    first, _, last = versions.partition("-")
    return tuple(int(v.split(".")[1]) for v in (first, last or first))


@pytest.mark.parametrize("path, versions, kinds", cortex_keys(), ids=lambda v: v if "." in v else "")
def test_a_key_of_cortex_is_in_the_table(path, versions, kinds):
    row = TABLE.get(path)
    assert row, f"{path} is not in the table of keys"
    first, last = span(versions)
    has_first, has_last = span(row["versions"])
    assert has_first <= first and last <= has_last, f"{path}: the table says {row['versions']}, Cortex had it in {versions}"
    for kind in kinds:
        assert row["kinds"] & KINDS[kind], f"{path}: not for kind {kind}"
    assert row["acts"] in ("works", "warns", "refused")
    assert row["acts"] == "works" or row["why"]


def test_the_table_claims_no_key_of_cortex_that_it_had_not():
    known = {path for path, _, _ in cortex_keys()}
    assert [p for p, row in TABLE.items() if row["versions"] != "soma" and p not in known] == []


def is_served(row):
    return row["kinds"] & KINDS["R"]


@pytest.mark.parametrize("path", [p for p, row in TABLE.items() if row["acts"] == "refused" and is_served(row)])
def test_a_refused_key_says_why(path):
    row = TABLE[path]
    told = parse(api_with({**row, "def": "1"} if "def" in row else row))
    above = [p for p, r in TABLE.items() if r["acts"] == "refused" and (path == p or path.startswith(p + "."))]
    assert any(p + ": " + row["why"] in line for line in told["errors"] for p in above), told


@pytest.mark.parametrize("path", [p for p, row in TABLE.items() if row["acts"] == "refused" and not is_served(row)])
def test_a_key_of_another_kind_names_the_kind(path):
    row = TABLE[path]
    kind = "TaskAPI" if row["kinds"] & KINDS["T"] else "TrafficSplitter"
    told = parse(api_with(row))
    block = re.split(r"[.\[]", path)[0]
    assert any(f"{block}: only for kind {kind}, this one is RealtimeAPI" in line for line in told["errors"]), told
    told = parse({"name": "a", "kind": kind})
    assert any(f'kind "{kind}" is not served by this version of Soma' in line for line in told["errors"]), told


@pytest.mark.parametrize("path", [p for p, row in TABLE.items() if row["acts"] == "warns" and is_served(row)])
def test_a_key_without_effect_is_warned_of(path):
    row = TABLE[path]
    told = parse(api_with(row))
    assert told["errors"] == []
    above = [p for p, r in TABLE.items() if r["acts"] == "warns" and (path == p or path.startswith(p + "."))]
    assert any(f"{p}: not acted on yet: {row['why']}" in line for line in told["warnings"] for p in above), told


def test_the_page_is_made_of_the_table():
    done = subprocess.run([ROOT / "scripts/config-page", "--check", "--soma", BIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs/config.md").read_text()
    assert [p for p in TABLE if f"| `{p}` |" not in page] == []

"""Language models from a hub: the example, with tiny models of the true layout, beside Transformers alone.

Needs a Python with torch and transformers: BENCH_TORCH_PYTHON names it, and LD_LIBRARY_PATH is passed on.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import requests
import yaml

from soma.daemon import BIN, Daemon
from soma.waiting import seconds, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from hub import families  # noqa: E402

PYTHON = os.environ.get("BENCH_TORCH_PYTHON")
EXAMPLE, CHECK = ROOT / "examples/language-models", ROOT / "bench/apps/large"
TEXT = "the rain in spain stays"
MODELS = {model.id: model for model in families.all_models("tiny")}
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # of T5, in its files for historical reasons
BESIDE = (".h5", ".msgpack", ".ot")  # weights that are there for other libraries

pytestmark = [pytest.mark.skipif(not PYTHON, reason="BENCH_TORCH_PYTHON names no Python with torch and transformers"), pytest.mark.timeout(900)]


def apis():
    """{name: entry of the example's soma.yaml}, and the largest as README says."""
    listed = {entry["name"]: entry for entry in yaml.safe_load((EXAMPLE / "soma.yaml").read_text())}
    largest = {**listed["t5-3b"], "name": "t5-11b"}
    largest["predictor"] = {**largest["predictor"], "models": {"path": "hf://google-t5/t5-11b"}}
    return {**listed, "t5-11b": largest}


def model_of(entry):
    return MODELS[entry["predictor"]["models"]["path"].removeprefix("hf://")]


def by_transformers(*words, **options):
    done = subprocess.run([PYTHON, *map(str, words)], text=True, stdout=subprocess.PIPE, timeout=seconds(600), check=True, **options)
    return [json.loads(line) for line in done.stdout.splitlines()]


def project():
    """The example with a class that says more of itself, in a Python that is there."""
    library = os.environ.get("LD_LIBRARY_PATH")
    entries = []
    for entry in apis().values():
        predictor = {**entry["predictor"], "path": "check.py", "python": PYTHON, "env": {"LD_LIBRARY_PATH": library} if library else {}}
        entries.append({**entry, "predictor": predictor, "compute": {"cpu": 1}})
    files = {path.name: path.read_text() for path in (EXAMPLE / "predictor.py", CHECK / "check.py", CHECK / "logits.py")}
    return {"soma.yaml": json.dumps(entries), **files}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    process = subprocess.Popen([sys.executable, "-m", "hub.serve", "--scale", "tiny", "--cache", tmp_path_factory.mktemp("hub")], cwd=ROOT / "tests",
                               stdout=subprocess.PIPE, text=True)
    yield json.loads(process.stdout.readline())["url"]
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def deployed(hub):
    with Daemon(env={"HF_ENDPOINT": hub}) as daemon:
        daemon.admin.deploy(project(), timeout=600)
        yield daemon


def tree(daemon, model):
    """Where the store has it."""
    for config in daemon.inside("models/trees").glob("*/config.json"):
        if json.loads(config.read_text()) == model.config:
            return config.parent
    raise AssertionError(f"{model.id} is not in the store")


def ask(daemon, name, **payload):
    answer = daemon.admin.post(f"/{name}", timeout=300, json={"text": TEXT, **payload})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_names_and_shapes_are_those_of_transformers():
    """At true size: what a file has is what the class wants, but for what is tied, and the mask and positions that old files have."""
    models = families.all_models("full")
    told = by_transformers(ROOT / "tests/hub/by_transformers.py", "names", input=json.dumps([[m.config["architectures"][0], m.config] for m in models]))[0]
    prefix = {"openai-community/gpt2-xl": "transformer."}
    for model, wanted in zip(models, told):
        has = {prefix.get(model.id, "") + t.name: list(t.shape) for t in model.tensors if t.kind not in ("mask", "range") and t.name != UNUSED}
        missing = {name for name in wanted if name not in has}
        assert not has.keys() - wanted.keys()
        assert missing <= {*model.tied, "lm_head.weight", "lm_head.decoder.weight", "lm_head.decoder.bias"}, model.id
        assert {name: shape for name, shape in wanted.items() if name in has} == has


def test_the_projects_files_come_whole_and_no_others(deployed, hub):
    """What libraries other than PyTorch read stays where it is; and where there are safetensors the archive does, too."""
    for entry in apis().values():
        model = model_of(entry)
        place = tree(deployed, model)
        told = requests.get(f"{hub}/api/models/{model.id}?blobs=true", timeout=60).json()["siblings"]
        there = {str(path.relative_to(place)): path.stat().st_size for path in place.rglob("*") if path.is_file()}
        assert not [name for name in there if name.endswith(BESIDE)]
        assert ("pytorch_model.bin" in there) == (model.form == "torch") and ("model.safetensors" in there) == (model.form == "safetensors")
        assert there.items() <= {(s["rfilename"], s["size"]) for s in told}


def test_tokenizers(deployed):
    folders = [tree(deployed, model_of(entry)) for entry in apis().values()]
    told = by_transformers(ROOT / "tests/hub/by_transformers.py", "tokenizers", TEXT, *folders)[0]
    sizes = [each["size"] for each in told]
    assert sizes == [50257, 8008, 50265, 32100, 32100]
    for each in told:
        assert each["text"].strip() == TEXT
        assert max(each["ids"]) < each["size"] and len(set(each["ids"])) > 4
    assert [each["ids"][-1] for each in told[1:]] == [2, 2, 1, 1]  # the end


def test_logits_are_those_of_transformers_alone(deployed):
    entries = apis()
    pairs = [word for entry in entries.values() for word in (tree(deployed, model_of(entry)), entry["predictor"]["config"]["class"])]
    plain = by_transformers(CHECK / "plain.py", TEXT, *pairs)
    assert len(plain) == len(entries)
    for name, right in zip(entries, plain):
        told = ask(deployed, name, logits=True)["logits"]
        assert len(set(right["logits"])) > 1000 and told == pytest.approx(right["logits"], abs=1e-6, rel=1e-6), name


def test_answers(deployed):
    for name in ("gpt2-xl", "blenderbot-3b", "t5-3b", "t5-11b"):
        told = ask(deployed, name, tokens=8, options={"min_length": 0})
        assert 1 <= told["tokens"] <= 8 and told["text"] is not None
        assert ask(deployed, name, tokens=8, options={"min_length": 0})["text"] == told["text"]
    words = ask(deployed, "roberta-large", text="the rain in <mask>")["words"]
    assert len(words) == 5 and sorted((w["share"] for w in words), reverse=True) == [w["share"] for w in words]
    assert deployed.admin.post("/roberta-large", json={"text": "the rain"}).status_code == 400


def mapped(pid, size):
    """What a process has of mappings of a file of this size: {key: kB}, all of smaps added up."""
    told, counts = {}, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ +(/.*)$", line):
            path = pathlib.Path(f"/proc/{pid}/root{found[1]}")
            counts = path.exists() and path.stat().st_size == size
        elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counts = False
        elif counts and (found := re.match(r"(\w+): +(\d+) kB", line)):
            told[found[1]] = told.get(found[1], 0) + int(found[2])
    return told


@pytest.mark.parametrize("name", ["gpt2-xl", "blenderbot-3b"])
def test_a_second_replica_has_no_copy(deployed, name):
    """Both map the same pages, and have written to none."""
    admin = deployed.admin
    right = ask(deployed, name, logits=True)["logits"]
    subprocess.run([BIN, "scale", name, "2", "--admin", deployed.admin_url], env=deployed.env, check=True, timeout=seconds(60), capture_output=True)
    pids = wait_for("two replicas", lambda: len(p := admin.pids(name)) == 2 and p, 120)

    def both():
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: ask(deployed, name, logits=True), range(4)))
        assert all(answer["logits"] == right for answer in answers)
        asked.update(answer["pid"] for answer in answers)
        return asked >= set(pids)
    asked = set()
    wait_for("both have answered", both, 120)
    place = tree(deployed, model_of(apis()[name]))
    (weights,) = [path for path in place.iterdir() if path.name.endswith((".safetensors", ".bin"))]
    for pid in pids:
        told = mapped(pid, weights.stat().st_size)
        assert told["Private_Dirty"] == told["Anonymous"] == 0 and told["Rss"] * 1024 > weights.stat().st_size / 2, told
        assert told["Pss"] < 0.75 * told["Rss"]

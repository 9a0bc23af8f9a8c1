"""The fuzz targets as a long run, and the one that is Python: forms.

A find is kept as a file of tests/fuzz/corpus/TARGET: the unit tests and the
test below replay them all. SOMA_FUZZ_S says how long a target runs in soak.
"""

import os
import random
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGETS = sorted(p.stem[len("fuzz_"):] for p in HERE.glob("fuzz_*.c"))
LONG = float(os.environ.get("SOMA_FUZZ_S", "600"))
SEED = int(os.environ.get("SOMA_TEST_SEED", "20260102"))
CORPUS_FILE_MAX = 64 << 10


def test_every_target_has_a_small_corpus():
    for name in [*TARGETS, "forms"]:
        files = list((HERE / "corpus" / name).iterdir())
        assert len(files) >= 3, f"tests/fuzz/corpus/{name} is next to empty"
        large = [f.name for f in files if f.stat().st_size > CORPUS_FILE_MAX]
        assert not large, f"tests/fuzz/corpus/{name}: larger than 64 KiB: {large}"


# --- those in C ---------------------------------------------------------------


@pytest.fixture(scope="session")
def build():
    """build-fuzz: clang, libFuzzer, AddressSanitizer, UndefinedBehaviorSanitizer."""
    if not shutil.which("clang"):
        pytest.skip("wants clang")
    folder = ROOT / "build-fuzz"
    if not (folder / "build.ninja").exists():
        done = subprocess.run(
            ["meson", "setup", folder, "-Dfuzz=true", "-Db_lundef=false", "-Db_sanitize=address,undefined",
             "-Dc_args=-fsanitize=fuzzer-no-link"],
            cwd=ROOT, env={**os.environ, "CC": "clang"}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(["ninja", "-C", folder, "--quiet", *(f"tests/fuzz/fuzz_{t}" for t in TARGETS)], check=True)
    return folder / "tests/fuzz"


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing(build, name, tmp_path):
    words = HERE / f"{name}.dict"
    found = tmp_path / "found"
    (tmp_path / "new").mkdir()
    found.mkdir()
    done = subprocess.run(
        [build / f"fuzz_{name}", f"-max_total_time={LONG:.0f}", "-max_len=8192", "-timeout=20", "-rss_limit_mb=3000",
         f"-artifact_prefix={found}/", *([f"-dict={words}"] if words.exists() else []), tmp_path / "new",
         HERE / "corpus" / name],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    kept = []
    for path in found.iterdir():
        kept.append(ROOT / "build-fuzz" / f"{name}-{path.name}")
        shutil.copy(path, kept[-1])
    assert done.returncode == 0, f"{done.stdout[-6000:]}\nfound: {', '.join(map(str, kept))}"


# --- forms --------------------------------------------------------------------

WORDS = [b"\r\n", b"--XX", b"--XX--", b"--", b"\r\n\r\n", b"Content-Disposition: form-data; name=\"a\"", b"; filename=\"b\"",
         b"; filename*=utf-8''%41", b"Content-Type: text/plain; charset=utf-16", b"; charset=idna", b"\"", b"\\\"", b"\0", b"\xff",
         b"%", b"%ff", b"&", b"=", b"+", b";", b"boundary=XX", b"\t \r\n"]


@pytest.fixture(scope="module")
def forms():
    package = types.ModuleType("_soma")
    package.__path__ = [str(ROOT / "python/soma")]
    had = sys.modules.get("_soma")
    sys.modules["_soma"] = package
    from _soma import forms as module
    yield module
    for name in [m for m in sys.modules if m == "_soma" or m.startswith("_soma.")]:
        del sys.modules[name]
    if had:
        sys.modules["_soma"] = had


def seeds():
    return [p.read_bytes() for p in sorted((HERE / "corpus/forms").iterdir())]


def check(forms, data):
    """A form or words for what is wrong with it, in time; its files are of the body."""
    kind, _, body = data.partition(b"\n")
    began = time.process_time()
    try:
        form = forms.parse(kind.decode("latin-1"), body)
    except (ValueError, OverflowError) as e:
        assert str(e), data
        form = None
    assert time.process_time() - began < 1, data
    for name, value in form.multi_items() if form else ():
        assert isinstance(name, str), data
        if isinstance(value, str):
            continue
        content = value.read()
        assert content in body and value.size == len(content), data
        assert isinstance(value.filename, str), data


def mutated(rng, data, others):
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.choice([1, 2, 5, 30]))
        change = rng.randrange(5)
        if change == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif change == 1:
            data[at:at] = rng.choice(WORDS)
        elif change == 2:
            del data[at:end]
        elif change == 3:
            data[at:at] = data[at:end] * rng.choice([1, 2, 50])
        else:
            other = rng.choice(others)
            data[at:] = other[rng.randint(0, len(other)):]
    return bytes(data[:1 << 16])


def test_forms_of_the_corpus(forms):
    for data in seeds():
        check(forms, data)


def fuzz_forms(forms, until):
    rng, pool = random.Random(SEED), seeds()
    while not until():
        data = mutated(rng, rng.choice(pool), pool)
        try:
            check(forms, data)
        except BaseException:
            print(f"tests/fuzz/corpus/forms wants this (seed {SEED}): {data!r}")
            raise
        if rng.random() < 0.02 and len(pool) < 5000:
            pool.append(data)


def test_changed_forms(forms):
    turns = iter(range(5000))
    fuzz_forms(forms, lambda: next(turns, None) is None)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_changed_forms_for_long(forms):
    deadline = time.monotonic() + LONG
    fuzz_forms(forms, lambda: time.monotonic() > deadline)


def test_forms_come_back_as_they_were_made(forms):
    rng = random.Random(SEED)
    for _ in range(300):
        fields = [(rng.choice(["a", "ä b", "x" * 50]), rng.randbytes(rng.choice([0, 1, 100])), rng.random() < 0.5)
                  for _ in range(rng.randint(0, 8))]
        body = b""
        for name, content, is_file in fields:
            head = f'Content-Disposition: form-data; name="{name}"' + ('; filename="f.bin"' if is_file else "")
            content = content if is_file else content.hex().encode()
            body += b"--XX\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        form = forms.parse("multipart/form-data; boundary=XX", body + b"--XX--\r\n")
        told = [(n, v if isinstance(v, str) else v.read()) for n, v in form.multi_items()]
        assert told == [(n, c if is_file else c.hex()) for n, c, is_file in fields]

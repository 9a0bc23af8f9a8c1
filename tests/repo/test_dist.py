"""scripts/dist: what is given to others, and that it runs where nothing is."""
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name, *arguments, cwd=ROOT, **more):
    done = subprocess.run([cwd / "scripts" / name, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, **more)
    print(done.stdout)
    return done


@pytest.fixture
def clone(tmp_path):
    if subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, tmp_path / "clone"]).returncode:
        pytest.skip("not a git checkout")
    shutil.copy(ROOT / "scripts/dist", tmp_path / "clone/scripts")
    return tmp_path / "clone"


def test_the_sources_are_the_same_bytes_each_time(clone):
    sums = set()
    for _ in range(2):
        done = script("dist", "--source", cwd=clone)
        assert done.returncode == 0
        name = done.stdout.split()[0]
        digest = hashlib.sha256((clone / name).read_bytes()).hexdigest()
        assert done.stdout.split()[1] == digest
        assert (clone / (name + ".sha256")).read_text() == f"{digest}  {os.path.basename(name)}\n"
        sums.add(digest)
        (clone / name).unlink()
    assert len(sums) == 1


def test_a_runtime_that_is_not_there(clone):
    done = script("dist", "--with-onnxruntime", cwd=clone)
    assert done.returncode == 1
    assert done.stdout == "dist: there is no build/onnxruntime/libonnxruntime.so.1: scripts/setup fetches it\n"


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_runs_in_a_root_with_glibc_alone():
    done = script("bare-dist", timeout=1200)
    assert done.stdout.split("\n")[-2] == "PASS"

"""Replicas that end with their test, and places to build environments at."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from building import OFFLINE, UV, Env, make_wheel, path_with
from harness import Worker
from zygotes import Zygote


@pytest.fixture
def start():
    workers = []

    def start(files, **more):
        workers.append(Worker(files, **more))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def zygote():
    made = []

    def zygote(files, **more):
        made.append(Zygote(files, **more))
        return made[-1]

    yield zygote
    for z in made:
        z.close()


@pytest.fixture
def serve(start):
    """As `start`, and waits for READY."""
    return lambda files, **more: start(files, **more).ready()


# --- environments


@pytest.fixture(params=["pip", "uv"])
def installer(request, tmp_path):
    return path_with(request.param, tmp_path)


@pytest.fixture
def quick(tmp_path):
    """The faster one, where it does not matter which."""
    return path_with("uv" if UV else "pip", tmp_path)


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    make_wheel(folder, "soma_tiny", "1.0")
    make_wheel(folder, "soma_tiny", "2.0")
    make_wheel(folder, "soma_user", "1.0", requires=["soma_tiny>=2"])
    return folder


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "predictor.py").write_text("x = 1\n")
    return folder


# find-links and no-index reach uv too: they are pip's words for it.
@pytest.fixture
def env(tmp_path, project, quick, wheels):
    return Env(tmp_path, project, quick, {**OFFLINE, "PIP_FIND_LINKS": str(wheels)})


@pytest.fixture
def both(tmp_path, project, installer, wheels):
    return Env(tmp_path, project, installer, {**OFFLINE, "PIP_FIND_LINKS": str(wheels)})

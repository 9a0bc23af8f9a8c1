"""Fixtures of the end-to-end tests: daemons and folders."""

import os

import pytest

from soma import projects, sources
from soma.daemon import BIN, Daemon
from soma.shelves import Shelf

IS_ROOT = os.geteuid() == 0


def pytest_collection_modifyitems(items):
    if os.environ.get("SOMA_SOAK"):
        return
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="a long run: make soak (SOMA_SOAK=1)"))


@pytest.fixture(scope="session", autouse=True)
def program():
    if not BIN.exists():
        pytest.exit(f"not built: {BIN} (make build, or set SOMA_BIN)", 3)


@pytest.fixture(scope="module")
def daemon():
    """One daemon for a file's tests. Its end is checked after the last."""
    with Daemon() as d:
        yield d


@pytest.fixture
def own_daemon():
    """A daemon for one test, which may kill it."""
    with Daemon() as d:
        yield d


@pytest.fixture
def folder(tmp_path):
    """Writes a project into a folder: folder({"soma.yaml": ...})."""
    def make(files, name="project"):
        return projects.write(tmp_path / name, files)
    return make


@pytest.fixture
def shelf(tmp_path):
    """Of models, and `soma fetch` into it."""
    return Shelf(tmp_path)


@pytest.fixture
def server():
    """Of files, over http."""
    with sources.Server() as s:
        yield s

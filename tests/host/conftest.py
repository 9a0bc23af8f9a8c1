"""Hosts that end with their test: the daemon's side of their descriptors is the worker tests'."""
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "worker"), str(TESTS / "e2e")]

from harness import BUILDS, Worker  # noqa: E402


def host_program():
    for build in BUILDS:
        path = Path(build, "host/soma-host")
        if str(build) and path.exists():
            return path
    raise RuntimeError("the host is not built: make build")


class Host(Worker):
    def __init__(self, files=(), **config):
        config = {"engine": "echo", "engine_options": {}, "model": None, **config}
        super().__init__(dict(files), program=[str(host_program())], before=Host.absolute_model, **config)

    def absolute_model(self):
        """As the daemon gives it."""
        if self.settings["model"]:
            self.settings["model"] = str(self.project / self.settings["model"])


@pytest.fixture
def start():
    hosts = []

    def start(files=(), **more):
        hosts.append(Host(files, **more))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


@pytest.fixture
def serve(start):
    """As `start`, and waits for READY."""
    return lambda files=(), **more: start(files, **more).ready()

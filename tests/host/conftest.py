"""Hosts that end with their test."""
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "worker"), str(TESTS / "e2e")]

from hosts import Host  # noqa: E402


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

"""Replicas that end with their test."""
import pytest

from harness import Worker


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
def serve(start):
    """As `start`, and waits for READY."""
    return lambda files, **more: start(files, **more).ready()

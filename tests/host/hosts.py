"""A host by itself: the worker tests' harness with another program."""
from pathlib import Path

from harness import BUILDS, Worker


def host_program():
    for build in BUILDS:
        path = Path(build, "host/soma-host")
        if str(build) and path.exists():
            return path
    raise RuntimeError("the host is not built: make build")


class Host(Worker):
    def __init__(self, files=(), before=None, **config):
        config = {"engine": "echo", "engine_options": {}, "model": None, **config}

        def prepare(host):
            host.absolute_model()
            if before:
                before(host)

        super().__init__(dict(files), program=[str(host_program())], before=prepare, **config)

    def absolute_model(self):
        """As the daemon gives it."""
        if self.settings["model"]:
            self.settings["model"] = str(self.project / self.settings["model"])

"""A steady load of calls and streams, each answer of which is checked: tests/load/steady.c, and what it asks."""

import contextlib
import json
import os
import pathlib
import subprocess
import time

from .daemon import BIN
from .projects import python_api, python_project
from .waiting import seconds, wait_for

BUILD = pathlib.Path(os.environ.get("SOMA_BUILD", BIN.parent))
PROGRAM = BUILD / "tests/load/steady"
BUSY_CLIENTS = 32
BEHIND_US = 20000
SHARE = 0.7  # of what the machine can

SOURCE = """import time

REVISION = {revision}


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        if "n" not in payload:
            return f"{{payload['id']}} {{REVISION}}\\n"
        return self.lines(payload["id"], payload["n"])

    def lines(self, id, n):
        for i in range(n):
            yield f"{{id}} {{i}} {{REVISION}}\\n"
            time.sleep(0.1)
"""


def project(revision, streams, replicas=2):
    """The apis `call` and `stream`, which say which revision answers."""
    scale = {"min_replicas": replicas, "max_replicas": replicas}
    return python_project(SOURCE.format(revision=revision), python_api("call", autoscaling=scale),
                          # A stream holds its slot to its end; any one replica may have to hold all but a few.
                          python_api("stream", predictor={"threads_per_process": streams}, autoscaling=scale, grace_period="60s"))


class Steady:
    """with Steady(port, streams, seed) as load: ...; then load.told has the numbers of the whole."""

    def __init__(self, port, streams, seed):
        self.args = [str(PROGRAM), str(port), str(streams), str(seed)]
        self.told, self.process, self.sent, self.revision = None, None, 0, 1

    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            with contextlib.suppress(OSError, ValueError):
                self.told = self.report()
                print(f"the load so far: {self.told}")
            self.process.kill()
            self.process.communicate()
            return
        out, _ = self.process.communicate(timeout=seconds(120))
        assert self.process.returncode == 0
        self.told = json.loads(out.splitlines()[-1])

    def say(self, order):
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()

    def report(self):
        self.say("report")
        return json.loads(self.process.stdout.readline())

    def settle(self, for_s, most):
        """Finds what the machine sustains, with the streams there; from then on that share of it is asked, or so many calls a second."""
        self.say(f"clients {BUSY_CLIENTS}")
        time.sleep(for_s / 2)  # until it is in its stride
        before, since = self.report()["right"], time.monotonic()
        time.sleep(for_s)
        can = (self.report()["right"] - before) / (time.monotonic() - since)
        self.sent = max(1, int(min(most, can * SHARE)))
        self.say(f"rate {self.sent}")
        self.say("mark")
        return can

    def begun(self):
        """Another revision is deployed from now on: either may answer. Returns its number."""
        self.revision += 1
        self.say(f"begun {self.revision}")
        return self.revision

    def live(self):
        self.say(f"live {self.revision}")

    def more(self, calls):
        """So many more are answered, and all are asked that are due."""
        least = self.report()["right"] + calls
        wait_for(f"{calls} more calls are answered", lambda: (told := self.report())["right"] >= least and told["behind_us"] < BEHIND_US, 60)

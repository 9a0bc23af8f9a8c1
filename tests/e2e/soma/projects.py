"""Projects to deploy: {path: text}, soma.yaml among them."""

import os
import pathlib

PROBE = pathlib.Path(__file__).with_name("probe.py").read_text()


def _readable_python():
    """A python3 that every user can run: replicas are users of their own."""
    for path in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if os.access(path, os.X_OK):
            return path
    raise RuntimeError("the tests want a python3 in /usr/bin or /usr/local/bin")


PYTHON = _readable_python()


def yaml_value(value):
    """JSON is YAML, so configs are written as Python values."""
    import json
    return json.dumps(value)


# What an update replaces ends at once, unless a test is about the watch.
UNWATCHED = {"watch": "0s"}


def probe_api(name="probe", **keys):
    """A config entry of a command api that runs probe.py."""
    predictor = {"type": "command", "command": [PYTHON, "probe.py"], **keys.pop("predictor", {})}
    return {"name": name, "predictor": predictor, "update_strategy": UNWATCHED, **keys}


def probe_project(*apis):
    """probe.py and the apis that run it: one named `probe` by default."""
    return {"soma.yaml": yaml_value(list(apis) or [probe_api()]), "probe.py": PROBE}


def python_api(name="echo", path="predictor.py", **keys):
    return {"name": name, "predictor": {"type": "python", "path": path, **keys.pop("predictor", {})}, "update_strategy": UNWATCHED, **keys}


def predictor(body, init="pass", imports=""):
    """A PythonPredictor whose predict(self, payload, ...) is `body`."""
    def indent(text):
        return "\n".join("        " + line for line in text.splitlines())
    return (f"{imports}\n\n\nclass PythonPredictor:\n    def __init__(self, config):\n{indent(init)}\n\n"
            f"    def predict(self, payload, query_params=None, headers=None):\n{indent(body)}\n")


def python_project(source, *apis, **files):
    """predictor.py with `source`, and the apis that run it."""
    return {"soma.yaml": yaml_value(list(apis) or [python_api()]), "predictor.py": source, **files}


def write(directory, files):
    """The project as a folder, for the CLI."""
    directory = pathlib.Path(directory)
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return directory

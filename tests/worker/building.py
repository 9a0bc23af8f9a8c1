"""environment.py as the daemon calls it: builds with pip and with uv, of
packages that are made here."""
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

SOMA = pathlib.Path(__file__).resolve().parents[2] / "python" / "soma"
SCRIPT = SOMA / "environment.py"
PYTHON = os.path.realpath(sys.executable)
UV = shutil.which("uv") or shutil.which("uv", path=os.path.dirname(sys.executable))
OFFLINE = {"PIP_NO_INDEX": "1"}


def path_with(name, tmp_path):
    """PATH with or without uv."""
    path = [d for d in os.environ["PATH"].split(os.pathsep) if not os.path.exists(os.path.join(d, "uv"))]
    if name == "uv":
        if not UV:
            pytest.skip("uv is not installed")
        (tmp_path / "uv-bin").mkdir()
        (tmp_path / "uv-bin" / "uv").symlink_to(UV)
        path.insert(0, str(tmp_path / "uv-bin"))
    return {"PATH": os.pathsep.join(path), "name": name}


def make_wheel(folder, name, version, module="", requires=()):
    """A wheel by hand: nothing that builds wheels is needed."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": module or f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                            + "".join(f"Requires-Dist: {r}\n" for r in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        for n, text in files.items():
            z.writestr(n, text)
    return path


class Env:
    """One place to build at, and what builds there said."""

    def __init__(self, tmp_path, project, installer, extra=None):
        self.dir, self.project, self.tmp, self.more = tmp_path / "env", project, tmp_path, []
        self.variables = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
        self.variables.update(extra or {}, PATH=installer["PATH"], HOME=str(tmp_path))

    def command(self, python=PYTHON):
        line = [sys.executable, SCRIPT, "build", "--dir", self.dir, "--python", python,
                "--project", self.project, "--cache", self.tmp / "cache"]
        for option, name in (("--requirements", "requirements.txt"), ("--shell", "dependencies.sh")):
            if (self.project / name).exists():
                line += [option, self.project / name]
        return [str(word) for word in line + self.more]

    def build(self, **kwargs):
        done = subprocess.run(self.command(**kwargs), env=self.variables, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        self.out, self.last = done.stdout, done.stdout.strip().split("\n")[-1]
        return done.returncode

    def ok(self, **kwargs):
        assert self.build(**kwargs) == 0, self.out
        return self

    def fails(self):
        """(cause, remedy)"""
        assert self.build() == 1, self.out
        assert self.last.startswith("soma-environment: failed: "), self.out
        assert not (self.dir / ".complete").exists()
        cause, remedy = self.last[len("soma-environment: failed: "):].split("; remedy: ")
        return cause, remedy

    def python(self, code):
        return subprocess.run([self.dir / "bin" / "python", "-c", code], stdout=subprocess.PIPE, text=True,
                              check=True, cwd="/").stdout.strip()


def tool(*args, python=sys.executable):
    done = subprocess.run([str(a) for a in (python, SCRIPT, *args)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.strip()


def part(name):
    sys.path.insert(0, str(SOMA))
    try:
        return importlib.import_module(name)
    finally:
        del sys.path[0]

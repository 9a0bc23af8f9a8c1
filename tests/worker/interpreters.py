"""The Pythons of this machine, by version."""
import functools
import os
import shutil
import subprocess
from pathlib import Path

VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14t"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "soma")


def places(version):
    """What may be that version: the system's, pyenv's, what scripts/python-t made."""
    name = "python" + version
    yield from (Path(folder, name) for folder in ["/usr/bin", "/usr/local/bin"])
    yield from sorted(Path.home().glob(f".pyenv/versions/{version.rstrip('t')}.*/bin/{name}"), reverse=True)
    yield CACHE / name / "bin" / name
    if shutil.which(name):
        yield Path(shutil.which(name))


@functools.lru_cache(None)
def find(version):
    """The path of an interpreter of that version, or None."""
    for path in places(version):
        code = "import sys; print('%d.%d' % sys.version_info[:2] + ('t' if 't' in sys.abiflags else ''))"
        if path.exists() and subprocess.run([path, "-I", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip() == version:
            return str(path)
    return None


def is_for_all(path):
    """Whether every user may run it: root's pyenv is root's alone."""
    real = Path(path).resolve()
    return all(folder.stat().st_mode & 0o001 for folder in [real, *real.parents])

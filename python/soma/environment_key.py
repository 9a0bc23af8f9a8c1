"""Which interpreter is meant, what it is, and the key of what is built with it."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess

FORMAT = "soma-environment-1"  # part of the key: changes when builds do

INSPECT = """
import json, platform, sys, sysconfig
print("soma-inspect:" + json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "prefix": sys.prefix,
    "base_prefix": getattr(sys, "base_prefix", sys.prefix),
    "abi": sysconfig.get_config_var("SOABI") or "",
    "platform": sysconfig.get_platform(),
    "implementation": platform.python_implementation(),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""


class Failure(Exception):
    def __init__(self, cause, remedy):
        Exception.__init__(self, cause)
        self.cause, self.remedy = cause, remedy


# --- interpreters ------------------------------------------------------------


def find_python(path):
    """The interpreter that a path, a virtual environment or a name means."""
    remedy = "give the path of a Python interpreter (3.8 or newer) or of a virtual environment"
    if os.path.isdir(path):
        for name in ("python", "python3"):
            inside = os.path.join(path, "bin", name)
            if os.path.lexists(inside):
                if not os.path.exists(inside):
                    raise Failure("the virtual environment %s is broken: its interpreter %s is gone"
                                  % (path, os.path.realpath(inside)), "make it again: python3 -m venv --clear " + path)
                return inside
        raise Failure("%s is a folder without bin/python" % path, remedy)
    if os.sep in path:
        if not os.path.lexists(path):
            raise Failure("there is no interpreter %s" % path, remedy)
        return path
    found = shutil.which(path)
    if not found:
        raise Failure("there is no '%s' in PATH (%s)" % (path, os.environ.get("PATH", "")), remedy)
    return found


def inspect(path):
    """What `path` is, as it says itself; Failure when it is no use."""
    python = find_python(path)
    remedy = "choose CPython 3.8 or newer with the key python"
    try:
        done = subprocess.run([python, "-E", "-s", "-c", INSPECT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise Failure("%s does not answer as a Python interpreter" % python, remedy)
    except OSError as e:
        raise Failure("%s cannot be started: %s" % (python, e.strerror),
                      "it must be a program that every user may read and execute" if e.errno == errno.EACCES
                      else remedy)
    text = done.stdout.decode("utf-8", "replace")
    if "soma-inspect:" not in text:
        last = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise Failure("%s is no Python interpreter%s" % (python, " (it says: %s)" % last if last else ""), remedy)
    facts = json.loads(text[text.index("soma-inspect:") + 13:].split("\n")[0])
    numbers = tuple(int(n) for n in re.findall(r"\d+", facts["version"])[:2])
    if facts["implementation"] != "CPython":
        raise Failure("%s is %s" % (python, facts["implementation"]), remedy)
    if numbers < (3, 8):
        raise Failure("%s is Python %s" % (python, facts["version"]), remedy)
    return facts


def keeps_packages(facts):
    """Whether it is an environment, whose packages somebody chose. A bare
    interpreter's are the system's, and no replica should depend on those."""
    return (facts["prefix"] != facts["base_prefix"]
            or os.path.isdir(os.path.join(facts["prefix"], "conda-meta")))


# --- the key -----------------------------------------------------------------


def requirement_lines(path, seen=None):
    """Lines of a requirements file and of those it names, comments left out."""
    seen = set() if seen is None else seen
    real = os.path.realpath(path)
    if real in seen:
        return
    seen.add(real)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            text = f.read()
    except OSError as e:
        raise Failure("%s cannot be read: %s" % (path, e.strerror), "check the path and its permissions")
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not line:
            continue
        yield line
        nested = re.match(r"(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", line)
        if nested and "://" not in nested.group(1):
            for inner in requirement_lines(os.path.join(os.path.dirname(path), nested.group(1)), seen):
                yield inner


def is_local(line):
    """Whether a line installs something out of the project."""
    line = re.sub(r"^(-e|--editable)[\s=]*", "", line)
    if line.startswith("-"):
        return bool(re.match(r"(-f|--find-links)[\s=]*(?![\s=]|\w+://)", line))
    name = line.split(" @ ")[-1].split(";")[0].strip()
    return (name.startswith((".", "/", "file:")) or name.endswith((".whl", ".tar.gz", ".zip")) and "://" not in name
            or os.sep in name and "://" not in name and "@" not in name)


def wants_project(requirements, shell):
    return bool(shell or requirements and any(is_local(line) for line in requirement_lines(requirements)))


def tree_digest(root):
    """Names, kinds and contents below a folder."""
    digest = hashlib.sha256()
    for folder, dirs, files in os.walk(root):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            digest.update(os.path.relpath(path, root).encode("utf-8", "surrogateescape") + b"\0")
            if os.path.islink(path):
                digest.update(os.readlink(path).encode("utf-8", "surrogateescape"))
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    for block in iter(lambda: f.read(1 << 20), b""):
                        digest.update(block)
            digest.update(b"\0")
    return digest.hexdigest()


def key(facts, requirements=None, shell=None, project=None, extra=()):
    """Content hash: two builds of one key are the same environment."""
    parts = [FORMAT, os.path.realpath(facts["executable"]), facts["version"], facts["abi"], facts["platform"]]
    if keeps_packages(facts):
        parts.append(os.path.realpath(facts["prefix"]))
    if requirements:
        lines = list(requirement_lines(requirements))
        parts += ["requirements"] + lines
        if project and any(is_local(line) for line in lines):
            parts += ["project", tree_digest(project)]
    if shell:
        with open(shell, "rb") as f:
            parts += ["shell", f.read().decode("utf-8", "surrogateescape")]
    if extra:
        parts += ["extra"] + list(extra)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

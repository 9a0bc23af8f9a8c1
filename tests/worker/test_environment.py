"""environment.py: environments of replicas, built with pip and with uv.

Packages are made here, without a network; one test asks the real index.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from building import PYTHON, SCRIPT, Env, make_wheel, part, tool

# --- what is built -----------------------------------------------------------


def test_requirements_are_installed(both):
    (both.project / "requirements.txt").write_text("soma_user\n")
    both.ok()
    assert both.python("import soma_tiny; print(soma_tiny.version)") == "2.0"
    facts = json.loads((both.dir / ".complete").read_text())
    assert facts["python"] == str(both.dir / "bin" / "python")
    assert len(facts["key"]) == 64
    # Who runs it may not write there.
    assert list(both.dir.glob("lib/python*/site-packages/__pycache__/soma_tiny.*.pyc"))
    assert not (both.dir / "project").exists()
    # A second time there is nothing to do.
    before = (both.dir / ".complete").stat().st_mtime_ns
    both.ok()
    assert "already built" in both.last and (both.dir / ".complete").stat().st_mtime_ns == before


def test_nothing_to_install_builds_nothing(env):
    (env.project / "requirements.txt").write_text("# nothing\n\n")
    env.ok()
    assert "nothing to install" in env.last and not env.dir.exists()


def test_script_runs_first_in_the_project_with_the_environment_active(both):
    (both.project / "dependencies.sh").write_text(
        "cat data.txt\necho \"$VIRTUAL_ENV $(command -v python)\"\npip --version >/dev/null && echo pip here\n"
        "echo 'made = 1' > $(python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')/made.py\n"
        "touch scratch\n")
    (both.project / "data.txt").write_text("from the project\n")
    (both.project / "requirements.txt").write_text("soma_tiny==1.0\n")
    both.ok()
    lines = both.out.split("\n")
    assert "from the project" in lines
    assert f"{both.dir} {both.dir}/bin/python" in lines
    assert "pip here" in lines
    assert lines.index("pip here") < next(i for i, s in enumerate(lines) if "installing requirements.txt" in s)
    assert both.python("import made, soma_tiny; print(soma_tiny.version)") == "1.0"
    # The project is shared: what the script leaves is left in a copy.
    assert sorted(p.name for p in both.project.iterdir()) == [
        "data.txt", "dependencies.sh", "predictor.py", "requirements.txt"]


BACKEND = '''
import os, zipfile
def build(folder, files):
    info = "soma_local-3.0.dist-info"
    files = dict(files)
    files[info + "/METADATA"] = "Metadata-Version: 2.1\\nName: soma_local\\nVersion: 3.0\\n"
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[info + "/RECORD"] = "".join(n + ",,\\n" for n in list(files) + [info + "/RECORD"])
    name = "soma_local-3.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as z:
        for n, text in files.items():
            z.writestr(n, text)
    return name
def build_wheel(folder, config_settings=None, metadata_directory=None):
    open("build-was-here", "w").close()
    return build(folder, {"soma_local.py": open("src/soma_local.py").read()})
def build_editable(folder, config_settings=None, metadata_directory=None):
    return build(folder, {"__editable__soma_local.pth": os.path.join(os.getcwd(), "src") + "\\n"})
'''


def add_local_package(folder):
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "soma_local.py").write_text("where = __file__\n")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "soma_local"\nversion = "3.0"\n')


@pytest.mark.parametrize("line, kept", [("-e .", True), ("./lib", False)])
def test_packages_of_the_project_itself(both, line, kept):
    add_local_package(both.project / "lib" if "lib" in line else both.project)
    (both.project / "requirements.txt").write_text(line + "\n")
    for folder, _, files in os.walk(both.project):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
    try:
        both.ok()
    finally:
        for folder, _, _ in os.walk(both.project):
            os.chmod(folder, 0o755)
    assert not list(both.project.rglob("build-was-here"))
    where = both.python("import soma_local; print(soma_local.where)")
    assert where.startswith(str(both.dir))
    assert (both.dir / "project").exists() == kept
    assert ("/project/" in where) == kept


def test_large_files_of_the_project_are_not_copied(env):
    big = env.project / "weights.bin"
    with open(big, "wb") as f:
        f.truncate(64 << 20)
    (env.project / "dependencies.sh").write_text("stat -c %F weights.bin; head -c 3 weights.bin | wc -c\n")
    env.ok()
    assert "symbolic link" in env.out and "\n3\n" in env.out


def test_an_environment_that_is_given_keeps_its_packages(env, tmp_path, wheels):
    given = tmp_path / "given"
    subprocess.run([PYTHON, "-m", "venv", given], check=True)
    subprocess.run([given / "bin" / "pip", "install", "--no-index", "--find-links", wheels, "soma_tiny==1.0"],
                   check=True, stdout=subprocess.DEVNULL)
    make_wheel(wheels, "soma_new", "1.0")
    (env.project / "requirements.txt").write_text("soma_new\n")
    env.ok(python=given)
    assert env.python("import soma_tiny, soma_new; print(soma_tiny.version)") == "1.0"


def test_a_bare_interpreter_does_not(env):
    (env.project / "requirements.txt").write_text("soma_tiny\n")
    env.ok()
    out = env.python("import sys; print([p for p in sys.path if 'dist-packages' in p])")
    assert out == "[]"


# --- kills -------------------------------------------------------------------


def test_a_killed_build_is_started_anew(env):
    (env.project / "dependencies.sh").write_text("if [ -e %s ]; then exit 0; fi; echo waiting; sleep 60\n"
                                                 % (env.tmp / "go"))
    child = subprocess.Popen(env.command(), env=env.variables, stdout=subprocess.PIPE, text=True,
                             start_new_session=True)
    for line in child.stdout:
        if line == "waiting\n":
            break
    other = Env(env.tmp, env.project, {"PATH": env.variables["PATH"]})
    cause, remedy = other.fails()
    assert cause == f"another build of {env.dir} is at work" and remedy == "wait for it"
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    assert (env.dir / "bin").exists() and not (env.dir / ".complete").exists()
    (env.dir / "rubbish").mkdir()
    (env.tmp / "go").touch()
    env.ok()
    assert "an earlier build was not finished" in env.out
    assert (env.dir / ".complete").exists() and not (env.dir / "rubbish").exists()


def test_lines_come_as_they_are_said(env):
    (env.project / "dependencies.sh").write_text("echo one; printf 'a\\rb\\n'; sleep 30\n")
    child = subprocess.Popen(env.command(), env=env.variables, stdout=subprocess.PIPE, text=True,
                             start_new_session=True)
    seen, begin = [], time.monotonic()
    for line in child.stdout:
        seen.append(line.strip())
        if line == "b\n":
            break
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    assert seen[-3:] == ["one", "a", "b"] and time.monotonic() - begin < 25


# --- failures ----------------------------------------------------------------


def test_package_that_does_not_exist(both):
    (both.project / "requirements.txt").write_text("soma-no-such-package\n")
    cause, remedy = both.fails()
    assert cause.startswith("requirements.txt: package soma-no-such-package was not found")
    assert remedy.startswith("check its name")
    assert "soma-no-such-package" in both.out[:both.out.index("soma-environment: failed")]


def test_version_that_does_not_exist(env):
    (env.project / "requirements.txt").write_text("soma_tiny==9.0\n")
    cause, _ = env.fails()
    assert cause.startswith("requirements.txt: there is no soma") and "9.0" in cause


def test_requirements_that_contradict_each_other(env):
    (env.project / "requirements.txt").write_text("soma_user==1.0\nsoma_tiny==1.0\n")
    cause, remedy = env.fails()
    assert "cannot be met together" in cause or "contradict each other" in cause
    assert "versions" in remedy


def test_line_that_is_no_requirement(env):
    (env.project / "requirements.txt").write_text("soma_tiny\nthis is wrong !!\n")
    cause, remedy = env.fails()
    assert cause.startswith("requirements.txt: a line of the requirements is not one")
    assert remedy.startswith("write it as NAME")


def test_file_that_is_named_and_not_there(env):
    (env.project / "requirements.txt").write_text("-r more.txt\n")
    cause, _ = env.fails()
    assert "more.txt" in cause and "No such file" in cause


def test_folder_without_a_package(env):
    (env.project / "requirements.txt").write_text("./nothing\n")
    cause, _ = env.fails()
    assert "nothing" in cause or "Distribution not found" in env.out


def test_package_that_does_not_build(both):
    add_local_package(both.project)
    (both.project / "backend.py").write_text("def build_wheel(*a, **k):\n    raise SystemExit('it broke')\n"
                                            "build_editable = build_wheel\n")
    (both.project / "requirements.txt").write_text(".\n")
    cause, remedy = both.fails()
    assert "could not be built" in cause and "it broke" in both.out
    assert remedy.startswith("read the lines above")


def test_script_that_fails(env):
    (env.project / "dependencies.sh").write_text("echo some words\nfalse\necho not reached\n")
    cause, remedy = env.fails()
    assert cause == "dependencies.sh: exit status 1" and remedy == "read the lines above"
    assert "some words" in env.out and "not reached" not in env.out


def test_script_that_wants_to_be_root(env):
    (env.project / "dependencies.sh").write_text(
        "echo 'E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)' >&2\n"
        "echo 'E: Unable to acquire the dpkg frontend lock, are you root?' >&2; exit 100\n")
    cause, remedy = env.fails()
    assert "wants to be root" in cause and "on the machine itself" in remedy


def test_no_bash(env, tmp_path):
    (env.project / "dependencies.sh").write_text("true\n")
    env.variables["PATH"] = str(tmp_path / "uv-bin")
    cause, remedy = env.fails()
    assert cause == "there is no bash to run dependencies.sh with" and remedy == "run: apt install bash"


def test_index_that_cannot_be_reached(both):
    (both.project / "requirements.txt").write_text("six\n")
    both.variables = {k: v for k, v in both.variables.items() if k not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")}
    both.variables.update(PIP_INDEX_URL="http://user:s3cret@127.0.0.1:9/simple", PIP_RETRIES="1",
                         UV_HTTP_RETRIES="0", NO_PROXY="127.0.0.1")
    cause, remedy = both.fails()
    assert cause == "requirements.txt: the package index cannot be reached"
    assert "PIP_INDEX_URL" in remedy and "s3cret" not in both.out


def test_venv_module_missing(tmp_path, project):
    """As on Debian without python3-venv."""
    bare = tmp_path / "bare"
    bare.mkdir()
    fake = bare / "python3"
    fake.write_text(f"#!/bin/sh\ncase \"$*\" in *ensurepip*) exit 1;; esac\nexec {PYTHON} \"$@\"\n")
    fake.chmod(0o755)
    (project / "requirements.txt").write_text("six\n")
    build = load().Build(load().parse(["build", "--dir", str(tmp_path / "env"), "--python", PYTHON,
                                       "--project", str(project), "--requirements", str(project / "requirements.txt")]))
    build.uv, build.facts = None, {**build.facts, "executable": str(fake)}
    with pytest.raises(Exception) as e:
        build.run()
    assert e.value.cause == f"{fake} has no venv module"
    assert e.value.remedy.startswith("run: apt install python3.")


PIP_CONFLICT = """\
The conflict is caused by:
    The user requested typing-extensions==4.12.2
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/"""
UV_NO_WHEEL = """\
error: No solution found when resolving dependencies
  cause: Because tensorflow==1.15.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) and you require"""
UV_DNS = """\
error: Request failed after 3 retries
  cause: dns error
  cause: failed to lookup address information: Name or service not known"""
PIP_DNS = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError: Failed to establish a new \
connection: [Errno -3] Temporary failure in name resolution')': /simple/six/
ERROR: Could not find a version that satisfies the requirement six (from versions: none)"""


@pytest.mark.parametrize("text, cause, remedy", [
    (PIP_CONFLICT, "the requirements contradict each other", "loosen"),
    (UV_NO_WHEEL, "a package has no file for Python 3.11.2 on linux-x86_64", "another interpreter"),
    (UV_DNS, "its name does not resolve", "PIP_INDEX_URL"),
    (PIP_DNS, "its name does not resolve", "PIP_INDEX_URL"),
    ("ERROR: Could not find a version that satisfies the requirement numpy==1.10.0 (from versions: 1.23.2, 1.23.3)",
     "there is no numpy==1.10.0 for Python 3.11.2", "one of the versions listed"),
    ("ERROR: Package 'x' requires a different Python: 3.11.2 not in '<3.9'", "it wants <3.9", "another interpreter"),
    ("OSError: [Errno 28] No space left on device", "the disk is full", "free some space"),
    ("x.c:1:10: fatal error: Python.h: No such file or directory", "headers of Python", "apt install python3.11-dev"),
    ("x.c:1:10: fatal error: lzo/lzo1x.h: No such file or directory", "lzo/lzo1x.h is missing", "system's package"),
    ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
     "no compiler (x86_64-linux-gnu-gcc)", "build-essential python3.11-dev"),
    ("ERROR: Failed building wheel for soma-thing\nsubprocess-exited-with-error",
     "package soma-thing could not be built", "read the lines above"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "certificate", "PIP_CERT"),
    ("ERROR: HTTP error 401 Client Error: Unauthorized for url", "refuses the credentials", "password"),
    ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "hash", "hashes"),
    ("error: [Errno 13] Permission denied: '/usr/lib/x'", "/usr/lib/x", "environment"),
    ("something nobody has seen", "exit status 3", "as it is"),
])
def test_installers_words_have_causes(text, cause, remedy):
    facts = {"python": "3.11.2", "platform": "linux-x86_64", "minor": "3.11"}
    got = part("environment_causes").explain(text, facts, ("exit status 3", "as it is"))
    assert cause in got[0] and remedy in got[1]
    assert "{" not in got[0] + got[1]


def test_pips_settings_reach_uv(tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://h/simple\n[install]\ntrusted-host = a b\n"
                                       "find-links =\n  /one\n  /two\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    got = part("environment_install").uv_environment({
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_EXTRA_INDEX_URL": "https://x/simple", "UV_HTTP_TIMEOUT": "7",
        "PIP_DEFAULT_TIMEOUT": "99"})
    assert got["UV_DEFAULT_INDEX"] == "https://h/simple" and got["UV_INDEX"] == "https://x/simple"
    assert got["UV_FIND_LINKS"] == "/one,/two" and got["UV_INSECURE_HOST"] == "a b"
    assert got["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert got["UV_HTTP_TIMEOUT"] == "7"  # uv's own words win


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(env):
    (env.project / "requirements.txt").write_text("soma_tiny\n")
    env.dir = pathlib.Path("/soma-no-such-place/env")
    cause, _ = env.fails()
    assert cause.startswith("/soma-no-such-place/env cannot be made")


# --- interpreters ------------------------------------------------------------


def test_inspect_says_what_it_is(tmp_path):
    code, out = tool("inspect", "--python", PYTHON)
    facts = json.loads(out)
    assert code == 0 and facts["version"] == sys.version.split()[0]
    assert facts["abi"].startswith("cpython-3") and facts["platform"].startswith("linux")
    venv = tmp_path / "v"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", venv], check=True)
    for path in (venv, venv / "bin" / "python"):
        code, out = tool("inspect", "--python", path)
        assert code == 0 and json.loads(out)["prefix"] == str(venv)


@pytest.mark.parametrize("make, says", [
    (lambda d: "/bin/cat", "/bin/cat is no Python interpreter (it says: "),
    (lambda d: d, "is a folder without bin/python"),
    (lambda d: d / "none", "there is no interpreter"),
    (lambda d: "no-such-python", "there is no 'no-such-python' in PATH"),
    (lambda d: write(d / "text", "hello"), "cannot be started: Permission denied"),
    (lambda d: write(d / "py", "#!/bin/sh\necho 'soma-inspect:{\"implementation\": \"PyPy\", \"version\": \"3.9.1\"}'"),
     "py is PyPy"),
    (lambda d: write(d / "py", "#!/bin/sh\necho 'soma-inspect:{\"implementation\": \"CPython\", "
                     "\"version\": \"3.7.2\"}'"), "py is Python 3.7.2"),
    (lambda d: link(d / "bin" / "python", d), "is broken: its interpreter"),
])
def test_inspect_refuses_what_is_no_use(tmp_path, make, says):
    code, out = tool("inspect", "--python", make(tmp_path))
    assert code == 1 and out.startswith("soma-environment: failed: ") and says in out
    assert "; remedy: " in out


def write(path, text):
    path.write_text(text)
    if text.startswith("#!"):
        path.chmod(0o755)
    return path


def link(path, result):
    path.parent.mkdir()
    path.symlink_to("/nonexistent/python3")
    return result


def old_pythons():
    return [p for name in ("python2.7", "python3.6", "python3.7")
            for p in [shutil.which(name), *map(str, pathlib.Path.home().glob(f".pyenv/versions/*/bin/{name}"))] if p]


@pytest.mark.parametrize("python", old_pythons() or [None])
def test_an_old_interpreter_gets_as_far_as_saying_so(python):
    if not python:
        pytest.skip("no Python before 3.8 on this machine")
    code, out = tool("inspect", "--python", python, python=python)
    if "pyenv:" in out:
        pytest.skip("a pyenv shim without the version")
    assert code == 1 and "remedy: choose CPython 3.8 or newer" in out


# --- the key -----------------------------------------------------------------


def load():
    spec = importlib.util.spec_from_file_location("environment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_key_changes_with_what_is_built(tmp_path):
    def key():
        code, out = tool("key", "--python", PYTHON, "--project", tmp_path,
                         *(["--requirements", tmp_path / "r.txt"] if (tmp_path / "r.txt").exists() else []),
                         *(["--shell", tmp_path / "d.sh"] if (tmp_path / "d.sh").exists() else []))
        assert code == 0
        return out

    def changed(name, text, yes=True):
        nonlocal last
        (tmp_path / name).write_text(text)
        now = key()
        assert (now != last) == yes
        last = now

    last = key()
    assert last == key()
    changed("r.txt", "six\n")
    changed("r.txt", "six  # the same\n\n", yes=False)
    changed("d.sh", "true\n")
    changed("d.sh", "false\n")
    changed("predictor.py", "1\n", yes=False)
    (tmp_path / "more.txt").write_text("idna\n")
    changed("r.txt", "-r more.txt\n")
    changed("more.txt", "idna>3\n")
    # A package of the project: then its files are part of it.
    changed("r.txt", "-e .\n")
    changed("predictor.py", "2\n")


@pytest.mark.parametrize("line, local", [
    ("six", False), ("six==1.0; python_version>'3'", False), ("-r x.txt", False), ("--index-url https://h/x", False),
    ("git+https://h/x.git", False), ("x @ https://h/x.whl", False), ("x @ file:///a/x.whl", True), ("-e .", True),
    ("-e git+https://h/x.git#egg=x", False), (".", True), ("./a", True), ("a/b", True), ("x-1.0-py3-none-any.whl", True),
    ("-f ./wheels", True), ("--find-links=https://h/", False), ("--find-links wheels", True), ("..[extra]", True),
])
def test_lines_that_install_out_of_the_project(line, local):
    assert part("environment_key").is_local(line) == local


# --- the real index ----------------------------------------------------------


def test_a_real_package(tmp_path, project, installer):
    (project / "requirements.txt").write_text("six==1.16.0\n")
    env = Env(tmp_path, project, installer).ok()
    assert env.python("import six; print(six.__version__)") == "1.16.0"

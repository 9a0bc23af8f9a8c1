"""scripts/setup: what it finds out, and what it says when it cannot go on."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASE = dict(line.replace('"', "").split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)

pytestmark = pytest.mark.skipif(RELEASE.get("ID") != "debian", reason="the tests have Debian's apt in mind")


@pytest.fixture
def checkout():
    """A checkout where nothing was set up yet, open to every user."""
    with tempfile.TemporaryDirectory(prefix="soma-setup-") as name:
        root = Path(name)
        root.chmod(0o777)
        (root / "scripts").mkdir()
        (root / "tests").mkdir()
        shutil.copy(ROOT / "scripts/setup", root / "scripts")
        shutil.copy(ROOT / "tests/requirements.txt", root / "tests")
        yield root


def setup(root, *arguments, path="", before=(), **env):
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"], **env}
    done = subprocess.run([*before, root / "scripts/setup", *arguments], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    print(done.stdout)
    return done


def apt_config(tmp_path, sources, name):
    """An APT_CONFIG under which these are the machine's only sources."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / name).write_text(sources)
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{parts}";\n')
    return str(config)


def test_nothing_to_do_is_one_line():
    done = setup(ROOT, "--test")
    assert done.returncode == 0
    assert done.stdout == "setup: everything needed is installed\n"


ENTRIES = {
    "one line": ("x.list", "deb http://archive.invalid/debian {suite} main\n"),
    "one line with options": ("x.list", "# old\ndeb [arch=amd64 trusted=yes] http://archive.invalid/debian/ {suite} main contrib\n"),
    "behind security": ("x.list", "deb http://sec.invalid/debian-security {suite}-security main\ndeb http://archive.invalid/debian {suite} main\n"),
    "deb822": ("x.sources", "Types: deb\nURIs: http://sec.invalid/s\nSuites: {suite}-security\nComponents: main\n\nTypes: deb deb-src\nURIs: http://archive.invalid/debian\nSuites: {suite} {suite}-updates\nComponents: main\n"),
}


@pytest.mark.parametrize("form", ENTRIES)
def test_archive_is_found_in_any_form(tmp_path, checkout, form):
    name, text = ENTRIES[form]
    config = apt_config(tmp_path, text.format(suite=RELEASE["VERSION_CODENAME"]), name)
    assert setup(checkout, "--archive", APT_CONFIG=config).stdout == "http://archive.invalid/debian\n"


@pytest.mark.skipif(RELEASE.get("VERSION_ID") != "12", reason="nothing is fetched apart here")
def test_no_entry_for_this_release(tmp_path, checkout):
    config = apt_config(tmp_path, "deb http://archive.invalid/debian other main\n", "x.list")
    done = setup(checkout, APT_CONFIG=config)
    assert done.returncode == 1
    assert f"no entry for {RELEASE['VERSION_CODENAME']}" in done.stdout and "libllhttp-dev" in done.stdout


@pytest.mark.skipif(RELEASE.get("VERSION_ID") != "12", reason="nothing is fetched apart here")
def test_no_network(tmp_path, checkout):
    config = tmp_path / "apt.conf"
    config.write_text('Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::https::Proxy "http://127.0.0.1:9";\nAcquire::Retries "0";\n')
    done = setup(checkout, APT_CONFIG=str(config))
    assert done.returncode == 1
    assert "could not be fetched" in done.stdout and "Is the network up?" in done.stdout
    assert not (checkout / "build/deps").exists()


def test_no_network_for_pip(checkout):
    if (ROOT / "build/deps").exists():
        shutil.copytree(ROOT / "build/deps", checkout / "build/deps", symlinks=True)
    done = setup(checkout, "--test", PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0", PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert "tests/requirements.txt" in done.stdout and "Is the network up?" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_neither_root_nor_sudo_gives_the_command(checkout):
    stubs = checkout / "stubs"
    stubs.mkdir()
    # As if nothing were installed, and no sudo: only what setup itself calls.
    for name in ("env", "bash", "dirname", "awk", "cat", "mkdir", "flock", "id", "sed"):
        (stubs / name).symlink_to(shutil.which(name))
    before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"PATH={stubs}"]
    done = setup(checkout, before=before)
    assert done.returncode == 1
    assert "As root, run:\n  apt-get install -y --no-install-recommends gcc " in done.stdout


def test_wrong_argument_shows_the_usage():
    done = setup(ROOT, "--tset")
    assert done.returncode == 2 and "scripts/setup [--build]" in done.stdout



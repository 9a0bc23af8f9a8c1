"""What the commands say of themselves: help, manual, pages."""

import re
import shutil
import subprocess

import pytest

from soma import projects
from soma.daemon import BIN, ROOT, clean_environment
from soma.terminal import Terminal
from soma.waiting import seconds

USAGE = 2


def soma(*args, **env):
    return subprocess.run([BIN, *args], capture_output=True, text=True, timeout=seconds(20), env=clean_environment(**env))


def commands():
    listed = soma("help").stdout.partition("commands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines() if re.match(r"  \w", line)]


COMMANDS = commands()


def test_all_are_listed():
    assert COMMANDS[0] == "serve" and COMMANDS[-1] == "help"
    assert {"init", "deploy", "patch", "get", "logs", "predict", "delete", "refresh", "scale", "explain", "secret", "doctor", "completion",
            "schema", "version"} <= set(COMMANDS)
    for spelling in ([], ["--help"], ["-h"]):
        assert soma(*spelling).stdout == soma("help").stdout


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_fits_a_terminal_of_80_columns(command):
    done = soma("help", *([command] if command else []))
    assert done.returncode == 0 and done.stderr == ""
    wide = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert wide == [] and "\x1b" not in done.stdout
    if command:
        assert done.stdout.startswith(f"usage: soma {command}")
        assert soma(command, "--help").stdout == done.stdout
        assert "this text" in done.stdout


def test_help_follows_a_narrow_terminal():
    with Terminal(clean_environment(TERM="xterm"), BIN, "help", "deploy", columns=50) as terminal:
        lines = terminal.read_all().splitlines()
    flowing = [line for line in lines if not line.lstrip().startswith("-")]
    assert max(map(len, flowing)) <= 50 and len(lines) > 25, lines


@pytest.mark.parametrize("typed, meant", [("deplyo", "soma deploy"), ("quux", None), ("log", "soma logs"), ("docter", "soma doctor")])
def test_a_command_that_there_is_not(typed, meant):
    done = soma(typed)
    assert done.returncode == USAGE and done.stdout == ""
    assert f"soma has no command '{typed}'" in done.stderr
    assert f"did you mean '{meant}'" in done.stderr if meant else "'soma help' lists them" in done.stderr
    assert soma("help", typed).stderr == done.stderr


# --- colours -----------------------------------------------------------------


def on_a_terminal(*args, **env):
    """What is printed, control sequences and all."""
    with Terminal(clean_environment(**{"TERM": "xterm", "SOMA_ADMIN": "127.0.0.1:1", **env}), BIN, *args, plain=False) as t:
        return t.read_all()


def test_colours_are_for_terminals_that_want_them():
    assert "\x1b[31merror:\x1b[0m" in on_a_terminal("get")
    assert "\x1b" not in on_a_terminal("get", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal("get", TERM="dumb")
    assert "\x1b" not in soma("get", SOMA_ADMIN="127.0.0.1:1", TERM="xterm").stderr


def test_without_colours_a_deploy_is_drawn_all_the_same(daemon, folder):
    path = folder(projects.probe_project(projects.probe_api("plain")))
    env = {"SOMA_ADMIN": daemon.admin_url, "HOME": daemon.parent}
    seen = on_a_terminal("deploy", path, NO_COLOR="1", **env)
    assert "\x1b[J" in seen and not re.search(r"\x1b\[[0-9;]*m", seen), seen
    assert "plain is live" in seen


# --- pages -------------------------------------------------------------------


def test_pages_are_made_of_their_tables():
    done = subprocess.run([ROOT / "scripts/pages", "--check", "--soma", BIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_has_every_command_flag_and_exit_code():
    page = (ROOT / "docs/cli.md").read_text()
    for command in COMMANDS:
        assert f"## soma {command}\n" in page
        section = page.partition(f"## soma {command}\n")[2].partition("\n## ")[0]
        for flag in re.findall(r"^ +(?:-\w, )?--([\w-]+)", soma(command, "--help").stdout.partition("flags:")[2], re.M):
            assert f"`--{flag}" in section, f"--{flag} of {command}"
    assert re.findall(r"^\| `(\d)` \|", page, re.M) == list("012345")


def test_the_page_has_every_error_code():
    words = re.findall(r'X\(E_\w+,\s*\d+,\s*(\d+),\s*"(\w+)"', (ROOT / "src/core/err.h").read_text())
    assert len(words) > 15
    page = (ROOT / "docs/errors.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.M) == [(word, status) for status, word in words]


def test_the_page_of_errors_knows_what_the_worker_answers():
    """Its words for clients are literals in C and Python."""
    page = (ROOT / "docs/errors.md").read_text()
    sources = [*(ROOT / "python/soma").glob("*.c"), ROOT / "python/soma/answers.py"]
    told = {word for source in sources for word in re.findall(
        r'(?:refuse_f\([^;]*?\d{3},|reply_failed\([^;]*?\d{3},|"code":)\s*"(\w+)"', source.read_text())}
    assert "predict_error" in told
    assert {word for word in told if f"| `{word}` |" not in page} == set()


# --- the manual --------------------------------------------------------------


@pytest.fixture
def manual(tmp_path):
    page = tmp_path / "soma.1"
    page.write_text(soma("help", "--page", "man").stdout)
    return page


@pytest.fixture
def manual_of_keys(tmp_path):
    page = tmp_path / "soma.yaml.5"
    page.write_text(soma("help", "--page", "man-keys").stdout)
    return page


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed (scripts/setup --ci)")
def test_the_manual_is_well_formed(manual, manual_of_keys):
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", manual, manual_of_keys], capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if "missing date" not in line]  # one build is as good as another
    assert told == []


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed (scripts/setup --ci)")
def test_the_manual_reads_as_the_page_does(manual):
    text = subprocess.run(["mandoc", "-Tutf8", manual], capture_output=True, text=True, check=True).stdout
    text = re.sub(r".\x08", "", text)  # bold and underlined, as typewriters do
    for command in COMMANDS:
        assert re.search(rf"^   soma {command}\b", text, re.M), command
    words = " ".join(text.split())
    assert "A '!pattern'" not in words and "A !pattern in .somaignore brings a file back." in words
    assert "COMMAND is" not in words
    assert "~/.config/fish/completions/soma.fish" in words and "EXIT STATUS 0 done" in words


def test_the_manual_has_the_keys_that_work(manual_of_keys):
    """Those of the page's tables that are for a RealtimeAPI."""
    part = manual_of_keys.read_text().partition('.SH "KEYS"')[2].partition(".SH")[0].replace("\\-", "-")
    shown = set(re.findall(r"^\.TP\n\\fB(\S+)\\fR", part, re.M))
    page = (ROOT / "docs/config.md").read_text()
    works = set(re.findall(r"^\| `(\S+)` \|.*\| works \|", page, re.M))
    assert len(shown) > 30 and shown <= works, shown - works
    assert {"name", "predictor.path", "predictor.model", "predictor.command"} <= shown


def test_pages_that_there_are_not():
    done = soma("help", "--page", "index")
    assert done.returncode == USAGE and "'cli', 'errors', 'man' or 'man-keys'" in done.stderr

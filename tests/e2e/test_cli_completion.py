"""Completion, asked of the shells themselves."""

import os
import shutil
import subprocess

import pytest

from soma import projects
from soma.daemon import BIN, clean_environment
from soma.terminal import Terminal
from soma.waiting import seconds

USAGE = 2


def needs(shell):
    return pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed (scripts/setup --ci)")


@pytest.fixture(scope="module")
def apis(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("iris"), projects.probe_api("embed")))
    return daemon


@pytest.fixture
def env(apis, tmp_path):
    """soma in PATH, a folder with one file and one folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/soma").symlink_to(BIN.resolve())
    (tmp_path / "here/some dir").mkdir(parents=True)
    (tmp_path / "here/soma.yaml").touch()
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([BIN, "completion", shell], capture_output=True, check=True).stdout
        (tmp_path / f"soma.{shell}").write_bytes(script)
    return clean_environment(HOME=apis.parent, SOMA_ADMIN=apis.admin_url, TERM="xterm", PWD=tmp_path / "here",
                             PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", SCRIPTS=tmp_path)


def in_bash(env, line):
    """What bash offers for a line whose words are apart by spaces; the last is being typed."""
    words = line.split(" ")
    ask = ('source "$SCRIPTS/soma.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _soma; '
           'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "--norc", "-c", ask, "bash", *words], capture_output=True, text=True, env=env,
                          cwd=env["PWD"], timeout=seconds(20))
    assert done.stderr == ""
    return sorted(filter(None, done.stdout.split("\n")))


@needs("bash")
def test_names_of_apis_are_not_run(env, tmp_path):
    """bash expands the words that it is to choose from; whoever answers at the admin address says them."""
    (tmp_path / "bin/soma").unlink()
    (tmp_path / "bin/soma").write_text(f"#!/bin/sh\necho 'iris'\necho '$(touch {tmp_path}/marker)'\n")
    (tmp_path / "bin/soma").chmod(0o755)
    assert in_bash(env, "soma logs ") == ["iris"]
    assert not (tmp_path / "marker").exists()


def in_fish(env, line):
    ask = 'source "$SCRIPTS/soma.fish"; complete -C "$argv[1]"'
    done = subprocess.run(["fish", "--no-config", "-c", ask, line], capture_output=True, text=True,
                          env={**env, "XDG_DATA_HOME": env["SCRIPTS"]}, cwd=env["PWD"],
                          timeout=seconds(20))
    assert done.stderr == ""
    return sorted(line.split("\t")[0] for line in done.stdout.splitlines())


CASES = [
    ("soma dep", ["deploy"]),
    ("soma de", ["delete", "deploy"]),
    ("soma get ", ["embed", "iris"]),
    ("soma get em", ["embed"]),
    ("soma logs --tail 5 i", ["iris"]),
    ("soma get iris ", []),
    ("soma --admin x get ", []),
    ("soma get --out", ["--output"]),
    ("soma get -o ", ["json", "table", "yaml"]),
    ("soma get --output y", ["yaml"]),
    ("soma completion ", ["bash", "fish", "zsh"]),
    ("soma secret ", ["list", "rm", "set"]),
    ("soma help de", ["delete", "deploy"]),
    ("soma init --type p", ["python"]),
    ("soma logs --tail ", []),
]


@needs("bash")
@pytest.mark.parametrize("line, offered", CASES)
def test_bash(env, line, offered):
    if "--admin x" in line:
        env = {**env, "SOMA_ADMIN": "127.0.0.1:1"}
    assert in_bash(env, line) == offered


@needs("bash")
def test_bash_splits_at_equals(env):
    assert in_bash(env, "soma get --output = ") == ["json", "table", "yaml"]
    assert in_bash(env, "soma get --output = js") == ["json"]
    assert in_bash(env, "soma get --output = json ir") == ["iris"]


@needs("bash")
def test_bash_files(env):
    assert in_bash(env, "soma deploy so") == ["soma.yaml", "some dir"]
    assert in_bash(env, "soma init so") == ["some dir"]
    assert in_bash(env, "soma predict iris so") == ["soma.yaml", "some dir"]


@needs("fish")
@pytest.mark.parametrize("line, offered", CASES)
def test_fish(env, line, offered):
    if "--admin x" in line:
        env = {**env, "SOMA_ADMIN": "127.0.0.1:1"}
    assert in_fish(env, line) == offered


@needs("fish")
def test_fish_files(env):
    assert in_fish(env, "soma deploy so") == ["soma.yaml", "some dir/"]
    assert in_fish(env, "soma init so") == ["some dir/"]
    assert in_fish(env, "soma get --output=y") == ["--output=yaml"]


@pytest.fixture
def terminal(env):
    opened = []

    def make(*command):
        opened.append(Terminal(env, *command, cwd=env["PWD"]))
        return opened[-1]
    yield make
    for each in opened:
        each.close()


@needs("bash")
def test_bash_by_tab(terminal):
    bash = terminal("bash", "--norc", "-i")
    bash.type("PS1='> '; source $SCRIPTS/soma.bash; echo read''y\n", "ready")
    bash.type("soma log\t", "soma logs ")
    bash.type("em\t", "embed ")
    bash.type("\x15soma get --output=ya\t", "yaml ")


@needs("zsh")
def test_zsh_by_tab(terminal):
    zsh = terminal("zsh", "-f", "-i")
    zsh.type("PS1='> '; autoload -U compinit; compinit -D -u; source $SCRIPTS/soma.zsh; echo read''y\n", "ready")
    zsh.type("echo; soma log\t", "soma logs ")
    zsh.type("em\t", "embed")
    zsh.type("\x15soma get --output=ya\t", "ml")
    zsh.type("\x15soma get --out\t", "put")
    zsh.type("\x15soma completion fi\t", "fish")
    zsh.type("\x15soma init so\t", "some\\ dir")
    zsh.type("\x15soma secret l\t", "list")
    assert "show what an api's replicas print" in zsh.type("\x15soma \t", "version")


@needs("zsh")
def test_zsh_by_fpath(terminal, env, tmp_path):
    (tmp_path / "functions").mkdir()
    (tmp_path / "soma.zsh").rename(tmp_path / "functions/_soma")
    zsh = terminal("zsh", "-f", "-i")
    zsh.type("PS1='> '; fpath=($SCRIPTS/functions $fpath); autoload -U compinit; compinit -D -u; echo read''y\n", "ready")
    zsh.type("soma logs ir\t", "iris")


def test_a_spelling_takes_a_value_in_all_commands_or_in_none(daemon):
    """What the scripts take for granted."""
    takes = {}
    commands = [line.split()[0] for line in daemon.cli("help").out.partition("commands:\n")[2].partition("\n\n")[0].splitlines()]
    assert "deploy" in commands
    for command in commands:
        for line in daemon.cli(command, "--help", check=0).out.partition("flags:\n")[2].splitlines():
            words = line.split("  ")[1:3] if line.startswith("  -") else [line] if line.startswith("      --") else []
            spelled = line[:32].split()
            if not spelled or not spelled[0].startswith("-") or not words:
                continue
            names = [w.rstrip(",") for w in spelled if w.startswith("-")]
            value = len(spelled) > len(names)
            for name in names:
                assert takes.setdefault(name, value) == value, f"{name} of {command}"
    assert takes["--output"] and takes["-o"] and not takes["--force"]


def test_another_shell(daemon):
    daemon.cli("completion", "tcsh", check=USAGE).says("bash, zsh and fish, not for 'tcsh'")
    daemon.cli("completion", check=USAGE).says("bash|zsh|fish")

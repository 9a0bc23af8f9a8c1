"""Runs installers: their environment, their words, their failures."""

import collections
import configparser
import os
import re
import subprocess

import environment_causes
from environment_key import Failure

LAST_LINES = 400


def say(text):
    print(text, flush=True)


def note(text):
    say("soma-environment: " + text)


def without_secrets(line):
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", line)


def run(command, env, cwd):
    """Runs it with every line passed on as it comes; (status, last lines)."""
    last = collections.deque(maxlen=LAST_LINES)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=env, cwd=cwd)
    # Progress bars end their lines in a carriage return.
    for raw in child.stdout:
        for line in re.split(r"\r+", raw.decode("utf-8", "replace").rstrip("\r\n")):
            line = without_secrets(line)
            last.append(line)
            say(line)
    return child.wait(), "\n".join(last)


def checked(what, command, env, cwd, facts, advise=None):
    """Runs it; Failure with cause and remedy if it fails. advise(its last
    lines) may know a better remedy."""
    try:
        status, text = run(command, env, cwd)
    except OSError as e:
        raise Failure("%s: %s cannot be started: %s" % (what, command[0], e.strerror), "check that it is installed")
    if status == 0:
        return
    how = "killed by signal %d" % -status if status < 0 else "exit status %d" % status
    words = {"python": facts["version"], "platform": facts["platform"],
             "minor": ".".join(facts["version"].split(".")[:2])}
    if status == -9:
        raise Failure("%s was killed" % what, "see whether memory was out; with less to install it may fit")
    cause, remedy = environment_causes.explain(text, words, (how, "read the lines above"))
    if advise and environment_causes.may_want_other_python(text):
        requirement, better = advise(text)
        if better:
            cause, remedy = re.sub(r"^(a package|package \S+)", requirement, cause), better
    raise Failure("%s: %s" % (what, cause), remedy)


def pip_settings(env):
    """pip's settings for installing, of its files and variables: uv does not
    read them."""
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", os.path.expanduser("~/.pip/pip.conf"),
             os.path.join(env.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "pip/pip.conf")]
    if env.get("PIP_CONFIG_FILE"):
        files.append(env["PIP_CONFIG_FILE"])
    parser = configparser.RawConfigParser()
    for path in files:
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError) as e:
            note("%s is not read: %s" % (path, str(e).split("\n")[0]))
    found = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update((name.replace("_", "-"), value) for name, value in parser.items(section))
    for name, value in env.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    return found


def uv_environment(env):
    """env with pip's settings in uv's words, unless uv's own are there."""
    pip, env = pip_settings(env), dict(env)

    def give(name, value):
        if value and name not in env:
            env[name] = value

    if "UV_INDEX_URL" not in env:
        give("UV_DEFAULT_INDEX", pip.get("index-url"))
    if pip.get("extra-index-url") and "UV_EXTRA_INDEX_URL" not in env:
        give("UV_INDEX", " ".join(pip["extra-index-url"].split()))
        # pip looks into all of them and takes the best.
        give("UV_INDEX_STRATEGY", "unsafe-best-match")
    give("UV_FIND_LINKS", ",".join(pip.get("find-links", "").split()))
    give("UV_INSECURE_HOST", " ".join(pip.get("trusted-host", "").split()))
    give("SSL_CERT_FILE", pip.get("cert"))
    give("UV_HTTP_TIMEOUT", pip.get("default-timeout") or pip.get("timeout"))
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        give("UV_NO_INDEX", "1")
    # An interpreter was chosen: no other is fetched.
    env["UV_PYTHON_DOWNLOADS"] = "never"
    env["UV_NO_PROGRESS"] = "1"
    return env


def base_environment(cache):
    env = dict(os.environ)
    # Where packages go and what Python sees is decided here.
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT",
                 "PIP_REQUIREMENT", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "__PYVENV_LAUNCHER__"):
        env.pop(name, None)
    env["PYTHONUNBUFFERED"] = "1"
    env["PIP_NO_INPUT"] = "1"
    env["PIP_PROGRESS_BAR"] = "off"
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if cache:
        for name, folder in (("PIP_CACHE_DIR", "pip"), ("UV_CACHE_DIR", "uv")):
            env[name] = os.path.join(cache, folder)
            os.makedirs(env[name], exist_ok=True)
    return env

"""Builds the Python environment of a replica; standard library only.

    environment.py build --dir DIR --python INTERP --project DIR
                         [--requirements FILE] [--shell FILE] [--cache DIR]
                         [--imported PACKAGES]... [--needed PACKAGES]...
    environment.py key --python INTERP [--project DIR]
                       [--requirements FILE] [--shell FILE]
                       [--imported PACKAGES]... [--needed PACKAGES]...
    environment.py inspect --python INTERP-OR-VENV

Run through `soma box` as the user that builds environments. DIR is final: an
environment cannot be moved. DIR/.complete is written last; a build that was
killed before is started anew. Lines of the installers come through as they
are. PACKAGES is "PACKAGE|OTHER|...": the first is installed unless the
requirements name one of them, because the project imports it and Cortex's
images had it, or because Soma's part of the class needs it. A failure ends in one line

    soma-environment: failed: CAUSE; remedy: REMEDY

and exit status 1. The syntax is old on purpose: an interpreter that is too old
must get as far as saying so.
"""
from __future__ import print_function

import sys

if sys.version_info < (3, 8):
    print("soma-environment: failed: %s is Python %d.%d; remedy: choose CPython 3.8 or newer with the key python"
          % (sys.executable, sys.version_info[0], sys.version_info[1]))
    sys.exit(1)

import argparse
import errno
import fcntl
import json
import os
import shutil
import subprocess

# Beside this file, whatever -I says; and not for anybody else.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import environment_wheels  # noqa: E402
from environment_extra import Extra  # noqa: E402
from environment_install import base_environment, checked, note, say, uv_environment, without_secrets  # noqa: E402
from environment_key import (Failure, inspect, keeps_packages, key, requirement_lines,  # noqa: E402
                             wants_project)
del sys.path[0]

COMPLETE = ".complete"
BIG_FILE = 64 << 20  # linked, not copied, into the copy of the project


class Build(object):
    def __init__(self, args):
        self.dir = os.path.abspath(args.dir)
        self.requirements = args.requirements and os.path.abspath(args.requirements)
        self.shell = args.shell and os.path.abspath(args.shell)
        self.project = os.path.abspath(args.project)
        self.copy = os.path.join(self.dir, "project")
        self.bin = os.path.join(self.dir, "bin")
        self.env = base_environment(args.cache)
        self.uv = shutil.which("uv")
        self.facts = inspect(args.python)
        self.lock = -1
        self.extra = Extra(args.imported, args.needed, self.requirements)

    def run(self):
        for path in (self.requirements, self.shell):
            if path and not os.access(path, os.R_OK):
                raise Failure("%s cannot be read: %s" % (path, "permission denied" if os.path.exists(path)
                                                         else "it does not exist"), "check the path")
        if not self.shell and not self.extra and not (self.requirements and any(requirement_lines(self.requirements))):
            note("nothing to install: the interpreter is used as it is")
            return
        self.take_dir()
        if os.path.exists(os.path.join(self.dir, COMPLETE)):
            note("already built: " + self.dir)
            return
        if os.listdir(self.dir):
            note("an earlier build was not finished: starting again")
        self.clear()
        try:
            self.build()
        except (Failure, OSError):
            self.clear_after_failure()
            raise

    def build(self):
        self.make()
        cwd = self.copy_project()
        if self.shell:
            self.run_shell(cwd)
        for line in self.extra.reasons():
            note(line)
        if self.requirements or self.extra:
            self.install(cwd)
        self.drop_copy()
        self.complete()

    def take_dir(self):
        """The folder, for this process alone."""
        try:
            os.makedirs(self.dir, exist_ok=True)
            self.lock = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as e:
            raise Failure("%s cannot be made: %s" % (self.dir, e.strerror),
                          "the user that builds environments (uid %d) must be able to write there" % os.geteuid())
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure("another build of %s is at work" % self.dir, "wait for it")

    def clear(self):
        """What is not whole; the folder itself may be in one that is not ours
        to write."""
        for name in os.listdir(self.dir):
            path = os.path.join(self.dir, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def clear_after_failure(self):
        """It may be what has filled the disk. Why it failed is what counts."""
        try:
            self.clear()
        except OSError:
            pass

    def make(self):
        """A virtual environment. A script may call pip, which uv leaves out
        of its own."""
        python = self.facts["executable"]
        with_pip = bool(self.shell) or not self.uv
        if with_pip and not self.has_module("ensurepip"):
            if not self.uv:
                minor = ".".join(self.facts["version"].split(".")[:2])
                raise Failure("%s has no venv module" % python, "run: apt install python%s-venv; or install uv" % minor)
            with_pip = False
        conda = self.facts["prefix"] == self.facts["base_prefix"] and keeps_packages(self.facts)
        options = ["--system-site-packages"] if conda else []
        if with_pip:
            note("making a virtual environment of Python %s (%s)" % (self.facts["version"], python))
            command = [python, "-m", "venv"] + options + [self.dir]
            env = self.env
        else:
            note("making a virtual environment of Python %s (%s) with uv" % (self.facts["version"], python))
            command = [self.uv, "venv", "--allow-existing", "--python", python] + options
            command += ["--seed"] * bool(self.shell) + [self.dir]
            env = uv_environment(self.env)
        checked("making the virtual environment", command, env, self.dir, self.facts)
        if keeps_packages(self.facts) and not conda:
            self.inherit()
        self.env["PATH"] = self.bin + os.pathsep + self.env.get("PATH", os.defpath)
        self.env["VIRTUAL_ENV"] = self.dir

    def has_module(self, name):
        code = "import venv, " + name
        return subprocess.call([self.facts["executable"], "-I", "-c", code], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0

    def purelib(self, python):
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return subprocess.check_output([python, "-I", "-c", code]).decode().strip()

    def inherit(self):
        """The packages of the environment that was given, behind our own."""
        theirs = self.purelib(self.facts["executable"])
        ours = self.purelib(os.path.join(self.bin, "python"))
        note("packages of %s stay visible" % self.facts["prefix"])
        with open(os.path.join(ours, "_soma_inherit.pth"), "w") as f:
            f.write(theirs + "\n")

    def copy_project(self):
        """Where relative paths count from. Builds write beside what they build,
        and the project is shared and read-only, so they get a copy."""
        if not wants_project(self.requirements, self.shell):
            return self.project

        def one(source, target):
            if os.path.getsize(source) >= BIG_FILE:
                os.symlink(source, target)
            else:
                shutil.copyfile(source, target)
                os.chmod(target, os.stat(source).st_mode & 0o777 | 0o600)
            return target

        inside = os.path.basename(self.dir) if os.path.dirname(self.dir) == self.project else None
        try:
            shutil.copytree(self.project, self.copy, symlinks=True, copy_function=one,
                            ignore=lambda _, names: [n for n in names if n in (inside, "__pycache__")])
        except (OSError, shutil.Error) as e:
            raise Failure("copying the project: %s" % e, "every file of the project must be readable")
        for folder, _, _ in os.walk(self.copy):
            os.chmod(folder, 0o755)
        return self.copy

    def in_copy(self, path):
        """The copy's own file where path lies in the project: what it names
        counts from there."""
        real, root = os.path.realpath(path), os.path.realpath(self.project)
        if os.path.isdir(self.copy) and real.startswith(root + os.sep):
            return os.path.join(self.copy, os.path.relpath(real, root))
        return path

    def run_shell(self, cwd):
        bash = shutil.which("bash")
        if not bash:
            raise Failure("there is no bash to run %s with" % os.path.basename(self.shell), "run: apt install bash")
        note("running " + os.path.basename(self.shell))
        checked(os.path.basename(self.shell), [bash, "-e", self.in_copy(self.shell)], self.env, cwd, self.facts)

    def install(self, cwd):
        """All of it in one go, so that it is made to fit together; apart only
        where the requirements name the hash of everything."""
        arguments, extra = [], self.extra.packages
        what = os.path.basename(self.requirements) if self.requirements else "packages that the project imports"
        if self.requirements:
            arguments = ["-r", self.in_copy(self.requirements)]
            if extra and any("--hash" in line or "--require-hashes" in line
                             for line in requirement_lines(self.requirements)):
                self.install_these(what, arguments, cwd)
                arguments = []
        try:
            self.install_these(what, arguments + extra, cwd)
        except Failure as e:
            if self.extra.blamed(e.cause):
                e.remedy += "; " + self.extra.way_out
            raise

    def install_these(self, what, arguments, cwd):
        note("installing %s%s" % (what, " with uv" if self.uv else ""))
        checked(what, self.installer("install", "--compile-bytecode") + arguments, self.install_env(), cwd, self.facts,
                self.advise)

    def installer(self, verb, *uvs):
        """uv's or pip's words for it; files are compiled now: who runs them may
        not write there."""
        python = os.path.join(self.bin, "python")
        if self.uv:
            return [self.uv, "pip", verb, "--python", python] + list(uvs)
        return [python, "-m", "pip", verb]

    def install_env(self):
        return uv_environment(self.env) if self.uv else self.env

    def advise(self, text):
        """Which other Python would do, where a package has no file for this."""
        lines = list(requirement_lines(self.requirements)) if self.requirements else []
        return environment_wheels.advice(text, lines, self.facts, self.has_wheel)

    def has_wheel(self, requirement, minor):
        """Whether the index has a file of it that Python 3.MINOR installs."""
        folder = os.path.join(self.dir, "wheel")
        only = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.%d" % minor]
        if self.uv:
            command = self.installer("install", "--dry-run", "--target", folder)
        else:
            command = self.installer("download") + ["--quiet", "-d", folder]
        try:
            return subprocess.call(command + only + [requirement], env=self.install_env(), cwd=self.dir,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   timeout=60) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def drop_copy(self):
        """The copy stays when something was installed in place (-e)."""
        if not os.path.isdir(self.copy):
            return
        mark = self.copy.encode()
        for folder, _, files in os.walk(os.path.join(self.dir, "lib")):
            for name in files:
                if not name.endswith((".pth", ".egg-link")) and not name.startswith("__editable__"):
                    continue
                with open(os.path.join(folder, name), "rb") as f:
                    if mark in f.read():
                        return
        shutil.rmtree(self.copy)

    def complete(self):
        """Everything on disk first, then the word that it is."""
        sync(self.lock)
        facts = {"key": key(self.facts, self.requirements, self.shell, self.project, self.extra.packages),
                 "python": os.path.join(self.bin, "python"), "version": self.facts["version"],
                 "installer": "uv" if self.uv else "pip"}
        path = os.path.join(self.dir, COMPLETE)
        with open(path + ".new", "w") as f:
            f.write(json.dumps(facts) + "\n")
            f.flush()
            os.fsync(f.fileno())
        os.rename(path + ".new", path)
        os.fsync(self.lock)
        note("built: " + self.dir)


def sync(fd):
    """The file system of fd; all of them where libc cannot be called."""
    try:
        import ctypes
        ctypes.CDLL(None).syncfs(fd)
    except (ImportError, OSError, AttributeError):
        os.sync()


def parse(argv):
    parser = argparse.ArgumentParser(prog="environment.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "key", "inspect"):
        sub = commands.add_parser(name)
        sub.add_argument("--python", required=True)
        if name == "inspect":
            continue
        sub.add_argument("--requirements")
        sub.add_argument("--shell")
        sub.add_argument("--imported", action="append", default=[])
        sub.add_argument("--needed", action="append", default=[])
        sub.add_argument("--project", required=name == "build")
        if name == "build":
            sub.add_argument("--dir", required=True)
            sub.add_argument("--cache")
    return parser.parse_args(argv)


def main(argv):
    args = parse(argv)
    try:
        if args.command == "inspect":
            say(json.dumps(inspect(args.python)))
        elif args.command == "key":
            extra = Extra(args.imported, args.needed, args.requirements)
            say(key(inspect(args.python), args.requirements, args.shell, args.project, extra.packages))
        else:
            Build(args).run()
    except Failure as e:
        note("failed: %s; remedy: %s" % (without_secrets(e.cause), e.remedy))
        return 1
    except OSError as e:
        where = " (%s)" % e.filename if e.filename else ""
        note("failed: %s%s; remedy: %s" % (e.strerror or e, where, "free some space where Soma keeps its data"
                                           if e.errno == errno.ENOSPC else "see that the path is writable"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The models of a config: `path`, `paths` or `dir`, at the places that CONFIG says.

Each model is a directory for each of its versions. A path may hold versions
(directories whose names are numbers) or the model itself, which is version 1; a
file is a model in a directory of its own. A place may be a link that the daemon
turns to what is new at the model's source: it is looked at now and then. What is
used in place may be written to at any time: all of it is looked at, and a version
is taken when two looks in a row find it the same.
"""
import os
import shutil
import sys
import time

from _soma.failure import Failure
from _soma.scratch import Scratch

SINGLE = "_cortex_default"  # the name of a model that was given none
LOOK_S = 1  # between two looks at whether there is something new
LOOK_PART = 50  # ... and at least so many times what a look takes


def _stat(path):
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)  # a link to nothing: the others are to be had all the same


class Version:
    def __init__(self, folder, home=None):
        self.folder = folder
        self.home = home or folder  # where its files are, if that folder has a link to one alone
        files = sorted((os.path.join(f, name), _stat(os.path.join(f, name))) for f, _, names in os.walk(folder) for name in names)
        # The same files in a newer folder are the same model.
        self.files = [(os.path.relpath(path, folder), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for path, s in files]
        self.changed = int(max((s.st_mtime for _, s in files), default=os.path.getmtime(folder)))


class Pick:
    """One version of one model, as it is now: equal to what was picked before, unless that has changed since."""

    def __init__(self, name, number, version):
        self.key = name, number
        self.folder, self.home, self.files = version.folder, version.home, version.files

    def is_same(self, other):
        return self.files == other.files


def _is_number(text):
    """Of digits of ASCII: int() takes not all that Unicode has."""
    return text.isascii() and text.isdigit()


def _numbers(folder):
    return sorted(n for n in os.listdir(folder) if _is_number(n) and os.path.isdir(os.path.join(folder, n)))


def _mark(place):
    """What tells whether something else is there now, of what is never written to: a link leads elsewhere."""
    real = os.path.realpath(place)
    stat = os.stat(real)
    return real, stat.st_ino, stat.st_mtime_ns


def _version(models, name, number):
    return models[name][0].get(number) if name in models else None


def _settled(there, before, now):
    """The models to use of those that are there, if before is what the last look found: what is being written to waits."""
    models = {}
    for name, (versions, title) in now.items():
        taken = {}
        for number, version in versions.items():
            old, last = _version(there, name, number), _version(before, name, number)
            if old and old.files == version.files:
                taken[number] = old
            elif last and last.files == version.files:
                taken[number] = version
            elif old:
                taken[number] = old
        if not taken and name in there:
            taken = there[name][0]
        if taken:
            models[name] = taken, title
    return models


class _Source:
    """A place that the config names, and what is there."""

    def __init__(self, name, place, title, in_place=False):
        self.name = name  # None: a folder of models
        self.place, self.title = place, title
        self.in_place = in_place  # others write there, whenever they like
        self.mark = None  # of what was read; None: nothing yet
        self.models = {}  # name: ({number: Version}, how to name it to people)
        self.seen = {}  # the same, as the last look found it
        self.trouble, self.said = set(), set()  # what this look, and the last, found to be wrong


class Store:
    """Models by name. Raises Failure when it is made."""

    def __init__(self, settings, kind, say):
        block = "models" if kind.client == "onnx_client" else "multi_model_reloading"
        self._key = "%s.%s" % (kind.key, block)
        self._project = os.path.realpath(settings["project"])
        self._scratch = Scratch("soma-models-")
        self._folders = {}  # of files: the directory that has one alone
        self._looked, self._pause = time.monotonic(), LOOK_S
        models = settings["models"]
        self.cache_size = models.get("cache_size")
        self._single = bool(models.get("path"))
        if self._single:
            self._sources = [self._source("path", SINGLE, models["path"])]
        elif models.get("paths"):
            self._sources = [self._source("paths", model["name"], model["path"]) for model in models["paths"]]
        else:
            self._sources = [self._source("dir", None, models["dir"])]
        for source in self._sources:
            source.mark = _mark(source.place)
            source.models = source.seen = self._read(source)
        self._gather()

    def _source(self, key, name, given):
        """What CONFIG says of one: where it is and what the config file calls it; a text is a path of the project."""
        if isinstance(given, dict):
            return _Source(name, given["path"], given["source"], given.get("in_place", False))
        key = "%s.%s" % (self._key, key)
        place = os.path.realpath(os.path.join(self._project, given))
        if place != self._project and not place.startswith(self._project + os.sep):
            raise Failure("missing_file", "%s: %s is outside of the project" % (key, given), "name a path of the project")
        if not os.path.exists(place):
            raise Failure("missing_file", "%s: the project has no %s" % (key, given), "put the model there (.somaignore and .cortexignore leave files out)")
        return _Source(name, place, given)

    # --- reading

    def _read(self, source):
        place = os.path.realpath(source.place)
        if source.name is None:
            return self._read_all(source, place)
        return {source.name: (self._versions_of(place, source.title), source.title)}

    def _read_all(self, source, folder):
        names = sorted(n for n in os.listdir(folder) if os.path.isdir(os.path.join(folder, n)) and not n.startswith(".")) if os.path.isdir(folder) else []
        if not names:
            raise Failure("missing_file", "%s.dir: %s has no folders" % (self._key, source.title), "give each model a folder there, named as the model is to be")
        found = {}
        for name in names:
            title = source.title.rstrip("/") + "/" + name
            try:
                found[name] = self._versions_of(os.path.join(folder, name), title), title
            except Failure as failure:
                if not source.models:
                    raise
                source.trouble.add(failure.in_a_line())  # the others are as good as they were
                if name in source.models:
                    found[name] = source.models[name]
        return found

    def _versions_of(self, place, title):
        if not os.path.isdir(place):
            return {1: Version(self._in_folder(place), os.path.dirname(place))}
        names = {}
        for name in _numbers(place):
            other = names.setdefault(int(name), name)
            if other != name:
                raise Failure("init_error", "%s: the folders %s and %s are the same version" % (self._key, title.rstrip("/") + "/" + other, title.rstrip("/") + "/" + name), "rename one of them")
        folders = {n: os.path.join(place, name) for n, name in names.items()} or {1: place}
        versions = {n: Version(folder) for n, folder in folders.items()}
        if names:  # one without files is to become a version
            versions = {n: version for n, version in versions.items() if version.files}
        if not versions or not os.listdir(place):
            raise Failure("missing_file", "%s: %s is empty" % (self._key, title), "put the model there")
        return versions

    def _in_folder(self, file):
        """A directory that has this file alone."""
        stat = os.stat(file)
        key = file, stat.st_ino, stat.st_size, stat.st_mtime_ns  # for a copy would not change with it
        if key in self._folders:
            return self._folders[key]
        folder = self._folders[key] = self._scratch.folder()
        link = os.path.join(folder, os.path.basename(file))
        try:
            os.symlink(file, link)
        except OSError:
            shutil.copyfile(file, link)
        return folder

    def _gather(self):
        """In one assignment: others may be reading."""
        self._models = {name: model for source in self._sources for name, model in source.models.items()}

    def refresh(self):
        """Whether something is new. Looks once a second, whoever asks; more seldom where there is much to look at."""
        began = time.monotonic()
        if began - self._looked < self._pause:
            return False
        changed = [source for source in self._sources if self._reread(source)]
        self._looked = time.monotonic()
        self._pause = max(LOOK_S, LOOK_PART * (self._looked - began))
        if changed:
            self._gather()
        return bool(changed)

    def _reread(self, source):
        """What cannot be used is said once, and what there was goes on."""
        models, source.trouble = source.models, set()
        try:
            mark = _mark(source.place)
            if source.in_place:
                now = self._read(source)
                models = _settled(source.models, source.seen, now)
                source.seen = now
            elif mark != source.mark:
                models = self._read(source)
            source.mark = mark
        except (Failure, OSError) as error:
            source.trouble.add(error.in_a_line() if isinstance(error, Failure) else str(error))
        for why in sorted(source.trouble - source.said):
            print("what is new at %s cannot be used: %s; what there was before goes on" % (source.title, why), file=sys.stderr)
        source.said = source.trouble
        if models == source.models:
            return False
        source.models = models
        return True

    # --- what is there

    def names(self):
        return list(self._models)

    def all(self):
        return [(name, number) for name, (versions, _) in self._models.items() for number in versions]

    def latest(self, name):
        return max(self._models[name][0])

    def path(self, name, number):
        return self._models[name][0][number].folder

    def title(self, name, number=None):
        versions, title = self._models[name]
        return title if number is None or len(versions) == 1 else "%s/%d" % (title.rstrip("/"), number)

    def get(self, name, number):
        return Pick(name, number, self._models[name][0][number])

    def pick(self, name, version):
        """The Pick that a caller asks for, or a ValueError that says what there is."""
        models = self._models  # as it is now, whatever comes meanwhile
        if self._single:
            name = SINGLE
        elif name is None:
            raise ValueError("model_name is not given: choose one of %s" % ", ".join(models))
        elif name not in models:
            raise ValueError("there is no model %r: choose one of %s" % (name, ", ".join(models)))
        there = models[name][0]
        if version == "latest":
            number = max(there)
        elif not _is_number(str(version)):
            raise ValueError("model_version is %r: give a number, or 'latest'" % (version,))
        elif int(version) not in there:
            raise ValueError("the model %shas no version %s: choose one of %s" % ("" if self._single else name + " ", version, ", ".join(map(str, sorted(there)))))
        else:
            number = int(version)
        return Pick(name, number, there[number])

    def metadata(self):
        """Versions and times of change, newest first, as Cortex listed them."""
        answer = {}
        for name, (versions, _) in self._models.items():
            numbers = sorted(versions, reverse=True)
            answer[name] = {"versions": [str(n) for n in numbers], "timestamps": [versions[n].changed for n in numbers]}
        return answer

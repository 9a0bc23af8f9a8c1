"""The models of a config: `path`, `paths` or `dir`, at the places that CONFIG says.

Each model is a directory for each of its versions. A path may hold versions
(directories whose names are numbers) or the model itself, which is version 1; a
file is a model in a directory of its own. A place may be a link that the daemon
turns to what is new at the model's source: it is looked at now and then.
"""
import os
import shutil
import sys
import time

from _soma.failure import Failure
from _soma.scratch import Scratch

SINGLE = "_cortex_default"  # the name of a model that was given none
LOOK_S = 1  # between two looks at whether there is something new


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


def _numbers(folder):
    return [n for n in os.listdir(folder) if n.isdigit() and os.path.isdir(os.path.join(folder, n))]


def _mark(place):
    """What tells whether something else is there now: a link leads elsewhere, a file was replaced, a folder has others."""
    real = os.path.realpath(place)
    stat = os.stat(real)
    return real, stat.st_ino, stat.st_mtime_ns


class _Source:
    """A place that the config names, and what is there."""

    def __init__(self, name, place, title):
        self.name = name  # None: a folder of models
        self.place, self.title = place, title
        self.mark = None  # of what was read; None: nothing yet
        self.models = {}  # name: ({number: Version}, how to name it to people)
        self.grumbled = None


class Store:
    """Models by name. Raises Failure when it is made."""

    def __init__(self, settings, kind, say):
        block = "models" if kind.client == "onnx_client" else "multi_model_reloading"
        self._key = "%s.%s" % (kind.key, block)
        self._project = os.path.realpath(settings["project"])
        self._scratch = Scratch("soma-models-")
        self._looked = time.monotonic()
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
            self._read(source)
        self._gather()

    def _source(self, key, name, given):
        """What CONFIG says of one: where it is and what the config file calls it; a text is a path of the project."""
        if isinstance(given, dict):
            return _Source(name, given["path"], given["source"])
        key = "%s.%s" % (self._key, key)
        place = os.path.realpath(os.path.join(self._project, given))
        if place != self._project and not place.startswith(self._project + os.sep):
            raise Failure("missing_file", "%s: %s is outside of the project" % (key, given), "name a path of the project")
        if not os.path.exists(place):
            raise Failure("missing_file", "%s: the project has no %s" % (key, given), "put the model there (.somaignore and .cortexignore leave files out)")
        return _Source(name, place, given)

    # --- reading

    def _read(self, source):
        mark = _mark(source.place)
        if source.name is None:
            source.models = self._read_all(mark[0], source.title)
        else:
            source.models = {source.name: (self._versions_of(mark[0], source.title), source.title)}
        source.mark = mark

    def _read_all(self, folder, title):
        names = sorted(n for n in os.listdir(folder) if os.path.isdir(os.path.join(folder, n)) and not n.startswith(".")) if os.path.isdir(folder) else []
        if not names:
            raise Failure("missing_file", "%s.dir: %s has no folders" % (self._key, title), "give each model a folder there, named as the model is to be")
        found = {}
        for name in names:
            below = title.rstrip("/") + "/" + name
            found[name] = self._versions_of(os.path.join(folder, name), below), below
        return found

    def _versions_of(self, place, title):
        if not os.path.isdir(place):
            return {1: Version(self._in_folder(place), os.path.dirname(place))}
        if not os.listdir(place):
            raise Failure("missing_file", "%s: %s is empty" % (self._key, title), "put the model there")
        folders = {int(n): os.path.join(place, n) for n in _numbers(place)} or {1: place}
        return {n: Version(folder) for n, folder in folders.items()}

    def _in_folder(self, file):
        """A directory that has this file alone."""
        folder = self._scratch.folder()
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
        """Whether something is new. Looks once a second, whoever asks."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return False
        self._looked = now
        changed = [source for source in self._sources if self._reread(source)]
        if changed:
            self._gather()
        return bool(changed)

    def _reread(self, source):
        """What cannot be used is said once, and what there was goes on."""
        mark = None
        try:
            mark = _mark(source.place)
            if mark == source.mark or mark == source.grumbled:
                return False
            self._read(source)
            return True
        except (Failure, OSError) as error:
            if source.grumbled is None or source.grumbled != mark:
                why = error.message if isinstance(error, Failure) else error
                print("what is new at %s cannot be used: %s; what there was before goes on" % (source.title, why), file=sys.stderr)
            source.grumbled = mark or ()
            return False

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
        elif not str(version).isdigit():
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

"""The models of a config: `path`, `paths` or `dir`, in the project or at s3://.

Each model is a directory for each of its versions. A path may hold versions
(directories whose names are numbers) or the model itself, which is version 1; a
file is a model in a directory of its own.
"""
import os
import shutil

from _soma.failure import Failure
from _soma.scratch import Scratch

SINGLE = "_cortex_default"  # the name of a model that was given none


class Version:
    def __init__(self, folder, changed):
        self.folder, self.changed = folder, changed


def _changed(folder):
    """When the newest file in it was changed."""
    times = [os.path.getmtime(os.path.join(f, name)) for f, _, names in os.walk(folder) for name in names]
    return int(max(times, default=os.path.getmtime(folder)))


def _numbers(folder):
    return [n for n in os.listdir(folder) if n.isdigit() and os.path.isdir(os.path.join(folder, n))]


class Store:
    """Models by name, fetched when it is made. Raises Failure."""

    def __init__(self, settings, kind, say):
        block = "models" if kind.client == "onnx_client" else "multi_model_reloading"
        self._key = "%s.%s" % (kind.key, block)
        self._project = os.path.realpath(settings["project"])
        self._say = say
        self._scratch = Scratch("soma-models-")
        self._s3 = None
        self._versions = {}  # name: {number: Version}
        self._titles = {}  # name: how to name it to people
        models = settings["models"]
        if models.get("path"):
            self._add(SINGLE, self._fetch("path", models["path"]), models["path"])
        elif models.get("paths"):
            for model in models["paths"]:
                self._add(model["name"], self._fetch("paths", model["path"]), model["path"])
        else:
            self._add_all(models["dir"])
        self._single = bool(models.get("path"))

    def _add_all(self, source):
        folder = self._fetch("dir", source)
        names = sorted(n for n in os.listdir(folder) if os.path.isdir(os.path.join(folder, n)) and not n.startswith(".")) if os.path.isdir(folder) else []
        if not names:
            raise Failure("missing_file", "%s.dir: %s has no folders" % (self._key, source), "give each model a folder there, named as the model is to be")
        for name in names:
            self._add(name, os.path.join(folder, name), source.rstrip("/") + "/" + name)

    def _add(self, name, place, source):
        self._titles[name] = source
        if not os.path.isdir(place):
            place = self._in_folder(place)
        elif not os.listdir(place):
            raise Failure("missing_file", "%s: %s is empty" % (self._key, source), "put the model there")
        numbers = _numbers(place)
        folders = {int(n): os.path.join(place, n) for n in numbers} or {1: place}
        self._versions[name] = {n: Version(folder, _changed(folder)) for n, folder in folders.items()}

    def _in_folder(self, file):
        """A directory that has this file alone."""
        folder = self._scratch.folder()
        link = os.path.join(folder, os.path.basename(file))
        try:
            os.symlink(file, link)
        except OSError:
            shutil.copyfile(file, link)
        return folder

    # --- places

    def _fetch(self, key, source):
        """A path on this machine that has what `source` names."""
        key = "%s.%s" % (self._key, key)
        if source.startswith("s3://"):
            if self._s3 is None:
                from _soma import s3

                self._s3 = s3.Client(key, source)
            return self._s3.fetch(key, source, self._scratch.folder(), self._say)
        if "://" in source:
            raise Failure("missing_file", "%s: %s is at a place that is not known" % (key, source), "name a path of the project, or s3://BUCKET/KEY")
        place = os.path.realpath(os.path.join(self._project, source))
        if place != self._project and not place.startswith(self._project + os.sep):
            raise Failure("missing_file", "%s: %s is outside of the project" % (key, source), "name a path of the project, or s3://BUCKET/KEY")
        if not os.path.exists(place):
            raise Failure("missing_file", "%s: the project has no %s" % (key, source), "put the model there (.somaignore and .cortexignore leave files out), or name s3://BUCKET/KEY")
        return place

    # --- what is there

    def names(self):
        return list(self._versions)

    def all(self):
        return [(name, version) for name in self._versions for version in self._versions[name]]

    def latest(self, name):
        return max(self._versions[name])

    def path(self, name, version):
        return self._versions[name][version].folder

    def title(self, name, version=None):
        title = self._titles[name]
        return title if version is None or len(self._versions[name]) == 1 else "%s/%d" % (title.rstrip("/"), version)

    def pick(self, name, version):
        """Name and number of what a caller asks for, or a ValueError that says what there is."""
        if self._single:
            name = SINGLE
        elif name is None:
            raise ValueError("model_name is not given: choose one of %s" % ", ".join(self._versions))
        elif name not in self._versions:
            raise ValueError("there is no model %r: choose one of %s" % (name, ", ".join(self._versions)))
        there = self._versions[name]
        if version == "latest":
            return name, max(there)
        if not str(version).isdigit():
            raise ValueError("model_version is %r: give a number, or 'latest'" % (version,))
        if int(version) not in there:
            raise ValueError("the model %shas no version %s: choose one of %s" % ("" if self._single else name + " ", version, ", ".join(map(str, sorted(there)))))
        return name, int(version)

    def metadata(self):
        """Versions and times of change, newest first, as Cortex listed them."""
        answer = {}
        for name, versions in self._versions.items():
            numbers = sorted(versions, reverse=True)
            answer[name] = {"versions": [str(n) for n in numbers], "timestamps": [versions[n].changed for n in numbers]}
        return answer

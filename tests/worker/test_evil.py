"""Models that nobody should open: each is refused with a ValueError that says why, and nothing else happens.

They are opened as a replica opens them (soma.models.open is Model(path)), in processes of their own, some at a time: a crash or a
hang is then one of few. An audit hook hears of every file that Python opens and of code that is run; the kernel tells who opens
what they name outside of their folders, in whatever language.
"""
import json
import os
import pickle
import resource
import subprocess

import evil
import pytest
from made_weights import of_tensors

from harness import PYTHON, worker_dir
from soma.watched import Watched

BATCHES = 8
MEMORY_MAX_KIB = 700 * 1024

OPENER = """
import json, os, resource, sys, types
package = types.ModuleType("_soma")
package.__path__ = [sys.argv[1]]
sys.modules["_soma"] = package
from _soma import model_tensors

model_tensors.Model(sys.argv[2])  # a right one: all is imported now
opened = None
def hear(event, args):
    if opened is None:
        return
    if event == "open":
        if not isinstance(args[0], int):  # a descriptor was opened before
            opened.append(os.path.abspath(os.fsdecode(args[0])))
    elif event in ("exec", "compile", "import", "os.system", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "pickle.find_class", "socket.connect", "ctypes.dlopen"):
        opened.append("%s %r" % (event, args))
sys.addaudithook(hear)

told = []
for path in json.load(sys.stdin):
    opened = []
    try:
        model = model_tensors.Model(path)
        result = ["opened", "%d tensors" % len(model)]
    except BaseException as error:
        result = [type(error).__name__, str(error)]
    told.append([path, *result, opened])
    opened = None
told.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps(told))
"""


class Made:
    """All of them, in batches, and what stands beside them."""

    def __init__(self, folder):
        self.canary = folder / "canary"
        cases = evil.make_all(str(folder / "models"), str(self.canary))
        self.batches = [cases[i::BATCHES] for i in range(BATCHES)]
        self.outside = folder / "models/outside"
        self.right = folder / "right.safetensors"
        self.right.write_bytes(of_tensors(evil.GOOD))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("evil"))


def open_all(made, paths):
    """[[path, kind of error or "opened", words, what was opened and run], ..., KiB of memory]"""
    done = subprocess.run(
        [PYTHON, "-I", "-c", OPENER, worker_dir(), made.right], input=json.dumps(paths), capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)), check=False)
    assert done.returncode == 0, "%d: %s" % (done.returncode, done.stderr[-3000:])
    return json.loads(done.stdout)


def test_there_are_many(made):
    titles = [title for batch in made.batches for title, _ in batch]
    assert len(titles) >= 500
    assert len(set(titles)) > 0.9 * len(titles)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_all_are_refused(made, batch):
    cases = made.batches[batch]
    with Watched(made.outside) as outside:
        *told, memory_kib = open_all(made, [path for _, path in cases])
        assert outside.opened() == []
    assert memory_kib < MEMORY_MAX_KIB
    assert len(told) == len(cases)
    for (title, folder), (path, kind, words, opened) in zip(cases, told):
        assert path == folder
        assert kind == "ValueError", "%s: %s: %s" % (title, kind, words)
        # Where, and what in words that a log can have.
        assert words.startswith(folder) and ": " in words and len(words) < 3000, "%s: %r" % (title, words)
        assert words.isprintable(), "%s: %r" % (title, words)
        assert all(o.startswith(folder + os.sep) for o in opened), "%s: %s" % (title, opened)
    assert not made.canary.exists()


def test_what_they_stand_beside_is_right(made):
    """The same file is opened where it may be: it is not for another reason that links to it are refused. And it is heard of."""
    good = str(made.outside / "good.safetensors")
    with Watched(made.outside) as outside:
        told = open_all(made, [good])[0]
        assert outside.opened() == ["good.safetensors"]
    assert told[1:] == ["opened", "3 tensors", [good]]


def test_a_bomb_is_one(tmp_path):
    """Where somebody runs it."""
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(evil.Bomb("touch %s" % canary)))
    assert canary.exists()

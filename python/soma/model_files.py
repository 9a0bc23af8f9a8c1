"""Which files of a folder are the weights of a model.

With an index (model.safetensors.index.json, pytorch_model.bin.index.json) those
that it names; else all *.safetensors, else what torch.save() has written. A
folder may come from anywhere, so nothing outside of it is opened, whatever its
index and its links say.
"""
import json
import os
import stat

INDEX_BYTES_MAX = 64 << 20
TENSORS_MAX = 1 << 20
FILES_MAX = 10000
SHOWN_MAX = 5  # names that a message lists

SAFETENSORS = ".safetensors"
TORCH = (".bin", ".pt", ".pth", ".ckpt")
# What trainers leave beside the weights.
NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "trainer_state")


class Found:
    """The files of a model, and which tensor is in which."""

    def __init__(self, folder, files, index=None, of=None):
        self.folder = folder
        self.files = files  # names, in the folder
        self.index = index  # its name; None: each tensor is where it is
        self.of = of  # tensor: file, as the index has it


def listed(names):
    names = sorted(names)
    more = len(names) - SHOWN_MAX
    return ", ".join(names[:SHOWN_MAX]) + (" and %d more" % more if more > 0 else "")


def _check_name(index, name):
    """A name of an index is a path below the folder, and nothing else."""
    if not isinstance(name, str) or "\0" in name or {"", ".", ".."} & set(name.split("/")):
        raise ValueError("%s: weight_map names %.200r, which is no file of the model's folder: fetch the model anew, from where you trust it" % (index, name))


def open_file(folder, name):
    """A descriptor of a file in the folder, which is a real path."""
    shown = os.path.join(folder, name)
    real = os.path.realpath(shown)
    if not real.startswith(folder.rstrip(os.sep) + os.sep):
        raise ValueError("%s: leads out of the model's folder, to %s: put the file itself there (cp -L)" % (shown, real))
    try:
        # A pipe of that name is not waited for.
        fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError("%s: is not there: fetch the model anew" % shown)
    except PermissionError:
        raise
    except OSError as error:  # a loop of links, a socket
        raise ValueError("%s: cannot be opened: %s" % (shown, error.strerror))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError("%s: is no file" % shown)
    return fd


# --- the index ----------------------------------------------------------------


def _unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members


def _read_index(folder, name):
    shown = os.path.join(folder, name)
    with os.fdopen(open_file(folder, name), "rb") as file:
        text = file.read(INDEX_BYTES_MAX + 1)
    if len(text) > INDEX_BYTES_MAX:
        raise ValueError("%s: is larger than %d MiB, the most that an index may have" % (shown, INDEX_BYTES_MAX >> 20))
    try:
        # Numbers stay text: none is needed, and one of a million digits takes long.
        root = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise ValueError("%s: is not the JSON of an index: %.200s" % (shown, error))
    of = root.get("weight_map") if isinstance(root, dict) else None
    if not isinstance(of, dict) or not of:
        raise ValueError("%s: has no weight_map of tensors to files: fetch the model anew" % shown)
    files = []
    for file in of.values():
        _check_name(shown, file)
    files = sorted(set(of.values()))
    if len(of) > TENSORS_MAX or len(files) > FILES_MAX:
        raise ValueError("%s: names %d tensors in %d files; %d in %d are the most" % (shown, len(of), len(files), TENSORS_MAX, FILES_MAX))
    return Found(folder, files, name, of)


# --- the folder ---------------------------------------------------------------


def _choose(folder, names, ending, main):
    """An index, or files without one; None: there is neither."""
    indexes = [n for n in names if n.endswith(ending + ".index.json")]
    if main + ".index.json" in indexes:
        indexes = [main + ".index.json"]
    if len(indexes) > 1:
        raise ValueError("%s: has %d indexes (%s): leave one of them" % (folder, len(indexes), listed(indexes)))
    return _read_index(folder, indexes[0]) if indexes else None


def find(path):
    """The weights at a path, a folder or one file."""
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        return Found(os.path.dirname(real), [os.path.basename(real)])
    names = sorted(n for n in os.listdir(real) if not n.startswith("."))
    found = _choose(real, names, SAFETENSORS, "model" + SAFETENSORS)
    if found:
        return found
    files = [n for n in names if n.endswith(SAFETENSORS)]
    if files:
        return Found(real, files)
    found = _choose(real, names, ".bin", "pytorch_model.bin")
    if found:
        return found
    files = [n for n in names if n.endswith(TORCH) and not n.startswith(NO_WEIGHTS)]
    if "pytorch_model.bin" in files:
        files = ["pytorch_model.bin"]
    if not files:
        raise ValueError("%s: has no weights; there %s: put *.safetensors there, or what torch.save() has written (*.bin, *.pt, *.pth, *.ckpt)" % (path, "is " + listed(names) if names else "is nothing"))
    return Found(real, files)

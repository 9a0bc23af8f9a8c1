"""Whether the weights that an ONNX model has in other files are beside it.

ONNX Runtime opens what the model names: a model that came from somewhere must
not choose which of this machine's files are read. The same as
src/engines/onnx_external.c does for models without Python.
"""
import mmap
import os
import stat

DEPTH_MAX = 100  # as protobuf's own

# Where a message of onnx.proto has others, down to tensors.
WAYS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
TENSOR_EXTERNAL_DATA = 13
ENTRY_KEY, ENTRY_VALUE = 1, 2
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5

# ONNX Runtime has names that stand for its own memory, at an address that the model gives as offset.
MEMORY = "*/"


def _damaged():
    return ValueError("is damaged, something in it ends too soon or is not as ONNX has it: copy or export it again")


def _varint(data, at, end):
    value = 0
    for shift in range(0, 64, 7):
        if at == end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise _damaged()


def _fields(data, at, end):
    """(number, begin, end) of what has bytes. All of the message has to be known as fields: who stopped at one that is not known here would not see what ONNX Runtime finds behind it."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if not number or tag >> 32:
            raise _damaged()
        if wire == VARINT:
            _, at = _varint(data, at, end)
            continue
        if wire == BYTES:
            size, at = _varint(data, at, end)
        elif wire in (FIXED_64, FIXED_32):
            size = 8 if wire == FIXED_64 else 4
        else:
            raise _damaged()
        if size > end - at:
            raise _damaged()
        if wire == BYTES:
            yield number, at, at + size
        at += size


def _named(data, begin, end):
    """The files that a tensor names. Each, and not the one that counts: what a reader makes of several, or of what says that none counts, is its own affair."""
    for number, at, to in _fields(data, begin, end):
        if number != TENSOR_EXTERNAL_DATA:
            continue
        entry = {n: data[a:b] for n, a, b in _fields(data, at, to)}
        if entry.get(ENTRY_KEY) == b"location" and entry.get(ENTRY_VALUE):
            yield entry[ENTRY_VALUE]


def _locations(data, message, begin, end, depth=0):
    if depth == DEPTH_MAX:
        raise ValueError("has graphs in graphs too deep to look at: export it without control flow")
    for number, at, to in _fields(data, begin, end):
        inner = WAYS[message].get(number)
        if inner == "tensor":
            yield from _named(data, at, to)
        elif inner:
            yield from _locations(data, inner, at, to, depth + 1)


def _is_inside(real, folder):
    return real.startswith(os.path.realpath(folder).rstrip(os.sep) + os.sep)


def _check(folder, location):
    shown = os.fsdecode(location)
    is_plain = not os.path.isabs(shown) and ".." not in shown.split("/") and "\0" not in shown and not shown.startswith(MEMORY)
    real = os.path.realpath(os.path.join(folder, shown)) if is_plain else ""
    # What is not there is ONNX Runtime's to say.
    if not _is_inside(real, folder) or (os.path.exists(real) and not os.path.isfile(real)):
        raise ValueError("has weights in %.200r, which leads out of its folder: put the file itself beside the model, and export the model with its name alone" % shown)


def _check_all(path, fd):
    """How many files it names."""
    if not os.fstat(fd).st_size:
        return 0
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        # Most models have none, and Python would take long over all their nodes.
        if data.find(b"location") < 0:
            return 0
        locations = set(_locations(data, "model", 0, len(data)))
    for location in locations:
        _check(os.path.dirname(path), location)
    return len(locations)


def check(path, folder):
    """The true path of a model of that folder, and whether it has weights in other files. ValueError says which file of another place it is, or wants."""
    real = os.path.realpath(path)
    name = os.path.basename(path)
    if not _is_inside(real, folder):
        raise ValueError("has %r as a link that leads out of its folder, to %r: put the file itself there" % (name, real))
    # A pipe of that name is not waited for.
    fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("has %r, which is no file: put the model there" % name)
        count = _check_all(real, fd)
    finally:
        os.close(fd)
    return real, count > 0

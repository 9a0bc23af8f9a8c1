"""Whether the weights that an ONNX model has in other files are beside it.

ONNX Runtime opens what the model names: a model that came from somewhere must
not choose which of this machine's files are read. The same as
src/engines/onnx_external.c does for models without Python.
"""
import mmap
import os

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
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
ENTRY_KEY, ENTRY_VALUE = 1, 2
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5


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
    raise EOFError


def _fields(data, at, end):
    """(number, begin, end) of what has bytes, (number, value, None) of numbers, up to what is no field."""
    try:
        while at < end:
            tag, at = _varint(data, at, end)
            number, wire = tag >> 3, tag & 7
            if wire == VARINT:
                value, at = _varint(data, at, end)
                yield number, value, None
                continue
            if wire == BYTES:
                size, at = _varint(data, at, end)
            elif wire in (FIXED_64, FIXED_32):
                size = 8 if wire == FIXED_64 else 4
            else:
                return
            if size > end - at:
                return
            if wire == BYTES:
                yield number, at, at + size
            at += size
    except EOFError:
        return


def _location(data, begin, end):
    """What a tensor says of its file, or None."""
    location, external = None, False
    for number, at, to in _fields(data, begin, end):
        if number == TENSOR_DATA_LOCATION and to is None:
            external = at == 1
        elif number == TENSOR_EXTERNAL_DATA and to is not None:
            entry = {n: data[a:b] for n, a, b in _fields(data, at, to) if b is not None}
            if entry.get(ENTRY_KEY) == b"location":
                location = entry.get(ENTRY_VALUE)
    return location if external else None


def _locations(data, message, begin, end, depth=0):
    if depth == DEPTH_MAX:
        raise ValueError("has graphs in graphs too deep to look at: export it without control flow")
    for number, at, to in _fields(data, begin, end):
        inner = WAYS[message].get(number) if to is not None else None
        if inner == "tensor":
            location = _location(data, at, to)
            if location:
                yield location
        elif inner:
            yield from _locations(data, inner, at, to, depth + 1)


def _check(path, location):
    shown = os.fsdecode(location)
    folder = os.path.dirname(os.path.abspath(path))
    inside = os.path.realpath(folder).rstrip(os.sep) + os.sep
    plain = not os.path.isabs(shown) and ".." not in shown.split("/") and "\0" not in shown
    if not plain or not os.path.realpath(os.path.join(folder, shown)).startswith(inside):
        raise ValueError("has weights in %r, which leads out of its folder: put the file itself beside the model, and export the model with its name alone" % shown)


def check(path):
    """ValueError says which file of another place the model wants."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # Most models have none, and Python would take long over all their nodes.
            if data.find(b"location") < 0:
                return
            for location in set(_locations(data, "model", 0, len(data))):
                _check(path, location)

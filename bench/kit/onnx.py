"""What the floor is given to call: ONNX Runtime, and a model's inputs."""
import itertools
import struct

from kit.paths import ROOT

# Of the C API: the number, and struct's letter.
TYPES = {"float32": (1, "f"), "int32": (6, "i"), "int64": (7, "q")}


def flat(value):
    return list(itertools.chain.from_iterable(map(flat, value))) if isinstance(value, list) else [value]


def library():
    """ONNX Runtime, as make build has fetched it for Soma."""
    found = sorted((ROOT / "build/onnxruntime").glob("libonnxruntime.so*"))
    if not found:
        raise RuntimeError("there is no build/onnxruntime/libonnxruntime.so*: make build fetches it")
    return found[0]


def write_inputs(path, inputs):
    """The file that the floor reads, of {name: (dtype, shape, value)}."""
    with open(path, "wb") as f:
        for name, (dtype, shape, value) in inputs.items():
            number, letter = TYPES[dtype]
            data = struct.pack(f"{len(flat(value))}{letter}", *flat(value))
            f.write(f"{name} {number} {len(data)} {' '.join(map(str, shape))}\n".encode() + data)
    return path

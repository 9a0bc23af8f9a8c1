"""How torch.save lays out an archive: a zip file without compression, whose records begin at multiples of 64 bytes.

Nothing of PyTorch is needed for it, nor is its pickle a surprise: a dict of calls of `torch._utils._rebuild_tensor_v2`.
Written after the layout that PyTorch 2 gives its own files: sizes and checksum of a record follow it, and are
repeated in the directory at the end; the directory's end is there for 64 bits, too.
"""
import collections
import functools
import io
import pickle
import struct
import zlib

ALIGNMENT = 64
FLAGS = 0x0808  # sizes follow the data; names are UTF-8
FOUR_GIB = 0xffffffff
STORAGES = {"F16": "HalfStorage", "F32": "FloatStorage", "I64": "LongStorage"}


def halves(values):
    """Bits of 16-bit floats."""
    return (struct.unpack("<H", struct.pack("<e", v))[0] for v in values)


# --- checksums ---------------------------------------------------------------
# CRC-32 is a remainder of polynomials over GF(2), bits reversed: to shift it by n bytes is to multiply it by x^8n.

_POLYNOMIAL = 0xedb88320


def _multiply(a, b):
    product = 0
    while a:
        if a & 0x80000000:
            product ^= b
        a = a << 1 & 0xffffffff
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@functools.lru_cache(maxsize=4096)
def _power(n):
    """x to the 8n."""
    power, square = 0x80000000, 0x00800000  # 1, x^8
    while n:
        if n & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        n >>= 1
    return power


def shift_checksum(crc, n):
    """What a checksum becomes when n bytes follow, but for those bytes' own."""
    return _multiply(crc, _power(n))


# --- the pickle --------------------------------------------------------------


class _Name:
    """Something of PyTorch's, by name."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise TypeError("only its name is written")


_REBUILD = _Name("torch._utils", "_rebuild_tensor_v2")
_STORAGE_NAMES = {dtype: _Name("torch", name) for dtype, name in STORAGES.items()}


class _Storage:
    def __init__(self, key, dtype, count):
        self.key, self.dtype, self.count = key, dtype, count


class _Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce_ex__(self, protocol):
        strides = [1]
        for side in reversed(self.shape[1:]):
            strides.insert(0, strides[0] * side)
        return _REBUILD, (self.storage, 0, tuple(self.shape), tuple(strides[:len(self.shape)]), False, collections.OrderedDict())


class _Pickler(pickle._Pickler):  # the one in Python: it can be told how to write a name
    def persistent_id(self, obj):
        if isinstance(obj, _Storage):
            return "storage", _STORAGE_NAMES[obj.dtype], str(obj.key), "cpu", obj.count
        return None

    def _save_name(self, obj):
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch, _Name: _save_name}


def pickled(tensors, tied):
    """data.pkl of a state_dict. tied: {further name: name}."""
    state, storages = collections.OrderedDict(), {}
    for key, t in enumerate(tensors):
        n = 1
        for side in t.shape:
            n *= side
        storages[t.name] = _Storage(key, t.dtype, n), t.shape
        state[t.name] = _Tensor(*storages[t.name])
    for name, other in tied.items():
        state[name] = _Tensor(*storages[other])
    modules = {"": {"version": 1}}
    for name in state:
        parts = name.split(".")[:-1]
        for i in range(len(parts)):
            modules[".".join(parts[:i + 1])] = {"version": 1}
    state._metadata = collections.OrderedDict(modules)
    out = io.BytesIO()
    _Pickler(out, protocol=2).dump(state)
    return out.getvalue()


# --- the archive -------------------------------------------------------------


class Writer:
    """Writes records to a file of made.py, under one folder's name."""

    def __init__(self, file, folder):
        self.file, self.folder, self.records = file, folder, []

    def record(self, name, data):
        self.record_of(name, len(data), lambda: self.file.text(data), zlib.crc32(data))

    def record_of(self, name, size, put, crc):
        """put() appends the data."""
        name, at = f"{self.folder}/{name}".encode(), self.file.size
        if size >= FOUR_GIB:
            raise ValueError(f"{name.decode()}: a record of {size} bytes is more than is needed here")
        wide = self._wide(at)
        begin = at + 30 + len(name) + len(wide) + 4
        padding = -begin % ALIGNMENT
        self.file.text(struct.pack("<IHHHHHIIIHH", 0x04034b50, 0, FLAGS, 0, 0, 0, 0, 0, 0, len(name), len(wide) + 4 + padding)
                       + name + wide + b"FB" + struct.pack("<H", padding) + b"Z" * padding)
        put()
        self.file.text(struct.pack("<II", 0x08074b50, crc) + struct.pack("<QQ" if wide else "<II", size, size))
        self.records.append((name, at, size, crc))

    @staticmethod
    def _wide(at):
        """The field that has an offset of more than 32 bits; it is in a record's own head, too."""
        return struct.pack("<HHQ", 1, 8, at) if at >= FOUR_GIB else b""

    def end(self):
        at = self.file.size
        for name, offset, size, crc in self.records:
            wide = self._wide(offset)
            self.file.text(struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 0, 0, FLAGS, 0, 0, 0, crc, size, size, len(name), len(wide), 0, 0, 0, 0,
                                       min(offset, FOUR_GIB)) + name + wide)
        length, n = self.file.size - at, len(self.records)
        self.file.text(struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 0x031e, 45, 0, 0, n, n, length, at))
        self.file.text(struct.pack("<IIQI", 0x07064b50, 0, at + length, 1))
        self.file.text(struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, min(n, 0xffff), min(n, 0xffff), min(length, FOUR_GIB), min(at, FOUR_GIB), 0))

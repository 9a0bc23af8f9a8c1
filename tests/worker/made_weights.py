"""Files of weights made byte by byte, right ones and others."""
import json
import struct

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8, "F8_E4M3": 1, "F8_E5M2": 1,
         "F16": 2, "BF16": 2, "F32": 4, "F64": 8, "C64": 8, "C128": 16}
CLASSES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "F64": "DoubleStorage", "I64": "LongStorage",
           "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage", "U8": "ByteStorage", "BOOL": "BoolStorage"}


# --- safetensors --------------------------------------------------------------


def safetensors(header, data=b"", length=None, pad=True):
    """header: a dict, or bytes as they are to be."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if pad and not isinstance(header, bytes):
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def of_tensors(tensors, pad=True):
    """tensors: name to (dtype, shape, bytes)."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return safetensors(header, data, pad=pad)


# --- pickles ------------------------------------------------------------------


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return b"X" + struct.pack("<I", len(s)) + s


def number(n):
    return b"\x8a\x08" + struct.pack("<q", n)


def name(module, what):
    return ("c%s\n%s\n" % (module, what)).encode()


def numbers(values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def storage(dtype, key, elements, class_of=None):
    return b"(" + text("storage") + (class_of or name("torch", CLASSES.get(dtype, dtype))) + text(key) + text("cpu") + number(elements) + b"tQ"


def row_major(shape):
    stride = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        stride[i] = stride[i + 1] * shape[i + 1]
    return stride


def view(dtype, key, elements, shape, stride=None, first=0):
    """A tensor of a storage."""
    return (name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage(dtype, key, elements) + number(first) + numbers(shape)
            + numbers(row_major(shape) if stride is None else stride) + b"\x89" + name("collections", "OrderedDict") + b")RtR")


def dict_of(items):
    """items: key (text, or opcodes) to opcodes."""
    body = b"".join((text(k) if isinstance(k, str) else k) + v for k, v in items)
    return b"\x80\x02}(" + body + b"u."


# --- archives -----------------------------------------------------------------


class Entry:
    def __init__(self, name, data, **odd):
        self.name, self.data, self.odd = name, data, odd


def archive(entries, comment=b"", **end):
    """A zip archive. What an Entry or the end is told of is said instead of what is so: flags, method, local_name, local_flags,
    local_method, size, packed, at, zip64 of an entry; n, at, size, zip64 of the end."""
    out, directory = b"", b""
    for e in entries:
        odd = e.odd
        own = e.name if isinstance(e.name, bytes) else e.name.encode()
        local = odd.get("local_name", own)
        at = odd.get("at", len(out))
        size, packed = odd.get("size", len(e.data)), odd.get("packed", len(e.data))
        head = struct.pack("<4sHHHIIIIHH", b"PK\3\4", 20, odd.get("local_flags", odd.get("flags", 0)), odd.get("local_method", odd.get("method", 0)), 0, 0,
                           len(e.data), len(e.data), len(local), 0)
        pad = -(len(out) + len(head) + len(local)) % 64
        head = head[:-2] + struct.pack("<H", pad)
        out += head + local + b"\0" * pad + e.data
        extra = struct.pack("<HHQQQ", 1, 24, size, packed, at) if odd.get("zip64") else b""
        n32 = [0xFFFFFFFF] * 3 if odd.get("zip64") else [packed & 0xFFFFFFFF, size & 0xFFFFFFFF, at & 0xFFFFFFFF]
        directory += struct.pack("<4sHHHHIIIIHHHHHII", b"PK\1\2", 20, 20, odd.get("flags", 0), odd.get("method", 0), 0, 0, n32[0], n32[1],
                                 len(own), len(extra), 0, 0, 0, 0, n32[2]) + own + extra
    n, at, size = end.get("n", len(entries)), end.get("at", len(out)), end.get("size", len(directory))
    tail = b""
    if end.get("zip64"):
        tail = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, size, at)
        tail += struct.pack("<4sIQI", b"PK\6\7", 0, end.get("at64", len(out) + len(directory)), 1)
        n, at, size = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    tail += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, n & 0xFFFF, n & 0xFFFF, size & 0xFFFFFFFF, at & 0xFFFFFFFF, len(comment))
    return out + directory + tail + comment


def saved(pickle, storages=(b"\0" * 64,), more=(), byteorder=b"little", **end):
    """What torch.save() makes: of a pickle and the bytes of each storage."""
    entries = [Entry("archive/data.pkl", pickle), Entry("archive/byteorder", byteorder)]
    entries += [Entry("archive/data/%d" % i, data) for i, data in enumerate(storages)]
    return archive([*entries, *more, Entry("archive/version", b"3\n")], **end)


def saved_tensors(tensors):
    """tensors: name to (dtype, shape, bytes)."""
    items, storages = [], []
    for key, (dtype, shape, content) in tensors.items():
        items.append((key, view(dtype, str(len(storages)), len(content) // SIZES[dtype], shape)))
        storages.append(content)
    return saved(dict_of(items), storages)

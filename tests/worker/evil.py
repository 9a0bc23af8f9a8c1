"""Models that nobody should open: more than five hundred, the same at each run.

`python evil.py FOLDER` writes them there, for a look.
"""
import io
import json
import os
import pickle
import random
import struct
import sys
import zipfile

from made_weights import Entry, archive, dict_of, name, number, numbers, of_tensors, safetensors, saved, saved_tensors, storage, text, view

SEED = 20261127
GOOD = {"a": ("F32", [2, 2], b"\1" * 16), "b": ("I64", [3], b"\2" * 24), "c": ("U8", [0], b"")}
SAFE, TORCH = "model.safetensors", "pytorch_model.bin"
SAFE_INDEX, TORCH_INDEX = SAFE + ".index.json", TORCH + ".index.json"


class Case:
    """One folder of a model. files: name to bytes, or a function(path, outside) that makes what is no file."""

    def __init__(self, title, files):
        self.title, self.files = title, files

    def make(self, folder, outside):
        for file, content in self.files.items():
            path = os.path.join(folder, file)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if callable(content):
                content(path, outside)
            else:
                with open(path, "wb") as f:
                    f.write(content.replace(b"{outside}", outside.encode()))


def one(title, content, file=SAFE):
    return Case(title, {file: content})


# --- cut off ------------------------------------------------------------------


def cuts():
    for kind, file, whole in [("safetensors", SAFE, of_tensors(GOOD)), ("archive", TORCH, saved_tensors(GOOD))]:
        step = max(1, len(whole) // 45)
        for n in sorted({0, 1, 7, 8, 9, 10, len(whole) - 1, *range(0, len(whole), step)}):
            yield one("%s cut to %d of %d" % (kind, n, len(whole)), whole[:n], file)


# --- safetensors --------------------------------------------------------------


def lengths():
    whole = of_tensors(GOOD)
    right = struct.unpack("<Q", whole[:8])[0]
    for n in [0, 1, 2, right // 2, right + 1, right + 8, len(whole), 10**8, 10**8 + 1, 2**31, 2**32, 2**32 + right, 2**53, 2**62, 2**63 - 1, 2**63, 2**63 + right,
              2**64 - 8, 2**64 - 1]:
        yield one("a header of %d bytes" % n, struct.pack("<Q", n) + whole[8:])


def tensor(dtype="U8", shape=(4,), offsets=(0, 4), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def headers():
    for dtype in ["F128", "f32", "F32 ", "", "INT8", "Q4_K", "U8\0", "../U8", "F8", "BF16\n", None, 5, ["U8"], {"U8": 1}]:
        yield "a dtype %r" % (dtype,), {"x": tensor(dtype)}, 4
    for shape in [4, "4", None, {}, [4.0], ["4"], [-4], [[4]], [None], [True], [4, -1], [2**63, 2], [2**64], [2**32, 2**32], [2**62, 4], [0, 2**40, 2**40], [3], [5], [1] * 65, [4, 10**30]]:
        yield "a shape %.60r" % (shape,), {"x": tensor(shape=shape)}, 4
    for offsets in [None, 4, [], [0], [0, 4, 8], [4, 0], [-4, 0], [0, 4.0], ["0", "4"], [0, 5], [1, 5], [2**63, 2**63 + 4], [2**64 - 4, 2**64 - 1], [0, 2**64], [[0], [4]], {"0": 4}]:
        yield "offsets %.60r" % (offsets,), {"x": tensor(offsets=offsets)}, 4
    yield "a tensor that is none", {"x": 5}, 0
    yield "a tensor with more to it", {"x": tensor(more=1)}, 4
    yield "a tensor without a shape", {"x": {"dtype": "U8", "data_offsets": [0, 4]}}, 4
    for title, a, b, n in [("one over another", (0, 4), (2, 6), 6), ("two in one place", (0, 4), (0, 4), 4), ("one in another", (0, 6), (2, 4), 6), ("a gap", (0, 2), (4, 6), 6),
                           ("a gap at the start", (2, 4), (4, 6), 6), ("bytes at the end", (0, 2), (2, 4), 6), ("an empty one in another", (0, 4), (2, 2), 4)]:
        yield title, {"a": tensor(shape=[a[1] - a[0]], offsets=a), "b": tensor(shape=[b[1] - b[0]], offsets=b)}, n
    for metadata in [1, [], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}]:
        yield "metadata %r" % (metadata,), {"__metadata__": metadata, "x": tensor()}, 4
    for odd in ["a\0b", "\0", "x\0"]:
        yield "a name %r" % odd, {odd: tensor()}, 4


def texts():
    row = b'{"dtype":"U8","shape":[2],"data_offsets":[%d,%d]}'
    x, y = row % (0, 2), row % (2, 4)
    for title, header, n in [
        ("two of a name", b'{"x":' + x + b',"x":' + y + b"}", 4), ("two of a name, one escaped", b'{"x":' + x + b',"\\u0078":' + y + b"}", 4),
        ("two dtypes", b'{"x":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}}', 2), ("two metadata", b'{"__metadata__":{},"__metadata__":{}}', 0),
        ("no JSON", b"{x}", 0), ("a comma", b'{"x":' + x + b",}", 2), ("a comment", b"{/**/}", 0), ("a NaN", b'{"x":NaN}', 0), ("single quotes", b"{'x':1}", 0),
        ("no UTF-8", b'{"\xff\xfe":' + x + b"}", 2), ("half a pair", b'{"\\ud800":' + x + b"}", 2), ("two values", b"{}{}", 0), ("a list", b"[]        ", 0), ("a text", b'"abcdefgh"', 0),
        ("spaces before it", b" {}", 0), ("a BOM", b"\xef\xbb\xbf{}", 0), ("deep", b'{"x":' + b"[" * 50000, 0), ("deep and closed", b'{"x":' + b"[" * 50000 + b"]" * 50000 + b"}", 0),
        ("deep objects", b'{"x":' * 20000 + b"1" + b"}" * 20000, 0), ("a number without end", b'{"x":' + b"9" * 100000 + b"}", 0), ("a NUL behind it", b"{}\0", 0), ("hexadecimal", b'{"x":0x10}', 0),
        ("an infinite shape", b'{"x":{"dtype":"U8","shape":[1e999],"data_offsets":[0,2]}}', 2), ("no end", b'{"x":' + x, 2), ("UTF-16", '{"x":1}'.encode("utf-16"), 0),
    ]:
        yield one(title, safetensors(header, b"\0" * n))


def others():
    """Files of other kinds, under names of weights."""
    old = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    for title, content in [
        ("HTML", b"<!DOCTYPE html><html>404</html>"), ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 5\n"), ("a script", b"#!/bin/sh\ntouch canary\n"),
        ("GGUF", b"GGUF" + b"\3\0\0\0" * 8), ("HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 64), ("numpy's", b"\x93NUMPY\1\0" + b"\0" * 64), ("ELF", b"\x7fELF" + b"\0" * 64), ("zeros", b"\0" * 4096),
        ("the old format of torch", old), ("a pickle", pickle.dumps({"a": 1}, 4)), ("a pickle of text", pickle.dumps({"a": 1}, 0)), ("gzip", b"\x1f\x8b\x08" + b"\0" * 64), ("JSON", b'{"a": 1}' * 4),
    ]:
        for file in (SAFE, TORCH):
            yield one("%s as %s" % (title, file), content, file)


# --- archives -----------------------------------------------------------------


CODE = [("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("subprocess", "check_output"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "open"),
        ("builtins", "__import__"), ("builtins", "getattr"), ("__builtin__", "eval"), ("importlib", "import_module"), ("runpy", "run_path"), ("pty", "spawn"), ("shutil", "rmtree"), ("ctypes", "CDLL"),
        ("socket", "create_connection"), ("webbrowser", "open"), ("pickle", "loads"), ("marshal", "loads"), ("types", "FunctionType"), ("operator", "attrgetter"), ("functools", "partial"), ("torch", "load"),
        ("torch.hub", "load"), ("torch.storage", "_load_from_bytes"), ("torch.jit", "load"), ("torch._utils", "_rebuild_sparse_tensor"), ("torch._dynamo", "x"), ("numpy.core.multiarray", "_reconstruct"),
        ("collections", "defaultdict"), ("collections.OrderedDict", "x"), ("torch\0._utils", "_rebuild_tensor_v2"), ("torch._utils _rebuild_tensor_v2", "x"), ("torch", "os.system")]


class Bomb:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def bombs(canary):
    command = "touch " + canary
    for module, what in CODE:
        yield one("a call of %s.%s" % (module.replace("\0", "NUL"), what), saved(b"\x80\x02" + name(module, what) + text(command) + b"\x85R."), TORCH)
    for protocol in range(6):
        for title, value in [("alone", Bomb(command)), ("in a dict", {"w": Bomb(command)}), ("as a key", {"a": [Bomb(command)]})]:
            yield one("a bomb of protocol %d, %s" % (protocol, title), saved(pickle.dumps(value, protocol)), TORCH)
    for title, ops in [
        ("INST", b"(" + text(command) + b"ios\nsystem\n."), ("OBJ", b"(" + name("os", "system") + text(command) + b"o."), ("NEWOBJ", name("os", "system") + text(command) + b"\x85\x81."),
        ("NEWOBJ_EX", name("os", "system") + text(command) + b"\x85}\x92."), ("BUILD", name("torch.nn", "Module") + b")\x81}b."), ("EXT1", b"\x82\1."), ("PERSID", b"Pstorage\n."),
        ("STACK_GLOBAL", b"\x8c\x02os\x8c\x06system\x93" + text(command) + b"\x85R."), ("a call of a dict", b"}" + text(command) + b"\x85R."), ("a call of a call", name("collections", "OrderedDict") + b")R)R."),
        ("a bomb as persistent id", name("os", "system") + text(command) + b"\x85RQ."), ("a storage of code", storage("F32", "0", 4, name("os", "system")) + b"."),
        ("an OrderedDict of pairs", name("collections", "OrderedDict") + b"](" + text("a") + name("os", "system") + text(command) + b"\x85R\x86a\x85R."),
        ("code behind the end", dict_of([("w", view("F32", "9", 4, [4]))]) + name("os", "system") + text(command) + b"\x85R."),
    ]:
        yield one("a pickle with %s" % title, saved(b"\x80\x02" + ops), TORCH)


def pickles():
    for title, ops in [
        ("nothing", b""), ("no end", b"}"), ("an empty stack", b"."), ("no dict", b"K\5."), ("a list", b"]."), ("a mark at the end", b"(."), ("a dict in itself", b"}q\1" + text("me") + b"h\1s."),
        ("a dict in itself twice", b"}q\1" + text("a") + b"}q\2" + text("b") + b"h\1ss."), ("a dict in two places", b"}" + text("a") + b"}q\1s" + text("b") + b"h\1s."),
        ("dicts in dicts", b"}" + (text("d") + b"}") * 64 + b"s" * 64 + b"."), ("a memo without it", b"h\7."), ("a memo far away", b"}r\xff\xff\xff\xff."), ("a tuple of what is not there", b"N\x87."),
        ("a long number", b"\x8a\xff" + b"\1" * 255 + b"."), ("a text without end", b"X\xff\xff\xff\xffab."), ("a name without end", b"cos"), ("a long name", b"c" + b"x" * 5000 + b"\ny\n."), ("an odd dict", b"}(Nu."),
        ("items of a list", b"](NNu."), ("a BUILD of a list", b"]}b."), ("many values", b"N" * ((1 << 22) + 1) + b"."), ("many marks", b"(" * 100000), ("a frame too long", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff}."),
        ("a tensor of no storage", name("torch._utils", "_rebuild_tensor_v2") + b"(NK\0))\x89}tR."), ("a tensor of too little", name("torch._utils", "_rebuild_tensor_v2") + b")R."),
        ("a parameter of none", name("torch._utils", "_rebuild_parameter") + b"(N\x88}tR."), ("unlike shape and stride", name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage("F32", "0", 16) + number(0) + numbers([4, 4]) + numbers([1]) + b"\x89}tR."),
        ("65 dimensions", dict_of([("w", view("F32", "0", 16, [1] * 65))])), ("a name that is no text", dict_of([(b"N", view("F32", "0", 16, [4]))])), ("a name with a NUL", dict_of([("a\0b", view("F32", "0", 16, [4]))])),
        ("a name that is no UTF-8", dict_of([(text(b"\xff"), view("F32", "0", 16, [4]))])), ("a long name of a tensor", dict_of([("x" * 5000, view("F32", "0", 16, [4]))])),
        ("two of a name", dict_of([("w", view("F32", "0", 16, [4])), ("w", view("F32", "0", 16, [2]))])), ("a bad id", b"(" + text("storage") + b"tQ."), ("an id of no tuple", b"NQ."),
    ]:
        yield one("a pickle of %s" % title, saved(b"\x80\x02" + ops), TORCH)


def storages():
    big = 2**63 - 1
    for title, v in [
        ("behind its storage", view("F32", "0", 16, [17])), ("too far in it", view("F32", "0", 16, [16], first=1)), ("far behind it", view("F32", "0", 16, [1], first=big)), ("before it", view("F32", "0", 16, [1], first=-1)),
        ("a stride too long", view("F32", "0", 16, [2, 2], [100, 1])), ("a stride that overflows", view("F32", "0", 16, [3, 3], [big, big])), ("a stride below zero", view("F32", "0", 16, [2], [-1])),
        ("a shape that overflows", view("F32", "0", 16, [2**32, 2**32], [0, 0])), ("a shape of 2^63", view("F32", "0", 16, [big, 2], [0, 0])), ("a shape below zero", view("F32", "0", 16, [-1])),
        ("a storage that is smaller than it says", view("F32", "0", 17, [4])), ("a storage of 2^63", view("F64", "0", big, [4])), ("a storage below zero", view("F32", "0", -1, [4])), ("no such storage", view("F32", "1", 16, [4])),
        ("a storage elsewhere", view("F32", "../data.pkl", 16, [4])), ("a storage of another root", view("F32", "/etc/passwd", 16, [4])), ("a long key", view("F32", "0" * 5000, 16, [4])), ("a key with a NUL", view("F32", "0\0", 16, [4])),
        ("a class of quantized numbers", view("QInt8Storage", "0", 16, [4])), ("a class that is none", view("Storage", "0", 16, [4])), ("a class of CUDA", view("cuda.FloatStorage", "0", 16, [4])), ("an empty one too far", view("F32", "0", 16, [0], first=100)),
    ]:
        yield one("a tensor: %s" % title, saved(dict_of([("w", v)])), TORCH)


def zipped(compression, names=("archive/data.pkl", "archive/data/0")):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        for n in names:
            z.writestr(n, dict_of([("w", view("F32", "0", 16, [4]))]) if n.endswith(".pkl") else b"\0" * 64)
    return out.getvalue()


def archives():
    data = dict_of([("w", view("U8", "0", 64, [64]))])
    usual = Entry("m/data.pkl", data)
    cases = [("zip slip: %s" % n, [usual, Entry("m/data/0", b"\0" * 64), Entry(n, b"x")], {}) for n in
             ["../evil", "../../../../../../tmp/evil", "/etc/evil", "m/../../evil", "m/..", "..", "m\\..\\evil", "C:\\evil", "m/data/\0", ""]]
    for title, odd in [
        ("packed", {"method": 8}), ("packed, locally not", {"method": 8, "local_method": 0}), ("packed locally", {"local_method": 8}), ("encrypted", {"flags": 1}), ("encrypted locally", {"local_flags": 1}), ("two names", {"local_name": b"m/data/1"}),
        ("a longer name locally", {"local_name": b"m/data/0x"}), ("two sizes", {"packed": 63}), ("too long", {"size": 65, "packed": 65}), ("far too long", {"size": 2**32 - 2, "packed": 2**32 - 2}), ("no size", {"size": 2**32 - 1, "packed": 2**32 - 1}),
        ("elsewhere", {"at": 7}), ("behind the end", {"at": 10**6}), ("over another", {"at": 0, "local_name": b"m/data.pkl"}), ("a zip64 size that overflows", {"zip64": True, "size": 2**64 - 1, "packed": 2**64 - 1}),
        ("a zip64 place that overflows", {"zip64": True, "at": 2**64 - 1}), ("a zip64 place far away", {"zip64": True, "at": 2**63}), ("no end of packing", {"method": 99}),
    ]:
        cases.append(("an entry: %s" % title, [usual, Entry("m/data/0", b"\0" * 64, **odd)], {}))
    both = [usual, Entry("m/data/0", b"\0" * 64)]
    for title, end in [("more entries", {"n": 3}), ("fewer entries", {"n": 1}), ("no entries", {"n": 0}), ("many entries", {"n": 65000}), ("a place too far", {"at": 10**6}), ("a place too near", {"at": 0}), ("a size too large", {"size": 10**6}),
                       ("no size", {"size": 0}), ("a zip64 place that overflows", {"zip64": True, "at": 2**64 - 1}), ("a zip64 size that overflows", {"zip64": True, "size": 2**64 - 1}), ("2^60 entries", {"zip64": True, "n": 2**60}),
                       ("no directory of zip64", {"zip64": True, "at64": 2**63}), ("a directory of zip64 elsewhere", {"zip64": True, "at64": 3})]:
        cases.append(("an end: %s" % title, both, end))
    cases += [("two pickles", [usual, Entry("m/data.pkl", b"}."), both[1]], {}), ("no pickle", [both[1]], {}), ("no folder", [Entry("data.pkl", data), Entry("data/0", b"\0" * 64)], {}),
              ("a TorchScript program", [*both, Entry("m/constants.pkl", b").")], {}), ("the other byte order", [*both, Entry("m/byteorder", b"big")], {}), ("a storage of another folder", [usual, Entry("n/data/0", b"\0" * 64)], {})]
    for title, entries, end in cases:
        yield one("an archive with %s" % title, archive(entries, **end), TORCH)
    yield one("an archive that is deflated", zipped(zipfile.ZIP_DEFLATED), TORCH)
    yield one("an archive that is packed by bzip2", zipped(zipfile.ZIP_BZIP2), TORCH)
    yield one("a deflated archive under the other name", zipped(zipfile.ZIP_DEFLATED), SAFE)
    yield one("an archive of something else", zipped(zipfile.ZIP_STORED, ["word/document.xml"]), TORCH)


# --- folders ------------------------------------------------------------------


def link(target):
    """A link to what `target` is outside of the folder, or to a path."""
    return lambda path, outside: os.symlink(target.format(outside=outside), path)


def indexes():
    shard = {"s1.safetensors": of_tensors(GOOD), "s2.safetensors": of_tensors({"z": ("U8", [1], b"z")})}
    right = {"a": "s1.safetensors", "b": "s1.safetensors", "c": "s1.safetensors", "z": "s2.safetensors"}
    for wrong in ["../outside/good.safetensors", "{outside}/good.safetensors", "/etc/passwd", "sub/../../outside/good.safetensors", "", ".", "..", "s3.safetensors", "s1.safetensors\0", "s1.safetensors/", "sub", "file:///etc/passwd", "~/x", 5, None, ["s1.safetensors"],
                  {"s1.safetensors": 1}, True, "s2.safetensors"]:
        yield "a file %r" % (wrong,), {"weight_map": {**right, "a": wrong}}, shard
    for root in [[], "x", 5, None, {}, {"weight_map": None}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": "s1.safetensors"}]:
        yield "the root %r" % (root,), root, shard
    yield "a tensor that no file has", {"weight_map": {**right, "ghost": "s1.safetensors"}}, shard
    yield "a file that is cut", {"weight_map": right}, {**shard, "s2.safetensors": shard["s2.safetensors"][:-1]}
    for title, target in [("a link to elsewhere", "{outside}/good.safetensors"), ("a link to a link to elsewhere", "{outside}/link.safetensors"), ("a link to itself", "s2.safetensors"), ("a link to nothing", "nothing"), ("a link to a device", "/dev/zero")]:
        yield title, {"weight_map": right}, {**shard, "s2.safetensors": link(target)}
    yield "a file in a folder elsewhere", {"weight_map": {"a": "sub/good.safetensors"}}, {"sub": link("{outside}")}


def folders():
    for title, root, files in indexes():
        yield Case("an index with %s" % title, {SAFE_INDEX: json.dumps(root).encode(), **files})
    x = b'{"weight_map":{"a":"s1.safetensors","a":"s1.safetensors"}}'
    for title, content in [("a name twice", x), ("no JSON", b"{"), ("nothing", b""), ("no UTF-8", b'{"\xff":1}'), ("deep lists", b"[" * 100000), ("a number without end", b'{"weight_map":' + b"1" * 200000 + b"}"), ("weights", of_tensors(GOOD))]:
        yield Case("an index of %s" % title, {SAFE_INDEX: content, "s1.safetensors": of_tensors(GOOD)})
    yield Case("an index that is elsewhere", {SAFE_INDEX: link("{outside}/index.json"), "s1.safetensors": of_tensors(GOOD)})
    yield Case("an index of archives with a bomb", {TORCH_INDEX: b'{"weight_map":{"w":"p.bin"}}', "p.bin": saved(pickle.dumps(Bomb("false"), 2))})
    yield Case("an index of archives elsewhere", {TORCH_INDEX: b'{"weight_map":{"a":"../outside/good.safetensors"}}'})
    yield Case("two indexes", {"a.safetensors.index.json": b"{}", "b.safetensors.index.json": b"{}"})
    yield Case("a tensor in two files", {"1.safetensors": of_tensors(GOOD), "2.safetensors": of_tensors({"a": GOOD["a"]})})
    yield Case("one good and one cut", {"1.safetensors": of_tensors(GOOD), "2.safetensors": of_tensors({"z": GOOD["a"]})[:-1]})
    yield Case("nothing", {".hidden": b""})
    yield Case("no weights", {"config.json": b"{}", "training_args.bin": b"x"})
    for title, target in [("elsewhere", "{outside}/good.safetensors"), ("a link elsewhere", "{outside}/link.safetensors"), ("the users", "/etc/passwd"), ("zeros", "/dev/zero"), ("itself", SAFE), ("nothing", "{outside}/nothing"), ("a folder", "{outside}"), ("memory", "/proc/self/mem"), ("what was opened", "/proc/self/fd/0")]:
        for file in (SAFE, TORCH):
            yield Case("%s as a link to %s" % (file, title), {file: link(target)})
    yield Case("a pipe", {SAFE: lambda path, _: os.mkfifo(path)})
    yield Case("a folder of that name", {SAFE: lambda path, _: os.mkdir(path)})
    yield Case("a socket", {SAFE: _socket})


def _socket(path, _):
    import socket

    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # the path of one is short
        s.bind(os.path.basename(path))
        os.chdir(here)


def spoiled():
    """Right files with a byte of their head changed, where any change is one for the worse."""
    rng = random.Random(SEED)
    whole = of_tensors(GOOD)
    for _ in range(20):
        at, bit = rng.randrange(8), rng.randrange(8)
        changed = bytearray(whole)
        changed[at] ^= 1 << bit
        yield one("bit %d of byte %d of the length" % (bit, at), bytes(changed))
    for brace in [i for i, c in enumerate(whole[8:], 8) if c in b'{}[]:,"'][:30]:
        changed = bytearray(whole)
        changed[brace] = rng.choice(b"x\0\xff")
        yield one("byte %d of the header" % brace, bytes(changed))


def cases(canary):
    yield from cuts()
    yield from lengths()
    for title, header, n in headers():
        yield one("a header with %s" % title, safetensors(header, b"\0" * n))
    yield from texts()
    yield from others()
    yield from bombs(canary)
    yield from pickles()
    yield from storages()
    yield from archives()
    yield from folders()
    yield from spoiled()


def make_outside(folder):
    """What no model may reach: each would be right by itself."""
    os.makedirs(folder)
    with open(os.path.join(folder, "good.safetensors"), "wb") as f:
        f.write(of_tensors(GOOD))
    with open(os.path.join(folder, "index.json"), "w") as f:
        json.dump({"weight_map": {"a": "s1.safetensors"}}, f)
    os.symlink("good.safetensors", os.path.join(folder, "link.safetensors"))


def make_all(folder, canary):
    """[(title, path)] of all, below the folder."""
    outside = os.path.join(folder, "outside")
    make_outside(outside)
    made = []
    for i, case in enumerate(cases(canary)):
        path = os.path.join(folder, "%03d" % i)
        os.mkdir(path)
        case.make(path, outside)
        made.append((case.title, path))
    return made


if __name__ == "__main__":
    for title, path in make_all(os.path.abspath(sys.argv[1]), "canary"):
        print(path, title)

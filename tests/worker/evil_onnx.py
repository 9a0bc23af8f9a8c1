"""ONNX models that nobody should load, byte by byte: more than two hundred, the same at each run.

Each is a folder with one net.onnx, which adds four numbers to its input. Those that name weights elsewhere would answer with them.
Those of HIDDEN are for a reader that looks less closely than ONNX Runtime does. `python evil_onnx.py FOLDER` writes them there, for a look.
"""
import os
import struct
import sys

from evil import Case, _socket, link

MODEL = "net.onnx"
HIDDEN = "onnx: hidden: "  # what the titles of some begin with
SECRET = "secret.bin"  # beside the models' folders, and what none may reach
BESIDE = {"w.bin": struct.pack("<4f", 0, 1, 2, 3)}
FLOAT, TENSOR, GRAPH, TENSORS, GRAPHS, SPARSE, SPARSES = 1, 4, 5, 9, 10, 11, 12  # types of values and attributes


# --- protobuf -----------------------------------------------------------------


def varint(n, longer=0):
    """longer: with so many bytes of nothing."""
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    out += bytes([n])
    for _ in range(longer):
        out = out[:-1] + bytes([out[-1] | 0x80, 0])
    return out


def num(field, value):
    return varint(field << 3) + varint(value)


def msg(field, *parts, longer=0):
    content = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return varint(field << 3 | 2) + varint(len(content), longer) + content


# What readers skip: a group (of a field that nobody has), a tag of which they drop the bits above 32.
GROUP = varint(1000 << 3 | 3) + num(1, 5) + varint(1000 << 3 | 4)
HIGH = varint(1 << 32 | 100 << 3) + varint(7)


# --- models -------------------------------------------------------------------


def entry(key, value):
    return msg(13, msg(1, key), msg(2, value))


EXTERNAL = num(14, 1)
PLACE = entry("offset", "0") + entry("length", "16")


def weights(*parts):
    """A tensor of four floats that are wherever the parts say."""
    return num(1, 4) + num(2, FLOAT) + msg(8, "w") + b"".join(parts)


def elsewhere(location):
    return weights(entry("location", location), PLACE, EXTERNAL)


def value(name):
    return msg(1, name) + msg(2, msg(1, num(1, FLOAT), msg(2, msg(1, num(1, 4)))))


def node(kind, inputs, output, *attributes):
    return msg(1, *(msg(1, i) for i in inputs), msg(2, output), msg(4, kind), *attributes)


def attribute(name, kind, *parts):
    return msg(5, msg(1, name), *parts, num(20, kind))


def around(*parts):
    """The graph that adds w to x, but for w."""
    return b"".join([node("Add", ["x", "w"], "y"), msg(2, "g"), *parts, msg(11, value("x")), msg(12, value("y"))])


def model(*parts, before=b"", after=b""):
    return before + num(1, 8) + msg(7, around(*parts)) + msg(8, msg(1, ""), num(2, 13)) + after


def held(tensor, **more):
    return model(msg(5, tensor), **more)


def constant(*parts):
    """w from a node's attribute."""
    return model(node("Constant", [], "w", attribute("value", TENSOR, *parts)))


GOOD = {MODEL: held(elsewhere("w.bin")), **BESIDE}


def one(title, content, **more):
    return Case("onnx: " + title, {MODEL: content, **BESIDE, **more})


# --- locations ----------------------------------------------------------------

OUT = "../outside/" + SECRET


def locations():
    for out in [OUT, "{outside}/" + SECRET, "/etc/passwd", "/dev/zero", "/proc/self/mem", "/proc/self/environ", "sub/../../outside/" + SECRET, "./" + OUT, ".//../outside/" + SECRET,
                "sub/..", "..", ".", "/", "./", "w.bin/../" + OUT, "w.bin/..", "\\..\\outside\\" + SECRET, "%2e%2e/outside/" + SECRET, "file://{outside}/" + SECRET, "file:w.bin", "~/" + SECRET, "$HOME",
                "../outside/../outside/" + SECRET, "nothing.bin", "sub", "sub/none.bin", "w.bin/none", "w.bin ", " w.bin", "W.BIN", "./" * 3000 + OUT, "sub/../" * 1000 + OUT, "x" * 300, "x/" * 3000 + "w.bin",
                "w.bin\0", "w.bin\0/../" + OUT, "\0", OUT + "\0", "\x1b[31m", "a\nb", b"\xff\xfe", b"\xff/../" + OUT.encode(), "*/_ORT_MEM_ADDR_/*", "*/_ORT_NATIVE_ENDIAN_MEM_ADDR_/*", "*/x"]:
        shown = out if isinstance(out, bytes) else out.encode()
        for title, made in [("weights", held), ("weights of a node", constant_of)]:
            yield Case("onnx: %s in %.60r" % (title, out), {MODEL: filled(made, shown), **BESIDE, "sub/x": b""})
    for name in ["*/_ORT_MEM_ADDR_/*", "*/_ORT_NATIVE_ENDIAN_MEM_ADDR_/*"]:
        yield one("a file of the name %s" % name, held(elsewhere(name)), **{name: b"\0" * 4096})
    for title, target in [("elsewhere", "{outside}/" + SECRET), ("a link elsewhere", "{outside}/link.bin"), ("what is beside the folder", OUT), ("itself", "l.bin"), ("nothing", "nothing"), ("a device", "/dev/zero"),
                          ("the users", "/etc/passwd"), ("a folder", "sub"), ("memory", "/proc/self/mem"), ("what was opened", "/proc/self/fd/0")]:
        yield one("weights in a link to %s" % title, held(elsewhere("l.bin")), **{"l.bin": link(target), "sub/x": b""})
    yield one("weights in a folder that is a link", held(elsewhere("l/" + SECRET)), l=link("{outside}"))
    yield one("weights in a pipe", held(elsewhere("p")), p=lambda path, _: os.mkfifo(path))
    yield one("weights in a socket", held(elsewhere("s")), s=_socket)


def constant_of(tensor):
    return constant(msg(5, tensor))


def filled(made, location):
    """The place of what is outside is only known when the folder is made, and lengths with it."""
    def write(path, outside):
        with open(path, "wb") as f:
            f.write(made(elsewhere(location.replace(b"{outside}", outside.encode()))))
    return write


# --- what says which counts -----------------------------------------------------


def doubles():
    out, here = entry("location", OUT), entry("location", "w.bin")
    for title, entries in [
        ("the last is empty", out + entry("location", "")), ("the last has no value", out + msg(13, msg(1, "location"))), ("the last is beside it", out + here), ("the first is beside it", here + out),
        ("two keys of one entry", msg(13, msg(1, "length"), msg(1, "location"), msg(2, OUT))), ("two values of one entry", msg(13, msg(1, "location"), msg(2, "w.bin"), msg(2, OUT))),
        ("the value is before the key", msg(13, msg(2, OUT), msg(1, "location"))), ("an entry with a group", msg(13, GROUP, msg(1, "location"), msg(2, OUT))), ("an entry with a high tag", msg(13, HIGH, msg(1, "location"), msg(2, OUT))),
        ("a group in it", GROUP + out), ("a high tag in it", HIGH + out), ("long lengths", msg(13, msg(1, "location", longer=2), msg(2, OUT, longer=3), longer=1)),
        ("a field that is cut in an entry before it", msg(13, b"\x0a\x05ab") + out), ("a field 0 before it", b"\x00\x00" + out), ("a wire type 7 before it", b"\x0f" + out),
    ]:
        yield "of its locations %s" % title if "last" in title or "first" in title else title, weights(entries, PLACE, EXTERNAL)
    for title, kinds in [("1, then 0", num(14, 1) + num(14, 0)), ("0, then 1", num(14, 0) + num(14, 1)), ("1, then 7", num(14, 1) + num(14, 7)), ("2^32 + 1", num(14, 1 << 32 | 1)), ("in a longer number", varint(14 << 3) + varint(1, longer=4)), ("none", b"")]:
        yield "external: %s" % title, weights(out, PLACE, kinds)


def hidden():
    out = elsewhere(OUT)
    inner = b"".join([node("Identity", ["w"], "o"), msg(2, "i"), msg(5, out), msg(12, value("o"))])
    branch = [attribute("then_branch", GRAPH, msg(6, inner)), attribute("else_branch", GRAPH, msg(6, inner))]
    deep = inner
    for _ in range(20):
        deep = node("If", ["c"], "o", attribute("then_branch", GRAPH, msg(6, deep)), attribute("else_branch", GRAPH, msg(6, inner))) + msg(2, "d") + msg(12, value("o"))
    deeper = inner
    for _ in range(60):
        deeper = node("If", ["c"], "o", attribute("then_branch", GRAPH, msg(6, deeper))) + msg(2, "d") + msg(12, value("o"))
    yes = msg(5, num(2, 9), msg(8, "c"), msg(9, b"\1"))  # a tensor of one BOOL
    local = msg(25, msg(1, "F"), msg(5, "w"), msg(7, msg(2, "w"), msg(4, "Constant"), attribute("value", TENSOR, msg(5, out))), msg(9, msg(1, ""), num(2, 13)), msg(10, "local"))
    yield "in a sparse initializer's values", model(msg(15, msg(1, out), num(3, 4)))
    yield "in a sparse initializer's indices", model(msg(15, msg(1, weights(msg(9, b"\0" * 16))), msg(2, out), num(3, 4)))
    yield "in a sparse attribute", model(node("Constant", [], "w", attribute("sparse_value", SPARSE, msg(22, msg(1, out), num(3, 4)))))
    yield "in sparse attributes", model(node("Constant", [], "w", attribute("sparse_value", SPARSES, msg(23, msg(1, out), num(3, 4)))))
    yield "in a list of tensors", model(node("Constant", [], "w", attribute("value", TENSORS, msg(10, out))))
    yield "in a branch", model(yes, node("If", ["c"], "w", *branch))
    yield "in graphs of an attribute", model(node("If", ["c"], "w", attribute("graphs", GRAPHS, msg(11, inner))))
    yield "twenty branches deep", model(yes, node("If", ["c"], "w", attribute("then_branch", GRAPH, msg(6, deep)), attribute("else_branch", GRAPH, msg(6, inner))))
    yield "sixty branches deep", model(yes, node("If", ["c"], "w", attribute("then_branch", GRAPH, msg(6, deeper))))
    yield "in training", model(after=msg(20, msg(1, around(msg(5, out)))))
    yield "in a function", model(node("F", [], "w", msg(7, "local")), after=local)
    yield "in the default of a function's attribute", model(node("F", [], "w", msg(7, "local")), after=msg(25, msg(1, "F"), msg(5, "w"), msg(10, "local"), msg(11, msg(1, "a"), msg(5, out), num(20, TENSOR))))
    half = weights(entry("location", OUT), PLACE)
    yield "in a tensor of two pieces", constant(msg(5, half), msg(5, EXTERNAL))
    yield "in a tensor of two pieces, the other way", constant(msg(5, EXTERNAL), msg(5, half))
    yield "in a graph of two pieces", num(1, 8) + msg(7, around()) + msg(7, msg(5, out)) + msg(8, msg(1, ""), num(2, 13))
    yield "behind a group of the graph", model(GROUP, msg(5, out))
    yield "behind a high tag of the graph", model(HIGH, msg(5, out))
    yield "behind a group of the model", held(out, before=GROUP)
    yield "behind a high tag of the model", held(out, before=HIGH)
    yield "behind a group of a node", model(msg(1, GROUP, msg(2, "w"), msg(4, "Constant"), attribute("value", TENSOR, msg(5, out))))
    yield "behind a group of an attribute", model(node("Constant", [], "w", msg(5, GROUP, msg(1, "value"), msg(5, out), num(20, TENSOR))))
    yield "in what begins as another format", held(out, before=msg(2, "xxORTM"))
    yield "behind lengths that are too long", num(1, 8) + msg(7, around(msg(5, out, longer=2)), longer=1) + msg(8, msg(1, ""), num(2, 13))


# --- what is no model -----------------------------------------------------------


def numbers():
    for offset, length in [("0", "17"), ("1", "16"), ("16", "16"), ("18446744073709551615", "16"), ("18446744073709551600", "16"), ("-1", "16"), ("0", "-1"), ("9223372036854775807", "1"), ("0", "18446744073709551615"), ("x", "16"),
                           ("0", "4")]:
        yield "weights at %s, of %s bytes" % (offset, length), held(weights(entry("location", "w.bin"), entry("offset", offset), entry("length", length), EXTERNAL))
    for title, dims in [("below zero", num(1, 2**64 - 4)), ("that overflow", num(1, 2**62) + num(1, 2**62)), ("of 2^62", num(1, 2**62)), ("that are too many", num(1, 5))]:
        yield "dimensions %s, outside" % title, held(dims + num(2, FLOAT) + msg(8, "w") + entry("location", "w.bin") + EXTERNAL)
        yield "dimensions %s, inside" % title, held(dims + num(2, FLOAT) + msg(8, "w") + msg(9, b"\0" * 16))


def nothing():
    whole = held(weights(msg(9, b"\0" * 16)))
    for n in sorted({1, 2, 3, len(whole) - 1, *range(4, len(whole) - 1, max(1, len(whole) // 30))}):
        yield "cut to %d of %d" % (n, len(whole)), whole[:n]
    for title, content in [("HTML", b"<!DOCTYPE html><html>404</html>"), ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 5\n"), ("zeros", b"\0" * 4096), ("ones", b"\xff" * 4096), ("a zip archive", b"PK\3\4" + b"\0" * 64),
                           ("a script", b"#!/bin/sh\ntouch canary\n"), ("ELF", b"\x7fELF" + b"\0" * 64), ("a FlatBuffer", b"\x20\0\0\0ORTM" + b"\0" * 64), ("nothing", b""), ("a varint without end", b"\x08" + b"\x80" * 40), ("the word alone", b"location"),
                           ("graphs without end", b"\x3a\x7f" * 2000), ("no graph", num(1, 8) + msg(8, msg(1, ""), num(2, 13))), ("an operator that is none", num(1, 8) + msg(7, node("Frobnicate", ["x"], "y"), msg(2, "g"), msg(11, value("x")), msg(12, value("y"))) + msg(8, msg(1, ""), num(2, 13)))]:
        yield "a file of %s" % title, content


def files():
    for title, target in [("a model elsewhere", "{outside}/good.onnx"), ("a secret", "{outside}/" + SECRET), ("the users", "/etc/passwd"), ("zeros", "/dev/zero"), ("itself", MODEL), ("nothing", "nothing"), ("a folder", "{outside}")]:
        yield Case("onnx: a link to %s" % title, {MODEL: link(target)})
    yield Case("onnx: a pipe", {MODEL: lambda path, _: os.mkfifo(path)})
    yield Case("onnx: a folder of that name", {MODEL: lambda path, _: os.mkdir(path)})
    yield Case("onnx: a socket", {MODEL: _socket})


def cases():
    yield from locations()
    for title, tensor in doubles():
        yield one("hidden: " + title, held(tensor))
        yield one("hidden: %s, in a node" % title, constant_of(tensor))
    for title, content in hidden():
        yield one("hidden: " + title, content)
    for title, content in [*numbers(), *nothing()]:
        yield one(title, content)
    yield from files()


def make_all(folder):
    """[(title, path)] of all, below the folder."""
    outside = os.path.join(folder, "outside")
    os.makedirs(outside)
    for name, content in [(SECRET, struct.pack("<4f", 41, 42, 43, 44)), ("good.onnx", held(weights(msg(9, b"\0" * 16))))]:
        with open(os.path.join(outside, name), "wb") as f:
            f.write(content)
    os.symlink(SECRET, os.path.join(outside, "link.bin"))
    made = []
    for i, case in enumerate(cases()):
        path = os.path.join(folder, "%03d" % i)
        os.mkdir(path)
        case.make(path, outside)
        made.append((case.title, path))
    return made


if __name__ == "__main__":
    for title, path in make_all(os.path.abspath(sys.argv[1])):
        print(path, title)

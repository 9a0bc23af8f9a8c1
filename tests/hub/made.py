"""Files that are nowhere: of each it is known what lies at any offset, and no more is made than is asked for.

The bytes of a tensor are a function of its name and the offset. All tensors of one kind take theirs from one *tile*, some
millions of values that a hash gave (SHAKE-128, through the quantiles of the normal distribution), which repeats; a tensor
begins in it where the hash of its name says. The number of values is a prime, so no two rows of a matrix begin at the
same one. A tile is a file in memory, so a server sends from it without touching a byte, and sums over a file of
45 GB come from sums over its tiles.

  python3 -m hub.made FILE [--size BYTES] [--form safetensors|torch]      writes one of no known model
"""
import argparse
import array
import bisect
import functools
import hashlib
import json
import mmap
import os
import re
import statistics
import zlib

from . import archive, families

PERIOD, TINY_PERIOD = 4194301, 65521  # primes
# What values of a kind are: mean, standard deviation.
KINDS = {"small": (0.0, 0.02), "one": (1.0, 0.02), "unit": (0.0, 1.0)}
STEP = 1 << 16  # between two checksums that are kept


# --- tiles -------------------------------------------------------------------


class Tile:
    """Bytes that repeat, as a file in memory. name: what they are a function of."""

    def __init__(self, name, data):
        view = memoryview(data).cast("B")
        self.name, self.size = name, len(view)
        self.fd = os.memfd_create(name[:100])
        while view:
            view = view[os.write(self.fd, view):]
        self.bytes = memoryview(mmap.mmap(self.fd, self.size, access=mmap.ACCESS_READ))

    @functools.cached_property
    def _checksums(self):
        """The checksum of what lies before each step."""
        sums = [0]
        for at in range(0, self.size - STEP + 1, STEP):
            sums.append(zlib.crc32(self.bytes[at:at + STEP], sums[-1]))
        return sums

    def _checksum_before(self, at):
        step = min(at // STEP, len(self._checksums) - 1)
        return zlib.crc32(self.bytes[step * STEP:at], self._checksums[step])

    @functools.lru_cache(maxsize=4096)
    def checksum(self, at, n):
        """CRC-32 of n bytes from there on."""
        return self._checksum_before(at + n) ^ archive.shift_checksum(self._checksum_before(at), n)


@functools.cache
def _quantiles():
    """Of 65536 equal parts of the normal distribution."""
    normal = statistics.NormalDist()
    return [normal.inv_cdf((i + 0.5) / 65536) for i in range(65536)]


def _drawn(kind, dtype, period):
    mean, deviation = KINDS[kind]
    values = [mean + deviation * q for q in _quantiles()]
    if dtype == "F16":
        table, code = array.array("H", archive.halves(values)), "H"
    else:
        table, code = array.array("f", values), "f"
    drawn = array.array("H", hashlib.shake_128(f"{kind} {dtype}".encode()).digest(2 * period))
    return array.array(code, map(table.__getitem__, drawn))


def _mask(side):
    """A lower triangle of ones."""
    rows = array.array("f")
    for i in range(side):
        rows.extend([1.0] * (i + 1) + [0.0] * (side - i - 1))
    return rows


class Values:
    """The tiles that tensors are made of, each when it is first needed."""

    def __init__(self, period=PERIOD):
        self.period = period
        self._tiles = {}

    def _tile(self, name, make):
        if name not in self._tiles:
            self._tiles[name] = Tile(name, make())
        return self._tiles[name]

    def of(self, tensor):
        """(tile, where in it the tensor begins)"""
        kind, dtype = tensor.kind, tensor.dtype
        if kind == "mask":
            side = tensor.shape[-1]
            return self._tile(f"mask {side}", lambda: _mask(side)), 0
        if kind == "range":
            n = families.count(tensor.shape)
            return self._tile(f"range {n}", lambda: array.array("q", range(n))), 0
        if kind == "zero":
            return self._tile("zero", lambda: bytes(1 << 20)), 0
        tile = self._tile(f"{kind} {dtype} {self.period}", lambda: _drawn(kind, dtype, self.period))
        first = int.from_bytes(hashlib.sha256(tensor.name.encode()).digest()[:8], "little") % self.period
        return tile, first * families.ITEM[dtype]


# --- files -------------------------------------------------------------------


class File:
    """Text and stretches of tiles, one after the other. Made by calls of text() and tensor(), then done()."""

    def __init__(self, path):
        self.path, self.size = path, 0
        self._ends, self._parts, self._text = [], [], bytearray()  # a part: (begin, tile or None for the text, where it begins there)

    def _add(self, n, tile, first):
        if n:
            self._parts.append((self.size, tile, first))
            self.size += n
            self._ends.append(self.size)

    def text(self, data):
        self._add(len(data), None, len(self._text))
        self._text += data

    def tensor(self, tensor, values):
        self._add(families.size(tensor), *values.of(tensor))

    def stretch(self, n, tile):
        self._add(n, tile, 0)

    def done(self):
        told = hashlib.sha256(self._text)
        for begin, tile, first in self._parts:
            told.update(f"{begin} {tile.name if tile else 'text'} {first}\n".encode())
        told.update(str(self.size).encode())
        self.identity = told.hexdigest()  # two files with the same have the same bytes
        text = Tile("text", bytes(self._text)) if self._text else None
        self._parts = [(begin, tile or text, first) for begin, tile, first in self._parts]
        del self._text
        return self

    def spans(self, begin, end):
        """What lies there, as (tile, at, n)."""
        i = bisect.bisect_right(self._ends, begin)
        while begin < end:
            start, tile, first = self._parts[i]
            at = (first + begin - start) % tile.size
            n = min(end, self._ends[i]) - begin
            n = min(n, tile.size - at)
            yield tile, at, n
            begin += n
            i += begin == self._ends[i]

    def read(self, begin=0, end=None):
        return b"".join(tile.bytes[at:at + n] for tile, at, n in self.spans(begin, self.size if end is None else end))

    def sha256(self):
        told = hashlib.sha256()
        for tile, at, n in self.spans(0, self.size):
            told.update(tile.bytes[at:at + n])
        return told.hexdigest()

    def write(self, path):
        with open(path, "wb") as f:
            for tile, at, n in self.spans(0, self.size):
                f.write(tile.bytes[at:at + n])


def checksum(tensor, values):
    """CRC-32 of a tensor's bytes."""
    file = File(tensor.name)
    file.tensor(tensor, values)
    told = 0
    for tile, at, n in file.done().spans(0, file.size):
        told = archive.shift_checksum(told, n) ^ tile.checksum(at, n)
    return told


def text(path, data):
    file = File(path)
    file.text(data.encode() if isinstance(data, str) else data)
    return file.done()


def json_text(path, value):
    return text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


# --- files of weights --------------------------------------------------------


def safetensors(path, tensors, values):
    """As safetensors writes it: the widest types first, names in order, the head a multiple of eight bytes long."""
    tensors = sorted(tensors, key=lambda t: (-list(families.ITEM).index(t.dtype), t.name))
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for t in tensors:
        head[t.name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [at, at + families.size(t)]}
        at += families.size(t)
    head = json.dumps(head, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    file = File(path)
    file.text(len(head).to_bytes(8, "little") + head)
    for t in tensors:
        file.tensor(t, values)
    return file.done()


def shards(tensors, values, limit):
    """As save_pretrained cuts a model that is larger than the limit, with the index."""
    parts, left = [[]], limit
    for t in tensors:
        if families.size(t) > left and parts[-1]:
            parts.append([])
            left = limit
        parts[-1].append(t)
        left -= families.size(t)
    if len(parts) == 1:
        return [safetensors("model.safetensors", tensors, values)]
    names = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    index = {"metadata": {"total_size": sum(map(families.size, tensors))},
             "weight_map": dict(sorted((t.name, name) for name, part in zip(names, parts) for t in part))}
    return [*(safetensors(name, part, values) for name, part in zip(names, parts)), json_text("model.safetensors.index.json", index)]


def torch_archive(path, tensors, values, tied=()):
    """As torch.save writes a state_dict; tied: further names of tensors that are there."""
    file = File(path)
    writer = archive.Writer(file, os.path.splitext(os.path.basename(path))[0])
    writer.record("data.pkl", archive.pickled(tensors, dict(tied)))
    writer.record("byteorder", b"little")
    for key, t in enumerate(tensors):
        writer.record_of(f"data/{key}", families.size(t), lambda t=t: file.tensor(t, values), checksum(t, values))
    writer.record("version", b"3\n")
    told = hashlib.sha256("".join(t.name for t in tensors).encode()).hexdigest()
    writer.record(".data/serialization_id", str(int(told, 16))[:40].encode())
    writer.end()
    return file.done()


def noise(path, n, values):
    """A file of so many bytes that nobody is to read."""
    file = File(path)
    file.stretch(n, values.of(families.Tensor(path, "F32", (1,), "small"))[0])
    return file.done()


def parse_size(text):
    found = re.fullmatch(r"(\d+)([KMGT]?)(iB|B)?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 4G, 512M or bytes")
    return int(found[1]) << (10 * " KMGT".index(found[2] or " "))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--size", type=parse_size, default=4 << 30)
    parser.add_argument("--form", choices=["safetensors", "torch"], default="safetensors")
    options = parser.parse_args()
    make = safetensors if options.form == "safetensors" else torch_archive
    make(options.file, families.block(options.size), Values()).write(options.file)


if __name__ == "__main__":
    main()

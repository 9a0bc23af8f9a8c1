"""The disk: room on it, what of a file is in the page cache, and how fast it is read."""
import ctypes
import json
import mmap
import os
import shutil
import subprocess

from . import machine, peers
from .paths import ROOT, WORK

SPARE = 1 << 30  # that is to stay free
PIECE = 8 << 20
LEAST_LEFT = 0.01  # of a file that was dropped: more, and it was not


def gib(n):
    return f"{n / (1 << 30):.1f} GiB"


def need(what, size, folder=WORK):
    """Raises when there is no room for what a bench writes there."""
    folder.mkdir(parents=True, exist_ok=True)
    free, shown = shutil.disk_usage(folder).free, folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    if free < size + SPARE:
        raise RuntimeError(f"{what} writes {gib(size)} under {shown}, and of the {gib(free)} free there {gib(SPARE)} are to stay: "
                           "make room, or leave it out")
    print(f"bench: {what} writes up to {gib(size)} under {shown}, and removes it: {gib(free)} are free", flush=True)


def resident(path):
    """Bytes of a file that are in the page cache."""
    libc, size = ctypes.CDLL(None, use_errno=True), os.path.getsize(path)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with open(path, "rb") as f:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, f.fileno(), 0)
        if at in (None, ctypes.c_void_p(-1).value) or libc.mincore(at, size, pages):
            raise OSError(ctypes.get_errno(), f"mincore of {path}")
        libc.munmap(at, size)
    return (len(pages.raw) - pages.raw.count(b"\0")) * mmap.PAGESIZE


def drop(path):
    """Out of the page cache; whoever has it mapped keeps it there, and that is an error."""
    with open(path, "rb") as f:
        os.fdatasync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    left = resident(path)
    if left > LEAST_LEFT * os.path.getsize(path):
        raise RuntimeError(f"{gib(left)} of {path} stay in the page cache: who has it mapped?")


def warm(path):
    """Into the page cache, all of it."""
    with open(path, "rb", buffering=0) as f:
        piece = bytearray(PIECE)
        while f.readinto(piece):
            pass


def fio(path, direct, most=None):
    """Bytes a second that fio reads the file at, from its begin to its end, or to `most` bytes. direct: past the page cache, with requests under
    way at once."""
    peers.install_programs(("fio",))
    words = ["--direct=1", "--ioengine=libaio", "--iodepth=16"] if direct else ["--direct=0", "--ioengine=psync", "--invalidate=0"]
    command = ["fio", "--name=floor", f"--filename={path}", "--rw=read", "--bs=1M", "--readonly", "--output-format=json", *words]
    if most and most < os.path.getsize(path):
        command.append(f"--size={most}")
    done = subprocess.run(machine.pinned(machine.ALL_CORES, command), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"fio failed: {done.stderr[-500:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["read"]["bw_bytes"]

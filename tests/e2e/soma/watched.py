"""Which files of a folder are opened, by whom ever: the kernel tells (inotify)."""
import ctypes
import os
import struct

IN_ACCESS, IN_OPEN, IN_Q_OVERFLOW, IN_ISDIR = 0x1, 0x20, 0x4000, 0x40000000
EVENT = struct.Struct("iIII")


class Watched:
    """Of one folder, without those below it."""

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(folder), IN_OPEN | IN_ACCESS) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def opened(self):
        """Names of those that were opened or read since this was last asked."""
        names = set()
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return sorted(names)
            at = 0
            while at < len(data):
                _, mask, _, n = EVENT.unpack_from(data, at)
                at += EVENT.size + n
                assert not mask & IN_Q_OVERFLOW, "more was opened than the kernel keeps"
                name = data[at - n:at].rstrip(b"\0")
                if name and not mask & IN_ISDIR:
                    names.add(os.fsdecode(name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

"""A program on a terminal, typed into and read."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

from .waiting import seconds

# What moves the cursor and sets colours; a shell ends each with its letter.
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x09\x0b-\x1f]")


class Terminal:
    def __init__(self, env, *command, cwd=None, columns=80, plain=True):
        """plain: what is read has no control sequences."""
        self.plain = plain
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if cwd:
                os.chdir(cwd)
            os.execvpe(command[0], list(map(str, command)), {k: str(v) for k, v in env.items()})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def _read(self, deadline):
        """Some bytes; none when the program has ended or it is too late."""
        if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            return b""
        try:
            return os.read(self.fd, 65536)
        except OSError:  # it has ended
            return b""

    def _text(self, seen):
        text = seen.decode(errors="replace")
        return SEQUENCES.sub("", text) if self.plain else text

    def type(self, text, expect):
        """Types, and reads until `expect` is there."""
        os.write(self.fd, text.encode())
        seen, deadline = b"", time.monotonic() + seconds(15)
        while expect not in self._text(seen):
            piece = self._read(deadline)
            assert piece, f"no {expect!r} in {self._text(seen)!r}"
            seen += piece
        return self._text(seen)

    def read_all(self, timeout=60):
        """What it prints until it ends."""
        seen, deadline = b"", time.monotonic() + seconds(timeout)
        while piece := self._read(deadline):
            seen += piece
        assert time.monotonic() < deadline, f"it has not ended: {self._text(seen)!r}"
        return self._text(seen)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""A directory for as long as this process lives, whatever ends it.

It is removed when the process leaves; what a killed one left behind is removed
by the next of the same user. The lock on it tells whose process still lives.
"""
import atexit
import fcntl
import os
import shutil
import tempfile


class Scratch:
    """Made when the first folder in it is asked for."""

    def __init__(self, prefix):
        self._prefix = prefix
        self._path = None
        self._fd = -1
        self._owner = os.getpid()

    def folder(self):
        """A new, empty folder."""
        if self._path is None:
            self._sweep()
            while not self._make():
                pass
            atexit.register(self._remove)
        return tempfile.mkdtemp(dir=self._path)

    def _make(self):
        """False when another's sweep came before the lock."""
        self._path = tempfile.mkdtemp(prefix=self._prefix)
        self._fd = os.open(self._path, os.O_RDONLY)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        if os.path.isdir(self._path):
            return True
        os.close(self._fd)
        return False

    def _remove(self):
        if os.getpid() == self._owner:  # not a fork of the user's
            shutil.rmtree(self._path, ignore_errors=True)

    def _sweep(self):
        with os.scandir(tempfile.gettempdir()) as entries:
            left = [e.path for e in entries if e.name.startswith(self._prefix) and e.is_dir(follow_symlinks=False) and e.stat(follow_symlinks=False).st_uid == os.geteuid()]
        for path in left:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            except OSError:
                pass  # its process lives
            finally:
                os.close(fd)

"""Lines that user code prints while it handles a request carry the request's id."""
import io
import sys


class TaggedStream(io.TextIOBase):
    """Writes whole lines, each in one write, marked 0x1e id 0x1f when in a request."""

    def __init__(self, raw, current_id):
        self._raw = raw
        self._current_id = current_id
        self._part = ""

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        whole = self._part + text
        head, newline, self._part = whole.rpartition("\n")
        if newline:
            self._emit(head)
        return len(text)

    def _emit(self, lines):
        request = self._current_id()
        if request:
            mark = "\x1e%s\x1f" % request
            lines = "\n".join(mark + line for line in lines.split("\n"))
        self._raw.write(lines + "\n")
        self._raw.flush()

    def flush(self):
        part, self._part = self._part, ""
        if part:
            self._emit(part)
        self._raw.flush()

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self._raw.fileno()

    @property
    def buffer(self):
        return self._raw.buffer

    @property
    def encoding(self):
        return self._raw.encoding

    @property
    def errors(self):
        return self._raw.errors


def install(current_id):
    for name in ("stdout", "stderr"):
        raw = getattr(sys, name)
        try:
            raw.reconfigure(encoding="utf-8", errors="backslashreplace")
        except AttributeError:
            pass
        setattr(sys, name, TaggedStream(raw, current_id))

"""sys.stdout and sys.stderr whose lines carry the request that printed them."""
import contextvars
import io
import sys

# Of the task that runs on the asyncio loop, whose thread handles many requests.
request_id = contextvars.ContextVar("request_id", default=None)


class LineText(io.TextIOWrapper):
    """Text that goes out line by line, marked by the extension; bytes written to .buffer pass untouched."""

    def __init__(self, worker, stream):
        super().__init__(io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False)), encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._worker = worker
        self._fd = stream.fileno()
        self.mode = "w"

    @property
    def name(self):
        return "<stdout>" if self._fd == 1 else "<stderr>"

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        self.buffer.flush()
        self._worker.write(self._fd, text.encode("utf-8", "backslashreplace"), request_id.get())
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        super().flush()
        self._worker.flush(self._fd)


def install(worker):
    """Puts them in place."""
    sys.stdout = sys.__stdout__ = LineText(worker, sys.stdout)
    sys.stderr = sys.__stderr__ = LineText(worker, sys.stderr)

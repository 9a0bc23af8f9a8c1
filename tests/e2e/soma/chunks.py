"""A chunked body, read chunk by chunk."""


class ChunkReader:
    """Over a binary file that is behind the head of an answer."""

    def __init__(self, file):
        self.file = file

    def chunk(self):
        """The next; b"" is the last one, None an end without it."""
        size = self.file.readline()
        if not size:
            return None
        data = self.file.read(int(size, 16))
        assert self.file.read(2) == b"\r\n"
        return data

    def rest(self):
        """All to the end."""
        got = [self.chunk()]
        while got[-1]:
            got.append(self.chunk())
        return got

"""Many requests over a few kept connections, so that a client in Python is fast enough."""

import collections
import re
import socket
import threading

from .waiting import seconds

BATCH = 100  # requests that are written together
NAME = re.compile(rb'"name": ?"([a-z-]+)"')


class Client(threading.Thread):
    """Asks n times; `had` counts the names that the answers have, `statuses` their first lines."""

    def __init__(self, port, path, n):
        super().__init__()
        self.address, self.left, self.error = ("127.0.0.1", port), n, None
        self.one = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        self.had, self.statuses = collections.Counter(), collections.Counter()

    def run(self):
        try:
            with socket.create_connection(self.address, seconds(30)) as sock:
                while self.left:
                    n = min(BATCH, self.left)
                    sock.sendall(self.one * n)
                    self.answers(sock, n)
                    self.left -= n
        except OSError as error:
            self.error = error

    def answers(self, sock, n):
        """What comes until n of them have a name, and the rest of the last."""
        data = b""
        while (names := NAME.findall(data)) is not None and (len(names) < n or not data.endswith(b"}")):
            more = sock.recv(1 << 16)
            if not more:
                raise ConnectionError(f"the connection ended after {data[-200:]!r}")
            data += more
        self.had.update(name.decode() for name in names)
        self.statuses.update(int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", data))


def ask(port, path, n, clients=4):
    """(names, statuses) of n answers."""
    running = [Client(port, path, n // clients) for _ in range(clients)]
    for client in running:
        client.start()
    for client in running:
        client.join()
    assert not any(client.error for client in running), [client.error for client in running]
    return sum((c.had for c in running), collections.Counter()), sum((c.statuses for c in running), collections.Counter())

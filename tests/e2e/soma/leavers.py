"""Clients that have asked and leave before they are answered: a program.

    leavers.py PORT PATH ADDRESS COUNT

Each has a connection of its own from ADDRESS, one of 127.0.0.0/8, which has 28,000 ports for them, and a deadline of
its own. Says "there" when all have asked; all leave when the input ends.
"""

import resource
import socket
import sys

IP_BIND_ADDRESS_NO_PORT = 24


def client(port, path, address, deadline):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    s.bind((address, 0))
    s.connect(("127.0.0.1", port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Request-Timeout: {deadline}\r\n\r\n".encode())
    return s


def main(port, path, address, count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = [client(int(port), path, address, 1000 + i * 7919 % int(count)) for i in range(int(count))]
    print("there", flush=True)
    sys.stdin.read()
    for s in clients:
        s.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

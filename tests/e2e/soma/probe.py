"""A replica for tests: an HTTP server that does what its path says.

Runs by itself in a project folder (standard library only), so that it starts
in a moment:

  /echo             what arrived, as JSON; whatever the method
  /seen             the targets and bodies' lengths of all requests, but these
  /hold             answers when /go has been asked for; "held" in its log
  /stream?n=3       chunks; after the first, one for each /go
  /upload           reads all, answers length and SHA-256
  /download?n=9     so many bytes; &chunked=1
  /env              its environment
  /print?text=x     to standard output; &err=1: error output
  /exit?code=3      without an answer; /kill?signal=9 likewise
  /cut              half an answer, then closes
  /garbage          what is no HTTP
  /fork             leaves a child process behind, answers its pid
  /ws               WebSocket echo
"""

import base64
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import urllib.parse

BLOCK = bytes(range(256)) * 4096  # 1 MiB
seen = []
gate = threading.Semaphore(0)


class Gone(Exception):
    pass


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.data = sock.makefile("rb", 1 << 16)

    def serve(self):
        try:
            while self.request():
                pass
        except (Gone, OSError):
            pass
        finally:
            self.data.close()
            self.sock.close()

    def request(self):
        line = self.data.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        self.method, self.target, _ = line
        self.headers = []
        while (header := self.data.readline().strip()):
            name, _, value = header.decode("latin-1").partition(":")
            self.headers.append((name.strip(), value.strip()))
        url = urllib.parse.urlsplit(self.target)
        self.path = url.path
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        handler = getattr(self, "do_" + self.path.strip("/").replace("/", "_"), self.do_echo)
        if handler not in (self.do_seen, self.do_go):
            self.record = {"method": self.method, "target": self.target}
            seen.append(self.record)
        else:
            self.record = {}
        return handler() is not False

    def header(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def body(self):
        """The blocks of the request's body."""
        if self.header("Expect"):
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (self.header("Transfer-Encoding") or "").lower() == "chunked":
            while (size := int(self.data.readline().split(b";")[0], 16)):
                while size:
                    block = self.data.read(min(size, 1 << 20))
                    if not block:
                        raise Gone
                    size -= len(block)
                    yield block
                self.data.readline()
            while self.data.readline().strip():
                pass
            return
        left = int(self.header("Content-Length") or 0)
        while left:
            block = self.data.read(min(left, 1 << 20))
            if not block:
                raise Gone
            left -= len(block)
            yield block

    def whole_body(self):
        body = b"".join(self.body())
        self.record["length"] = len(body)
        return body

    def answer(self, body, status="200 OK", kind="application/json", headers=()):
        if not isinstance(body, bytes):
            body = (json.dumps(body) if kind == "application/json" else body).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{n}: {v}\r\n" for n, v in headers)
        self.sock.sendall(head.encode() + b"\r\n" + (b"" if self.method == "HEAD" else body))

    def chunk(self, data):
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    # --- what it can do ---

    def do_echo(self):
        body = self.whole_body()
        self.answer({"method": self.method, "target": self.target, "headers": self.headers,
                     "length": len(body), "body": body.decode("latin-1") if len(body) < 65536 else None,
                     "pid": os.getpid(), "replica": os.environ.get("SOMA_REPLICA")},
                    self.query.get("status", "200 OK"))

    def do_headers(self):
        """Answers with the headers that the query names."""
        self.whole_body()
        self.answer({"method": self.method}, headers=self.query.items())

    def do_seen(self):
        self.whole_body()
        self.answer(seen)

    def do_hold(self):
        body = self.whole_body()
        print("held", flush=True)
        gate.acquire()
        self.answer({"held": body.decode("latin-1"), "pid": os.getpid()})

    def do_go(self):
        self.whole_body()
        for _ in range(int(self.query.get("n", 1))):
            gate.release()
        self.answer({"go": True})

    def do_stream(self):
        self.whole_body()
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(int(self.query.get("n", 3))):
            if i:
                gate.acquire()
            self.chunk(b"part %d\n" % i)
        self.sock.sendall(b"0\r\n\r\n")

    def do_upload(self):
        total, sha = 0, hashlib.sha256()
        count_only = "count" in self.query
        for block in self.body():
            total += len(block)
            if not count_only:
                sha.update(block)
        self.answer({"length": total, "sha256": None if count_only else sha.hexdigest()})

    def do_download(self):
        self.whole_body()
        left, chunked = int(self.query["n"]), "chunked" in self.query
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {left}"
        self.sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{framing}\r\n\r\n".encode())
        while left:
            block = memoryview(BLOCK)[:min(left, len(BLOCK))]
            left -= len(block)
            if chunked:
                self.chunk(block)
            else:
                self.sock.sendall(block)
        if chunked:
            self.sock.sendall(b"0\r\n\r\n")

    def do_env(self):
        self.whole_body()
        self.answer({**os.environ, "cwd": os.getcwd(), "uid": os.getuid()})

    def do_print(self):
        self.whole_body()
        print(self.query["text"], file=sys.stderr if "err" in self.query else sys.stdout, flush=True)
        self.answer({})

    def do_exit(self):
        self.whole_body()
        os._exit(int(self.query.get("code", 3)))

    def do_kill(self):
        self.whole_body()
        os.kill(os.getpid(), int(self.query.get("signal", signal.SIGKILL)))

    def do_cut(self):
        self.whole_body()
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    def do_garbage(self):
        self.whole_body()
        self.sock.sendall(b"\x00\x01 this is no HTTP\r\n\r\n")
        return False

    def do_fork(self):
        self.whole_body()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            self.sock.close()
            while True:
                signal.pause()
        self.answer({"child": pid})

    def do_ws(self):
        key = self.header("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while (frame := self.ws_frame()):
            op, payload = frame
            self.ws_send(0xA if op == 9 else op, payload)
            if op == 8:
                break
        return False

    def ws_frame(self):
        head = self.data.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self.data.read(2 if size == 126 else 8), "big")
        mask = self.data.read(4)
        body = self.data.read(size)
        key = (mask * (size // 4 + 1))[:size]
        plain = (int.from_bytes(body, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
        return head[0] & 15, plain

    def ws_send(self, op, payload):
        size = len(payload)
        head = bytes([0x80 | op, size]) if size < 126 else (
            bytes([0x80 | op, 126]) + size.to_bytes(2, "big") if size < 65536 else
            bytes([0x80 | op, 127]) + size.to_bytes(8, "big"))
        self.sock.sendall(head + payload)


def main():
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=1024)
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(sock).serve, daemon=True).start()


main()

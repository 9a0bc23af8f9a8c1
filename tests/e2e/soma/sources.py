"""Places that models are fetched from: a small HTTP server whose files misbehave
as told, and a hub on top of it."""

import hashlib
import http.server
import json
import random
import threading
import time
import urllib.parse

PIECE = 64 << 10


def noise(size, seed=0):
    """Bytes that no two ranges of are the same."""
    return random.Random(seed).randbytes(size)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class File:
    """What is at a path, and how it is given.

    etag: "" for none; ranges: Range is heeded; length: Content-Length is told;
    status: an answer in place of it, with this page; statuses: as many before it; redirect: an
    address (a path, or whole); drop: the part of what was asked for (0.99) after
    which the connection is closed, `drops` times; rate: bytes a second;
    stall_at: after so many bytes of it nothing more comes; token: of the
    Authorization that it wants; headers: more of them.
    """

    def __init__(self, data=b"", etag=None, ranges=True, length=True, status=200, statuses=(), redirect=None, drop=None, drops=1, rate=None,
                 stall_at=None, token=None, headers=(), page=b""):
        self.data, self.ranges, self.length, self.status, self.statuses = data, ranges, length, status, list(statuses)
        self.etag = f'"{sha256(data)[:16]}"' if etag is None else etag
        self.redirect, self.drop, self.drops, self.rate, self.stall_at, self.token = redirect, drop, drops, rate, stall_at, token
        self.headers, self.page = dict(headers), page


class Server:
    """A context manager. `files` by path; `sent` and `asked` tell what was done."""

    def __init__(self):
        self.files, self.asked, self.lock = {}, [], threading.Lock()
        self.sent = 0  # bytes of bodies
        self.on_sent = None  # called with `sent` after each piece
        self.ending = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass  # clients that are killed

        self.http = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        # Another host, to who compares names.
        self.other_url = f"http://localhost:{self.http.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def put(self, path, data=b"", **how):
        self.files[path] = file = File(data, **how)
        return file

    def requests(self, path):
        """Of this path: (method, headers) of each."""
        with self.lock:
            return [(method, headers) for method, target, headers in self.asked if urllib.parse.urlsplit(target).path == path]

    # --- answering ---

    def answer(self, handler):
        path = urllib.parse.urlsplit(handler.path).path
        with self.lock:
            self.asked.append((handler.command, handler.path, dict(handler.headers)))
            file = self.files.get(handler.path) or self.files.get(path)
            status = file.statuses.pop(0) if file and file.statuses else None
        if file is None:
            return self.short(handler, 404)
        if file.token and handler.headers.get("Authorization") != file.token:
            return self.short(handler, 401)
        if status or file.status != 200:
            return self.short(handler, status or file.status, page=file.page)
        if file.redirect:
            # With the page that nginx, Apache and their like send along.
            return self.short(handler, 302, {"Location": file.redirect}, b"<html><head><title>302 Found</title></head></html>\r\n")
        if file.etag and handler.headers.get("If-Match", file.etag) != file.etag:
            return self.short(handler, 412)
        self.body(handler, file)

    def short(self, handler, status, headers=None, page=b""):
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(page)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(page)

    def body(self, handler, file):
        data, size = file.data, len(file.data)
        begin, end = 0, size
        wanted = handler.headers.get("Range")
        if wanted and file.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) + 1, size)
            if begin >= size:
                return self.short(handler, 416, {"Content-Range": f"bytes */{size}"})
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        else:
            handler.send_response(200)
        if file.length:
            handler.send_header("Content-Length", str(end - begin))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
        if file.etag:
            handler.send_header("ETag", file.etag)
        for name, value in file.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            self.pieces(handler, file, memoryview(data)[begin:end], begin)

    def pieces(self, handler, file, data, begin):
        stop = len(data)
        # Not of a look at the first byte.
        if file.drop is not None and file.drops > 0 and stop > 1:
            file.drops -= 1
            stop = int(stop * file.drop)
        at = 0
        while at < stop:
            if file.stall_at is not None and begin + at >= file.stall_at:
                self.ending.wait(60)
                break
            piece = data[at:min(at + PIECE, stop)]
            if file.length:
                handler.wfile.write(piece)
            else:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), bytes(piece)))
            at += len(piece)
            with self.lock:
                self.sent += len(piece)
                sent = self.sent
            if self.on_sent:
                self.on_sent(sent)
            if file.rate:
                time.sleep(len(piece) / file.rate)
        if at < len(data):
            handler.close_connection = True
        elif not file.length:
            handler.wfile.write(b"0\r\n\r\n")


class Hub:
    """A model of the hub at a server: its files, and the API that lists them.

    Files of large_from bytes on are kept apart, with their SHA-256, and are at
    another host, as the hub has them.
    """

    def __init__(self, server, name, files, revision="main", token=None, large_from=1000):
        self.commit = hashlib.sha1(repr(sorted(files)).encode() + b"".join(files.values())).hexdigest()
        self.url, self.name = f"hf://{name}", name
        rows = []
        for path, data in files.items():
            at = f"/{name}/resolve/{self.commit}/{urllib.parse.quote(path)}"
            row = {"rfilename": path, "size": len(data), "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
            if len(data) >= large_from:
                row["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 135}
                place = f"/cdn/{sha256(data)}"
                server.put(place, data)
                server.put(at, redirect=server.other_url + place, token=token)
            else:
                server.put(at, data, token=token)
            rows.append(row)
        text = json.dumps({"id": name, "sha": self.commit, "siblings": rows}).encode()
        for known_as in (revision, self.commit):
            server.put(f"/api/models/{name}/revision/{urllib.parse.quote(known_as, safe='')}", text, token=token, ranges=False)

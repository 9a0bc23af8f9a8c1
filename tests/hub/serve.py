"""A hub of models, by the protocol of Hugging Face's: HF_ENDPOINT=http://127.0.0.1:PORT makes clients ask here.

  python3 -m hub.serve [--port N] [--scale full|tiny] [--shard SIZE] [--hash-up-to SIZE] [--cache FOLDER] [--verbose]

--scale tiny       all layers so narrow that a model is some megabytes
--shard SIZE       cuts files of safetensors that are larger, with an index (full: no model on the hub is cut)
--hash-up-to SIZE  states the SHA-256 of files of weights up to this size (16G); larger ones have none
--cache FOLDER     where those are kept (build/hub): they take a second for each gigabyte

Port 0 takes a free one. The first line of the output is {"url": ...}, once it listens.
"""
import argparse
import hashlib
import http.server
import json
import os
import re
import socket
import sys
import threading
import urllib.parse
from pathlib import Path

from . import families, made, tokens

CACHE = Path(__file__).resolve().parents[2] / "build/hub"
LARGE = (".safetensors", ".bin", ".msgpack", ".ot", ".h5")  # what the hub keeps apart, and knows by its SHA-256
AT_ONCE = 8 << 20  # bytes that one sendfile sends


# --- what is there -----------------------------------------------------------


class Hashes:
    """SHA-256 of files, kept by what they are made of."""

    def __init__(self, folder, up_to):
        self.path, self.up_to, self.lock = Path(folder) / "sha256.json", up_to, threading.Lock()
        try:
            self.known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            self.known = {}

    def of(self, file):
        """None: this one's is not stated."""
        if file.size > self.up_to:
            return None
        with self.lock:
            if file.identity not in self.known:
                self.known[file.identity] = file.sha256()
                self._keep()
            return self.known[file.identity]

    def _keep(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(self.known, indent=1))
            new.replace(self.path)
        except OSError:
            pass  # they are made again


class Repo:
    """A model's files. commit: a name for all of them together."""

    def __init__(self, model, values, hashes, shard):
        self.id, self.hashes = model.id, hashes
        total = sum(map(families.size, model.tensors))
        if model.form == "torch":
            files = [made.torch_archive("pytorch_model.bin", model.tensors, values, model.tied)]
        elif shard:
            files = made.shards(model.tensors, values, shard)
        else:
            files = [made.safetensors("model.safetensors", model.tensors, values)]
        files += [made.noise(path, total, values) for path in model.beside]
        self.unread = set(model.beside)
        files += [made.json_text("config.json", model.config), made.text("README.md", f"# {model.id}\n\nThe same layout, other values.\n"),
                  made.text(".gitattributes", "".join(f"*{end} filter=lfs diff=lfs merge=lfs -text\n" for end in LARGE))]
        if model.generation:
            files.append(made.json_text("generation_config.json", model.generation))
        files += tokens.MAKERS[model.tokenizer]()
        self.files = {f.path: f for f in sorted(files, key=lambda f: f.path)}
        self.commit = hashlib.sha1("".join(f.path + f.identity for f in self.files.values()).encode()).hexdigest()

    @staticmethod
    def is_large(file):
        return file.path.endswith(LARGE)

    def etag(self, file):
        return (self.is_large(file) and self.sha256(file)) or file.identity[:40]

    def sha256(self, file):
        return None if file.path in self.unread else self.hashes.of(file)

    def sibling(self, file, blobs):
        told = {"rfilename": file.path}
        if blobs:
            told.update(size=file.size, blobId=file.identity[:40])
            if self.is_large(file):
                told["lfs"] = {"size": file.size, "pointerSize": 135}
                if sha256 := self.sha256(file):
                    told["lfs"]["sha256"] = sha256
        return told

    def leaf(self, file):
        """As a tree has it."""
        told = {"type": "file", "oid": file.identity[:40], "size": file.size, "path": file.path}
        if self.is_large(file):
            told["lfs"] = {"oid": self.etag(file), "size": file.size, "pointerSize": 135}
        return told


# --- sending -----------------------------------------------------------------


class BadRange(Exception):
    pass


def parse_range(text, size):
    """(begin, end) of "bytes=1-2", "bytes=1-" or "bytes=-2"."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text.replace(" ", ""))
    if not found or not any(found.groups()):
        raise BadRange
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    if begin >= end:
        raise BadRange
    return begin, end


class Sender(http.server.BaseHTTPRequestHandler):
    """Answers with files of made.py, or ranges of them."""

    protocol_version, server_version = "HTTP/1.1", "hub"
    disable_nagle_algorithm = True
    verbose = False

    def log_message(self, text, *values):
        if self.verbose:
            super().log_message(text, *values)

    def send_text(self, status, text, kind="application/json", headers=()):
        text = text.encode()
        self.send_response(status)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(text))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def send_json(self, status, value, headers=()):
        self.send_text(status, json.dumps(value), headers=headers)

    def send_file(self, file, etag, headers=()):
        etag = f'"{etag}"'
        if self.headers.get("If-Match", etag) not in (etag, "*"):
            self.send_text(412, "it is not as it was", "text/plain")
            return
        if self.headers.get("If-None-Match") == etag:
            self.send_text(304, "", "text/plain", [("ETag", etag)])
            return
        begin, end, status = 0, file.size, 200
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range", etag) == etag:
            try:
                begin, end = parse_range(asked, file.size)
            except BadRange:
                self.send_text(416, "", "text/plain", [("Content-Range", f"bytes */{file.size}")])
                return
            status = 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{file.size}")
        for name, value in [("Content-Length", str(end - begin)), ("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"),
                            ("ETag", etag), *headers]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_bytes(file, begin, end)

    def _send_bytes(self, file, begin, end):
        out = self.connection.fileno()
        try:
            for tile, at, n in file.spans(begin, end):
                while n:
                    sent = os.sendfile(out, tile.fd, at, min(n, AT_ONCE))
                    at, n = at + sent, n - sent
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has what it wanted


class Handler(Sender):
    """The hub's part of the protocol that fetching a model needs."""

    repos = {}

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        path = urllib.parse.unquote(url.path)
        for pattern, answer in self.ROUTES:
            if found := re.fullmatch(pattern, path):
                answer(self, *found.groups())
                return
        self.send_json(404, {"error": "Sorry, we can't find the page you are looking for."})

    do_HEAD = do_GET

    def refuse(self, status, code, text):
        self.send_json(status, {"error": text}, [("X-Error-Code", code), ("X-Error-Message", text)])

    def repo(self, id, revision=None):
        """None: it has been refused. Who asks for no model of the hub is taken for a stranger, as there."""
        repo = self.repos.get(id.lower())
        if not repo:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
        elif revision not in (None, "main", "refs/heads/main", repo.commit):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repo
        return None

    def info(self, id, revision=None):
        if not (repo := self.repo(id, revision)):
            return
        blobs = self.query.get("blobs", ["0"])[0].lower() in ("1", "true")
        self.send_json(200, {"_id": repo.commit[:24], "id": repo.id, "modelId": repo.id, "sha": repo.commit, "private": False, "gated": False,
                             "disabled": False, "tags": [], "downloads": 0, "likes": 0,
                             "siblings": [repo.sibling(f, blobs) for f in repo.files.values()]}, [("X-Repo-Commit", repo.commit)])

    def tree(self, id, revision, folder=None):
        if not (repo := self.repo(id, revision)):
            return
        if folder and folder.strip("/"):
            self.refuse(404, "EntryNotFound", f"{folder.strip('/')} does not exist on \"{revision}\"")
        else:
            self.send_json(200, [repo.leaf(f) for f in repo.files.values()])

    def resolve(self, id, revision, path):
        if not (repo := self.repo(id, revision)):
            return
        if not (file := repo.files.get(path)):
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = [("X-Repo-Commit", repo.commit)]
        if not repo.is_large(file):
            # By its commit a file is always the same: that one may be kept on the way.
            place = f"/api/resolve-cache/models/{repo.id}/{repo.commit}/{urllib.parse.quote(path)}"
            headers += [("ETag", f'"{repo.etag(file)}"'), ("Location", place)]
            self.send_text(307, f"Temporary Redirect. Redirecting to {place}", "text/plain", headers)
            return
        place = f"http://{self.headers.get('Host', self.server.name)}/stored/{repo.id}/{repo.commit}/{urllib.parse.quote(path)}"
        headers += [("X-Linked-ETag", f'"{repo.etag(file)}"'), ("X-Linked-Size", str(file.size)), ("Location", place)]
        self.send_text(302, f"Found. Redirecting to {place}", "text/plain", headers)

    def kept(self, id, revision, path):
        """Where small files are in truth."""
        repo = self.repo(id, revision)
        if repo:
            self.send_file(repo.files[path], repo.etag(repo.files[path]), [("X-Repo-Commit", repo.commit)])

    def stored(self, id, revision, path):
        """Where large files are in truth: on another host, which knows nothing of commits."""
        repo = self.repo(id, revision)
        if repo:
            self.send_file(repo.files[path], repo.etag(repo.files[path]))

    ROUTES = [
        (r"/api/models/([^/]+/[^/]+)", info),
        (r"/api/models/([^/]+/[^/]+)/revision/(.+)", info),
        (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", tree),
        (r"/api/resolve-cache/models/([^/]+/[^/]+)/([^/]+)/(.+)", kept),
        (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", resolve),
        (r"/stored/([^/]+/[^/]+)/([^/]+)/(.+)", stored),
    ]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, port, handler):
        super().__init__(("127.0.0.1", port), handler)
        self.name = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, socket.timeout)):
            super().handle_error(request, address)


def run(server):
    """Says where it listens, and serves until it is killed."""
    print(json.dumps({"url": f"http://{server.name}"}), flush=True)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scale", choices=["full", "tiny"], default="full")
    parser.add_argument("--shard", type=made.parse_size)
    parser.add_argument("--hash-up-to", type=made.parse_size, default=16 << 30)
    parser.add_argument("--cache", default=CACHE)
    parser.add_argument("--verbose", action="store_true", help="a line for each request")
    options = parser.parse_args()
    values = made.Values(made.TINY_PERIOD if options.scale == "tiny" else made.PERIOD)
    hashes = Hashes(options.cache, options.hash_up_to)
    repos = [Repo(model, values, hashes, options.shard) for model in families.all_models(options.scale)]
    Handler.repos, Sender.verbose = {repo.id.lower(): repo for repo in repos}, options.verbose
    run(Server(options.port, Handler))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

"""A folder of models, and `soma fetch` into it."""
import json
import pathlib
import subprocess

from soma.daemon import BIN, clean_environment
from soma.sources import sha256
from soma.waiting import seconds

MIB = 1 << 20
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
STEERING = ("AWS_", "HF_", "GS_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Told:
    """What a fetch said, line by line, and how it ended."""

    def __init__(self, code, text, errors):
        self.code, self.text, self.errors = code, text, errors
        self.lines = [json.loads(line) for line in text.splitlines()]
        self.last = self.lines[-1] if self.lines else {}

    @property
    def state(self):
        return self.last.get("state")

    def failed(self, code, *words, again=None):
        assert self.code == 1 and self.state == "failed", self.text + self.errors
        assert self.last["code"] == code, self.last
        for word in words:
            assert word in self.last["message"], self.last
        if again is not None:
            assert self.last["again"] is again, self.last
        return self.last


class Shelf:
    """A folder of models, and `soma fetch` into it."""

    def __init__(self, folder):
        self.folder, self.dir = folder, folder / "models"
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)

    def start(self, url, *args, env=(), prefix=()):
        around = {k: v for k, v in clean_environment().items() if not k.startswith(STEERING)}
        around.update({"HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true", **dict(env)})
        return subprocess.Popen([*prefix, BIN, "fetch", "--dir", self.dir, *args, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around)

    def fetch(self, url, *args, timeout=60, **how):
        process = self.start(url, *args, **how)
        try:
            text, errors = process.communicate(timeout=seconds(timeout))
        except BaseException:
            process.kill()
            process.wait()
            raise
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors
        return Told(process.returncode, text, errors)

    def get(self, url, files, *args, state="ready", **how):
        """Fetches, and checks that the tree has these files and no others."""
        told = self.fetch(url, *args, **how)
        assert told.code == 0 and told.state == state, told.text + told.errors
        self.check(told, files)
        return told

    def check(self, told, files):
        tree = pathlib.Path(told.last["path"])
        there = {str(p.relative_to(tree)): p for p in tree.rglob("*") if p.is_file()}
        assert sorted(there) == sorted(files)
        for path, data in files.items():
            assert there[path].read_bytes() == data, path
            assert there[path].stat().st_mode & 0o777 == 0o444
        assert told.last["bytes"] == sum(map(len, files.values())) and told.last["files"] == len(files)
        lines = "".join(f"{sha256(data)} {len(data)} {path}\n" for path, data in sorted(files.items(), key=lambda f: f[0].encode()))
        assert told.last["tree"] == sha256(lines.encode()) == tree.name
        manifest = json.loads((self.dir / "trees" / f"{tree.name}.json").read_text())
        assert {f["path"]: f["sha256"] for f in manifest["files"]} == {path: sha256(data) for path, data in files.items()}
        assert not list(self.dir.glob("parts/*")), "what is through leaves no parts"

    def nothing_half(self):
        """Every file, tree and ref that is seen is whole."""
        for file in self.dir.glob("files/*/*"):
            assert sha256(file.read_bytes()) == file.parent.name + file.name
        for ref in self.dir.glob("refs/*.json"):
            tree = self.dir / "trees" / json.loads(ref.read_text())["tree"]
            for row in json.loads((tree.parent / f"{tree.name}.json").read_text())["files"]:
                assert sha256((tree / row["path"]).read_bytes()) == row["sha256"]

    def refs(self):
        return [json.loads(f.read_text()) for f in self.dir.glob("refs/*.json")]

"""4 GiB from a server on this machine onto its disk: `soma fetch` beside `aws s3 cp` and `curl`.

The server is the tests' own (tests/hub/objects.py), which makes the bytes as they are asked for and sends them from memory: its disk is not
in it, and it is the same for all.
"""
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time

from kit import disk, machine, peers, results, rounds
from kit.paths import ROOT, WORK

TITLE = "A pull of 4 GiB"
FOLDER = WORK / "pull"
SIZE, QUICK_SIZE = 4 << 30, 256 << 20
S3, HTTP = "soma fetch, s3://", "soma fetch, http://"
AWS, CURL = "aws s3 cp", "curl"
# What the command's documentation offers for speed; the best of them here is taken. (requests at once, size of a part)
AWS_SETTINGS = [(10, "8MB"), (4, "64MB"), (10, "64MB"), (20, "16MB")]
KEY = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
CHUNK = 8 << 20


class Objects:
    """The server, as a process of its own."""

    def __init__(self, size):
        self.process = subprocess.Popen(machine.pinned(machine.ALL_CORES, [sys.executable, "-m", "hub.objects", "--size", str(size)]), cwd=ROOT / "tests",
                                        stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.http, self.s3 = f"{self.url}/models/4g/model.safetensors", "s3://models/4g/model.safetensors"

    def stop(self):
        self.process.kill()
        self.process.wait()

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("AWS_")}
        return {**env, **KEY, "AWS_ENDPOINT_URL": self.url, "HOME": str(FOLDER)}


# --- one pull ----------------------------------------------------------------


def _clean():
    """Nothing of the one before: not on the disk, and nothing that waits to be written."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    os.sync()


def _run(command, env, on_line=lambda line, at: None):
    """Seconds, and of its whole tree those of CPU; on_line is called with what it prints."""
    begun = time.monotonic()
    with open(FOLDER / "errors", "wb") as errors:
        process = subprocess.Popen(machine.pinned(machine.ALL_CORES, command), env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    reader = threading.Thread(target=lambda: [on_line(line, time.monotonic()) for line in process.stdout])
    reader.start()
    _, status, used = os.wait4(process.pid, 0)
    ended = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {(FOLDER / 'errors').read_text(errors='replace')[-1000:]}")
    return {"s": ended - begun, "cpu_s": used.ru_utime + used.ru_stime, "user_s": used.ru_utime}


def _to_disk(path):
    """Seconds until a file is on the disk, by who has not seen to that itself."""
    begun = time.monotonic()
    with open(path, "rb") as f:
        os.fsync(f.fileno())
    return time.monotonic() - begun


def _fetch(objects, url):
    """What Soma fetches it verifies and brings to the disk: all of that is in its time."""
    seen, last = {}, {}

    def on_line(line, at):
        told = json.loads(line)
        seen.setdefault(told["state"], at)
        last.update(told)
    told = _run([peers.SOMA, "fetch", "--dir", FOLDER / "shelf", url], objects.environment(), on_line)
    if last.get("state") != "ready":
        raise RuntimeError(f"soma fetch ends with {last}")
    (path,) = (p for p in (FOLDER / "shelf/files").rglob("*") if p.is_file())
    verify = seen["ready"] - seen["verifying"] if "verifying" in seen else 0
    return {**told, "disk_s": told["s"], "verify_s": verify}, path


def _aws(objects, setting):
    at_once, part = setting
    (FOLDER / "config").write_text(f"[default]\ns3 =\n  max_concurrent_requests = {at_once}\n  multipart_chunksize = {part}\n  multipart_threshold = {part}\n"
                                   f"  max_queue_size = 10000\n  addressing_style = path\n")
    env = {**objects.environment(), "AWS_CONFIG_FILE": str(FOLDER / "config"), "PYTHONDONTWRITEBYTECODE": "1"}
    path = FOLDER / "file"
    told = _run([peers.install_environment("aws") / "bin/aws", "s3", "cp", "--only-show-errors", objects.s3, path], env)
    return {**told, "disk_s": told["s"] + _to_disk(path)}, path


def _curl(objects):
    path = FOLDER / "file"
    told = _run(["curl", "-sSf", "-o", path, objects.http], objects.environment())
    return {**told, "disk_s": told["s"] + _to_disk(path)}, path


def _sha256(path):
    """By one thread, the file being in the page cache: seconds, and of CPU."""
    begun, cpu = time.monotonic(), time.process_time()
    told = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        piece = bytearray(CHUNK)
        while n := f.readinto(piece):
            told.update(memoryview(piece)[:n])
    return told.hexdigest(), {"s": time.monotonic() - begun, "cpu_s": time.process_time() - cpu}


# --- the bench ---------------------------------------------------------------


def _best_setting(objects):
    """Of aws s3 cp: each once."""
    took = {}
    for setting in AWS_SETTINGS:
        _clean()
        took[setting] = _aws(objects, setting)[0]["s"]
        rounds.progress(f"aws s3 cp, {setting[0]} at once, parts of {setting[1]}: {took[setting]:.1f} s")
    return min(took, key=took.get)


def run(options):
    size = QUICK_SIZE if options.quick else SIZE
    disk.need("pull", size + size // 8)
    peers.install_programs(("curl",))
    watch, objects, right = rounds.Watch(), Objects(size), None
    told = {"size": size, "rounds_of": {}, "sha256": []}
    try:
        _clean()
        told["aws"] = setting = _best_setting(objects)
        pulls = [(S3, lambda: _fetch(objects, objects.s3)), (AWS, lambda: _aws(objects, setting)), (HTTP, lambda: _fetch(objects, objects.http)),
                 (CURL, lambda: _curl(objects))]
        order = random.Random(1)  # who comes after whom decides what of the disk and the memory is as new
        _clean()
        pulls[0][1]()  # the machine's memory has been touched once when others are measured
        for _ in range(options.rounds):
            for name, pull in order.sample(pulls, len(pulls)):
                _clean()
                with watch:
                    now, path = pull()
                told["rounds_of"].setdefault(name, []).append(now)
                rounds.progress(f"{name}: {now['s']:.2f} s, {now['cpu_s']:.2f} s of CPU, on the disk after {now['disk_s']:.2f} s")
                sum_of, alone = _sha256(path)
                right = right or sum_of
                if sum_of != right:
                    raise RuntimeError(f"{name} wrote other bytes: SHA-256 {sum_of}, others' {right}")
            told["sha256"].append(alone)
    finally:
        objects.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)
    rounds.progress("")
    return {**told, "busy": watch.record()}


def render(told):
    gigabytes, of, rows = told["size"] / 1e9, told["rounds_of"], []
    for name, each in of.items():
        s, on_disk, cpu = ([one[key] for one in each] for key in ("s", "disk_s", "cpu_s"))
        verify = results.spread([one["verify_s"] for one in each], 2) if "verify_s" in each[0] else "none"
        rows.append([name, results.spread(s, 2), f"{gigabytes / results.quantile(s, 0.5):.2f}", results.spread(on_disk, 2), results.spread(cpu, 2), verify])
    at_once, part = told["aws"]
    fastest = min(results.quantile([one["disk_s"] for one in of[name]], 0.5) for name in (AWS, CURL))
    text = [f"{disk.gib(told['size'])} from a server on this machine, which makes them in memory and takes no signature seriously; seconds until the program has ended "
            "(medians of the rounds, least to most), and until the file is on the disk: Soma sees to that itself, for the others it is waited for (`fsync`). "
            "CPU is the program's alone, in user and kernel. All have all cores. The last column is what Soma's check of the bytes adds at the end, beside what it "
            f"hashes as they come. `aws s3 cp` has what was fastest here: {at_once} requests at once, parts of {part}.", "",
            *results.table(["", "s", "GB/s", "on the disk, s", "CPU, s", "check, s"], rows), ""]
    beside, s, cpu = [], *([one[key] for one in told["sha256"]] for key in ("s", "cpu_s"))
    of_aws, of_sum = (results.quantile(each, 0.5) for each in ([one["cpu_s"] for one in of[AWS]], cpu))
    for ours in (S3, HTTP):
        on_disk, of_ours = (results.quantile([one[key] for one in of[ours]], 0.5) for key in ("disk_s", "cpu_s"))
        beside.append(f"{ours}: {fastest / on_disk:.2f} times as fast as the faster of the other two, with {of_ours / of_aws:.2f} of the CPU time of `aws s3 cp`; "
                      f"{(of_ours - of_sum) / of_aws:.2f} without what SHA-256 alone takes.")
    return [*text, " ".join(beside), "", f"SHA-256 alone, by one thread over the file in the page cache: {results.spread(s, 2)} s, {results.spread(cpu, 2)} s of CPU. Soma's times have it in them, the others' do not."]

"""Models that are not in memory are read from the disk ahead of the replica that is to use them."""

import ctypes
import json
import mmap
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from soma import procs
from soma.daemon import BIN
from soma.projects import predictor, python_api, python_project
from soma.waiting import seconds, wait_for

MIB = 1 << 20
SIZE = 96 * MIB
LIBC = ctypes.CDLL(None, use_errno=True)
# It reads a byte, and no more.
READS = predictor("return len(self.client.get_model())", init="self.client = python_client").replace("config):", "config, python_client):") + """
    def load_model(self, model_path):
        with open(model_path + "/model.safetensors", "rb") as f:
            return f.read(1)
"""


def cached(path):
    """The part of its pages that is in the page cache. Nothing is read by looking."""
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as m:
        there = (ctypes.c_ubyte * (len(m) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(m)
        assert LIBC.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(m)), there) == 0
        del start
    return sum(page & 1 for page in there) / len(there)


def drop(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


@pytest.fixture
def model(own_daemon):
    """A folder that replicas can read, whose file is on the disk alone."""
    folder = own_daemon.parent / "model"
    folder.mkdir()
    path = folder / "model.safetensors"
    path.write_bytes(os.urandom(MIB) * (SIZE // MIB))
    drop(path)
    if cached(path) > 0.1:
        pytest.skip("the file system keeps all in memory")
    return folder


def api(name, models):
    models = models if isinstance(models, dict) else {"path": str(models)}
    return python_api(name, predictor={"multi_model_reloading": models, "zygote": "none", "freeze": "never"},
                      autoscaling={"min_replicas": 0, "max_replicas": 2})


def events(daemon, name, kind):
    return [e["text"] for e in daemon.admin.events(name) if e["type"] == kind]


def cold_start(daemon, name):
    daemon.cli("scale", name, "0", check=0)
    wait_for("it is at zero", lambda: daemon.admin.api(name)["replicas"] == [])
    assert daemon.admin.post(f"/{name}", json={}).json() == 1


def file_pages(daemon, name):
    """Bytes of files that the control groups of its replicas are charged for; None: nobody counts."""
    found = None
    for top in procs.cgroups_of(daemon.instance):
        for path in pathlib.Path(top).glob(f"{name}-*/memory.stat"):
            value = re.search(r"^(?:total_cache|file) (\d+)$", path.read_text(), re.M)
            found = (found or 0) + int(value[1]) if value else found
    return found


def test_what_is_on_the_disk_is_read_ahead(own_daemon, model):
    daemon, path = own_daemon, model / "model.safetensors"
    daemon.admin.deploy(python_project(READS, api("cold", model)))
    wait_for("it was read ahead", lambda: events(daemon, "cold", "model_warmed"))
    (text,) = events(daemon, "cold", "model_warmed")
    assert re.fullmatch(r"its models, 96 MiB, were not in memory: read from the disk in .*, .*/s", text), text
    wait_for("the disk has given all of it", lambda: cached(path) == 1)
    assert daemon.admin.post("/cold", json={}).json() == 1
    # Who has read it pays for it: not the replica.
    charged = file_pages(daemon, "cold")
    assert charged is None or charged < SIZE / 2
    # What is there is not read again; what is not there is.
    cold_start(daemon, "cold")
    assert len(events(daemon, "cold", "model_warmed")) == 1
    drop(path)
    cold_start(daemon, "cold")
    wait_for("it was read ahead again", lambda: len(events(daemon, "cold", "model_warmed")) == 2)
    wait_for("the disk has given all of it", lambda: cached(path) == 1)


def test_one_that_loads_some_reads_those_alone(own_daemon, model):
    """Of cache_size models it is not known which are asked for."""
    daemon, many = own_daemon, model.parent / "many"
    (many / "one").mkdir(parents=True)
    path = (model / "model.safetensors").rename(many / "one/model.safetensors")
    source = READS.replace("get_model()", 'get_model(query_params["model"])')
    models = {"dir": str(many), "cache_size": 1, "disk_cache_size": 2}
    daemon.admin.deploy(python_project(source, api("some", models)))
    assert daemon.admin.post("/some?model=one", json={}).json() == 1
    assert events(daemon, "some", "model_warmed") == [] and cached(path) < 0.5


def test_what_is_larger_than_memory_is_said(own_daemon):
    """It is not read ahead, which would push out what it has read; the replica is served all the same."""
    daemon = own_daemon
    folder = daemon.parent / "large"
    folder.mkdir()
    with open(folder / "model.safetensors", "wb") as f:
        f.truncate(1 << 40)
    daemon.admin.deploy(python_project(READS, api("large", folder)))
    wait_for("it is said", lambda: events(daemon, "large", "model_large"))
    (text,) = events(daemon, "large", "model_large")
    assert re.match(r"its models, 1.0 TiB, are not read ahead, for .* of memory are free for them: they are read from the disk where they are used", text), text
    assert daemon.admin.post("/large", json={}).json() == 1
    assert events(daemon, "large", "model_warmed") == []


def test_links_to_all_of_the_machine(own_daemon, model):
    """They are not followed, and a daemon that is to stop does not wait for who looks."""
    daemon = own_daemon
    (model / "all").symlink_to("/")
    (model / "round").symlink_to("/proc/self/task")
    daemon.admin.deploy(python_project(READS, api("links", model)))
    wait_for("it was read ahead", lambda: events(daemon, "links", "model_warmed"))
    assert daemon.admin.post("/links", json={}).json() == 1
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < seconds(10)


def warm(*paths, **kwargs):
    return subprocess.run([BIN, "warm", *map(str, paths)], capture_output=True, text=True, timeout=seconds(60), check=False, **kwargs)


def test_the_program_by_itself(model):
    path = model / "model.safetensors"
    done = warm(model)
    assert done.returncode == 0 and json.loads(done.stdout)["bytes"] == SIZE
    wait_for("the disk has given all of it", lambda: cached(path) == 1)
    assert warm().returncode == 2
    assert warm(model / "none").returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_what_its_user_may_not_read_is_not_read(model):
    path = model / "model.safetensors"
    path.chmod(0o600)
    done = warm(model, user=65534, group=65534, extra_groups=[], **to_all(model.parent / "program"))
    assert done.returncode == 1 and not done.stderr
    assert cached(path) < 0.1


def to_all(folder):
    """The program, with those of its libraries that are none of the system's, where each user gets to."""
    folder.mkdir()
    shutil.copy(BIN, folder)
    linked = subprocess.run(["ldd", BIN], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"=> (/\S+)", linked):
        if not path.startswith(("/usr/", "/lib")):
            shutil.copy(path, folder)
    return {"executable": folder / BIN.name, "env": {**os.environ, "LD_LIBRARY_PATH": str(folder)}}

"""What goes wrong while a new version rolls out: disks that fill up, two who deploy at once, what an older revision needs and is gone.

Whatever it is: the revision that was live serves on, and who deployed is told.
"""

import contextlib
import os
import shutil
import subprocess
import threading
import time

import pytest
import requests

from soma import procs, projects
from soma.daemon import BIN, Daemon
from soma.load import Load, Target
from soma.projects import predictor, python_api, python_project
from soma.sources import Server
from soma.waiting import seconds, wait_for

MIB = 1 << 20
STREAM = """import time
for n in range(payload["n"]):
    yield f"{n},"
    time.sleep(0.05)
"""


def version(word, init="pass", name="api", keys=(), **files):
    return python_project(predictor(f"return {word!r}", init), python_api(name, **dict(keys)), **files)


def slow(word, s=1.5):
    return version(word, f"import time\ntime.sleep({s})")


def answer(daemon, name="api"):
    return daemon.admin.post(f"/{name}", json={}).text


def revisions(daemon, name="api"):
    """Number and state, the newest first."""
    told = daemon.admin.call("GET", f"/v1/apis/{name}/revisions").json()["revisions"]
    return [(r["revision"], r["state"]) for r in told]


def events(daemon, kind, revision, name="api"):
    return [e["text"] for e in daemon.admin.events(name) if (e["type"], e["revision"]) == (kind, revision)]


class Command(threading.Thread):
    """`soma ARGS` beside the test; .ran is how it ended."""

    def __init__(self, daemon, *args, **how):
        super().__init__()
        self.ran, self.call = None, lambda: daemon.cli(*args, **how)
        self.start()

    def run(self):
        self.ran = self.call()

    def end(self, code):
        self.join()
        assert self.ran.code == code, self.ran
        return self.ran


def replaced(command):
    """Its rollout was ended by a later deploy, and it says so."""
    ran = command.end(1).says("api failed", "soma history api")
    assert ("took over" in ran.text or "replaced by revision" in ran.text) and "keeps trying" not in ran.text, ran


def rolls_out(daemon, revision, name="api"):
    wait_for(f"revision {revision} starts", lambda: daemon.admin.api(name)["revision"] == revision and
             events(daemon, "replica_start", revision, name))


# --- the disk ----------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A daemon with a small file system of its own; .fill leaves so many bytes of it."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("takes root, and mount namespaces")
    data = tmp_path / "data"
    data.mkdir()
    published = sum(f.stat().st_size for name in ("host", "python/soma") for f in (BIN.parent / name).iterdir() if f.is_file())
    mount = ["unshare", "-m", "sh", "-c",
             f'mount -t tmpfs -o size={48 + published // MIB}m,mode=755 tmpfs "$0" && exec "$@"', str(data)]

    def fill(left):
        where = os.statvfs(d.inside("."))
        # The daemon may take some of it meanwhile.
        with contextlib.suppress(OSError), open(d.inside("filler"), "wb", buffering=0) as f:
            f.write(bytes(max(0, where.f_bavail * where.f_frsize - left)))

    with Daemon(parent=tmp_path, prefix=mount, private=True) as d:
        d.fill, d.free = fill, lambda: os.unlink(d.inside("filler"))
        d.token = {"SOMA_TOKEN": d.admin.token}  # its file is not seen from here
        d.admin.deploy(version("old"))
        yield d


def serves_on(d, pids, next_one):
    """The old revision is as it was, and the next deploy that fits is taken."""
    api = d.admin.api("api")
    assert (api["status"], d.admin.pids("api"), answer(d)) == ("live", pids, "old")
    d.free()
    d.admin.deploy(next_one)
    assert answer(d) == "next" and revisions(d)[0][1] == "live"
    assert [s for _, s in revisions(d)].count("live") == 1


@pytest.mark.parametrize("left, what", [(4 * MIB, "the upload"), (9 * MIB, "the project made of it")])
def test_a_full_disk_before_the_deploy_is_taken(small, folder, left, what):
    pids = small.admin.pids("api")
    path = folder({**version("big"), "weights.bin": os.urandom(6 * MIB)})
    small.fill(left)
    small.cli("deploy", path, env=small.token, check=1).says("no space", str(small.data))
    assert revisions(small) == [(1, "live")], what
    assert not list(small.inside("projects").glob(".tmp-*")), "a half project is left"
    serves_on(small, pids, version("next"))


def test_a_full_disk_under_the_environment(small, folder):
    pids = small.admin.pids("api")
    script = "dd if=/dev/zero of=$VIRTUAL_ENV/large bs=1M count=200\n"
    done = small.cli("deploy", folder(version("big", **{"dependencies.sh": script})), env=small.token, check=1, timeout=120)
    done.says("api failed", "dependencies.sh", "no space", "revision 1 of api goes on serving")
    assert revisions(small) == [(2, "failed"), (1, "live")]
    wait_for("the half environment is gone", lambda: not [p for p in small.inside("envs").rglob("large")])
    small.fill(8 * MIB)
    serves_on(small, pids, version("next"))


def test_a_full_disk_under_the_store(small, folder):
    """Project and environment are there already: what does not fit is the revision itself."""
    pids = small.admin.pids("api")
    large = {"predictor": {"env": {f"V{i}": "x" * 30000 for i in range(30)}}}
    path = folder({"soma.yaml": version("old", keys=large)["soma.yaml"]})
    small.fill(0)
    small.cli("patch", path / "soma.yaml", env=small.token, check=1).says("full")
    assert revisions(small) == [(1, "live")]
    assert small.admin.is_ready()
    serves_on(small, pids, version("next"))


# --- two at once -------------------------------------------------------------


def test_two_deploys_at_once(own_daemon, folder):
    """One wins whole, and both are told."""
    d = own_daemon
    d.admin.deploy(version("old"))
    for i in range(4):
        words = [f"{i}-one", f"{i}-two"]
        said = [Command(d, "deploy", folder(slow(word, 0.7), word)) for word in words]
        for command in said:
            command.join()
        rows = revisions(d)
        assert rows[0] == (3 + 2 * i, "live") and rows[1][1] in ("failed", "never live"), rows
        assert sorted(c.ran.code for c in said) == [0, 1], said
        won = next(word for word, c in zip(words, said) if c.ran.code == 0)
        replaced(next(c for c in said if c.ran.code))
        assert answer(d) == won
        wait_for("nobody else is left", lambda: procs.marked(d.instance) == d.admin.pids("api"))


def test_two_of_the_same_content_at_once(own_daemon, folder):
    d = own_daemon
    path = folder(slow("one", 0.7))
    said = [Command(d, "deploy", path) for _ in range(3)]
    for command in said:
        command.join()
    # Who came while the first was not on the disk made another of it.
    assert 0 in [c.ran.code for c in said] and answer(d) == "one"
    for command in said:
        assert command.ran.code == 0 or replaced(command) is None
    wait_for("one is left", lambda: procs.marked(d.instance) == d.admin.pids("api"))


def test_the_same_again_while_it_rolls_out(own_daemon, folder):
    """Nothing new is begun; the second waits for the same end as the first."""
    d = own_daemon
    path = folder(slow("one"))
    first = Command(d, "deploy", path)
    wait_for("it rolls out", lambda: [a for a in d.admin.apis() if a["name"] == "api"])
    d.cli("deploy", path, check=0).says("api is up to date", "api is live")
    first.end(0)
    assert revisions(d) == [(1, "live")]
    # And for its failure.
    bad = folder(version("bad", "import time\ntime.sleep(1)\nraise OSError('no weights')"), "bad")
    first = Command(d, "deploy", bad)
    rolls_out(d, 2)
    d.cli("deploy", bad, check=1).says("api failed", "no weights")
    first.end(1).says("no weights", "revision 1 of api goes on serving")
    assert answer(d) == "one"


def test_the_next_one_while_one_rolls_out(own_daemon, folder):
    d = own_daemon
    d.admin.deploy(version("old"))
    first = Command(d, "deploy", folder(slow("first", 30), "first"))
    rolls_out(d, 2)
    d.cli("deploy", folder(version("second"), "second"), check=0)
    replaced(first)
    assert answer(d) == "second"
    assert revisions(d)[0] == (3, "live") and revisions(d)[1][1] in ("failed", "never live")
    wait_for("nobody else is left", lambda: procs.marked(d.instance) == d.admin.pids("api"))


def test_deleted_while_it_rolls_out(own_daemon, folder):
    d = own_daemon
    d.admin.deploy(version("old"))
    first = Command(d, "deploy", folder(slow("new", 30)))
    rolls_out(d, 2)
    d.cli("delete", "api", check=0)
    ran = first.end(1).says("deleted")
    assert "keeps trying" not in ran.text
    wait_for("nobody is left", lambda: procs.marked(d.instance) == [] and d.admin.call("GET", "/v1/apis/api").status_code == 404)
    d.admin.deploy(version("again"))
    assert answer(d) == "again" and revisions(d) == [(1, "live")]


def test_refreshed_while_it_rolls_out(own_daemon, folder):
    """What is being rolled out is what is begun anew."""
    d = own_daemon
    d.admin.deploy(version("old"))
    first = Command(d, "deploy", folder(slow("new", 2)))
    rolls_out(d, 2)
    d.cli("refresh", "api", check=0)
    replaced(first)
    d.admin.wait_live("api")
    wait_for("the new one serves", lambda: revisions(d)[0] == (3, "live"), 30)
    assert answer(d) == "new"
    wait_for("nobody else is left", lambda: procs.marked(d.instance) == d.admin.pids("api"))


def test_rolled_back_while_it_rolls_out(own_daemon, folder):
    """To what is live: a way out of a rollout that takes too long."""
    d = own_daemon
    d.admin.deploy(version("old"))
    first = Command(d, "deploy", folder(slow("new", 30)))
    rolls_out(d, 2)
    d.cli("rollback", "api", check=0)
    replaced(first)
    wait_for("it is back", lambda: revisions(d)[0] == (3, "live"))
    assert answer(d) == "old"


# --- what an older revision needs, and is gone --------------------------------


def test_back_to_an_environment_that_is_gone(own_daemon):
    """It is built again."""
    d = own_daemon
    for word in ("one", "two"):
        d.admin.deploy(version(word, **{"dependencies.sh": f"echo {word}\n"}), timeout=120)
        if word == "one":
            gone = d.data / "envs" / d.admin.api("api")["environment"]["hash"]
    shutil.rmtree(gone)
    with Load(d.port, [Target("api", True, True)], clients=1, pause=0.02) as load:
        load.targets[0].is_right = lambda text, status, body: status == 200
        d.cli("rollback", "api", check=0, timeout=120)
        wait_for("it is live", lambda: revisions(d)[0] == (3, "live"), 60)
    assert load.wrong == [] and load.right > 20
    assert answer(d) == "one" and gone.exists()
    assert events(d, "env_start", 3) and events(d, "env_ready", 3)


MODEL = """import os


class PythonPredictor:
    def __init__(self, config, python_client):
        self.client = python_client

    def load_model(self, model_path):
        return open(os.path.join(model_path, os.listdir(model_path)[0])).read()

    def predict(self, payload):
        return self.client.get_model()
"""


def with_model(url):
    return python_project(MODEL, python_api("api", predictor={"multi_model_reloading": {"path": url}}))


@pytest.fixture
def two_models(own_daemon):
    """Revision 1 had /one.txt, 2 has /two.txt, and nothing of the first is here any more."""
    with Server() as place:
        for word in ("one", "two"):
            place.put(f"/{word}.txt", word.encode())
            own_daemon.admin.deploy(with_model(f"{place.url}/{word}.txt"))
            assert answer(own_daemon) == word
        wait_for("the first replica is gone", lambda: len(procs.marked(own_daemon.instance)) == 1)
        own_daemon.cli("models", "rm", f"{place.url}/one.txt", check=0)
        assert "one.txt" not in own_daemon.cli("models", "list", check=0).out
        yield own_daemon, place


def test_back_to_a_model_that_is_gone(two_models):
    """It is fetched again."""
    d, place = two_models
    before = len(place.requests("/one.txt"))
    d.cli("rollback", "api", check=0)
    wait_for("it is live", lambda: revisions(d)[0] == (3, "live"), 30)
    assert answer(d) == "one" and len(place.requests("/one.txt")) > before


def test_back_to_a_model_that_is_nowhere(two_models):
    """Said, with the cause; what is live serves on."""
    d, place = two_models
    del place.files["/one.txt"]
    pids = d.admin.pids("api")
    d.cli("rollback", "api")
    wait_for("it is given up", lambda: revisions(d)[:2] == [(3, "failed"), (2, "live")], 30)
    back = wait_for("it is told", lambda: d.admin.api("api")["rolled_back"])
    assert back["serves"] == 2 and "one.txt" in back["why"] and "404" in back["why"], back
    assert d.admin.pids("api") == pids and answer(d) == "two"
    d.cli("history", "api", check=0).says("rollback to 1", "one.txt")


def test_back_to_a_project_that_is_gone(own_daemon):
    d = own_daemon
    for word in ("one", "two"):
        d.admin.deploy(version(word))
    rows = d.admin.call("GET", "/v1/apis/api/revisions").json()["revisions"]
    shutil.rmtree(d.data / "projects" / rows[-1]["project"])
    d.cli("rollback", "api")
    wait_for("it is given up", lambda: revisions(d)[:2] == [(3, "failed"), (2, "live")], 30)
    d.cli("history", "api", check=0).says("the project's files are gone", "deploy again")
    assert answer(d) == "two"


# --- the grace time ----------------------------------------------------------


def test_a_grace_time_shorter_than_a_stream(own_daemon):
    """The stream is cut, so that its client sees that it is not whole, and the events say why; one that fits comes whole."""
    d = own_daemon
    keys = {"grace_period": "2s", "predictor": {"threads_per_process": 4}}
    d.admin.deploy(python_project(predictor(STREAM), python_api("api", **keys)))
    old = d.admin.pids("api")
    long, short = (requests.post(d.url + "/api", json={"n": n}, stream=True, timeout=seconds(30)) for n in (1000, 20))
    chunks = long.iter_content(None)
    assert next(chunks)
    d.admin.deploy(python_project(predictor("return 'new'"), python_api("api", **keys)))
    began = time.monotonic()
    assert short.text == "".join(f"{i}," for i in range(20))
    with pytest.raises(requests.RequestException):
        for _ in chunks:
            assert answer(d) == "new"
    assert 1 < time.monotonic() - began < seconds(10)
    wait_for("the old one is gone", lambda: not any(map(procs.alive, old)))
    said, = [e for e in d.admin.events("api") if "grace_period" in e["text"] and "in flight" in e["text"]]
    assert said["revision"] == 1 and "1 request" in said["text"]
    assert answer(d) == "new"


def test_a_request_that_the_grace_time_ends_is_told(own_daemon):
    d = own_daemon
    d.admin.deploy(version("x", keys={"grace_period": "1s"}) | {"predictor.py": predictor("import time\ntime.sleep(60)")})
    held = []
    thread = threading.Thread(target=lambda: held.append(d.admin.post("/api", json={})))
    thread.start()
    wait_for("it is held", lambda: d.admin.api("api")["in_flight"] == 1)
    d.admin.deploy(version("new"))
    thread.join()
    assert held[0].status_code == 502 and "grace_period" in held[0].json()["error"]["message"], held[0].text
    assert answer(d) == "new"

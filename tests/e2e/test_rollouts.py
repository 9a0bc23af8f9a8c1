"""How a new revision takes over: beside the old one, one by one, in its place; and how one that is no good goes again."""

import concurrent.futures
import os
import time

import pytest

from soma.daemon import Daemon
from soma.projects import predictor
from soma.versions import Asked, project
from soma.waiting import wait_for

MIB = 1 << 20
FIXED = {"min_replicas": 3, "max_replicas": 3}


@pytest.fixture(autouse=True)
def begin_anew(request):
    yield
    if "daemon" in request.fixturenames:
        admin = request.getfixturevalue("daemon").admin
        if any(a["name"] == "api" for a in admin.apis()):
            admin.delete("api")


def replicas(daemon, name="api"):
    """(revision, state) of each that has a process."""
    return [(int(r["id"].split("-")[1]), r["state"]) for r in daemon.admin.api(name)["replicas"]]


def watch_places(daemon, until, name="api"):
    """What was there, look by look, of the old and the new revision: [(old, new), ...]; those that leave are not counted."""
    seen = []
    while not until():
        there = replicas(daemon, name)
        old, new = (sum(r == n and s in ("starting", "ready", "backoff") for r, s in there) for n in (1, 2))
        if (old, new) not in seen:
            seen.append((old, new))
        time.sleep(0.002)
    return seen


def is_live(daemon, revision, name="api"):
    return lambda: any(e["type"] == "live" and e["revision"] == revision for e in daemon.admin.events(name))


def revisions(daemon, name="api"):
    told = daemon.admin.call("GET", f"/v1/apis/{name}/revisions").json()["revisions"]
    return {r["revision"]: r for r in told}


def failed_with(daemon, revision, name="api", timeout=60):
    """Why that revision was given up."""
    def failed():
        return next((e["text"] for e in daemon.admin.events(name) if (e["type"], e["revision"]) == ("failed", revision)), None)
    return wait_for(f"revision {revision} has failed", failed, timeout)


SLOW = "import time; time.sleep(0.5)"
SLOWER = "import time; time.sleep(3)"


@pytest.mark.parametrize("surge,unavailable,most,fewest", [(1, 0, 4, 3), (0, 1, 3, 2), ("34%", "34%", 5, 2), ("auto", "auto", 6, 3)])
def test_as_many_as_are_allowed(daemon, surge, unavailable, most, fewest):
    """No more than max_surge above, no fewer ready than max_unavailable below; and no request fails."""
    keys = {"autoscaling": FIXED, "update_strategy": {"max_surge": surge, "max_unavailable": unavailable}}
    daemon.admin.deploy(project("old", **keys))
    with Asked(daemon) as asked:
        wait_for("answers", lambda: len(asked.order) > 20)
        assert daemon.admin.send(project("new", init=SLOW, **keys)).status_code == 200
        seen = watch_places(daemon, is_live(daemon, 2))
        wait_for("answers of the new one alone", lambda: asked.order[-20:] == ["new"] * 20)
    assert asked.failed == []
    assert max(old + new for old, new in seen) <= most, seen
    ready = [e for e in daemon.admin.events("api") if e["revision"] == 2 and e["type"] == "replica_ready"]
    assert len(ready) == 3
    assert min(old + new for old, new in seen) >= fewest, seen
    if most < 6:  # step by step, and both serve meanwhile
        assert {new for _, new in seen} & {1, 2}, seen
        assert surge != 1 or "old" in asked.order[asked.order.index("new"):]
    else:  # at once, when all are ready
        assert (3, 3) in seen
        assert asked.order.index("new") > max(i for i, word in enumerate(asked.order) if word == "old") - 8


def tight(word, mib=200, replicas=1, init="pass", **keys):
    """One whose replica reserves so many MiB."""
    keys = {"update_strategy": {"watch": "0s"}, **keys}
    return project(word, init=init, compute={"mem": f"{mib}Mi"},
                   autoscaling={"min_replicas": replicas, "max_replicas": replicas}, predictor={"zygote": "none", "freeze": "never"}, **keys)


def test_memory_for_one_copy():
    """Requests are held while the only replica is replaced; none fails."""
    with Daemon(args=["--memory", "300Mi"]) as daemon:
        daemon.admin.deploy(tight("old"))
        with Asked(daemon, pause=0.01) as asked:
            wait_for("answers", lambda: len(asked.order) > 20)
            assert daemon.admin.send(tight("new", init=SLOW)).status_code == 200
            seen, held, both = [], 0, 0
            while not is_live(daemon, 2)():
                api = daemon.admin.api("api")
                there = {int(r["id"].split("-")[1]) for r in api["replicas"]}
                both += there == {1, 2}
                held = max(held, (api["rollout"] or {}).get("held", 0))
                seen.append(sorted(there))
            wait_for("answers of the new one", lambda: asked.order[-20:] == ["new"] * 20)
        assert asked.failed == []
        assert both == 0, "one copy at a time"
        assert [] in seen or held, seen
        assert held > 0
        first = asked.order.index("new")
        assert "old" not in asked.order[first:]
        assert revisions(daemon)[2]["state"] == "live"


def test_memory_for_two_of_two():
    """One by one: at any time one of them serves."""
    with Daemon(args=["--memory", "500Mi"]) as daemon:
        daemon.admin.deploy(tight("old", replicas=2))
        with Asked(daemon, pause=0.01) as asked:
            wait_for("answers", lambda: len(asked.order) > 20)
            assert daemon.admin.send(tight("new", replicas=2, init=SLOWER)).status_code == 200
            seen = watch_places(daemon, is_live(daemon, 2))
            wait_for("answers of the new one", lambda: asked.order[-20:] == ["new"] * 20)
        assert asked.failed == [] and asked.slowest < 3, "nobody waits for a start"
        assert max(old + new for old, new in seen) <= 2, seen
        assert (1, 1) in seen


def test_it_is_refused_where_too_many_would_wait():
    """With the numbers; and the old one was never touched."""
    with Daemon(args=["--memory", "300Mi"]) as daemon:
        keys = {"max_queue_length": 3, "update_strategy": {"watch": "0s"}}
        daemon.admin.deploy(tight("old", init="import time; time.sleep(1)", **keys))
        pids = daemon.admin.pids("api")
        with Asked(daemon, clients=4, pause=0.02) as asked:
            wait_for("answers", lambda: len(asked.order) > 100)
            assert daemon.admin.send(tight("new", **keys)).status_code == 200
            why = failed_with(daemon, 2)
            wait_for("more answers", lambda n=len(asked.order): len(asked.order) > n + 50)
        assert asked.failed == [] and set(asked.order) == {"old"}
        assert daemon.admin.pids("api") == pids
        for part in ("there is no memory for a replica of it beside revision 1: it needs 200 MiB (compute.mem)", "a start takes", " a second",
                     "3 may wait (max_queue_length)", "the setting `memory`"):
            assert part in why, why
        assert revisions(daemon)[2]["why"] == why


def test_one_that_is_never_ready_is_held_for_no_longer_than_max_hold():
    """Those who waited are answered by the old one, which is started again."""
    with Daemon(args=["--memory", "300Mi"]) as daemon:
        keys = {"update_strategy": {"max_hold": "2s", "watch": "0s"}}
        daemon.admin.deploy(tight("old", **keys))
        with Asked(daemon, pause=0.01) as asked:
            wait_for("answers", lambda: len(asked.order) > 20)
            assert daemon.admin.send(tight("new", init="import time; time.sleep(1000)", **keys)).status_code == 200
            why = failed_with(daemon, 2)
            wait_for("more answers", lambda n=len(asked.order): len(asked.order) > n + 50, 30)
        assert asked.failed == [] and set(asked.order) == {"old"}
        assert asked.slowest > 2
        assert "no replica of it was ready within 2.0 s (update_strategy.max_hold), while 4 requests waited for it" in why, why


def test_no_room_even_alone():
    """The old one is not ended for one that can have no room."""
    with Daemon(args=["--memory", "700Mi"]) as daemon:
        daemon.admin.deploy(project("other", "other", compute={"mem": "300Mi"}, autoscaling={"min_replicas": 1, "max_replicas": 1}))
        daemon.admin.deploy(tight("old"))
        pids = daemon.admin.pids("api")
        assert daemon.admin.send(tight("new", mib=500)).status_code == 200
        why = failed_with(daemon, 2)
        assert "another replica needs 500 MiB (compute.mem)" in why, why
        assert daemon.admin.pids("api") == pids and daemon.admin.post("/api", json={}).text == "old"


# ---- those that are no good ----

BAD = {
    "crash at import": ("1 / 0\n", "ZeroDivisionError"),
    "crash in __init__": (predictor("return 'bad'", init="raise ValueError('no weights')"), "no weights"),
    "killed in __init__": (predictor("return 'bad'", init="import os; os._exit(3)"), "exit"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_fault_before_traffic_is_seen_by_nobody(daemon, case):
    source, cause = BAD[case]
    daemon.admin.deploy(project("old"))
    with Asked(daemon) as asked:
        assert daemon.admin.send(project("bad", source=source)).status_code == 200
        why = failed_with(daemon, 2)
        wait_for("more answers", lambda n=len(asked.order): len(asked.order) > n + 50)
    assert cause in why and asked.failed == [] and set(asked.order) == {"old"}
    assert revisions(daemon)[2]["state"] == "failed" and cause in revisions(daemon)[2]["why"]
    assert daemon.admin.api("api")["rolled_back"]["serves"] == 1


def test_one_that_is_never_ready_is_given_up(daemon):
    daemon.admin.deploy(project("old"))
    with Asked(daemon) as asked:
        bad = project("bad", init="import time; time.sleep(1000)", predictor={"start_timeout": "2s"})
        assert daemon.admin.send(bad).status_code == 200
        why = failed_with(daemon, 2)
        wait_for("more answers", lambda n=len(asked.order): len(asked.order) > n + 50)
    assert "start_timeout" in why and asked.failed == [] and set(asked.order) == {"old"}


def test_one_whose_first_calls_crash_goes_again(daemon):
    """It shows with traffic alone: the one before, which is still there, serves again within moments."""
    daemon.admin.deploy(project("old"))
    old = daemon.admin.pids("api")
    with Asked(daemon, clients=8) as asked:
        wait_for("answers", lambda: len(asked.order) > 500)
        assert daemon.admin.send(project("bad", source=predictor("import os; os._exit(7)"))).status_code == 200
        why = failed_with(daemon, 2)
        wait_for("old ones again", lambda: asked.order[-50:] == ["old"] * 50 and daemon.admin.api("api")["revision"] == 1)
    assert set(asked.order) == {"old"} and len(asked.failed) < 100
    assert "failed" in why or "ended" in why
    assert set(old) <= set(daemon.admin.pids("api")), "they had been kept"
    wait_for("it is gone", lambda: {r for r, _ in replicas(daemon)} == {1})
    api = daemon.admin.api("api")
    assert (api["status"], api["revision"], api["rolled_back"]["revision"]) == ("live", 1, 2)
    assert revisions(daemon)[2]["state"] == "failed" and revisions(daemon)[1]["state"] == "live"


ONE_IN_FIVE = """
import itertools
global turn
try:
    turn
except NameError:
    turn = itertools.count()
if next(turn) % 5 == 4:
    raise RuntimeError("one in five")
return "bad"
""".strip()


def test_one_that_fails_one_in_five_goes_again(daemon):
    daemon.admin.deploy(project("old"))
    with Asked(daemon) as asked:
        wait_for("answers", lambda: len(asked.order) > 500)
        assert daemon.admin.send(project("bad", source=predictor(ONE_IN_FIVE))).status_code == 200
        why = failed_with(daemon, 2)
        wait_for("old ones again", lambda: asked.order[-50:] == ["old"] * 50)
    assert "requests failed, and 0 of the last" in why and "of revision 1" in why, why
    assert {s for s, _ in asked.failed} == {500} and len(asked.failed) < 30
    assert asked.counts["bad"] > 0


def test_one_that_is_as_good_stays(daemon):
    """Both fail one in five: that is no news."""
    daemon.admin.deploy(project("old", source=predictor(ONE_IN_FIVE.replace("bad", "old"))))
    with Asked(daemon) as asked:
        wait_for("answers", lambda: len(asked.order) > 300)
        daemon.admin.deploy(project("new", source=predictor(ONE_IN_FIVE.replace("bad", "new")), update_strategy={"watch": "3s"}))
        watch = daemon.admin.api("api")["watch"]
        assert watch["before"]["revision"] == 1 and watch["before"]["failed"] > 20 and watch["revision"] == 2
        wait_for("the watch is over", lambda: daemon.admin.api("api")["watch"] is None)
    assert daemon.admin.api("api")["revision"] == 2
    event, = [e for e in daemon.admin.events("api") if e["type"] == "watched"]
    assert "revision 1 ends" in event["text"]
    wait_for("only the new one is left", lambda: {r for r, _ in replicas(daemon)} == {2})


def test_what_is_kept_gives_way_to_others():
    with Daemon(args=["--memory", "700Mi"]) as daemon:
        daemon.admin.deploy(tight("old", update_strategy={"watch": "10m"}))
        daemon.admin.deploy(tight("new", update_strategy={"watch": "10m"}))
        assert (1, "kept") in replicas(daemon)
        daemon.admin.deploy(project("other", "other", compute={"mem": "400Mi"}, autoscaling={"min_replicas": 1, "max_replicas": 1}))
        assert {r for r, _ in replicas(daemon)} == {2}
        assert daemon.admin.post("/other", json={}).text == "other"
        assert daemon.admin.post("/api", json={}).text == "new"


def test_a_deploy_ends_the_watch(daemon):
    for word in ("one", "two", "three"):
        daemon.admin.deploy(project(word, update_strategy={"watch": "10m"}))
    wait_for("the first one is gone", lambda: {r for r, _ in replicas(daemon)} == {2, 3})
    assert daemon.admin.api("api")["watch"]["before"]["revision"] == 2


def test_deleted_while_it_is_watched(daemon):
    """And the replica that is kept has a request, which outlives that of the new one."""
    long = predictor("import time; time.sleep(payload.get('s', 0)); return 'old'")
    daemon.admin.deploy(project("old", source=long))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(daemon.admin.post, "/api", json={"s": 2})
        wait_for("it is there", lambda: daemon.admin.api("api")["in_flight"] == 1)
        daemon.admin.deploy(project("new"))
        pid = daemon.daemon_pid
        daemon.admin.delete("api")
        assert held.result().text == "old"
    assert daemon.daemon_pid == pid


# ---- what `soma deploy` says ----

def folder(daemon, word, **keys):
    """The project as a folder."""
    path = daemon.inside(f"project-{word}")
    os.makedirs(path, exist_ok=True)
    for name, content in project(word, **keys).items():
        with open(os.path.join(path, name), "w", encoding="utf-8") as f:
            f.write(content)
    return path


def test_deploy_says_why_one_went_again(own_daemon):
    """It is live first, and is watched while requests come."""
    own_daemon.cli("deploy", folder(own_daemon, "old"), check=0)
    with Asked(own_daemon, pause=0.005) as asked:
        wait_for("answers", lambda: len(asked.order) > 500)
        bad = own_daemon.cli("deploy", folder(own_daemon, "bad", source=predictor(ONE_IN_FIVE)), check=1)
        bad.says("api failed:", "requests failed, and 0 of the last", "revision 1 of api goes on serving")
        wait_for("old ones again", lambda: asked.order[-50:] == ["old"] * 50)
        own_daemon.cli("history", "api", check=0).says("failed", "requests failed")
        good = own_daemon.cli("deploy", folder(own_daemon, "new", update_strategy={"watch": "2s"}), check=0)
        good.says("api is live")
        assert own_daemon.admin.api("api")["watch"] is None, "it was seen to its end"
    quiet = time.monotonic()
    own_daemon.cli("deploy", folder(own_daemon, "third", update_strategy={"watch": "10m"}), "--no-watch", check=0)
    assert time.monotonic() - quiet < 60 and own_daemon.admin.api("api")["watch"] is not None

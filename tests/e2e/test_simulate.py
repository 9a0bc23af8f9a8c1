"""soma simulate: needs no daemon, but for the one whose log it reads."""
import gzip
import json
import subprocess
from pathlib import Path

import pytest
from soma import projects
from soma.daemon import BIN
from soma.waiting import seconds, wait_for

pytestmark = pytest.mark.timeout(seconds(900))  # all of it is computing
TRACES = Path(__file__).resolve().parents[1] / "data" / "traces"


def simulate(*words):
    return subprocess.run([str(BIN), "simulate", *map(str, words)], capture_output=True, text=True, timeout=seconds(800))


def of(*words):
    done = simulate(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def recorded(path, rows):
    path.write_text("time,api,seconds\n" + "".join(f"{at},{api},{takes}\n" for at, api, takes in rows))
    return path


def rows_of(doc, policy, load=0):
    return [r for r in doc["classes"][load]["policies"] if r["policy"] == policy]


def test_worked_by_hand(tmp_path):
    """Two requests of 1 s, 100 s apart, a start of 2 s: who knows loads twice, each time for 2 s."""
    trace = recorded(tmp_path / "two.csv", [(10, "a", 1), (110, "a", 1)])
    doc = of(trace, "--load", "2s")
    oracle, = rows_of(doc, "oracle")
    assert (oracle["requests"], oracle["misses"], oracle["starts"]) == (2, 0, 2)
    assert oracle["replica_seconds"] == pytest.approx(2 + 1 + 2 + 1)
    # Kept for 600 s after each request, to the trace's end: from 0 to 101 s and beyond.
    kept, = rows_of(doc, "keep-alive")
    assert (kept["misses"], kept["starts"]) == (1, 1)
    assert kept["replica_seconds"] == pytest.approx(101, abs=0.1)


CONFIG = """
- name: a
  predictor: {path: p.py, threads_per_process: 2}
  autoscaling: {min_replicas: 1, max_replicas: 3, max_wait: 1s, wait_worth: 5}
- name: absent
  predictor: {path: p.py}
"""


def test_the_settings_of_a_config_file(tmp_path):
    """min_replicas keeps the one that the first request starts; b is not in the file, absent not in the trace."""
    trace = recorded(tmp_path / "two.csv", [(10, "a", 1), (20, "b", 1), (110, "a", 1)])
    config = tmp_path / "soma.yaml"
    config.write_text(CONFIG)
    done = simulate(trace, "--config", config, "--load", "2s", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "soma simulate: no request of 'absent' is there\n")
    class_, = json.loads(done.stdout)["classes"]
    assert (class_["api"], class_["wait_seconds"]) == ("a", 1)
    ours, = rows_of(json.loads(done.stdout), "soma")
    assert (ours["setting"], ours["requests"], ours["misses"], ours["starts"]) == (5, 2, 1, 1)
    assert "a: 2 requests; 1 to 3 replicas of 2 slots, wait_worth 5\n" in simulate(trace, "--config", config, "--load", "2s").stdout
    config.write_text(CONFIG.replace("wait_worth: 5", "wait_worth: 5, keep_idle: 40s"))
    assert "2 slots, wait_worth 5, keep_idle 40.0 s\n" in simulate(trace, "--config", config, "--load", "2s").stdout
    for words, code, text in [(["--worth", "3"], 2, "are what --config says"), (["--config", tmp_path / "none.yaml"], 2, "none.yaml")]:
        done = simulate(trace, "--config", config, *words)
        assert done.returncode == code and text in done.stderr, done.stderr
    config.write_text(CONFIG.replace("max_wait", "max_wayt"))
    done = simulate(trace, "--config", config)
    assert done.returncode == 5 and "soma.yaml:4:" in done.stderr and "did you mean 'max_wait'?" in done.stderr


def test_a_time_that_is_said(tmp_path):
    """40 s after each of two requests, and a start each; learning, the first is kept for longer."""
    trace = recorded(tmp_path / "two.csv", [(10, "a", 1), (110, "a", 1), (200, "b", 1)])
    row, = rows_of(of(trace, "--load", "2s", "--policy", "soma", "--keep", "40s"), "soma")
    assert (row["keep_idle_seconds"], row["starts"]) == (40, 3)
    assert row["replica_seconds"] == pytest.approx(2 * (2 + 1 + 40) + 2 + 1, abs=3)
    assert "keep_idle_seconds" not in rows_of(of(trace, "--load", "2s", "--policy", "soma"), "soma")[0]
    done = simulate(trace, "--keep", "soon")
    assert done.returncode == 2 and "--keep 'soon': a time like 10m" in done.stderr


def test_an_access_log(tmp_path):
    """The same two, as the daemon logs them: at their ends, with others between, a refusal, and a line that is not whole."""
    log = tmp_path / "access.jsonl"
    def line(time, ms, path, status=200):
        return json.dumps({"time": f"2026-11-26T{time}Z", "status": status, "ms": ms, "in": 1, "out": 1, "method": "POST", "path": path,
                           "peer": "127.0.0.1:1", "request_id": "a"}, separators=(",", ":"))
    lines = [line("23:59:00.500", 1000, "/a"), line("23:59:01.000", 5, "/other/v1/chat"), line("23:59:02.000", 0.1, "/a", 503),
             line("23:59:01.500", 2500, "/other/v1/models")]
    tomorrow = line("00:00:40.500", 1000, "/a").replace("-26T", "-27T")
    log.write_text("\n".join([*lines, tomorrow, '{"time":"2026-11-27T00:0']))
    doc = of(log, "--load", "2s")
    assert doc["apis"] == 2
    oracle, = rows_of(doc, "oracle")
    assert (oracle["requests"], oracle["starts"]) == (4, 4)
    one, = rows_of(of(log, "--load", "2s", "--policy", "soma", "--worth", "7", "--max", "1"), "soma")
    assert one["setting"] == 7 and one["requests"] == 4
    log.write_text(lines[0] + "\nnonsense\n")
    assert "access.jsonl:2: no line of an access log" in simulate(log).stderr


def test_the_log_of_a_daemon(own_daemon):
    own_daemon.admin.deploy(projects.python_project(projects.predictor("return payload")))
    for i in range(3):
        own_daemon.admin.post("/echo", json=i)
    log = own_daemon.data / "logs/access.jsonl"
    wait_for("it is logged", lambda: log.exists() and log.read_text().count('"path":"/echo"') == 3)
    # However long the machine took for them: a slot for each, and a start costs more than any gap.
    oracle, = rows_of(of(log, "--load", "10m", "--slots", "3", "--policy", "soma"), "oracle")
    assert (oracle["requests"], oracle["starts"]) == (3, 1)


def test_several_at_once_by_hand(tmp_path):
    """Three at once, 10 s each: three replicas for Lambda's rule; the oracle has them ready."""
    trace = recorded(tmp_path / "three.csv", [(0, "a", 10)] * 3)
    doc = of(trace, "--load", "2s")
    oracle, = rows_of(doc, "oracle")
    assert oracle["replica_seconds"] == pytest.approx(3 * 12)
    kept, = rows_of(doc, "keep-alive")
    assert (kept["misses"], kept["starts"], kept["busy_seconds"]) == (3, 3, pytest.approx(30))


def test_the_same_seed_makes_the_same():
    trace = TRACES / "functions50_inv.csv.gz"
    one, two = (of(trace, "--load", "2s", "--policy", "soma", "--seed", "7") for _ in range(2))
    assert one == two
    assert of(trace, "--load", "2s", "--policy", "soma", "--seed", "8") != one


def test_halves_make_the_whole():
    trace = TRACES / "functions50_inv.csv.gz"
    parts = [of(trace, "--load", "2s", "--policy", "kpa", "--half", half) for half in ("tune", "report", "all")]
    assert parts[0]["apis"] + parts[1]["apis"] == parts[2]["apis"] == 50
    for what in ("requests", "misses", "starts"):
        tune, report, whole = (rows_of(p, "kpa")[0][what] for p in parts)
        assert tune + report == whole


# Settings lie apart: between two of ours is one that was not tried.
BETWEEN = 1.03


def never_more_replicas(trace, longest, *words, between=BETWEEN):
    """For every setting of the others: some setting of ours misses no more, and takes no more."""
    doc = of(TRACES / trace, "--curve", *words)
    for load in range(len(doc["classes"])):
        ours = rows_of(doc, "soma", load)
        for policy in ("kpa", "keep-alive"):
            for other in rows_of(doc, policy, load):
                if other["setting"] > longest:
                    continue
                best = min((r["replica_seconds"] for r in ours if r["misses"] <= other["misses"]), default=float("inf"))
                assert best <= between * other["replica_seconds"], (load, policy, other)


def test_never_more_replicas_for_as_few_misses():
    """Of so few functions not many are seen again after hours: what is kept that long is for all of them, below."""
    never_more_replicas("functions50_inv.csv.gz", 1800, "--half", "report", "--load", "2s,60s")


@pytest.mark.parametrize("name", ["llm_conv.csv.gz", "llm_code.csv.gz"])
def test_never_more_replicas_for_the_hours_of_language_models(name):
    """An hour of one api each: a setting of the others that was lucky with one burst is to be found among ours."""
    never_more_replicas(name, 14400, "--load", "5ms,2s,60s", "--slots", "16", between=1.001)


@pytest.mark.soak
def test_never_more_replicas_for_500_functions():
    never_more_replicas("functions500_inv.csv.gz", 14400, "--half", "report", "--load", "2s,60s")


def test_starts_that_are_short_are_nobodys_miss():
    """With 5 ms to start: nearly none waits too long, and little more is taken than by who knows all."""
    doc = of(TRACES / "functions50_inv.csv.gz", "--load", "5ms", "--policy", "soma")
    ours, = rows_of(doc, "soma")
    assert ours["miss_share"] <= 0.001 and ours["by_oracle"] <= 1.2


@pytest.mark.parametrize("name", ["llm_conv.csv.gz", "llm_code.csv.gz"])
def test_the_llm_traces_are_read(name):
    doc = of(TRACES / name, "--load", "2s", "--slots", "16", "--policy", "soma")
    ours, = rows_of(doc, "soma")
    with gzip.open(TRACES / name, "rt") as f:
        assert ours["requests"] == sum(1 for _ in f) - 1
    assert ours["miss_share"] < 0.5


def test_what_a_person_sees():
    done = simulate(TRACES / "functions50_inv.csv.gz", "--load", "2s")
    assert done.returncode == 0
    for word in ("50 apis", "POLICY", "oracle", "soma", "kpa", "keep-alive", "hybrid", "cortex"):
        assert word in done.stdout


BAD = {
    "no such file": ("none.csv", None, "none.csv"),
    "empty": ("empty.csv", "", "empty.csv is empty"),
    "no trace": ("other.csv", "a,b,c\n1,2,3\n", "is no trace that is known"),
    "no requests": ("bare.csv", "time,api,seconds\n", "has no requests"),
    "a word for a number": ("word.csv", "time,api,seconds\n1,a,2\nsoon,a,1\n", "word.csv:3: field 1 is 'soon'"),
    "too few fields": ("few.csv", "time,api,seconds\n1,a\n", "few.csv:2: 2 fields, where the first line has 3"),
    "backwards": ("back.csv", "time,api,seconds\n5,a,1\n4,a,1\n", "back.csv:3: the request came before the one above"),
    "below zero": ("minus.csv", "time,api,seconds\n-5,a,1\n", "minus.csv:2: field 1 is '-5'"),
    "no date": ("llm.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,1\n", "llm.csv:2: 'noon' is no time"),
    "no name of Azure's": ("azure.csv", "HashFunction,HashApp\n", "NAME_inv.csv"),
    "alone": ("alone_inv.csv", "HashFunction,HashApp\n", "alone_run.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_traces_are_named(tmp_path, case):
    name, text, words = BAD[case]
    if text is not None:
        (tmp_path / name).write_text(text)
    done = simulate(tmp_path / name)
    assert done.returncode == 1
    assert words in done.stderr


def test_a_torn_archive_is_named(tmp_path):
    packed = (TRACES / "llm_code.csv.gz").read_bytes()
    (tmp_path / "torn.csv.gz").write_bytes(packed[:1000])
    done = simulate(tmp_path / "torn.csv.gz")
    assert done.returncode == 1 and "torn.csv.gz is not a whole gzip file" in done.stderr


@pytest.mark.parametrize("words, said", [
    (("--load", "soon"), "--load 'soon'"),
    (("--wait", "0"), "--wait '0'"),
    (("--slots", "0"), "--slots '0'"),
    (("--seed", "x"), "--seed 'x'"),
    (("--half", "third"), "--half 'third'"),
    (("--policy", "kpas"), "--policy 'kpas'"),
])
def test_bad_settings_are_named(tmp_path, words, said):
    trace = recorded(tmp_path / "t.csv", [(0, "a", 1)])
    done = simulate(trace, *words)
    assert done.returncode == 2
    assert said in done.stderr

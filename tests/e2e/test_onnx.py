"""Native models: an .onnx file as an api, and engines that are plugins."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import numpy as np
import pytest

from soma import models, procs, projects
from soma.client import error_of
from soma.daemon import BIN, Daemon
from soma.waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def onnx_api(name="model", **keys):
    return {"name": name, "predictor": {"type": "onnx", "model": "model.onnx", **keys.pop("predictor", {})}, **keys}


def onnx_project(model, *apis, **files):
    return {"soma.yaml": projects.yaml_value(list(apis) or [onnx_api()]),
            "model.onnx": model if isinstance(model, bytes) else models.data(model), **files}


@pytest.fixture(scope="module")
def linear(daemon):
    daemon.admin.deploy(onnx_project(models.linear(), onnx_api("linear")))
    return daemon.admin


def test_a_bare_model_is_an_api(linear):
    answer = linear.post("/linear", json={"x": [[1, 2, 3], [0, 0, 0]]})
    assert answer.status_code == 200 and np.allclose(answer.json()["y"], [[2.1, 2.7], [0.5, 0.5]])
    assert answer.headers["content-type"] == "application/json"
    told = linear.get("/linear").json()
    assert told["inputs"] == [{"name": "x", "dtype": "float32", "shape": [-1, 3], "optional": False}]
    assert linear.api("linear")["predictor"] == "onnx"


def test_memory_of_runs_is_kept_at_hand(linear):
    """Unless the user says what malloc shall do."""
    own = "glibc.malloc.arena_max=2"
    linear.deploy(onnx_project(models.linear(), onnx_api("own", predictor={"env": {"GLIBC_TUNABLES": own}})))

    def told(name):
        lines = pathlib.Path(f"/proc/{linear.pids(name)[0]}/environ").read_bytes().decode().split("\0")
        return [line for line in lines if line.startswith("GLIBC_TUNABLES=")]
    assert told("linear") == ["GLIBC_TUNABLES=glibc.malloc.tcache_count=64"]
    assert told("own") == ["GLIBC_TUNABLES=" + own]
    linear.delete("own")


def test_the_command_line_that_is_told_works(linear):
    """An input of any size is of size 1 in it. A model with much to say has a GET instead."""
    line = linear.api("linear")["sample"]
    assert line.endswith("""/linear -H 'Content-Type: application/json' -d '{"x":[[0,0,0]]}'""")
    done = subprocess.run(["bash", "-c", line.replace("curl", "curl -s")], capture_output=True, text=True)
    assert np.allclose(json.loads(done.stdout)["y"], [[0.5, 0.5]])

    quoted = [engine_api("quoted", "echo", engine_options={"inputs": "it's:string[-1] n?:int64"}),
              engine_api("large", "echo", engine_options={"inputs": "x:float32[1000]"})]
    linear.deploy({"soma.yaml": projects.yaml_value(quoted)})
    done = subprocess.run(["bash", "-c", linear.api("quoted")["sample"].replace("curl", "curl -s")], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"it's": [""]}
    assert linear.api("large")["sample"].endswith("/large")


def test_it_has_one_path(linear):
    assert error_of(linear.post("/linear/below", json={}), 404, "not_found")
    assert linear.post("/linear/", json={"x": [[1, 2, 3]]}).status_code == 200


def test_a_wrong_request_is_told(linear):
    answer = linear.post("/linear", json={"x": [[1, 2]]}, headers={"X-Request-Id": "mine"})
    error = error_of(answer, 400, "invalid")
    assert error["message"] == "input 'x' wants float32 [batch,3]: its lists have the shape [1,2]"
    assert error["request_id"] == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's replicas have users of their own")
def test_it_runs_as_a_user_of_its_own(linear):
    for pid in linear.pids("linear"):
        assert os.stat(f"/proc/{pid}").st_uid >= 61184


def test_processes_and_slots(daemon):
    daemon.admin.deploy(onnx_project(models.linear(), onnx_api("many", predictor={"processes_per_replica": 2, "threads_per_process": 3})))
    assert len(daemon.admin.pids("many")) == 2
    for _ in range(20):
        assert daemon.admin.post("/many", json={"x": [[1, 2, 3]]}).status_code == 200


def test_a_killed_replica_comes_back(linear):
    (pid,) = linear.pids("linear")
    os.kill(pid, signal.SIGKILL)
    wait_for("another process", lambda: linear.pids("linear") and linear.pids("linear") != [pid])
    assert linear.post("/linear", json={"x": [[1, 2, 3]]}).status_code == 200


def test_a_new_daemon_adopts_it(own_daemon):
    admin = own_daemon.admin
    admin.deploy(onnx_project(models.linear(), onnx_api("linear")))
    pids = admin.pids("linear")
    before = own_daemon.daemon_pid
    os.kill(before, signal.SIGKILL)
    wait_for("the new daemon", lambda: own_daemon.daemon_pid not in (None, before) and admin.is_ready())
    admin.wait_live("linear")
    assert admin.pids("linear") == pids
    assert admin.post("/linear", json={"x": [[1, 2, 3]]}).status_code == 200


def test_a_failed_model_fails_the_rollout(daemon):
    daemon.admin.deploy(onnx_project(models.scaled(), onnx_api("roll")))
    told = daemon.admin.deploy_failing(onnx_project(models.data(models.scaled())[:-10], onnx_api("roll")))
    assert "is cut short: it ends after" in json.dumps(told)
    assert daemon.admin.post("/roll", json={"x": [1]}).json() == {"y": [2]}


def test_a_requirements_file_builds_nothing(daemon):
    daemon.admin.deploy(onnx_project(models.scaled(), onnx_api("plain"), **{"requirements.txt": "no-such-package-anywhere==9\n"}))
    assert daemon.admin.post("/plain", json={"x": [1]}).json() == {"y": [2]}


def test_timeout(daemon):
    daemon.admin.deploy(onnx_project(models.endless(), onnx_api("endless", predictor={"predict_timeout": "300ms"})))
    (pid,) = daemon.admin.pids("endless")
    error_of(daemon.admin.post("/endless", json={"x": 2**60}), 504, "timeout")
    assert daemon.admin.post("/endless", json={"x": 3}).json() == {"y": 3}
    assert daemon.admin.pids("endless") == [pid]


def test_external_data(daemon, tmp_path):
    models.external(tmp_path)
    files = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([onnx_api("external")]), **files})
    assert daemon.admin.post("/external", json={"x": [[2] + [0] * 1023]}).json()["y"][0][:2] == [6, 0]


def test_an_execution_provider_that_is_not_here(daemon):
    told = daemon.admin.deploy_failing(onnx_project(models.linear(), onnx_api("gpu", predictor={"execution_provider": "cuda"})))
    assert "predictor.execution_provider: ONNX Runtime 1." in json.dumps(told) and " has no 'cuda'; it has: " in json.dumps(told)


OLD_RUNTIME = """
static const char *version(void) { return "1.9.1"; }
static const void *get(unsigned n) { return n > 9 ? 0 : "x"; }
static const struct { const void *(*get)(unsigned); const char *(*version)(void); } base = {get, version};
const void *OrtGetApiBase(void) { return &base; }
"""


@pytest.fixture
def open_folder():
    """A folder that replicas' users can read."""
    with tempfile.TemporaryDirectory(prefix="soma-onnx-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def test_the_library_that_the_daemon_or_the_api_names(open_folder):
    old = open_folder / "old.so"
    build_engine(old, OLD_RUNTIME)
    real = BIN.parent / "host/libonnxruntime.so.1"
    with Daemon(env={"SOMA_ONNXRUNTIME": old}) as d:
        told = json.dumps(d.admin.deploy_failing(onnx_project(models.scaled())))
        assert f"ONNX Runtime at '{old}' is version 1.9.1, which is too old: 1.16 is the oldest that works. Remedy: take libonnxruntime.so" in told
        assert f"put it into {d.data}/lib, or name it with predictor.onnxruntime or SOMA_ONNXRUNTIME" in told
        project = onnx_project(models.scaled(), onnx_api(predictor={"onnxruntime": "runtime.so"}), **{"runtime.so": real.read_bytes()})
        d.admin.deploy(project)
        assert d.admin.post("/model", json={"x": [1]}).json() == {"y": [2]}


# --- engines


def build_engine(path, text, *flags):
    source = path.with_suffix(".c")
    source.write_text(text)
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-I", ROOT / "include", *flags, "-o", path, source], check=True)
    return path.read_bytes()


def engine_api(name="mine", engine="mine.so", **keys):
    return {"name": name, "predictor": {"type": "engine", "engine": engine, **keys}}


def engine_project(library, api):
    return {"soma.yaml": projects.yaml_value([api]), "mine.so": library}


def failing(daemon, library, **keys):
    return json.dumps(daemon.admin.deploy_failing(engine_project(library, engine_api(**keys))))


def test_echo_engine(daemon):
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([engine_api("echo", "echo", engine_options={"inputs": "x:int64[-1] flag?:bool"})])})
    assert daemon.admin.post("/echo", json={"x": [1, 2], "flag": True}).json() == {"x": [1, 2], "flag": True}
    assert daemon.admin.post("/echo", json={"x": [1.5]}).status_code == 400
    assert daemon.admin.api("echo")["predictor"] == "engine"


def test_engine_tiny_as_the_page_says(daemon, tmp_path):
    page = (ROOT / "docs/engines.md").read_text()
    (line,) = re.findall(r"^    (cc -shared .*)$", page, re.M)
    (config,) = re.findall(r"^    (- name: tiny\n(?:      .*\n)+)", page, re.M)
    (request, answer) = re.search(r"/tiny .* -d '(.*)'\n    (.*)\n", page).groups()
    subprocess.run(line.replace("tiny.so", str(tmp_path / "tiny.so")) + " -Wall -Wextra -Werror", shell=True, cwd=ROOT, check=True)
    daemon.admin.deploy({"soma.yaml": config.replace("\n      ", "\n  "), "tiny.so": (tmp_path / "tiny.so").read_bytes()})
    told = daemon.admin.post("/tiny", data=request, headers={"Content-Type": "application/json"})
    assert told.text == answer


def test_stuck_run_costs_the_process(daemon):
    daemon.admin.deploy({"soma.yaml": projects.yaml_value([engine_api("deaf", "echo", predict_timeout="200ms", engine_options={"delay_ms": 600000, "deaf": 1})])})
    (pid,) = daemon.admin.pids("deaf")
    error_of(daemon.admin.post("/deaf", json={}), 504, "timeout")
    wait_for("another process", lambda: daemon.admin.pids("deaf") and daemon.admin.pids("deaf") != [pid] and not procs.alive(pid))


def test_engine_of_another_abi(daemon, tmp_path):
    library = build_engine(tmp_path / "mine.so", '#include "soma_engine.h"\nSOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {.abi = 77, .size = 8};\n')
    assert "the engine 'mine.so' was built for version 77 of soma_engine.h, this Soma has version 1; build it again with the header of this Soma" in failing(daemon, library)


def test_engine_without_the_symbol(daemon, tmp_path):
    library = build_engine(tmp_path / "mine.so", "int x;\n")
    assert "'mine.so' is no engine: it has no symbol 'soma_engine'; define it as soma_engine.h says" in failing(daemon, library)


def test_engine_that_is_no_library(daemon):
    assert "the engine 'mine.so' cannot be opened: " in failing(daemon, b"not a library")


NO_RUN = '#include "soma_engine.h"\nSOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {.abi = SOMA_ENGINE_ABI, .size = sizeof(struct soma_engine), .name = "mine"};\n'


def test_engine_without_run(daemon, tmp_path):
    assert "the engine 'mine.so' has no run; soma_engine.h says what must be there" in failing(daemon, build_engine(tmp_path / "mine.so", NO_RUN))


CRASH = """#include "soma_engine.h"
#include <stdlib.h>
static int load(const struct soma_params *p, struct soma_model **m, struct soma_error *e) { AT_LOAD; return 0; }
static int run(struct soma_model *m, uint32_t s, const struct soma_request *i, struct soma_response *o, struct soma_error *e) { AT_RUN; return SOMA_FAILED; }
SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
    .abi = SOMA_ENGINE_ABI, .size = sizeof(struct soma_engine), .name = "mine", .load = load, .run = run};
"""


@pytest.mark.parametrize("how, number", [("*(volatile int *)0 = 1", 11), ("abort()", 6)])
def test_engine_crashes_at_load(daemon, tmp_path, how, number):
    library = build_engine(tmp_path / "mine.so", CRASH, f"-DAT_LOAD={how}", "-DAT_RUN=")
    assert f"the engine crashed while it loaded (signal {number:02}): mine.so. Remedy: its last lines may say why" in failing(daemon, library, name="crash")


def test_engine_crashes_in_a_run(daemon, tmp_path):
    library = build_engine(tmp_path / "mine.so", CRASH, "-DAT_LOAD=", "-DAT_RUN=abort()")
    daemon.admin.deploy(engine_project(library, engine_api("falls")))
    error = error_of(daemon.admin.post("/falls", json={}), 502, "replica_failed")
    assert "signal 6 (SIGABRT)" in json.dumps(error)


def test_engine_fails_without_words(daemon, tmp_path):
    library = build_engine(tmp_path / "mine.so", CRASH, "-DAT_LOAD=", "-DAT_RUN=")
    daemon.admin.deploy(engine_project(library, engine_api("mute")))
    error = error_of(daemon.admin.post("/mute", json={}), 500, "predict_error")
    assert error["message"] == "the engine failed (code 1) and does not say why"

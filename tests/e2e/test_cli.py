"""The command line against a real daemon, read as its user reads it."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from soma import procs, projects
from soma.daemon import BIN, clean_environment
from soma.waiting import seconds, wait_for

UNREACHABLE, USAGE, FAILED, NOTFOUND, CONFIG = 3, 2, 1, 4, 5


def deploy(daemon, folder, files, *flags, check=0):
    return daemon.cli("deploy", folder(files), *flags, check=check)


# --- deploy ------------------------------------------------------------------


def test_deploy_ends_live_with_the_url_and_a_curl_that_works(daemon, folder):
    done = deploy(daemon, folder, projects.probe_project(projects.probe_api("first")))
    url = f"{daemon.url}/first"
    done.says("creating first (RealtimeAPI)", f"first is live at {url}", f"curl {url}")
    command = next(line.strip() for line in done.out.splitlines() if line.strip().startswith("curl "))
    ran = subprocess.run(["sh", "-c", command + " -sS"], capture_output=True, text=True, env=clean_environment())
    assert ran.returncode == 0 and json.loads(ran.stdout)["method"] == "GET", ran
    assert done.err == "" and "\x1b" not in done.out, "plain lines where there is no terminal"


def test_deploy_again_changes_nothing(daemon, folder):
    path = folder(projects.probe_project(projects.probe_api("same")))
    daemon.cli("deploy", path, check=0)
    before = daemon.admin.api("same")
    daemon.cli("deploy", path, check=0).says("same is up to date")
    after = daemon.admin.api("same")
    assert (before["revision"], before["replicas"][0]["pid"]) == (after["revision"], after["replicas"][0]["pid"])


def test_deploy_of_a_change_updates(daemon, folder):
    deploy(daemon, folder, projects.probe_project(projects.probe_api("changes")))
    done = deploy(daemon, folder, projects.probe_project(projects.probe_api("changes", predictor={"env": {"A": "b"}})))
    done.says("updating changes (RealtimeAPI)", "changes is live")
    assert daemon.admin.api("changes")["revision"] == 2
    assert daemon.admin.get("/changes/env").json()["A"] == "b"


def test_deploy_two_apis_of_one_file(daemon, folder):
    deploy(daemon, folder, projects.probe_project(projects.probe_api("two-a"), projects.probe_api("two-b"))).says(
        "two-a is live", "two-b is live")


@pytest.mark.parametrize("name", ["soma.yaml", "cortex.yaml", "other.yaml"])
def test_deploy_takes_a_folder_or_a_file(daemon, folder, name):
    files = projects.probe_project(projects.probe_api("named"))
    path = folder({name: files.pop("soma.yaml"), **files})
    daemon.cli("deploy", path / name if name == "other.yaml" else path, check=0)
    daemon.cli("deploy", *([name] if name == "other.yaml" else []), cwd=path, check=0).says("up to date")


def test_only_what_is_wanted_is_bundled(daemon, folder):
    lister = "import os\nprint(sorted(os.path.relpath(os.path.join(d, f)) for d, _, fs in os.walk('.') for f in fs))\n"
    files = projects.probe_project(projects.probe_api("bundle"))
    path = folder({
        **files, "probe.py": lister + files["probe.py"], "keep/data.bin": b"x", "skip/data.bin": b"x", ".hidden": "x",
        "a.log": "x", "__pycache__/a.pyc": b"x", ".env": "A=1", "empty.txt": "",
        ".somaignore": "skip/\n*.log\n"})
    (path / "link.txt").symlink_to(path / "keep/data.bin")
    daemon.cli("deploy", path, check=0)
    line = next(e["line"] for e in daemon.admin.logs("bundle") if e["line"].startswith("["))
    assert eval(line) == [".env", "empty.txt", "keep/data.bin", "link.txt", "probe.py"]


def test_deploy_uploads_only_what_changed(daemon, folder):
    big = os.urandom(3 << 20)
    files = {**projects.probe_project(projects.probe_api("delta")), "big.bin": big}
    daemon.cli("deploy", folder(files), check=0)
    blobs = sum(f.stat().st_size for f in (daemon.data / "blobs").rglob("*") if f.is_file())
    daemon.cli("deploy", folder({**files, "small": "new"}), check=0)
    after = sum(f.stat().st_size for f in (daemon.data / "blobs").rglob("*") if f.is_file())
    assert after - blobs < 1 << 20


def test_deploy_as_json(daemon, folder):
    done = deploy(daemon, folder, projects.probe_project(projects.probe_api("asjson")), "--output", "json")
    api, = done.json()["apis"]
    assert (api["name"], api["change"], api["status"], api["revision"]) == ("asjson", "created", "live", 1)
    assert api["url"] == f"{daemon.url}/asjson" and api["sample"].startswith("curl")


def test_deploy_without_waiting(daemon, folder):
    deploy(daemon, folder, projects.probe_project(projects.probe_api("nowait")), "--no-wait")
    daemon.admin.wait_live("nowait")


def test_deploy_shows_warnings_and_goes_on(daemon, folder):
    done = deploy(daemon, folder, projects.probe_project(projects.probe_api("warns", predictor={"image": "a/b:c"})))
    done.says("warning", "soma.yaml:1", "predictor.image", "replicas run on this machine, not in a container",
              "warns is live")


def test_a_failing_deploy_shows_cause_and_log(daemon, folder):
    api = {"name": "fails", "predictor": {"command": ["/bin/sh", "-c", "echo last words; exit 7"]}}
    done = deploy(daemon, folder, {"soma.yaml": projects.yaml_value([api])}, check=FAILED)
    done.says("error: fails failed: ", "exit code 7", "| last words", "soma logs", "soma delete")
    daemon.cli("get", "fails", check=0).says("error", "exit code 7")
    daemon.cli("delete", "fails", check=0)


def test_a_fixed_deploy_takes_over_a_failed_one(daemon, folder):
    api = {"name": "fixed", "predictor": {"command": ["/bin/false"]}}
    deploy(daemon, folder, {"soma.yaml": projects.yaml_value([api])}, check=FAILED)
    deploy(daemon, folder, projects.probe_project(projects.probe_api("fixed"))).says("fixed is live")
    assert daemon.admin.api("fixed")["status"] == "live"


def test_a_failing_update_leaves_the_old_one_serving(daemon, folder):
    deploy(daemon, folder, projects.probe_project(projects.probe_api("keeps")))
    pid = daemon.admin.get("/keeps/echo").json()["pid"]
    api = {"name": "keeps", "predictor": {"command": ["/bin/false"]}}
    deploy(daemon, folder, {"soma.yaml": projects.yaml_value([api])}, check=FAILED).says("keeps failed", "exit code 1")
    assert daemon.admin.get("/keeps/echo").json()["pid"] == pid
    daemon.cli("get", "keeps").says("revision 2 was rolled back: ", "exit code 1")


def test_deploy_can_be_interrupted_while_it_waits(daemon, folder):
    """Ctrl-C ends the command; the rollout goes on."""
    files = {"soma.yaml": projects.yaml_value([{"name": "slow", "predictor": {
        "command": [projects.PYTHON, "-c", "import time; time.sleep(1e6)"]}}])}
    process = subprocess.Popen([BIN, "deploy", folder(files)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=clean_environment(HOME=daemon.parent, SOMA_ADMIN=daemon.admin_url),
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # ignored where tests run in the background
    wait_for("it is deployed", lambda: daemon.admin.call("GET", "/v1/apis/slow").status_code == 200)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=seconds(20))
    assert process.returncode not in (0, None)
    assert daemon.admin.api("slow")["status"] == "updating"
    daemon.cli("delete", "slow", check=0)


# --- the others --------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("shown", autoscaling={"min_replicas": 2})))
    return daemon


def test_get(shown):
    table = shown.cli("get", check=0)
    row = next(line for line in table.out.splitlines() if line.startswith("shown "))
    assert "live" in row and re.search(r"\b2\b", row)
    one = shown.cli("get", "shown", check=0).says("shown", "live", f"{shown.url}/shown", "shown-1-0", "shown-1-1", "curl")
    assert str(shown.admin.pids("shown")[0]) in one.out
    assert shown.cli("get", "-o", "json").json()["apis"]
    assert shown.cli("get", "shown", "-o", "json").json()["name"] == "shown"


def test_predict(shown, tmp_path):
    assert shown.cli("predict", "shown", '{"a": 1}', check=0).json()["body"] == '{"a": 1}'
    (tmp_path / "in.json").write_text('{"from": "file"}')
    assert shown.cli("predict", "shown", tmp_path / "in.json", check=0).json()["body"] == '{"from": "file"}'
    told = shown.cli("predict", "shown", "-", stdin="[1, 2]", check=0).json()
    assert told["body"] == "[1, 2]"
    assert ["Content-Type", "application/json"] in told["headers"]


def test_predict_nothing_sensible(shown):
    shown.cli("predict", "shown", "no-such-file", check=USAGE).says("neither a file nor JSON")
    shown.cli("predict", "show", "{}", check=NOTFOUND).says("there is no api 'show'", "did you mean 'shown'")


def test_logs(shown):
    for i in range(5):
        shown.admin.get(f"/shown/print?text=line-{i}")
    wait_for("the lines", lambda: "line-4" in shown.cli("logs", "shown").out)
    done = shown.cli("logs", "shown", "--tail", "2", check=0)
    assert len(done.out.splitlines()) == 2
    assert re.match(r"\S+ +shown-1-[01] +", done.out)


def test_logs_follow_until_ctrl_c(shown):
    process = subprocess.Popen([BIN, "logs", "-f", "shown"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=clean_environment(HOME=shown.parent, SOMA_ADMIN=shown.admin_url))
    try:
        threading.Timer(0, lambda: shown.admin.get("/shown/print?text=followed")).start()
        for line in process.stdout:
            if "followed" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(seconds(10)) in (0, 130, -signal.SIGINT)
    finally:
        process.kill()
        process.communicate()


def test_refresh(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("again")))
    pid = daemon.admin.pids("again")[0]
    daemon.cli("refresh", "again", check=0).says("updating again (RealtimeAPI)")
    wait_for("another replica", lambda: daemon.admin.pids("again") not in ([], [pid])
             and not procs.alive(pid))
    assert daemon.admin.api("again")["revision"] == 2


def test_delete(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("goes")))
    pid = daemon.admin.pids("goes")[0]
    daemon.cli("delete", "goes", check=0).says("deleting goes")
    wait_for("it is gone", lambda: daemon.cli("get", "goes").code == NOTFOUND and not procs.alive(pid))
    assert daemon.admin.get("/goes/echo").status_code == 404
    daemon.cli("delete", "goes", check=NOTFOUND).says("there is no api 'goes'")


def test_secret(daemon):
    daemon.cli("secret", "set", "key", "-", stdin="s3cret value\n", check=0).says("set key")
    listed = daemon.cli("secret", "list", check=0).says("key")
    assert "s3cret" not in listed.text
    daemon.admin.deploy(projects.probe_project(projects.probe_api(
        "knows", predictor={"env": {"KEY": {"from_secret": "key"}}})))
    assert daemon.admin.get("/knows/env").json()["KEY"] == "s3cret value"
    daemon.cli("secret", "rm", "key", check=0)
    daemon.cli("secret", "rm", "key", check=NOTFOUND).says("key")


def test_a_missing_secret_is_named_with_the_remedy(daemon, folder):
    api = projects.probe_api("wants", predictor={"env": {"KEY": {"from_secret": "absent"}}})
    deploy(daemon, folder, projects.probe_project(api), check=CONFIG).says(
        "there is no secret 'absent'", "predictor.env.KEY", "soma secret set absent")


def test_version(daemon):
    daemon.cli("version", check=0).says(daemon.admin.info()["version"])


@pytest.mark.parametrize("args, words", [
    (["deplyo"], ["deploy"]), (["get", "--nothing"], ["--nothing", "--help"]), (["get", "a", "b"], ["b"]),
    (["logs"], ["API"]), (["get", "-o", "xml"], ["table", "json", "xml"]), (["deploy", "--timeout", "soon"], ["soon"]),
])
def test_wrong_usage_says_what_is_right(daemon, args, words):
    done = daemon.cli(*args, check=USAGE)
    done.says(*words)
    assert done.out == ""


def test_names_near_the_one_asked_for(shown):
    for command in (["get", "shwon"], ["logs", "shwon"], ["delete", "shwon"], ["refresh", "shwon"], ["explain", "shwon"], ["scale", "shwon", 1]):
        shown.cli(*command, check=NOTFOUND).says("there is no api 'shwon'", "did you mean 'shown'")


# --- finding the daemon ------------------------------------------------------


def test_admin_by_flag(daemon):
    done = daemon.cli("get", "--admin", daemon.admin_url, env={"SOMA_ADMIN": "http://127.0.0.1:1"}, check=0)
    assert "NAME" in done.out.upper()
    daemon.cli("get", "--admin", f"localhost:{daemon.admin_port}", check=0)


def test_token_by_environment(daemon, tmp_path):
    """Another user, who was told the token."""
    env = {"HOME": str(tmp_path)}
    refused = daemon.cli("get", env=env)
    assert refused.code == FAILED
    refused.says("token", "SOMA_TOKEN")
    daemon.cli("get", env={**env, "SOMA_TOKEN": daemon.admin.token}, check=0)
    daemon.cli("get", env={"SOMA_TOKEN": "wrong"}, check=FAILED).says("token")


def test_proxies_of_the_environment_are_not_asked_for_loopback(daemon):
    daemon.cli("get", env={"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}, check=0)


def test_commands_are_quick(daemon):
    begun = time.monotonic()
    daemon.cli("get", check=0)
    assert time.monotonic() - begun < seconds(1)

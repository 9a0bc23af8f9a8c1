"""soma patch: another config, the same project."""

import pytest

from soma import projects

USAGE, FAILED, NOTFOUND, CONFIG = 2, 1, 4, 5


def with_env(name, value, **more):
    return projects.yaml_value([projects.probe_api(name, predictor={"env": {"A": value}}, **more)])


def test_patch_changes_the_config_and_keeps_the_project(daemon, folder):
    path = folder(projects.probe_project(projects.probe_api("patched")))
    daemon.cli("deploy", path, check=0)
    (path / "probe.py").write_text("this would not start")
    (path / "soma.yaml").write_text(with_env("patched", "b"))
    daemon.cli("patch", path, check=0).says("updating patched (RealtimeAPI)", f"patched is live at {daemon.url}/patched")
    assert daemon.admin.get("/patched/env").json()["A"] == "b"
    assert daemon.admin.api("patched")["revision"] == 2
    daemon.cli("patch", path / "soma.yaml", check=0).says("patched is up to date")


def test_patch_from_a_folder_without_the_project(daemon, folder):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("alone-a"), projects.probe_api("alone-b")))
    path = folder({"other.yaml": with_env("alone-b", "c")})
    done = daemon.cli("patch", "other.yaml", "-o", "json", cwd=path, check=0).json()
    assert [(a["name"], a["change"], a["status"]) for a in done["apis"]] == [("alone-b", "updated", "live")]
    assert daemon.admin.api("alone-a")["revision"] == 1


def test_files_are_looked_for_in_the_deployed_project(daemon, folder):
    api = projects.python_api("reads")
    daemon.admin.deploy(projects.python_project(projects.predictor("return 1"), api, **{"deep/other.py": projects.predictor("return 2")}))
    path = folder({"soma.yaml": projects.yaml_value([projects.python_api("reads", "deep/absent.py")]), "deep/absent.py": ""})
    daemon.cli("patch", path, check=CONFIG).says("deep/absent.py")
    (path / "soma.yaml").write_text(projects.yaml_value([projects.python_api("reads", "deep/other.py")]))
    daemon.cli("patch", path, check=0)
    assert daemon.cli("predict", "reads", "{}", check=0).json() == 2


def test_what_is_not_deployed_cannot_be_patched(daemon, folder):
    path = folder(projects.probe_project(projects.probe_api("nowhere")))
    daemon.cli("patch", path, check=NOTFOUND).says("there is no api 'nowhere' to patch: 'soma deploy' makes it")
    assert daemon.cli("get", "nowhere").code == NOTFOUND


def test_apis_of_different_projects(daemon, folder):
    for name in ("from-a", "from-b"):
        daemon.admin.deploy({**projects.probe_project(projects.probe_api(name)), "which": name})
    path = folder({"soma.yaml": projects.yaml_value([projects.probe_api("from-a"), projects.probe_api("from-b")])})
    daemon.cli("patch", path, check=FAILED).says(
        "'from-b' was not deployed from the same project as 'from-a'", "config file each")


@pytest.mark.parametrize("text, words", [("- name: x\n  predictr: {}\n", ["soma.yaml:2", "predictr"]), ("[", ["soma.yaml"])])
def test_a_config_with_problems(daemon, folder, text, words):
    daemon.cli("patch", folder({"soma.yaml": text}), check=CONFIG).says(*words)


def test_a_secret_that_is_missing(daemon, folder):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("keyless")))
    api = projects.probe_api("keyless", predictor={"env": {"KEY": {"from_secret": "absent"}}})
    daemon.cli("patch", folder({"soma.yaml": projects.yaml_value([api])})).says("there is no secret 'absent'")
    assert daemon.admin.api("keyless")["revision"] == 1


def test_no_config_is_named(daemon, tmp_path):
    daemon.cli("patch", tmp_path, check=USAGE).says("there is no soma.yaml or cortex.yaml")

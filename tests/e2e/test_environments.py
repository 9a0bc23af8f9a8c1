"""Python environments: built once per content, shared, and what can go wrong."""

import pathlib
import re

import pytest

from soma import procs, projects
from soma.projects import predictor, python_api, python_project
from soma.waiting import wait_for

SIX = predictor("return six.__version__ + ' ' + six.__file__", imports="import six")



def test_requirements_are_installed_once_and_shared(daemon, folder):
    """Two apis with the same requirements have one environment, built once."""
    project = python_project(SIX, python_api("one"), python_api("two"), **{"requirements.txt": "six==1.16.0\n"})
    done = daemon.cli("deploy", folder(project), check=0, timeout=120)
    done.says("installing the environment", "environment ready", "one is live", "two is live", "six")
    one, two = daemon.admin.api("one"), daemon.admin.api("two")
    assert one["environment"]["state"] == "ready"
    assert one["environment"]["hash"] == two["environment"]["hash"]
    answers = {daemon.admin.post(f"/{name}", json={}).text for name in ("one", "two")}
    assert len(answers) == 1 and answers.pop().startswith("1.16.0 ")
    built = sum(e["type"] == "env_start" for name in ("one", "two") for e in daemon.admin.events(name))
    assert built >= 1
    assert daemon.log().count("environment built") == 1
    assert {start["tier"] for start in one["cold"]["starts"]} == {"disk"}
    # A third, later, from another project: it is there already.
    third = python_project(SIX, python_api("three"), **{"requirements.txt": "six==1.16.0\n"})
    daemon.admin.deploy(third)
    assert "env_output" not in [e["type"] for e in daemon.admin.events("three")]
    assert {start["tier"] for start in daemon.admin.api("three")["cold"]["starts"]} == {"process"}
    assert daemon.log().count("environment built") == 1


def test_another_content_is_another_environment(daemon):
    project = python_project(SIX, python_api("other"), **{"requirements.txt": "six==1.15.0\n"})
    daemon.admin.deploy(project, timeout=120)
    assert daemon.admin.post("/other", json={}).text.startswith("1.15.0 ")


def test_nothing_to_install_is_no_environment(daemon):
    daemon.admin.deploy(python_project(predictor("import sys\nreturn sys.prefix"), python_api("plain")))
    api = daemon.admin.api("plain")
    assert api["environment"] == {"state": "none", "hash": None, "message": None}


def test_a_named_requirements_file_and_a_script(daemon):
    project = python_project(
        predictor("import six, os\nreturn six.__version__ + ' ' + open(os.environ['MARK']).read()"),
        python_api("script", predictor={"dependencies": {"pip": "deps/pip.txt", "shell": "deps/run.sh"},
                                        "env": {"MARK": f"{daemon.parent}/mark"}}),
        **{"deps/pip.txt": "six==1.16.0\n", "deps/run.sh": f"echo from the script\necho made > {daemon.parent}/mark\n"})
    daemon.parent.chmod(0o777)
    daemon.admin.deploy(project, timeout=120)
    assert daemon.admin.post("/script", json={}).text == "1.16.0 made\n"


def test_requirements_that_do_not_resolve(daemon, folder):
    """The installer's own words, and what to do."""
    project = python_project(predictor("pass"), python_api("bad"),
                             **{"requirements.txt": "six==99.99.99\n"})
    done = daemon.cli("deploy", folder(project), check=1, timeout=120)
    done.says("bad failed", "six==99.99.99")
    assert re.search(r"no matching distribution|no version of six", done.text, re.I), done
    assert re.search(r"requirements\.txt", done.text), done
    assert daemon.admin.api("bad")["environment"]["state"] == "failed"
    # Mended, it goes on.
    project["requirements.txt"] = "six==1.16.0\n"
    daemon.cli("deploy", folder(project), check=0, timeout=120)
    daemon.admin.delete("bad")


@pytest.mark.parametrize("text, words", [
    ("no-such-package-of-soma-tests==1.0\n", ["no-such-package-of-soma-tests"]),
    ("this is no requirement\n", ["requirements.txt"]),
    ("-r absent.txt\n", ["absent.txt"]),
])
def test_requirements_that_are_none(daemon, folder, text, words):
    project = python_project(predictor("pass"), python_api("bad"), **{"requirements.txt": text})
    daemon.cli("deploy", folder(project), check=1, timeout=120).says("bad failed", *words)
    daemon.admin.delete("bad")


def test_a_script_that_fails(daemon, folder):
    project = python_project(predictor("pass"), python_api("bad"),
                             **{"dependencies.sh": "echo before\nno-such-command --now\necho after\n"})
    done = daemon.cli("deploy", folder(project), check=1, timeout=120)
    done.says("bad failed", "dependencies.sh", "no-such-command", "| before")
    assert "after" not in done.out.replace("soma", ""), "a script ends at its first error"
    daemon.admin.delete("bad")


def test_a_build_leaves_nothing_running(daemon):
    assert [p for p in procs.marked(daemon.instance) if "environment" in procs.command_line(p)] == []


def test_an_interpreter_that_is_not_there(daemon, folder):
    project = python_project(predictor("pass"), python_api("bad", predictor={"python": "/no/such/python3"}))
    daemon.cli("deploy", folder(project), check=1).says("bad failed", "/no/such/python3", "predictor.python")
    daemon.admin.delete("bad")


def test_a_directory_that_is_no_environment(daemon, folder, tmp_path):
    project = python_project(predictor("pass"), python_api("bad", predictor={"python": "/usr/share"}))
    daemon.cli("deploy", folder(project), check=1).says("bad failed", "/usr/share", "no virtual environment")
    daemon.admin.delete("bad")


def test_deleting_the_api_ends_the_build(daemon):
    project = python_project(predictor("pass"), python_api("building"), **{"dependencies.sh": "sleep 1000\n"})
    assert daemon.admin.send(project).status_code == 200
    builders = wait_for("it builds", lambda: daemon.admin.api("building")["environment"]["state"] == "building"
                        and [p for p in procs.marked(daemon.instance) if "sleep 1000" in procs.command_line(p)])
    daemon.admin.delete("building")
    wait_for("the build has ended", lambda: not any(procs.alive(p) for p in builders))


def test_environments_live_in_the_data_directory(daemon):
    path = daemon.admin.post("/one", json={}).text.partition(" ")[2]
    assert pathlib.Path(path).is_relative_to((daemon.data / "envs").resolve())

"""Cortex's projects leave out what Cortex's images had."""
import re
import sys

import pytest

from soma.projects import predictor, python_api, python_project

USES = predictor("return six.__version__ + ' ' + str(pytz.utc)", imports="import six\nfrom pytz import utc\nimport pytz")


def cortex(source, name, **files):
    project = python_project(source, python_api(name), **files)
    project["cortex.yaml"] = project.pop("soma.yaml")
    return project


def test_what_is_imported_and_was_there_is_installed(daemon, folder):
    done = daemon.cli("deploy", folder(cortex(USES, "old")), check=0, timeout=180)
    done.says("adding pytz, six: imported, there is no requirements.txt, and part of Cortex's image", "old is live")
    assert daemon.admin.post("/old", json={}).text.endswith(" UTC")
    # Edited, it imports the same: nothing is installed anew.
    again = cortex(USES + "\n# edited\n", "old")
    assert "adding" not in daemon.cli("deploy", folder(again), check=0, timeout=180).text


def test_requirements_come_first(daemon, folder):
    project = cortex(USES, "pinned", **{"requirements.txt": "six==1.15.0\n"})
    done = daemon.cli("deploy", folder(project), check=0, timeout=180)
    done.says("adding pytz: imported, not in requirements.txt, and part of Cortex's image")
    assert daemon.admin.post("/pinned", json={}).text == "1.15.0 UTC"


def test_a_project_of_ours_says_what_it_wants(daemon, folder):
    done = daemon.cli("deploy", folder(python_project(USES, python_api("ours"))), check=1, timeout=120)
    done.says("ours failed")
    assert re.search("imports (six|pytz), which is not installed", done.text), done  # some systems have one of them
    assert "adding" not in done.text
    daemon.admin.delete("ours")
    asked = python_project(USES, python_api("asked", predictor={"base_packages": "cortex"}))
    daemon.cli("deploy", folder(asked), check=0, timeout=180).says("asked is live")
    assert daemon.admin.api("asked")["environment"]["hash"] == daemon.admin.api("old")["environment"]["hash"]


def test_requirements_that_are_empty_are_none(daemon, folder):
    project = python_project(predictor("return 1"), python_api("empty"), **{"requirements.txt": "# nothing yet\n\n"})
    daemon.cli("deploy", folder(project), check=0, timeout=120)
    assert daemon.admin.api("empty")["environment"]["state"] == "none"


@pytest.mark.skipif(sys.version_info < (3, 9), reason="has a file for this Python")
def test_a_pin_as_old_as_cortex_names_the_python_it_wants(daemon, folder):
    project = cortex(predictor("pass", imports="import numpy"), "aged", **{"requirements.txt": "numpy==1.19.1\n"})
    done = daemon.cli("deploy", folder(project), check=1, timeout=300)
    done.says("aged failed: requirements.txt: ", "numpy==1.19.1", "it has a file for Python 3.8: set predictor.python to ")
    daemon.admin.delete("aged")

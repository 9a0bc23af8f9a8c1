"""--output: what programs read, read by programs."""

import json
from urllib.parse import quote

import pytest
import yaml

from soma import projects
from soma.daemon import BIN, clean_environment
from soma.terminal import Terminal
from soma.waiting import wait_for

USAGE = 2


@pytest.fixture(scope="module")
def shown(daemon):
    daemon.admin.deploy(projects.probe_project(projects.probe_api("shown"), projects.probe_api("yes")))
    return daemon


@pytest.mark.parametrize("command", [["get"], ["get", "shown"], ["secret", "list"], ["version"]])
def test_yaml_says_what_json_says(shown, command):
    def moving(value):
        """What is measured goes on while we look."""
        if isinstance(value, dict):
            return {k: moving(v) for k, v in value.items() if k not in ("uptime_ms", "latency_ms", "memory", "replica_bytes")}
        return [moving(v) for v in value] if isinstance(value, list) else value
    shown.cli("secret", "set", "off", "yes", check=0)
    as_json = shown.cli(*command, "-o", "json", check=0).json()
    as_yaml = shown.cli(*command, "--output", "yaml", check=0)
    assert moving(yaml.safe_load(as_yaml.out)) == moving(as_json)
    assert not as_yaml.out.startswith("{") and as_yaml.err == ""


def test_yaml_of_a_deploy(shown, folder):
    done = shown.cli("deploy", folder(projects.probe_project(projects.probe_api("asyaml"))), "-o", "yaml", check=0)
    api, = yaml.safe_load(done.out)["apis"]
    assert (api["name"], api["status"], api["message"], api["log"]) == ("asyaml", "live", None, [])


def test_yaml_of_a_refusal(shown, folder):
    done = shown.cli("deploy", folder({"soma.yaml": "- name: [x]\n"}), "-o", "yaml", check=5)
    assert yaml.safe_load(done.out)["error"]["code"] == "unprocessable"


def test_logs_are_a_stream(shown):
    for text in ("no", "x: y", "- 1"):
        shown.admin.get(f"/shown/print?text={quote(text)}")
    wait_for("the lines", lambda: shown.cli("logs", "shown").out.count("\n") >= 4)
    as_yaml = list(yaml.safe_load_all(shown.cli("logs", "shown", "-o", "yaml", check=0).out))
    as_json = [json.loads(line) for line in shown.cli("logs", "shown", "-o", "json", check=0).out.splitlines()]
    assert [e["line"] for e in as_yaml] == [e["line"] for e in as_json]
    assert {"no", "x: y", "- 1"} <= {e["line"] for e in as_yaml}


def test_names_for_scripts(shown):
    assert {"yes", "shown"} <= set(shown.cli("get", "--quiet", check=0).out.splitlines())
    assert shown.cli("get", "-q", "shown", check=0).out == "shown\n"


ODD = '{"a": [1.10, [-2e5, {"b": []}, {}], "x [", "{"], "c": {"d": 12345678901234567890123, "e": "]"}}'


def test_an_answer_is_indented_and_keeps_its_digits(daemon):
    echo = "    def do_echo(self):\n"
    odd = f"{echo}        self.whole_body()\n        self.answer({ODD.encode()!r})\n\n    def do_other(self):\n"
    project = projects.probe_project(projects.probe_api("odd"))
    daemon.admin.deploy({**project, "probe.py": project["probe.py"].replace(echo, odd)})
    assert daemon.cli("predict", "odd", "{}", check=0).out == """{
  "a": [
    1.10,
    [
      -2e5,
      {
        "b": []
      },
      {}
    ],
    "x [",
    "{"
  ],
  "c": {
    "d": 12345678901234567890123,
    "e": "]"
  }
}
"""


def test_another_format_is_refused(shown):
    done = shown.cli("get", "-o", "xml", check=USAGE).says("--output is 'table', 'json' or 'yaml', not 'xml'")
    assert done.out == ""


def test_what_went_wrong_stays_on_the_terminal(daemon, tmp_path):
    """The redrawn display does not take the message away with it."""
    (tmp_path / "soma.yaml").write_text("- name: asleep\n  predictor: {command: sleep 60, start_timeout: 1m}\n")
    env = clean_environment(TERM="xterm", HOME=daemon.parent, SOMA_ADMIN=daemon.admin_url)
    with Terminal(env, BIN, "deploy", tmp_path, "--timeout", "1s", plain=False) as terminal:
        before, message, after = terminal.read_all().partition("not live after 1.0 s; the rollout goes on")
    assert message and "asleep" in before
    assert "\x1b[J" in before, "a display was redrawn"
    assert "\x1b[J" not in after
    daemon.admin.delete("asleep")

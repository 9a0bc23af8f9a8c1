"""soma init: each project it makes deploys and answers."""

import onnx
import pytest

USAGE, FAILED = 2, 1
TYPES = {"python": ("predictor.py", 4.5), "onnx": ("model.onnx", [[4.5]]), "command": ("server.py", 4.5)}


@pytest.mark.parametrize("kind", TYPES)
def test_what_it_makes_deploys_and_answers(daemon, tmp_path, kind):
    """The commands that it prints, as they are printed."""
    told = daemon.cli("init", f"{kind}-api", "--type", kind, cwd=tmp_path, check=0)
    assert sorted(p.name for p in (tmp_path / f"{kind}-api").iterdir()) == sorted(["soma.yaml", "sample.json", TYPES[kind][0]])
    lines = [line.strip() for line in told.out.partition("next")[2].splitlines()[1:]]
    assert lines == [f"cd {kind}-api", "soma deploy", f"soma predict {kind}-api sample.json"]
    folder = tmp_path / f"{kind}-api"
    done = daemon.cli(*lines[1].split()[1:], cwd=folder, check=0).says(f"{kind}-api is live")
    assert "warning" not in done.text
    assert daemon.cli(*lines[2].split()[1:], cwd=folder, check=0).json() == {"y": TYPES[kind][1]}


def test_the_model_it_makes_is_valid(daemon, tmp_path):
    daemon.cli("init", "--type", "onnx", cwd=tmp_path, check=0)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.producer_name == "soma" and [i.name for i in model.graph.input] == ["x"]


def test_the_default_is_python_in_this_folder(daemon, tmp_path):
    folder = tmp_path / "My Model_2"
    folder.mkdir()
    daemon.cli("init", cwd=folder, check=0).says("made the api 'my-model-2', a Python class", "soma predict my-model-2")
    assert (folder / "predictor.py").exists()
    assert "name: my-model-2" in (folder / "soma.yaml").read_text()


def test_folders_above_are_made(daemon, tmp_path):
    daemon.cli("init", "a/b/c/", cwd=tmp_path, check=0).says("a/b/c/soma.yaml", "cd a/b/c/")
    assert "name: c" in (tmp_path / "a/b/c/soma.yaml").read_text()


@pytest.mark.parametrize("there", ["soma.yaml", "predictor.py", "sample.json"])
def test_a_file_that_is_there_is_left_alone(daemon, tmp_path, there):
    (tmp_path / there).write_text("mine")
    daemon.cli("init", cwd=tmp_path, check=FAILED).says(
        f"./{there} is there already: nothing was written", "soma init DIR")
    assert [p.name for p in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_a_file_too(daemon, tmp_path):
    (tmp_path / "soma.yaml").symlink_to(tmp_path / "elsewhere")
    daemon.cli("init", cwd=tmp_path, check=FAILED).says("is there already")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made(daemon, tmp_path):
    (tmp_path / "file").write_text("")
    daemon.cli("init", "file/api", cwd=tmp_path, check=FAILED).says("file")


def test_another_type_is_refused(daemon, tmp_path):
    daemon.cli("init", "x", "--type", "tensorflow", cwd=tmp_path, check=USAGE).says(
        "--type is one of 'python'", "'command'", "not 'tensorflow'")
    assert not (tmp_path / "x").exists()

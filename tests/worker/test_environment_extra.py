"""Packages that no requirements name, and the Python that a pinned one wants."""
import pytest

from building import make_wheel, part, tool
from building import PYTHON


@pytest.fixture
def more(wheels):
    for name in ("soma_image", "soma_other", "soma_run"):
        make_wheel(wheels, name, "1.0")
    return wheels


def imports(env):
    return env.python("import importlib.util as u\nprint(*[n for n in ('soma_tiny', 'soma_image', 'soma_other', 'soma_run') if u.find_spec(n)])")


def test_what_is_imported_is_added(both, more):
    (both.project / "requirements.txt").write_text("soma_tiny==1.0\n")
    both.more = ["--imported", "soma-image|soma-other", "--imported", "Soma.Tiny", "--needed", "soma_run"]
    both.ok()
    assert "soma-environment: adding soma-image: imported, not in requirements.txt, and part of Cortex's image\n" in both.out
    assert "soma-environment: adding soma_run: ONNXPredictor runs on it\n" in both.out
    assert imports(both) == "soma_tiny soma_image soma_run"


def test_without_requirements_it_is_the_environment(both, more):
    both.more = ["--imported", "soma_image", "--imported", "soma_other"]
    both.ok()
    assert "adding soma_image, soma_other: imported, there is no requirements.txt, and part of Cortex's image\n" in both.out
    assert imports(both) == "soma_image soma_other"


def test_another_package_of_the_row_will_do(both, more):
    (both.project / "requirements.txt").write_text("soma_other\n")
    both.more = ["--imported", "soma-image|soma-other"]
    both.ok()
    assert "adding" not in both.out and imports(both) == "soma_other"


def test_it_fits_what_the_requirements_pin(both, more):
    """soma_user wants soma_tiny 2; unpinned, it is taken as it fits."""
    (both.project / "requirements.txt").write_text("soma_tiny==2.0\n")
    both.more = ["--imported", "soma_user"]
    both.ok()
    assert both.python("import soma_tiny; print(soma_tiny.version)") == "2.0"


def test_requirements_with_hashes_stay_checked(both, more):
    digest = __import__("hashlib").sha256((more / "soma_tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (both.project / "requirements.txt").write_text(f"soma_tiny==1.0 --hash=sha256:{digest}\n")
    both.more = ["--imported", "soma_image"]
    both.ok()
    assert imports(both) == "soma_tiny soma_image"


def test_one_that_is_not_to_be_had(both):
    both.more = ["--imported", "soma_gone"]
    cause, remedy = both.fails()
    assert "soma_gone" in cause.replace("-", "_") and cause.startswith("packages that the project imports: ")
    assert remedy.endswith("it was added because the project imports it: name a version in requirements.txt, "
                           "or set base_packages to none")


def test_they_are_part_of_the_key(tmp_path):
    def key(*more):
        code, out = tool("key", "--python", PYTHON, *more)
        assert code == 0
        return out

    (tmp_path / "r.txt").write_text("six\n")
    assert key() != key("--imported", "boto3") != key("--needed", "numpy")
    assert key("--imported", "six", "--requirements", tmp_path / "r.txt") == key("--requirements", tmp_path / "r.txt")


@pytest.mark.parametrize("line, name", [
    ("numpy", "numpy"), ("Scikit_Learn>=1", "scikit-learn"), ("a.b[x,y]==1; python_version>'3'", "a-b"), ("six ~= 1.0", "six"),
    ("x @ https://h/x.whl", "x"), ("git+https://h/r.git#egg=My_Pkg", "my-pkg"), ("-e git+https://h/r.git@v1#egg=a", "a"),
    ("https://h/wheels/torch-1.6.0-cp38-none-linux_x86_64.whl", "torch"), ("./wheels/tiny_one-1.0-py3-none-any.whl", "tiny-one"),
    ("six --hash=sha256:00", "six"), ("-r more.txt", None), ("--index-url https://h/numpy", None), (".", None),
    ("./numpy", None), ("numpy/", None),
])
def test_names_of_requirements(line, name):
    assert part("environment_extra").named([line]) == ({name} if name else set())


# --- another Python ----------------------------------------------------------


PIP_SDIST = """\
Collecting wheel
Collecting numpy==1.19.1
  Preparing metadata (pyproject.toml): finished with status 'error'
  error: subprocess-exited-with-error
error: metadata-generation-failed"""
NEW_PIP = "ERROR: Failed to build 'numpy' when getting requirements to build wheel"
UV_SDIST = "  × Failed to build `numpy==1.19.1`\n  ├─▶ The build backend returned an error"
UV_ABI = "error: No solution found\n cause: Because numpy==1.19.1 has no wheels with a matching Python ABI tag"


@pytest.mark.parametrize("text", [PIP_SDIST, NEW_PIP, UV_SDIST, UV_ABI])
def test_the_python_that_a_pin_wants_is_named(text):
    asked = []

    def has_wheel(requirement, minor):
        asked.append((requirement, minor))
        return minor in (8, 9)

    advice = part("environment_wheels").advice(text, ["six", "numpy==1.19.1"], {"version": "3.11.2"}, has_wheel)
    assert advice[0] == "numpy==1.19.1"
    assert advice[1].startswith("it has a file for Python 3.9: set predictor.python to ")
    assert advice[1].endswith(", or choose a version that has one for 3.11")
    assert asked == [("numpy==1.19.1", 10), ("numpy==1.19.1", 9)]


@pytest.mark.parametrize("text, lines", [
    (UV_SDIST, ["numpy"]), (UV_SDIST, []), ("something else", ["numpy==1.19.1"]), (UV_SDIST, ["numpy==1.19.1"]),
])
def test_no_python_is_named_where_none_would_do(text, lines):
    assert part("environment_wheels").advice(text, lines, {"version": "3.11.2"}, lambda *_: False) == (None, None)


def test_the_index_is_asked(both):
    """A wheel for Python 3.8 alone, as numpy 1.19.1 has."""
    folder = both.tmp / "wheels"
    made = make_wheel(folder, "soma_old", "1.0")
    made.rename(folder / "soma_old-1.0-cp38-cp38-manylinux2014_x86_64.whl")
    (both.project / "requirements.txt").write_text("soma_old==1.0\n")
    cause, remedy = both.fails()
    assert "soma_old==1.0" in cause.replace("-", "_"), both.out
    assert remedy.startswith("it has a file for Python 3.8: set predictor.python to "), both.out

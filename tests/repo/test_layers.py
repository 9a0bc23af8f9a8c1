"""The include checker passes on this tree, and fails when it must (the picture
in ARCHITECTURE.md is what the code does)."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKER = ROOT / "scripts/check-includes"


def check(root):
    done = subprocess.run([CHECKER, root], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path):
    """A copy of what the checker reads, free to spoil."""
    for folder in ("src", "python"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "ARCHITECTURE.md", tmp_path)
    return tmp_path


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def refused(root, *words):
    code, output = check(root)
    assert code == 1, output
    lines = output.splitlines()
    assert any(all(word in line for word in words) for line in lines), output


def test_this_tree_passes():
    code, output = check(ROOT)
    assert code == 0, output


def test_upward_include(tree):
    append(tree / "src/core/buf.c", '#include "serve/gate.h"\n')
    refused(tree, "src/core/buf.c", '"serve/gate.h"', "no other layer")


def test_sideways_include(tree):
    append(tree / "src/spec/parse.c", '#include "store/store.h"\n')
    refused(tree, "src/spec/parse.c", "src/spec may use core")


def test_include_behind_spaces(tree):
    append(tree / "src/core/str.c", '  #  include "loop/log.h"\n')
    refused(tree, "src/core/str.c", '"loop/log.h"')


def test_relative_include(tree):
    append(tree / "src/core/str.c", '#include "../loop/log.h"\n')
    refused(tree, "src/core/str.c", "from src/")


def test_layer_nobody_knows(tree):
    append(tree / "src/core/str.c", '#include "misc/misc.h"\n')
    refused(tree, "src/core/str.c", "misc is not a layer")


def test_library_of_another_layer(tree):
    append(tree / "src/serve/gate.c", "#include <sqlite3.h>\n")
    refused(tree, "src/serve/gate.c", "does not name SQLite")


def test_link_upward(tree):
    append(tree / "src/core/meson.build", "bad = [serve_dep]\n")
    refused(tree, "src/core/meson.build", "links serve")


def test_folder_missing_in_the_table(tree):
    (tree / "src/misc").mkdir()
    refused(tree, "src/misc/", "not in the folder table")


def test_row_without_a_folder(tree):
    shutil.rmtree(tree / "src/policy")
    refused(tree, "ARCHITECTURE.md: src/policy/", "not in the tree")


def test_row_that_uses_what_stands_below_it(tree):
    page = tree / "ARCHITECTURE.md"
    text = page.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `src/loop/`"))
    page.write_text(text.replace(row, row[: row.rindex("core |")] + "core, store |"))
    refused(tree, "src/loop may use store", "bottom up")


def test_table_gone(tree):
    (tree / "ARCHITECTURE.md").write_text("# Architecture\n")
    refused(tree, "folder table was not found")

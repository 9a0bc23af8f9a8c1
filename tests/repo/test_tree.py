"""What every file of the repository keeps to."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def git(*args):
    return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True)


@pytest.fixture(scope="module")
def files():
    listed = git("ls-files")
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).is_file()]


def test_no_file_over_a_mebibyte(files):
    assert [str(f) for f in files if f.stat().st_size > 1 << 20] == []


def test_scripts_are_executable():
    scripts = [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"]
    assert [str(f) for f in scripts if f.is_file() and not os.access(f, os.X_OK)] == []


def test_links_in_pages_lead_somewhere(files):
    broken = []
    for page in (f for f in files if f.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "make run" in text and "make test" in text


def test_help_is_complete():
    """Every target a person may call has its line in `make help`."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"\.PHONY: (.*)", makefile)[1].split()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert sorted(re.findall(r"^make (\w+)", shown, re.M)) == sorted(phony)


def test_packages_are_known_for_every_distribution():
    setup = (ROOT / "scripts/setup").read_text()
    table = re.search(r"table='\n(.*?)'", setup, re.S)[1].splitlines()
    columns = len(table[0].split())
    assert [row for row in table if len(row.split()) != columns] == []


def test_the_page_lists_the_packages_that_cortex_had():
    table = (ROOT / "src/serve/base_packages.c").read_text()
    rows = re.findall(r'^\t\{"[\w.]+",\s*"([^|"]+)', table, re.M)
    page = (ROOT / "docs/environments.md").read_text()
    listed = page[page.index("asgiref"):page.index("xgboost.") + 7]
    assert sorted(set(rows)) == re.split(r",\s+", listed)

"""The README says what is there."""

from __future__ import annotations

import subprocess

from tests.conftest import REPOSITORY
from tests.readme_tree import current, tree

README = (REPOSITORY / "README.md").read_text("utf-8")


def test_the_tree_is_the_files() -> None:
    assert current(README) == tree(), "make tree"


def test_every_file_says_what_it_is() -> None:
    bare = [line for line in tree().splitlines() if len(line.split()) < 2]
    assert not bare


def test_the_exit_statuses_are_the_codes() -> None:
    from cgcli.core.errors import ExitStatus

    cells = [row.split("|")[1].strip() for row in README.splitlines() if row.startswith("|")]
    table = {int(cell) for cell in cells if cell.isdigit()}
    assert table == {status.value for status in ExitStatus}


def test_the_options_that_it_shows_exist() -> None:
    import re
    import sys

    help_text = subprocess.run(
        [sys.executable, "-m", "cgcli", "gen", "--help"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    shown = set()
    for line in README.splitlines():
        if "cgcli gen" in line:
            shown |= set(re.findall(r"(?<= )--?[a-z][a-z-]*", line.partition("cgcli gen")[2].partition("#")[0]))
    assert shown and not [option for option in shown if option not in help_text]

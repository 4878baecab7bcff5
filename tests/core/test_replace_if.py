"""Files that are replaced only if they hold what is expected, and what others save meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cgcli.core import files
from cgcli.core.files import replace_if


def test_a_file_is_replaced_only_if_it_holds_what_is_expected(tmp_path: Path) -> None:
    file, link = tmp_path / "f", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    assert not replace_if(link, b"other", b"new") and file.read_bytes() == b"old"
    assert replace_if(link, b"old", b"new") and link.is_symlink() and file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o640
    os.link(file, tmp_path / "name")
    assert not replace_if(file, b"other", b"newer")
    assert replace_if(file, b"new", b"newer") and (tmp_path / "name").read_bytes() == b"newer"
    assert not replace_if(tmp_path / "absent", b"", b"new")
    assert sorted(tmp_path.iterdir()) == [file, link, tmp_path / "name"]


def in_place(file: Path, text: bytes) -> None:
    file.write_bytes(text)


def by_rename(file: Path, text: bytes) -> None:
    file.with_name("new").write_bytes(text)
    file.with_name("new").rename(file)


def moved_away(file: Path, text: bytes) -> None:
    file.rename(file.with_name("old"))


@pytest.mark.parametrize("saves", [[in_place], [by_rename], [by_rename, in_place], [by_rename] * 3, [moved_away]])
def test_what_others_save_at_the_last_moment_stays(
    saves: list[Callable[[Path, bytes], None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save comes just before a step in which the two files are swapped."""
    file, swap, coming = tmp_path / "f", files._swap, list(enumerate(saves))
    file.write_bytes(b"old")

    def swap_after_a_save(one: Path, other: Path) -> bool:
        if coming:
            number, save = coming.pop(0)
            save(file, b"save %d" % number)
        return swap(one, other)

    monkeypatch.setattr(files, "_swap", swap_after_a_save)
    assert not replace_if(file, b"old", b"new") and not coming
    if saves == [moved_away]:
        file = tmp_path / "old"
    assert file.read_bytes() == (b"old" if saves == [moved_away] else b"save %d" % (len(saves) - 1))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("swaps", [True, False])
def test_without_a_swap_a_file_is_renamed(swaps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    before = file.stat().st_ino
    if not swaps:
        monkeypatch.setattr(files, "_swap", lambda *_: False)
    assert replace_if(file, b"old", b"new")
    assert file.read_bytes() == b"new" and file.stat().st_ino != before and list(tmp_path.iterdir()) == [file]


_KILLED = """
import os, signal, sys
from pathlib import Path
from cgcli.core import files
file, step, when = sys.argv[1:]
real = getattr(files, step)

def killed(*arguments):
    if when == "after":
        real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(files, step, killed)
files.replace_if(Path(file), b"old", b"new")
"""


@pytest.mark.parametrize(
    ("step", "when", "left"),
    [
        ("_ready", "before", b"old"),
        ("_ready", "after", b"old"),
        ("_swap", "before", b"old"),
        ("_swap", "after", b"new"),
    ],
)
def test_who_is_killed_while_writing_leaves_the_old_file_or_the_new(
    step: str, when: str, left: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(file), step, when], check=False)
    assert (done.returncode, file.read_bytes()) == (-signal.SIGKILL, left)
    assert replace_if(file, left, b"newer") and list(tmp_path.iterdir()) == [file]

"""The clipboard: of the terminal, or of a program; what is copied cannot drive a terminal."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import CgcliError
from cgcli.terminal.clipboard import find_clipboard, pasteable
from tests.program.steps import texts


class Terminal:
    def __init__(self) -> None:
        self.shown = b""

    def __call__(self, data: bytes) -> None:
        self.shown += data

    @property
    def copied(self) -> str:
        head, end = b"\x1b]52;c;", b"\x07"
        assert self.shown.startswith(head) and self.shown.endswith(end)
        return base64.b64decode(self.shown[len(head) : -len(end)], validate=True).decode()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, but for the shell's folder behind it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(programs: Path, name: str, script: str = "") -> Path:
    """A program that keeps its input and arguments."""
    kept = programs / f"{name}.kept"
    file = programs / name
    file.write_text(f"#!/bin/sh\n{script or f'echo $* > {kept}; /bin/cat >> {kept}'}\n")
    file.chmod(0o755)
    return kept


@given(texts)
def test_no_text_can_end_the_sequence_or_drive_where_it_is_pasted(text: str) -> None:
    terminal = Terminal()
    find_clipboard({"TERM": "xterm"}, terminal).copy(f"\x1b[201~{text}\x07\x1b]0;x\x9c\x00")
    assert terminal.shown.count(b"\x1b") == 1 and terminal.shown.count(b"\x07") == 1
    assert all(one.isprintable() or one in "\n\t" or ord(one) > 0x9F for one in terminal.copied)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t")))
def test_code_is_copied_as_it_is(text: str) -> None:
    terminal = Terminal()
    find_clipboard({"TERM": "xterm"}, terminal).copy(text)
    assert terminal.copied == text == pasteable(text)


@pytest.mark.parametrize(
    ("name", "variables", "arguments"),
    [
        ("wl-copy", {"WAYLAND_DISPLAY": "w"}, ""),
        ("xclip", {"DISPLAY": ":0"}, "-selection clipboard"),
        ("xsel", {"DISPLAY": ":0"}, "--clipboard --input"),
        ("pbcopy", {}, ""),
    ],
)
def test_without_a_terminal_a_program_copies(
    programs: Path, name: str, variables: dict[str, str], arguments: str
) -> None:
    kept = install(programs, name)
    for terminal, term in ((None, "xterm"), (Terminal(), "dumb"), (Terminal(), "linux")):
        clipboard = find_clipboard({"TERM": term, **variables}, terminal)
        clipboard.copy("x = 'é'\n\x1b[2J")
        assert clipboard.name == name and kept.read_text() == f"{arguments}\nx = 'é'\n[2J"
        assert terminal is None or terminal.shown == b""


def test_windows_reads_utf_16(programs: Path) -> None:
    kept = install(programs, "clip.exe")
    find_clipboard({}, None).copy("é")
    assert kept.read_bytes() == b"\n" + "é".encode("utf-16")


def test_a_program_without_its_display_is_not_asked(programs: Path) -> None:
    install(programs, "xclip")
    with pytest.raises(CgcliError, match="there is no clipboard here"):
        find_clipboard({"TERM": "xterm"}, None)


def test_a_program_that_fails_is_named(programs: Path) -> None:
    install(programs, "pbcopy", "exit 3")
    with pytest.raises(CgcliError, match="not copied: pbcopy failed"):
        find_clipboard({}, None).copy("x")


def test_a_text_that_is_too_long_for_a_terminal_goes_to_a_program(programs: Path) -> None:
    terminal = Terminal()
    with pytest.raises(CgcliError, match="too long for a terminal's clipboard"):
        find_clipboard({"TERM": "xterm"}, terminal).copy("x" * 60_000)
    kept = install(programs, "pbcopy")
    find_clipboard({"TERM": "xterm"}, terminal).copy("x" * 60_000)
    assert terminal.shown == b"" and len(kept.read_text()) == 60_001

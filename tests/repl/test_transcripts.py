"""Whole sessions as they stand on a screen, word for word. `python -m tests.repl.test_transcripts` writes them anew.

A file has what is typed in it, behind `›`. Lines before the first blank one say what else the user does, in order:
`choose: 2` of candidates, `edit: TEXT` in the editor.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from cgcli.repl.loop import loop
from tests.repl.scripted import ScriptedReader, make_repl

FOLDER = Path(__file__).parent / "transcripts"
_TYPED = re.compile(r"^\d+ › (.*)$", re.MULTILINE)
# What differs from run to run: seconds, and the folder of the test.
_SECONDS = re.compile(r"\d+\.\d+ s\b")
_ID = re.compile(r"\d{8}-\d{4}(-\d+)?")


def played(text: str, folder: Path, width: int) -> str:
    """The session whose transcript `text` is, as it goes today."""
    head, _, body = text.partition("\n\n") if not text.startswith("tiny") else ("", "", text)
    said = [line.split(": ", 1) for line in head.splitlines()]
    reader = ScriptedReader(
        _TYPED.findall(body),
        [int(value) - 1 for key, value in said if key == "choose"],
        [value.replace("\\n", "\n") for key, value in said if key == "edit"],
    )
    repl, out = make_repl(folder, reader, width=width)
    status = loop(repl)
    repl.close()
    shown = _ID.sub("ID", _SECONDS.sub("0.00 s", out.getvalue()).replace(str(folder), "FOLDER"))
    return (head + "\n\n" if head else "") + shown + f"[status {status}]\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.txt")), ids=lambda path: f"{path.stem}-{path.parent.name}")
def test_a_session_looks_as_it_did(path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    assert played(text, tmp_path, int(path.parent.name)) == text


def _main() -> None:
    for path in FOLDER.glob("*/*.txt"):
        with tempfile.TemporaryDirectory() as folder:
            path.write_text(played(path.read_text("utf-8"), Path(folder), int(path.parent.name)), "utf-8")


if __name__ == "__main__":
    _main()

"""The user's editor, by its variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.repl.editor import edit_text


def editor(folder: Path, script: str, name: str = "my-editor") -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_text_comes_back_as_it_was_left(tmp_path: Path) -> None:
    words = editor(tmp_path, 'printf "%s\\n" "$1" >> "$2"')
    variables = {"EDITOR": f"{words} 'two words'", "PATH": os.environ["PATH"]}
    assert edit_text("", ".txt", variables) == "two words"  # the line end is the editor's
    assert edit_text("one\n", ".txt", variables) == "one\ntwo words\n"
    assert edit_text("\udce9\n", ".txt", variables) == "\udce9\ntwo words\n"


def test_only_the_user_can_read_the_file_and_it_goes(tmp_path: Path) -> None:
    told = tmp_path / "told"
    looking = editor(tmp_path, f'echo "$1" > {told}; stat -c %a "$(dirname "$1")" >> {told}')
    edit_text("secret", ".py", {"EDITOR": looking, "PATH": os.environ["PATH"]})
    path, mode = told.read_text().split()
    assert path.endswith(".py") and mode == "700" and not Path(path).exists()


def test_visual_comes_before_editor_and_both_before_what_is_installed(tmp_path: Path) -> None:
    one, two = editor(tmp_path, 'echo one > "$1"', "one"), editor(tmp_path, 'echo two > "$1"', "two")
    usual = editor(tmp_path, 'echo usual > "$1"', "nano")
    path = str(Path(usual).parent)
    assert edit_text("", "", {"VISUAL": one, "EDITOR": two, "PATH": path}) == "one"
    assert edit_text("", "", {"VISUAL": " ", "EDITOR": two, "PATH": path}) == "two"
    assert edit_text("", "", {"PATH": path}) == "usual"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EDITOR": "no-such-editor"}, "cannot start the editor 'no-such-editor': No such file"),
        ({"EDITOR": "false"}, "the editor 'false' exited with status 1; nothing was changed"),
        ({"EDITOR": "rm"}, "the editor 'rm' left no file"),
        ({"EDITOR": "'open quote"}, 'EDITOR is not a valid command: "\'open quote"'),
        ({"PATH": ""}, "no editor found"),
    ],
)
def test_an_editor_that_fails_is_one_line(variables: dict[str, str], words: str) -> None:
    with pytest.raises(CgcliError) as raised:
        edit_text("text", ".py", {"PATH": os.environ["PATH"], **variables})
    assert words in raised.value.message


def test_an_editor_may_leave_crlf_and_a_byte_order_mark(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf '\\357\\273\\277x = 1\\r\\ny = 2\\r\\n' > \"$1\"\n")
    editor.chmod(0o755)
    assert edit_text("x = 1", ".py", {"EDITOR": str(editor), "PATH": os.environ["PATH"]}) == "x = 1\ny = 2"

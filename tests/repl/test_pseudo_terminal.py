"""The reader in a real (pseudo-)terminal: what only that shows. The program is child.py."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.pseudo_terminal import PseudoTerminal, pseudo_terminal

TOOLBAR = "tiny q4_0 · turn 1 · ▰▰▰▰▱▱▱▱▱▱ 812/2048 tokens · ▮▮▯ fair 12.3"


def enough(terminal: PseudoTerminal) -> None:
    """End what streams or loads in child.py."""
    terminal.process.kill(signal.SIGUSR1)


def start(**settings: str | int) -> AbstractContextManager[PseudoTerminal]:
    variables = {"PYTHONPATH": str(REPOSITORY), **settings}
    return pseudo_terminal(sys.executable, str(REPOSITORY / "tests/repl/child.py"), **variables)  # type: ignore[arg-type]


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    with start() as terminal:
        terminal.wait_for("1 › what the program should do first")
        yield terminal


def test_the_prompt_and_its_toolbar(terminal: PseudoTerminal) -> None:
    terminal.wait_for(TOOLBAR)
    terminal.send("one\x1b\rtwo")
    terminal.wait_for("  · two")
    assert terminal.rows[0] == "1 › one" and terminal.rows[-1] == TOOLBAR
    terminal.send("\r")
    terminal.wait_for("got 'one\\ntwo'")
    assert not re.search(r"\x1b\[[0-9;]*[34]8[;:]", terminal.sent)  # the terminal's own 16 colors only
    assert re.search(r"\x1b\[[0-9;]*36", terminal.sent)


def test_ctrl_c_clears_and_then_says_how_to_leave(terminal: PseudoTerminal) -> None:
    terminal.send("abc")
    terminal.wait_for("1 › abc")
    terminal.send("\x03")
    terminal.wait(lambda: "abc" not in terminal.text)
    terminal.send("\x03")
    terminal.wait_for("1 › Ctrl-D or /quit leaves")
    terminal.send("\x04")
    terminal.wait_for("bye")


def test_a_prompt_that_is_reworded_says_so_and_how_to_leave(terminal: PseudoTerminal) -> None:
    for keys in ("\x03", "\x15\r", "\x15\x04"):
        terminal.send("/ask\r")
        terminal.wait(lambda: terminal.line == "edit 1 › old")
        if "\x15" in keys:
            terminal.send("\x15")
            terminal.wait(lambda: terminal.line == "edit 1 › Ctrl-C or an empty line keeps turn 1 as it is")
        terminal.send(keys[-1])
        terminal.wait_for("answered None, interrupted False")
        terminal.wait(lambda: terminal.line == "1 ›")
        terminal.send("\x0c")
        terminal.wait(lambda: "answered" not in terminal.text)


def test_lines_typed_while_code_streams_are_queued_and_run_in_order(terminal: PseudoTerminal) -> None:
    terminal.send("/stream\r")
    terminal.wait_for("value_3 = 3")
    terminal.send("/stream 0\rwor")
    terminal.wait_for("queued: /stream 0")
    terminal.send("ds\x1b[200~ and\rmore\x1b[201~\rha\x7falf")
    terminal.wait_for("queued: words and more")
    assert all(a == b for a, b in re.findall(r"^value_(\d+) = (\d+)$", terminal.text, re.M))
    assert all(re.fullmatch(r"queued: .*|value_\d+ = \d*|value.*|# streaming|1 › .*|", row) for row in terminal.rows)
    enough(terminal)
    terminal.wait_for("got 'words and\\nmore'")
    terminal.wait(lambda: terminal.line == "1 › half")
    assert "1 › /stream 0\n# streaming\n1 › words and\n  · more\ngot 'words and\\nmore'\n1 › half" in terminal.text
    terminal.send("\x15")
    terminal.wait(lambda: "half" not in terminal.line)
    terminal.send("new\r")
    terminal.wait_for("got 'new'")


def test_ctrl_c_drops_what_was_queued_for_good(terminal: PseudoTerminal) -> None:
    terminal.send("/stream\r")
    terminal.wait_for("value_3 = 3")
    terminal.send("/show\rprint it twice\r/show all\r")
    terminal.wait_for("queued: /show all")
    terminal.send("\x03")
    terminal.wait_for("interrupted")
    terminal.wait_for("dropped 3 queued lines: /show · print it twice · /show all")
    terminal.wait(lambda: terminal.line.startswith("1 ›"))
    for word in ("one", "two"):
        terminal.send(f"{word}\r")
        terminal.wait_for(f"got '{word}'")
    assert terminal.sent.count("got ") == 2
    terminal.wait(lambda: terminal.line == "1 ›")


def test_what_is_searched_for_stands_alone_in_an_empty_line(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("\n# yesterday\n+print their mean\n")
    with start(HISTORY=str(tmp_path / "history")) as terminal:
        terminal.wait_for("1 › what the program should do first")
        terminal.send("\x12their")
        terminal.wait(lambda: any(row.startswith("1 › print their mean") for row in terminal.rows))
        assert "1 › print their mean" in terminal.rows


def test_the_hint_of_a_program_that_goes_on() -> None:
    with start(TURN="3") as terminal:
        terminal.wait_for("3 › what the program should do next; /help lists commands, F1 keys")


def test_commands_complete_as_they_are_typed_prompts_on_tab(terminal: PseudoTerminal) -> None:
    terminal.send("me")
    terminal.wait_for("1 › me")
    terminal.pump(0.3)
    assert "median" not in terminal.text
    terminal.send("d\t")
    terminal.wait_for("1 › median")
    terminal.send("\x03/s")
    terminal.wait_for("/stats   a name")


def test_the_toolbar_follows_what_changes_behind_it(terminal: PseudoTerminal) -> None:
    terminal.send("/load\r")
    terminal.wait_for("loading… · tiny")
    enough(terminal)
    terminal.wait(lambda: "loading" not in terminal.text)


def test_the_list_of_keys_stands_above_the_prompt(terminal: PseudoTerminal) -> None:
    terminal.send("half a line\x1bOP")
    terminal.wait_for("/set vi on")
    terminal.wait(lambda: terminal.line == "1 › half a line")
    assert terminal.text.index("Ctrl-R") < terminal.text.index("half")
    assert all(len(row) < 80 for row in terminal.rows) and "Esc /: search" in terminal.text


def test_the_grey_rest_of_an_earlier_prompt_is_taken_with_the_arrow(terminal: PseudoTerminal) -> None:
    terminal.send("hello there\r")
    terminal.wait_for("got 'hello there'")
    terminal.send("hel")
    terminal.wait(lambda: terminal.line == "1 › hello there")
    terminal.send("\x1b[C\r")
    terminal.wait_for("got 'hello there'", times=2)


def test_ctrl_c_stops_the_stream_and_keeps_what_enter_did_not_end(terminal: PseudoTerminal) -> None:
    terminal.send("/stream\r")
    terminal.wait_for("value_3 = 3")
    # More than the terminal's queue holds; Ctrl-C must come through all the same.
    terminal.send("\x1b[200~" + "pasted text\n" * 1000 + "\x1b[201~")
    terminal.send("\x03")
    terminal.wait(lambda: "interrupted" in terminal.sent)
    terminal.wait_for("  · pasted text")
    terminal.send("\r")
    terminal.wait(lambda: terminal.sent.count(r"pasted text\n") == 999)


def test_a_paste_of_200_lines_is_one_input(terminal: PseudoTerminal) -> None:
    terminal.send("\x1b[200~" + "\r".join(f"line {n}" for n in range(200)) + "\x1b[201~")
    terminal.wait(lambda: terminal.line == "  · line 199")
    assert "got" not in terminal.sent
    terminal.send("\r")
    terminal.wait_for(r"\nline 199'")
    assert terminal.sent.count("got ") == 1


def test_a_resize_while_code_streams_and_at_the_prompt() -> None:
    with start(rows=120) as terminal:
        terminal.wait_for("1 ›")
        terminal.send("/stream\r")
        for columns in (60, 100, 30, 80):
            seen = terminal.text.count("value_")
            terminal.wait(lambda seen=seen: terminal.text.count("value_") > seen + 3)  # type: ignore[misc]
            terminal.resize(120, columns)
        enough(terminal)
        terminal.wait(lambda: terminal.line == "1 ›")
        numbers = [int(n) for n in re.findall(r"^value_(\d+) = \1$", terminal.text, re.M)]
        assert numbers == list(range(len(numbers))) and len(numbers) > 15
        terminal.resize(24, 40)
        terminal.send("still here\r")
        terminal.wait_for("got 'still here'")
        terminal.wait(lambda: "812/2048" in terminal.rows[-1] and len(terminal.rows[-1]) <= 40)


@pytest.mark.parametrize("columns", [80, 200])
def test_the_chooser_leaves_nothing_behind(columns: int) -> None:
    with start(columns=columns) as terminal:
        terminal.wait_for("1 ›")
        terminal.send("/choose\r")
        terminal.wait_for("Enter: take")
        beside = 2 if columns == 80 else 3
        assert [n for n in range(1, 5) if f"def f{n}" in terminal.text] == list(range(1, beside + 1))
        terminal.send("\x1b[C4\x1b[D")
        terminal.wait(lambda: terminal.screen.buffer[1][0 if columns == 80 else 140].reverse)
        terminal.send("\r")
        terminal.wait_for("took 2")
        assert "def f" not in terminal.text
        for leave in ("q", "\x1b", "\x03"):
            terminal.wait(lambda: terminal.line == "1 ›")
            terminal.send("/choose\r")
            terminal.wait_for("Enter: take")
            terminal.send(leave)
            terminal.wait(lambda: "Enter: take" not in terminal.text and "took None" in terminal.text)
            terminal.wait(lambda: terminal.line == "1 ›")  # before that a key is typed ahead, and this one is no text
            terminal.send("\x0c")  # a clean screen
            terminal.wait(lambda: "took" not in terminal.text)


def test_a_shell_command_has_the_terminal_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    with start(SHELL="/bin/sh", WORD="home") as terminal:
        terminal.wait_for("1 ›")
        terminal.send("!echo ready at $WORD; read answer; echo read $answer; stty raw -echo; exit 3\r")
        terminal.wait_for("ready at home")
        terminal.send("words\n")  # the terminal is the command's: echo, line editing
        terminal.wait_for("read words")
        terminal.wait_for("status 3")
        terminal.send("!stty -a | grep -q ' echo ' && printf 'still %s' cooked\r")
        terminal.wait_for("still cooked")
    with start(SHELL=str(tmp_path)) as terminal:
        terminal.wait_for("1 ›")
        terminal.send("!ls\r")
        terminal.wait_for("cgcli: cannot start the shell")


def test_an_editor_edits_the_line_and_a_failing_one_is_one_line(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nprintf "%s" "$(cat "$1") edited\nmore" > "$1"\necho ready; read answer; echo "read $answer"\n'
    )
    editor.chmod(0o755)
    with start(VISUAL=str(editor)) as terminal:
        terminal.wait_for("1 ›")
        terminal.send("a line")
        terminal.wait_for("1 › a line")
        terminal.send("\x18\x05")
        terminal.wait(lambda: terminal.sent.count("ready") == 1)
        terminal.send("words\n")  # the terminal is the editor's: echo, line editing
        terminal.wait_for("read words")
        terminal.wait(lambda: terminal.line == "  · more")
        terminal.send("\r")
        terminal.wait_for("got 'a line edited\\nmore'")
        terminal.send("/edit\r")
        terminal.wait(lambda: terminal.sent.count("ready") == 2)
        terminal.send("again\n")
        terminal.wait_for("edited 'old edited\\nmore'")
    with start(EDITOR="false") as terminal:
        terminal.wait_for("1 ›")
        terminal.send("a line\x18\x05")
        terminal.wait_for("cgcli: the editor 'false' exited with status 1; nothing was changed")
        terminal.wait(lambda: terminal.line == "1 › a line")


def test_a_dumb_terminal_gets_text_and_nothing_else() -> None:
    with start(TERM="dumb", rows=200) as terminal:
        terminal.wait_for("1 >")
        terminal.send("hello\n")
        terminal.wait_for("got 'hello'")
        terminal.send("ab")
        terminal.wait_for("1 > ab")
        terminal.send("\x03")
        terminal.wait(lambda: terminal.line == "1 >" and "ab" in terminal.text)
        terminal.send("two \\\nlines\n")
        terminal.wait_for("got 'two \\nlines'")
        terminal.send("/stream\n")
        terminal.wait_for("value_3 = 3")
        terminal.send("typed \\\nin two\nmeanwhile")
        terminal.wait_for("queued: in two")
        enough(terminal)
        terminal.wait_for("got 'typed \\nin two'")
        terminal.wait(lambda: terminal.line == "1 > meanwhile")
        terminal.send(" and now\n")
        terminal.wait_for("got 'meanwhile and now'")
        terminal.send("/choose\n")
        terminal.wait_for("took None")
        assert "def f4" in terminal.text
        terminal.send("/stream\n")
        terminal.wait_for("value_3 = 3", times=2)
        terminal.send("\x03")
        terminal.wait_for("interrupted")
        terminal.send("typed too late")
        terminal.wait(lambda: terminal.line == "1 > typed too late")
        terminal.send("\x03")
        terminal.wait(lambda: terminal.line == "1 >")
        terminal.send("fresh\n")
        terminal.wait_for("got 'fresh'")
        terminal.send("/ask\n")
        terminal.wait(lambda: terminal.line == "edit 1 >" and "\nold\n" in terminal.text)
        terminal.send("new\n")
        terminal.wait_for("answered 'new', interrupted False")
        for number, keys in enumerate(("er\x03", "\n", "\x04"), 1):
            terminal.send("/ask\n")
            terminal.wait(lambda: terminal.line == "edit 1 >")
            terminal.send(keys)
            terminal.wait_for("answered None, interrupted False", times=number)
        terminal.send("\x04")
        terminal.wait_for("bye")
        assert "\x1b" not in terminal.sent


def test_no_color_where_none_is_wanted() -> None:
    with start(NO_COLOR="1") as terminal:
        terminal.wait_for(TOOLBAR)
        terminal.send("/stream\r")
        terminal.wait_for("value_1")
        enough(terminal)
        terminal.wait(lambda: terminal.line == "1 ›")
        terminal.send("/s")
        terminal.wait_for("/stats")
        assert not re.search(r"\x1b\[(\d+;)*(3[0-7]|4[0-7]|9\d|10\d)[m;]", terminal.sent)


def test_ctrl_z_at_the_prompt_suspends_and_the_line_is_there_again() -> None:
    child = f"{sys.executable} {REPOSITORY / 'tests/repl/child.py'}"
    with pseudo_terminal("bash", "--norc", "-i", PYTHONPATH=str(REPOSITORY), PS1="shell> ") as terminal:
        terminal.wait_for("shell>")
        terminal.send(f"{child}\r")
        terminal.wait_for("1 ›")
        terminal.send("half a line")
        terminal.wait_for("1 › half a line")
        terminal.send("\x1a")
        terminal.wait_for("Stopped")
        terminal.send("fg\r")
        terminal.wait(lambda: terminal.line == "1 › half a line")
        terminal.send("\r")
        terminal.wait_for("got 'half a line'")

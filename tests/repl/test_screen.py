"""What the REPL says, as the stream gets it and as a terminal emulator shows it."""

from __future__ import annotations

import io
import os

import pyte
import pytest

from cgcli.core.errors import CgcliError
from cgcli.repl.screen import Screen, columns_of


def plain(width: int = 80) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(out, color=False, width=lambda: width), out


def shown(screen_text: str, columns: int = 80) -> list[str]:
    screen = pyte.Screen(columns, 30)
    pyte.Stream(screen).feed(screen_text.replace("\n", "\r\n"))
    return [row.rstrip() for row in screen.display if row.strip()]


def test_without_color_nothing_but_text() -> None:
    screen, out = plain()
    screen.say("one\ntwo", "bold")
    screen.note("by the way")
    screen.error(CgcliError("no turn 7", hint="/show lists turns"))
    screen.code("import os\nx = 1\n", first=9)
    screen.diff(["--- a\n", "+++ b\n", "@@ -1 +1 @@\n", "-x\n", "+y\n"])
    assert out.getvalue() == (
        "one\ntwo\nby the way\ncgcli: no turn 7; /show lists turns\n"
        " 9  import os\n10  x = 1\n--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n"
    )


def test_notes_and_errors_are_broken_at_words_and_code_is_not() -> None:
    screen, out = plain(width=20)
    screen.note("cut at 7 tokens: /code 1 goes on\nshort")
    screen.error(CgcliError("no turn 7", hint="/show lists all turns"), where="line 3")
    screen.error(CgcliError("no file /a/path/longer/than/a/line"))
    screen.code("x = 1 + 2 + 3 + 4 + 5 + 6\n")
    assert out.getvalue().splitlines() == [
        "cut at 7 tokens:", "/code 1 goes on", "short",
        "cgcli: line 3: no", "turn 7; /show lists", "all turns",
        "cgcli: no file", "/a/path/longer/than/a/line",
        "x = 1 + 2 + 3 + 4 + 5 + 6",
    ]  # fmt: skip


def test_what_no_terminal_shows_is_not_broken() -> None:
    out = io.StringIO()
    Screen(out, color=False).note("words " * 30)
    assert out.getvalue().count("\n") == 1


def test_colors_and_the_same_words() -> None:
    out = io.StringIO()
    screen = Screen(out, color=True, width=lambda: 80)
    screen.say("two", "green")
    screen.code('"""a\nb"""\nimport os\n')
    screen.diff(["+new", "-old", " same"])
    text = out.getvalue()
    assert shown(text) == ["two", '"""a', 'b"""', "import os", "+new", "-old", " same"]
    emulator = pyte.Screen(80, 30)
    pyte.Stream(emulator).feed(text.replace("\n", "\r\n"))
    colors = ["green", "green", "green", "magenta", "green", "red", "default"]
    assert [emulator.buffer[y][1].fg for y in range(7)] == colors


@pytest.mark.parametrize("color", [False, True])
def test_nothing_that_is_shown_drives_the_terminal(color: bool) -> None:
    out = io.StringIO()
    screen = Screen(out, color=color, width=lambda: 80)
    evil = "\x1b]0;OWNED\x07\x9b2J\r\udce9"
    screen.say(evil)
    screen.note(evil)
    screen.error(CgcliError(evil, hint=evil))
    screen.code(evil)
    screen.diff([f"+{evil}"])
    stream = screen.stream()
    stream.write(evil)
    stream.close()
    left = out.getvalue().replace("\x1b[0m", "").replace("\x1b[K", "") if color else out.getvalue()
    assert "\x1b]" not in left and "\x07" not in left and "\x9b" not in left and "\udce9" not in left
    assert left.count("\\x1b]0;OWNED\\x07\\x9b2J") >= 6


def test_a_note_after_code_that_was_cut_off_has_its_own_line() -> None:
    screen, out = plain()
    stream = screen.stream()
    for piece in ("x =", " 1\ny", " = "):
        stream.write(piece)
    stream.close()
    screen.note("kept the part")
    stream = screen.stream()
    stream.write("z = 3\n")
    stream.close()
    screen.say("end")
    assert out.getvalue() == "x = 1\ny = \nkept the part\nz = 3\nend\n"


def test_streamed_code_is_colored_line_by_line() -> None:
    out = io.StringIO()
    stream = Screen(out, color=True, width=lambda: 80).stream()
    stream.write("import os")
    assert "\x1b" not in out.getvalue()
    stream.write("\n日本 = 1\n")
    stream.close()
    assert "\x1b" in out.getvalue() and shown(out.getvalue())[0] == "import os"


def test_a_stream_that_cannot_say_a_character_says_another() -> None:
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding="ascii"), color=False, width=lambda: 80)
    screen.say("perplexity 2 · fair")
    assert raw.getvalue() == b"perplexity 2 ? fair\n"


def test_a_screen_that_nobody_sees_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as out:
        screen = Screen(out, color=False)
        screen.say("x" * 100_000)
        assert screen.width == 80
    screen.say("closed")


def test_the_width_is_the_terminals_own() -> None:
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as out:
        screen = Screen(out, color=True)
        for columns in (123, 45):
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            assert screen.width == columns_of(out) == columns
    os.close(master)


def test_a_note_below_a_preview_is_not_wiped() -> None:
    out = io.StringIO()
    screen = Screen(out, color=True, width=lambda: 60)
    stream = screen.stream()
    stream.preview("x = 1\ny = 2")
    screen.note("that failed")
    stream.preview("x = 1\ny = 3")
    stream.close()
    assert shown(out.getvalue()) == ["x = 1", "y = 2", "that failed", "… written again:", "y = 3"]

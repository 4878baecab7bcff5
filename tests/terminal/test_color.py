"""Highlighted code as a terminal emulator shows it while it is written, and text colored by probability."""

from __future__ import annotations

import math
from itertools import pairwise

import pyte
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgcli.terminal.color import Highlighter, LiveCode, colored_by_probability, probability_legend

PROGRAM = (
    'import os\n\n\ndef f(x):\n    """Two\n    lines."""\n\treturn "é" + \'日本\'  # why\n'
    + "y = "
    + "1 + " * 30
    + "1\n"
)


@pytest.fixture(autouse=True)
def sixty_columns(own_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


def screen_of(pieces: list[str], columns: int = 60) -> tuple[pyte.Screen, str]:
    screen = pyte.Screen(columns, 40)
    stream = pyte.Stream(screen)
    sent: list[str] = []

    def emit(text: str) -> None:
        sent.append(text)
        stream.feed(text.replace("\n", "\r\n"))

    code = LiveCode(emit, "python")
    for piece in pieces:
        code.write(piece)
    return screen, "".join(sent)


def rows(screen: pyte.Screen) -> list[str]:
    return [row.rstrip() for row in screen.display]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, len(PROGRAM)), max_size=12))
def test_the_screen_shows_the_program_however_it_is_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(PROGRAM)]
    pieces = [PROGRAM[a:b] for a, b in pairwise(edges)]
    plain = pyte.Screen(60, 40)
    pyte.Stream(plain).feed(PROGRAM.replace("\n", "\r\n"))
    assert rows(screen_of(pieces)[0]) == rows(plain)


def test_whole_lines_are_colored_by_what_they_are() -> None:
    screen, _ = screen_of([PROGRAM])
    assert screen.buffer[0][0].fg == "magenta"  # import
    assert screen.buffer[3][4].fg == "blue" and screen.buffer[3][4].bold  # the function's name
    assert screen.buffer[5][4].fg == "green"  # within a string that began a line before
    assert screen.buffer[0][7].fg == "default"


def test_a_line_is_plain_until_it_ends_and_a_long_one_stays_so() -> None:
    screen, sent = screen_of(["import"])
    assert "\x1b" not in sent and rows(screen)[0] == "import"
    _, sent = screen_of(["return " + "x" * 80 + "\n"])
    assert "\x1b" not in sent


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\rb", "a\\x0db"), ("\udce9", "\\xe9"), ("\u202e", "\\u202e")]
)
def test_a_program_cannot_drive_the_terminal(text: str, shown: str) -> None:
    screen, _ = screen_of([text + "\n"])
    assert rows(screen)[0] == shown


def test_a_language_that_nobody_knows_stays_plain() -> None:
    sent: list[str] = []
    LiveCode(sent.append, "no-such-language").write("import os\n")
    assert "".join(sent) == "import os\n"


def test_the_time_for_a_line_does_not_grow_with_the_program() -> None:
    """What is lexed again at a line's end are the lines of its string, not the program so far."""
    highlighter = Highlighter("python")
    longest = 0
    for number in range(400):
        highlighter.line(f"value_{number} = [{number}, 'text']  # note")
        longest = max(longest, len(highlighter.state))
    assert longest < 100


@pytest.mark.parametrize(("before", "after"), [(60, 100), (60, 40), (100, 60)])
@pytest.mark.parametrize("length", [30, 50, 70, 90])
def test_a_resize_while_a_line_is_written_leaves_it_whole(before: int, after: int, length: int) -> None:
    """Nothing is written twice or over something else."""
    line = "x = " + "1" * (length - 4)
    screen, plain = pyte.Screen(before, 40), pyte.Screen(before, 40)
    stream, plain_stream = pyte.Stream(screen), pyte.Stream(plain)
    code = LiveCode(lambda text: stream.feed(text.replace("\n", "\r\n")), "python", lambda: screen.columns)
    for piece in (line[:65], None, line[65:] + "\n", "y = 2\n"):
        if piece is None:
            screen.resize(40, after)
            plain.resize(40, after)
        else:
            code.write(piece)
            plain_stream.feed(piece.replace("\n", "\r\n"))
    assert rows(screen) == rows(plain)


PREVIEWS = st.lists(st.tuples(st.integers(0, 30), st.text('ab ="\n', max_size=70)), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PREVIEWS)
def test_the_screen_shows_what_is_certain_and_the_last_preview(steps: list[tuple[int, str]]) -> None:
    """Each step shows a preview, and makes its beginning certain."""
    text, preview = "", ""
    screen, plain = pyte.Screen(20, 200), pyte.Screen(20, 200)
    stream = pyte.Stream(screen)
    code = LiveCode(
        lambda text: stream.feed(text.replace("\n", "\r\n")), "python", lambda: screen.columns, lambda: screen.lines
    )
    for certain, drawn in steps:
        code.preview(drawn)
        code.write(drawn[:certain])
        text, preview = text + drawn[:certain], drawn[certain:]
    pyte.Stream(plain).feed((text + preview).replace("\n", "\r\n"))
    assert rows(screen) == rows(plain)


def test_a_line_that_was_wiped_leaves_no_color_behind() -> None:
    screen = pyte.Screen(60, 40)
    stream = pyte.Stream(screen)
    code = LiveCode(lambda text: stream.feed(text.replace("\n", "\r\n")), "python", lambda: 60, lambda: 40)
    code.preview('x = """open\nstill\n')
    code.preview("x = 1\nimport os\n")
    code.write("x = 1\nimport os\n")
    assert rows(screen)[:3] == ["x = 1", "import os", ""]
    assert screen.buffer[1][0].fg == "magenta" and screen.buffer[1][7].fg == "default"


@pytest.mark.parametrize("language", ["python", None])
def test_what_cannot_be_wiped_is_written_again(language: str | None) -> None:
    """It scrolled away, the terminal cannot move the cursor, or something was printed below it."""
    sent: list[str] = []
    code = LiveCode(sent.append, language, lambda: 60, lambda: 4)
    code.write("a\n")
    code.preview("b\nc\nd\ne\n")
    code.preview("b\nC\n")
    code.write("b\nC\n")
    assert "".join(sent).endswith("e\n… written again:\nC\n")
    code.preview("x")
    sent.append("\na note\n")
    code.settle()
    code.write("y\n")
    assert "".join(sent).endswith("x\na note\n… written again:\ny\n")


def shown(*pieces: tuple[bytes, float | None]) -> str:
    return "".join(colored_by_probability(pieces))


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (1.0, "x"),
        (0.5, "x"),
        (0.499, "\x1b[36mx\x1b[0m"),
        (0.101, "\x1b[36mx\x1b[0m"),
        (0.099, "\x1b[35mx\x1b[0m"),
        (0.0101, "\x1b[35mx\x1b[0m"),
        (0.0099, "\x1b[31mx\x1b[0m"),
        (0.000101, "\x1b[31mx\x1b[0m"),
        (0.000099, "\x1b[7;31mx\x1b[0m"),
        (0.0, "\x1b[7;31mx\x1b[0m"),
        (None, "\x1b[90mx\x1b[0m"),
    ],
)
def test_the_less_probable_the_hotter(probability: float | None, expected: str) -> None:
    logprob = probability and math.log(probability + 1e-12)
    assert shown((b"x", -math.inf if probability == 0 else logprob)) == expected


def test_white_space_that_surprises_can_be_seen() -> None:
    assert shown((b"a\n\n  ", -0.1)) == "a\n\n  "
    assert shown((b"a\n  ", -6)) == "\x1b[31ma⏎\x1b[0m\n\x1b[4;31m  \x1b[0m"


def test_a_character_across_tokens_comes_whole() -> None:
    assert shown((b"\xc3", -0.1), (b"\xa9b", -3)) == "\x1b[35méb\x1b[0m"


def test_nothing_drives_the_terminal() -> None:
    assert shown((b"\x1b]0;x\x07", -0.1), (b"\r", -9.9)) == "\\x1b]0;x\\x07\x1b[4;7;31m\\x0d\x1b[0m"


def test_the_legend_has_every_color() -> None:
    assert all(f"\x1b[{color}m" in probability_legend() for color in ("36", "35", "31", "7;31", "90"))

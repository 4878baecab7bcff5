"""What `Output` writes to which stream, when it is colored, and what happens if a stream is closed or full."""

from __future__ import annotations

import io
import json
import os
import pty
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.core.progress import Silent
from cgcli.terminal.output import Output
from cgcli.terminal.text import columns, json_safe, one_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TerminalBytes(io.BytesIO):
    def isatty(self) -> bool:
        return True


def output(*, terminal: bool = False, variables: dict[str, str] | None = None) -> Output:
    if terminal:
        return Output(TerminalBytes(), Terminal(), variables or {})
    return Output(io.BytesIO(), io.StringIO(), variables or {})


def written(sink: Output) -> tuple[bytes, str]:
    assert isinstance(sink.stdout, io.BytesIO) and isinstance(sink.stderr, io.StringIO)
    return sink.stdout.getvalue(), sink.stderr.getvalue()


def test_programs_and_answers_on_stdout_all_else_on_stderr() -> None:
    sink = output()
    sink.write(b"\xff\n")
    sink.text("é")
    sink.json({"a": [1]})
    sink.note("note")
    sink.error(CgcliError("bad", hint="cgcli doctor"))
    out, err = written(sink)
    assert out == b'\xff\n\xc3\xa9\n{\n  "a": [\n    1\n  ]\n}\n'
    assert err == "note\ncgcli: bad; type: cgcli doctor\n"


@pytest.mark.parametrize(
    ("quiet", "verbose", "said"), [(False, False, "note\n"), (True, False, ""), (False, True, "note\ndetail\n")]
)
def test_quiet_and_verbose(quiet: bool, verbose: bool, said: str) -> None:
    sink = output()
    sink.quiet, sink.verbose = quiet, verbose
    sink.note("note")
    sink.detail("detail")
    assert written(sink) == (b"", said)
    sink.error(CgcliError("bad"))
    assert written(sink)[1] == said + "cgcli: bad\n"


@pytest.mark.parametrize(
    ("terminal", "variables", "color", "colored"),
    [
        (True, {}, "auto", True),
        (False, {}, "auto", False),
        (True, {"NO_COLOR": "1"}, "auto", False),
        (True, {"NO_COLOR": ""}, "auto", True),  # no-color.org: when not an empty string
        (True, {"TERM": "dumb"}, "auto", False),
        (True, {}, "never", False),
        (False, {}, "always", True),
        (True, {"NO_COLOR": "1"}, "always", True),
    ],
)
def test_color(terminal: bool, variables: dict[str, str], color: str, colored: bool) -> None:
    sink = output(terminal=terminal, variables=variables)
    sink.color = color  # type: ignore[assignment]
    sink.error(CgcliError("bad"))
    sink.table(["A"], [["b"]])
    out, err = written(sink)
    assert (sink.stdout_color, "\x1b" in err, b"\x1b" in out) == (colored,) * 3


def test_a_note_begins_a_line_of_its_own_behind_unfinished_program_text() -> None:
    sink = output(terminal=True)
    sink.write(b"x = 1")
    sink.note("one")
    sink.note("two")
    assert written(sink)[1] == "\none\ntwo\n"
    apart = output()
    apart.write(b"x = 1")
    apart.note("one")
    assert written(apart)[1] == "one\n"


def test_a_table_is_as_wide_as_its_cells() -> None:
    sink = output()
    sink.table(["NAME", "N"], [["a", "1"], ["longer", ""]])
    assert written(sink)[0].decode() == "NAME    N\na       1\nlonger\n"


def test_a_table_gives_where_a_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    rows = [["a", "what it is, at length", "file.py"], ["b", "日本語のタイトル、長い", "x"]]
    for sink, widest in ((output(terminal=True, variables={"NO_COLOR": "1"}), 30), (output(), 40)):
        sink.table(["ID", "TITLE", "FILE"], rows, clip="TITLE")
        lines = written(sink)[0].decode().splitlines()
        assert max(map(columns, lines)) <= widest and all(
            line.split()[-1] in ("FILE", "file.py", "x") for line in lines
        )
        assert ("…" in "".join(lines)) == (widest == 30)
        assert columns(lines[2].rpartition("x")[0]) == columns(lines[0].rpartition("FILE")[0])


def test_numbers_that_json_does_not_have_are_null() -> None:
    value = {"a": [1.5, float("inf"), (float("-inf"),)], "b": {"c": float("nan"), 3: "inf"}, "d": None}
    assert json_safe(value) == {"a": [1.5, None, [None]], "b": {"c": None, 3: "inf"}, "d": None}


def test_json_is_json() -> None:
    sink = output()
    sink.json({"text": "é\ud800\n", "none": [float("nan"), (float("inf"), 1.5)]})
    assert json.loads(written(sink)[0]) == {"text": "é\ud800\n", "none": [None, [None, 1.5]]}


def test_one_line_spells_out_what_would_move_the_cursor() -> None:
    assert one_line("a\nb\r\x1b[2J\x9b1m é") == "a b \\x1b[2J\\x9b1m é"


def test_no_message_moves_the_cursor() -> None:
    sink = output(terminal=True)
    sink.verbose = True
    sink.note("no\x1b[2Jte")
    sink.detail("  general.name = \x1b]0;mine\x07\nand more")
    sink.error(CgcliError("b\x9bad"))
    assert written(sink)[1] == (
        "no\\x1b[2Jte\n  general.name = \\x1b]0;mine\\x07 and more\n\x1b[1;31mcgcli:\x1b[0m b\\x9bad\n"
    )


def test_a_closed_stdout_and_a_full_one_are_different_errors() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError):  # noqa: PTH123  # a descriptor
        Output(pipe, io.StringIO(), {}).write(b"x")
    if Path("/dev/full").exists():
        with (
            Path("/dev/full").open("wb", buffering=0) as full,
            pytest.raises(CgcliError, match="cannot write to standard output: No space left"),
        ):
            Output(full, io.StringIO(), {}).write(b"x")


def test_stderr_that_nobody_reads_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True) as stderr:
        with pytest.raises(BrokenPipeError):
            stderr.write("what happens without care")
        sink = Output(io.BytesIO(), stderr, {})
        sink.note("lost")
        sink.error(CgcliError("lost, too"))


def test_progress_is_silent_when_quiet_and_lines_where_there_is_no_terminal() -> None:
    quiet = output()
    quiet.quiet = True
    assert isinstance(quiet.progress(), Silent)
    for sink in (output(), output(terminal=True, variables={"TERM": "dumb"})):
        with sink.progress().task("hashing", 10) as task:
            task.advance(10)
        assert written(sink)[1].startswith("hashing …\nhashing: 10 B")
        assert "\x1b" not in written(sink)[1] and "\r" not in written(sink)[1]


def test_bars_on_a_terminal_with_notes_above_them() -> None:
    pyte = pytest.importorskip("pyte")
    screen = pyte.Screen(100, 10)
    stream = pyte.ByteStream(screen)
    master, slave = pty.openpty()
    with open(slave, "w") as stderr:  # noqa: PTH123  # a descriptor
        sink = Output(io.BytesIO(), stderr, {"COLUMNS": "100"})
        progress = sink.progress()
        with (
            progress.task("first", 4_000_000, done=1_000_000) as one,
            progress.task("sec\x1b[2Jond", None, unit="steps") as two,
        ):
            one.advance(3_000_000)
            progress.note("in [b]between[/b]")
            two.advance(2)
        sink.note("after")
        shown_bytes = b""
        while not shown_bytes.endswith(b"after\r\n"):  # a terminal gives it in parts
            shown_bytes += os.read(master, 1 << 16)
    stream.feed(shown_bytes)
    os.close(master)
    shown = [line.rstrip() for line in screen.display if line.strip()]
    assert shown[0] == "in [b]between[/b]"
    assert shown[1].startswith("first") and "4.0 MB, took 0:00" in shown[1]
    assert shown[2].startswith("sec\\x1b[2Jond") and "2, took 0:00" in shown[2]
    assert shown[3:] == ["after"]


# What would turn text around, move the cursor, color, or hide: as no name of a file or a model may.
ODD = "a\u202egpj.exe \x9b1mb\x1b[2J\u200bc\u2066d\U000e0041"


def test_no_name_controls_the_terminal() -> None:
    assert one_line(ODD).isprintable() and one_line("tab\t").isprintable()
    sink = output()
    sink.verbose = True
    sink.note(ODD)
    sink.detail(ODD)
    sink.error(CgcliError(ODD, hint=ODD))
    sink.text(ODD)
    sink.table(["NAME", ODD], [[ODD, "x\ny"]])
    sink.json({ODD: [ODD]})
    out, err = (text.decode() if isinstance(text, bytes) else text for text in written(sink))
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert err.count("\\u202egpj") == 4 and out.count("\\u202egpj") == 5


def test_json_says_the_same_with_what_cannot_be_printed_as_escapes() -> None:
    sink = output()
    sink.json({ODD: [ODD, "é\n"]})
    assert json.loads(written(sink)[0]) == {ODD: [ODD, "é\n"]}
    assert "é".encode() in written(sink)[0]

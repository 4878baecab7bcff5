"""`cgcli fill`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import gguf
import jsonschema
import pytest

from cgcli.program import infill
from tests.support.cli import run
from tests.support.process import Ran
from tests.support.tiny_model import write_tiny_model

PROGRAM = """\
def mean(numbers):
    total = 0
    for number in numbers:

    return total / len(numbers)
"""
MODEL = ("-m", "codegen-nano", "--seed", "1")


def fill(*arguments: str, stdin: str = "", **variables: Any) -> Ran:
    return run("fill", *arguments, *MODEL, stdin=stdin.encode(), **variables)


def facts(ran: Ran) -> dict[str, Any]:
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    jsonschema.validate(found, json.loads((files("cgcli.program") / "fill.schema.json").read_text()))
    return found


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("prog.py")
    path.write_text(PROGRAM)
    return path


def test_prints_what_goes_into_the_hole(program: Path) -> None:
    ran = fill("prog.py:4")
    assert ran.status == 0, ran.err
    text = ran.out.decode()
    assert text.startswith(" " * 8) and not text.startswith(" " * 9) and text.endswith("\n") and text.strip()
    assert program.read_text() == PROGRAM
    assert "of 8: it makes what follows most probable" in ran.err and "codegen-nano" in ran.err


def test_the_whole_program_and_the_file_are_the_same_text(program: Path) -> None:
    new = fill("prog.py:4").out.decode()
    whole = PROGRAM.replace("\n\n", f"\n{new}")
    assert fill("prog.py:4", "--whole").out.decode() == whole
    assert fill(":4", "--whole", stdin=PROGRAM).out.decode() == whole
    ran = fill("prog.py:4", "-i")
    assert (ran.status, ran.out) == (0, b"") and program.read_text() == whole
    assert "wrote line 4 of prog.py" in ran.err


def test_line_ends_and_a_byte_order_mark_stay(program: Path) -> None:
    before = b"\xef\xbb\xbf" + PROGRAM.encode().replace(b"\n", b"\r\n")
    program.write_bytes(before)
    new = fill("prog.py:4").out
    assert new.endswith(b"\r\n")
    assert fill("prog.py:4", "-i").status == 0
    assert program.read_bytes() == before.replace(b"\r\n\r\n", b"\r\n" + new)


def test_the_json_says_how_it_was_filled(program: Path) -> None:
    found = facts(fill("prog.py:4", "--json", "-n", "3"))
    assert (found["infill"], found["line"], found["extent"], found["indent"]) == ("reranked", 4, "block", " " * 8)
    chosen = found["candidates"][found["accepted"]]
    assert chosen["text"] == found["text"] and len(found["candidates"]) == 3
    usable = [one for one in found["candidates"] if one["text"]]
    assert chosen["suffix_logprob"] == max(one["suffix_logprob"] for one in usable) < 0


def test_a_model_with_mask_tokens_says_so(program: Path, tmp_path: Path) -> None:
    special = dict.fromkeys(("<mask_1>", "<sep>", "<eom>"), gguf.TokenType.CONTROL)
    model = write_tiny_model(tmp_path / "codegen2.gguf", special=special)
    found = facts(run("fill", "prog.py:4", "-m", str(model), "--seed", "1", "--json"))
    assert found["infill"] == "codegen2" and len(found["candidates"]) == 1
    assert found["candidates"][0]["suffix_logprob"] is None
    found = facts(run("fill", "prog.py:4", "-m", str(model), "--seed", "1", "--json", "-n", "3"))
    assert found["text"] == max(found["candidates"], key=lambda one: one["logprob"])["text"]


def test_one_line_and_a_seed(program: Path) -> None:
    ran = fill("prog.py:4", "--extent", "line")
    assert ran.out.count(b"\n") == 1
    assert fill("prog.py:4", "--extent", "line").out == ran.out


def test_the_log_has_the_program(program: Path) -> None:
    whole = fill("prog.py:4", "--whole").out
    assert run("log", "use").out == whole
    assert b"  cgcli fill prog.py:4 " in run("log").out  # for want of prompts
    assert run("log", "--json").out.count(b'"run"') == 1
    fill("prog.py:4", "--no-log")
    assert run("log", "--json").out.count(b'"run"') == 1


def test_a_filled_file_is_not_drawn_again(program: Path) -> None:
    fill("prog.py:4", "-i")
    ran = run("replay", "prog.py")
    assert ran.status == 1 and "run 1 filled a place in prog.py, and only whole turns can be written again" in ran.err
    assert "run 1 filled a place, and only whole turns" in run("replay", "1").err


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("gone.py:3", (), "no such file: gone.py"),
        (".:3", (), ". is a folder; name a file in it: cgcli fill FILE:LINE, or :LINE for stdin"),
        ("prog.py:9", (), "prog.py has no line 9: it has 5 lines"),
        ("prog.py:0", (), "prog.py:0 names line 0, but lines are counted from 1"),
        ("prog.py", (), "prog.py has no comment with nothing below it"),
        ("-", (), "stdin is empty"),
        ("-", ("-i",), "--in-place needs a file, not stdin"),
        ("prog.py:4", ("-i", "--whole"), "--in-place prints no program, so --whole has no effect"),
        ("prog.py:4", ("--lang", "pyhton"), "unknown language 'pyhton', did you mean python?"),
        ("prog.py:4", ("-n", "1000000"), "-n "),
    ],
)
def test_what_is_refused(program: Path, place: str, options: tuple[str, ...], message: str) -> None:
    ran = fill(place, *options)
    assert (ran.status, ran.out) == (2, b"")
    assert ran.err.startswith(f"cgcli: {message}") and ran.err.count("\n") == 1, ran.err
    assert program.read_text() == PROGRAM


def test_bytes_that_are_not_utf8_stay(program: Path) -> None:
    program.write_bytes(PROGRAM.encode() + b"# \xff\n")
    assert fill("prog.py:4", "-i").status == 0
    assert program.read_bytes().endswith(b"# \xff\n")


def test_a_context_that_is_too_long_is_read_in_part(program: Path) -> None:
    program.write_text("x = 1\n" * 2000 + PROGRAM)
    ran = fill("prog.py:2004", "--ctx", "256", "--max-tokens", "20")
    assert ran.status == 0 and "characters farthest from the hole" in ran.err


def test_a_file_that_changed_meanwhile_is_left_alone(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*arguments: Any, **rest: Any) -> Any:
        program.write_text("other\n")
        return original(*arguments, **rest)

    original = infill.fill
    monkeypatch.setattr(infill, "fill", changed)
    ran = fill("prog.py:4", "-i")
    assert ran.status == 1 and "changed in the meantime; it was not overwritten; the new text is on stdout" in ran.err
    assert program.read_text() == "other\n" and ran.out.startswith(b" " * 8)


def test_nothing_is_written_where_all_candidates_are_empty(program: Path) -> None:
    ran = fill("prog.py:4", "-i", "--max-tokens", "1", "--stop", "a", "--stop", "e", "--stop", "i", "--stop", "s")
    if ran.status == 0:
        pytest.fail(ran.out.decode())
    assert ran.status == 1 and "the model returned nothing in 8 attempts" in ran.err
    assert program.read_text() == PROGRAM

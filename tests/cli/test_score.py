"""`cgcli score`: the tables, the JSON, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyte
import pytest

from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.progress import Silent
from tests.cli.test_gen_terminal import on_terminal
from tests.support.cli import run
from tests.support.process import CGCLI, Ran, cgcli

TEXT = """#!/usr/bin/env python3

# print the numbers from 1 to 10
for i in range(1, 11):
    print(i)

# zebra quantum (of) the lamp -> sideways
print("hello")
"""


def score(*arguments: str, model: Path | None = None, text: str | bytes = TEXT, **variables: Any) -> Ran:
    stdin = text.encode() if isinstance(text, str) else text
    return run("score", "-", *(("-m", str(model)) if model else ()), *arguments, stdin=stdin, **variables)


def facts(ran: Ran) -> dict[str, Any]:
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    jsonschema.validate(found, json.loads((files("cgcli.program") / "score.schema.json").read_text()))
    return found


def test_a_table_of_turns_and_the_whole(embedded_home: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TEXT)
    ran = run("score", str(program), CGCLI_HOME=str(embedded_home))
    assert ran.status == 0 and ran.err.startswith("smollm2-135m q8_0, perplexity ") and ran.err.count("\n") == 1
    header, *rows = ran.out.decode().splitlines()
    assert header.split("  ")[0] == "TURN" and b"\x1b" not in ran.out
    cells = [row.split(maxsplit=6) for row in rows]
    assert [row[0] for row in cells] == ["prefix", "1", "2", "all"] and [row[1] for row in cells[:3]] == ["1", "3", "7"]
    assert cells[1][6] == "print the numbers from 1 to 10" and cells[2][6] == "zebra quantum (of) the lamp -> sideways"
    clear, nonsense = (float(row[4]) for row in cells[1:3])
    assert 1 < clear < nonsense / 5
    assert sum(int(row[2]) for row in cells[:3]) == int(cells[3][1])
    assert f"perplexity {cells[3][2]} over {cells[3][1]} of {int(cells[3][1]) + 1} tokens" in ran.err


def test_json_has_the_same_and_every_token_if_asked(bundled_model: Path) -> None:
    whole = facts(score("--json", "--tokens", model=bundled_model))
    assert whole["unscored"] + "".join(piece["piece"] for piece in whole["pieces"]) == TEXT
    assert whole["tokens"] == len(whole["pieces"])
    mean = np.mean([piece["logprob"] for piece in whole["pieces"]])
    assert whole["perplexity"] == pytest.approx(np.exp(-mean))
    assert [turn["prompt"] for turn in whole["turns"]] == [line[2:] for line in TEXT.split("\n") if line[:2] == "# "]
    assert {**whole, "pieces": None} == facts(score("--json", model=bundled_model))
    row = score(model=bundled_model).out.decode().splitlines()[2].split()
    assert row[2:5] == [str(whole["turns"][0]["tokens"])] + [
        f"{whole['turns'][0][of]:.2f}" for of in ("perplexity", "prompt_perplexity")
    ]


@pytest.mark.parametrize("name", ["own", "head64"])
def test_a_golden_texts_losses(name: str, golden: Callable[[str], Path], tmp_path: Path) -> None:
    source = golden(name)
    model = tmp_path / "f16.gguf"
    convert(source, model, quant="f16", provenance=Provenance(name), progress=Silent(), threads=2)
    expected = np.load(source / "expected.npz")["nll"]
    found = facts(score("--json", "--tokens", model=model, text=(source / "prompt.txt").read_bytes()))
    assert [-piece["logprob"] for piece in found["pieces"]] == pytest.approx(expected.tolist(), abs=0.01)
    assert found["perplexity"] == pytest.approx(np.exp(expected.mean()), rel=0.01)


def test_gen_and_score_agree_on_a_prompt(tiny_model: Path) -> None:
    how = ("sort numbers", "--guard", "off", "--seed", "3", "--max-tokens", "12", "-t", "1", "-m", str(tiny_model))
    drawn = json.loads(run("gen", *how, "--json").out)["turns"][0]
    scored = facts(score("--json", model=tiny_model, text=run("gen", *how).out))
    assert scored["turns"][0]["prompt"] == drawn["prompt"]
    assert scored["turns"][0]["prompt_tokens"] == drawn["prompt_tokens"]
    assert np.log(scored["turns"][0]["prompt_perplexity"]) == pytest.approx(
        np.log(drawn["prompt_perplexity"]), abs=0.05
    )


def test_every_token_as_a_table(tiny_model: Path) -> None:
    ran = score("--tokens", model=tiny_model, text="a\té\n")
    header, *rows = (line.split() for line in ran.out.decode().splitlines())
    assert header == ["LOGPROB", "RANK", "ENTROPY", "TOKEN"]
    assert rows[0] == ["-", "-", "-", "'a'"] and [row[3] for row in rows[1:]] == [
        "'\\t'",
        "b'\\xc3'",
        "b'\\xa9'",
        "'\\n'",
    ]
    pieces = facts(score("--tokens", "--json", model=tiny_model, text="a\té\n"))["pieces"]
    assert [row[0] for row in rows[1:]] == [f"{piece['logprob']:.3f}" for piece in pieces]
    assert [row[1] for row in rows[1:]] == [str(piece["rank"]) for piece in pieces]
    assert "".join(piece["piece"] for piece in pieces).encode("utf-8", "surrogateescape").decode() == "\té\n"


def test_the_language_says_what_a_comment_is(tiny_model: Path, tmp_path: Path) -> None:
    text = "package main\n\n// add\n# no\n\n// print\n"
    program = tmp_path / "main.go"
    program.write_text(text)
    found = facts(run("score", str(program), "--json", "-m", str(tiny_model)))
    assert [turn["prompt"] for turn in found["turns"]] == ["add", "print"]
    assert found["turns"] == facts(score("--json", "--lang", "go", model=tiny_model, text=text))["turns"]
    assert facts(score("--json", model=tiny_model, text=text))["turns"] == []


def test_bytes_that_are_not_utf8_are_read_as_the_model_reads_them(tiny_model: Path) -> None:
    assert facts(score("--json", model=tiny_model, text=b"# a\xff\nx\n")) == facts(
        score("--json", model=tiny_model, text="# a\ufffd\nx\n")
    )


def test_a_longer_text_is_refused_then_read_in_windows(tiny_model: Path) -> None:
    text = "# a\n" + "x = 1\n" * 60
    ran = score("--ctx", "256", model=tiny_model, text=text)
    assert (ran.status, ran.out) == (6, b"") and ran.err.count("\n") == 1
    assert "364 tokens" in ran.err and ran.err.endswith("type: cgcli score - --stride 128\n")
    ran = score("--ctx", "256", "--stride", "128", "--json", model=tiny_model, text=text)
    found = facts(ran)
    assert (found["tokens"], found["window"], found["stride"]) == (363, 256, 128) and "windows scored: 2" in ran.err


@pytest.mark.parametrize(
    ("arguments", "text", "says"),
    [
        (("-",), b"", "stdin is empty"),
        (("/no/such/file",), b"", "no such file: /no/such/file"),
        (("-", "--lang", "pythn"), b"x", "did you mean python?"),
        (("-", "--stride", "0"), b"x", "'0' is less than 1"),
        (("-", "--stride", "2048"), b"x", "the context window of 2048 tokens"),
        ((), b"x", "FILE"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    tiny_model: Path, arguments: tuple[str, ...], text: bytes, says: str
) -> None:
    ran = run("score", *arguments, "-m", str(tiny_model), stdin=text)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, b"", 1) and says in ran.err


def test_a_closed_pipe_ends_quietly(tiny_model: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = cgcli("score", "-", "-m", str(tiny_model), "-q", stdin=b"# a\nx = 1\n", stdout=writer)
    finally:
        os.close(writer)
    assert (ran.status, ran.err) == (0, "")


def test_a_terminal_shows_surprise_in_colour(embedded_home: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TEXT)
    variables = {"NO_COLOR": "", "TERM": "xterm", "CGCLI_HOME": str(embedded_home)}
    status, shown = on_terminal([*CGCLI, "score", "--tokens", "-q", str(program)], **variables)
    screen = pyte.Screen(100, 24)
    pyte.ByteStream(screen).feed(shown)
    lines = [line.rstrip().replace("⏎", "") for line in screen.display]
    assert status == 0 and lines[: TEXT.count("\n")] == TEXT.splitlines()
    assert lines[TEXT.count("\n") + 1].startswith("probability at least 50 %, 10 %")

    def colour(line: int, word: str) -> str:
        found: str = screen.buffer[line][screen.display[line].index(word)].fg
        return found

    assert colour(0, "#!") == "brightblack"  # the first token, which is not scored
    assert colour(3, "in range") == "default" and colour(6, "quantum") == "red"


def test_a_terminal_without_colour_shows_the_table(tiny_model: Path, tmp_path: Path) -> None:
    program = tmp_path / "evil.py"
    program.write_bytes(b"# \x1b]0;OWNED\x07\nx\n")
    for arguments in (["--tokens"], []):
        command = [*CGCLI, "score", *arguments, str(program), "-m", str(tiny_model)]
        status, shown = on_terminal(command, NO_COLOR="1", TERM="xterm")
        assert status == 0 and b"TOKEN" in shown
        assert b"\x1b" not in shown and b"\x07" not in shown

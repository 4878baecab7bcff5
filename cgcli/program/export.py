"""Exports a program as the text of a notebook, of Markdown, or of an MTPB problem.

Notebook: nbformat 4.5, https://nbformat.readthedocs.io. Markdown: CommonMark. Problem: a line of salesforce/CodeGen's
codegen1/benchmark/mtpb.jsonl.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.program.history import Run
from cgcli.program.program import Program
from cgcli.program.source import digest
from cgcli.terminal.text import json_text

Format = Literal["ipynb", "md", "mtpb"]

_MAX_GEN_LENGTH = 256  # tokens; MTPB's default


@dataclass(frozen=True)
class FormatInfo:
    """A format to export to."""

    suffix: str  # of its files
    about: str  # a few words for completion


FORMATS: dict[Format, FormatInfo] = {
    "ipynb": FormatInfo(".ipynb", "notebook, a cell a turn"),
    "md": FormatInfo(".md", "Markdown"),
    "mtpb": FormatInfo(".json", "benchmark problem, JSON"),
}


@dataclass(frozen=True)
class _Piece:
    """The prefix, or a turn together with the turns without a prompt that continue it."""

    number: int  # of the turn, from 1
    prompt: str | None
    code: str


def export(program: Program, language: str, format: Format, runs: Mapping[str, Run] | None = None) -> str:
    """The program as the text of a file. runs: by the `digest` of the text that was run.

    Raises UsageError for a problem if the program has no prompts.
    """
    run = (runs or {}).get(digest(program.source()))
    match format:
        case "ipynb":
            return json_text(_notebook(program, language)) + "\n"
        case "md":
            return _markdown(program, language, run)
        case "mtpb":
            return json.dumps(_problem(program, run)) + "\n"


def find_format(word: str) -> Format:
    """The format that a user named. Raises UsageError."""
    for format in FORMATS:
        if word == format:
            return format
    raise UsageError(f"unknown format {word!r}{nearest(word, FORMATS)}", hint=f"choose one of: {', '.join(FORMATS)}")


def _pieces(program: Program) -> list[_Piece]:
    text = program.source()
    pieces = [_Piece(0, None, program.prefix)]
    for number, (turn, span) in enumerate(zip(program.turns, program.spans(), strict=True), 1):
        if turn.prompt is None:
            last = pieces.pop()
            pieces.append(_Piece(last.number, last.prompt, last.code + text[span.begin : span.end]))
        else:
            pieces.append(_Piece(number, turn.prompt, text[span.code : span.end]))
    return pieces


def _notebook(program: Program, language: str) -> dict[str, Any]:
    """A code cell for the prefix, and one for each turn, including its comment."""
    cells: list[dict[str, Any]] = []
    for piece in _pieces(program):
        comment = "" if piece.prompt is None else program.comment(piece.prompt)
        if source := (comment + piece.code).strip("\n"):
            cells.append(
                {
                    "cell_type": "code",
                    "id": f"turn-{piece.number}" if piece.number else "prefix",
                    "metadata": {},
                    "source": source.splitlines(keepends=True),
                    "execution_count": None,
                    "outputs": [],
                }
            )
    metadata: dict[str, Any] = {"language_info": {"name": language}}
    if language == "python":
        metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def _markdown(program: Program, language: str, run: Run | None) -> str:
    """The first line of a prompt as a heading, the others as paragraphs; code and output in fences."""
    blocks: list[str] = []
    for piece in _pieces(program):
        if piece.prompt is not None:
            lines = [_escaped(line) for line in piece.prompt.splitlines() if line.strip()] or [""]
            blocks += [f"## {lines[0]}".rstrip(), *lines[1:]]
        if code := piece.code.strip("\n"):
            blocks.append(_fenced(code, language))
    if run and (run.output + run.errors).strip("\n"):
        blocks += ["## Output", *(_fenced(said, "") for text in (run.output, run.errors) if (said := text.strip("\n")))]
    return "\n\n".join(blocks) + "\n"


def _escaped(line: str) -> str:
    """A line, escaped so that Markdown shows it unchanged."""
    escaped = re.sub(r"[\\`*_{}\[\]<>#|~&$]", r"\\\g<0>", line.strip())
    return re.sub(r"^(\d*)([-+.)=])", r"\1\\\2", escaped)


def _fenced(code: str, language: str) -> str:
    longest = max((len(ticks) for ticks in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _problem(program: Program, run: Run | None) -> dict[str, Any]:
    """The prompts, without placeholders; expects the last line that the last run printed, to be reviewed."""
    prompts = [turn.prompt for turn in program.turns if turn.prompt is not None]
    if not prompts:
        raise UsageError("the program has no prompts, which an MTPB problem needs")
    lengths = [turn.facts.max_tokens for turn in program.turns if turn.facts]
    printed = run.output.rstrip("\n") if run and run.passed else ""
    return {
        "prompts": [prompt.replace("{", "{{").replace("}", "}}") for prompt in prompts],
        "inputs": [{}],
        "outputs": [_literal(printed.splitlines()[-1])] if printed else [],
        "max_gen_length": max(lengths, default=_MAX_GEN_LENGTH),
        "category": "exported",
        "name": (prompts[0].splitlines() or [""])[0],
        "description": " ".join(" ".join(prompts).split()),
        "id": digest(program.source()),
    }


def _literal(printed: str) -> Any:
    """The value that was printed if it is a literal that JSON has, otherwise the text."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about backslashes
            value = ast.literal_eval(printed)
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return printed
    return value if same else printed

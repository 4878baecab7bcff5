"""A program in another form: a notebook, Markdown, or a problem as MTPB has them. Nothing is written here.

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

Form = Literal["ipynb", "md", "mtpb"]

_MAX_GEN_LENGTH = 256  # tokens; MTPB's own where a problem says nothing


@dataclass(frozen=True)
class Kind:
    """A form that a program can have. suffix: of its files; about: a few words."""

    suffix: str
    about: str


FORMS: dict[Form, Kind] = {
    "ipynb": Kind(".ipynb", "notebook, a cell a turn"),
    "md": Kind(".md", "Markdown"),
    "mtpb": Kind(".json", "benchmark problem, JSON"),
}


@dataclass(frozen=True)
class _Piece:
    """The prefix, or a turn with those that continue it without a prompt of their own. number: the turn's, from 1."""

    number: int
    prompt: str | None
    code: str


def export(program: Program, language: str, form: Form, runs: Mapping[str, Run] | None = None) -> str:
    """The program as the text of a file. runs: what texts did when they were run, by their `digest`.

    Raises UsageError where there is no prompt to make a problem of.
    """
    run = (runs or {}).get(digest(program.source()))
    match form:
        case "ipynb":
            return json_text(_notebook(program, language)) + "\n"
        case "md":
            return _markdown(program, language, run)
        case "mtpb":
            return json.dumps(_problem(program, run)) + "\n"


def form_of(word: str) -> Form:
    """The form that a user named. Raises UsageError."""
    for form in FORMS:
        if word == form:
            return form
    raise UsageError(f"no format {word!r}{nearest(word, FORMS)}", hint=f"one of: {', '.join(FORMS)}")


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
    """A code cell for the prefix, and one for each turn, its comment included."""
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
    """A prompt is a heading, its further lines are paragraphs; code and output are fenced."""
    blocks: list[str] = []
    for piece in _pieces(program):
        if piece.prompt is not None:
            lines = [_words(line) for line in piece.prompt.splitlines() if line.strip()] or [""]
            blocks += [f"## {lines[0]}".rstrip(), *lines[1:]]
        if code := piece.code.strip("\n"):
            blocks.append(_fenced(code, language))
    if run and (run.output + run.errors).strip("\n"):
        blocks += ["## Output", *(_fenced(said, "") for text in (run.output, run.errors) if (said := text.strip("\n")))]
    return "\n\n".join(blocks) + "\n"


def _words(line: str) -> str:
    """A line that Markdown shows as it is."""
    escaped = re.sub(r"[\\`*_{}\[\]<>#|~&$]", r"\\\g<0>", line.strip())
    return re.sub(r"^(\d*)([-+.)=])", r"\1\\\2", escaped)


def _fenced(code: str, language: str) -> str:
    longest = max((len(ticks) for ticks in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _problem(program: Program, run: Run | None) -> dict[str, Any]:
    """The prompts, without holes to fill; what is expected is what the last run printed last, to be looked at."""
    prompts = [turn.prompt for turn in program.turns if turn.prompt is not None]
    if not prompts:
        raise UsageError("the program has no prompts, and a problem is made of them")
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
    """The value that was printed, where that can be told and JSON has it; else the text."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of a backslash that means nothing
            value = ast.literal_eval(printed)
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return printed
    return value if same else printed

"""Exported programs, read back by readers of each format."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cgcli.core.errors import UsageError
from cgcli.program.export import export
from cgcli.program.history import Run
from cgcli.program.program import RAW, Layout, Program, Turn
from cgcli.program.source import digest
from tests.program.steps import Step, drawn, programs, steps, taken

PROGRAM = (
    Program("#!/usr/bin/env python3\n\n")
    .add(Turn("read numbers\nfrom stdin", "x = [1, 2]"))
    .add(Turn("print them", "print(x)"))
    .add(Turn(None, "\nprint(len(x))"))
)


def ran(program: Program, output: str, passed: bool = True, errors: str = "") -> dict[str, Run]:
    text = digest(program.source())
    return {text: Run(text, "passed", passed, 0.1, output, errors)}


def notebook(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nbformat's own imports
        import nbformat

    read = nbformat.reads(text, as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    nbformat.validate(read)
    return read


def test_a_notebook_has_a_cell_a_turn() -> None:
    """The prefix first; a turn without a prompt continues the cell before, which it may stand in the middle of."""
    read = notebook(export(PROGRAM, "python", "ipynb"))
    assert (read.nbformat, read.nbformat_minor) == (4, 5)
    assert [(cell.cell_type, cell.id, cell.source) for cell in read.cells] == [
        ("code", "prefix", "#!/usr/bin/env python3"),
        ("code", "turn-1", "# read numbers\n# from stdin\nx = [1, 2]"),
        ("code", "turn-2", "# print them\nprint(x)\n\nprint(len(x))"),
    ]
    assert read.metadata.kernelspec.name == "python3" and read.metadata.language_info.name == "python"
    other = notebook(export(Program("", layout=Layout("//")).add(Turn("p", "f();")), "go", "ipynb"))
    assert [cell.source for cell in other.cells] == ["// p\nf();"]
    assert "kernelspec" not in other.metadata and other.metadata.language_info.name == "go"


@given(programs, steps)
def test_any_program_is_a_notebook_of_all_its_text(program: Program, chosen: list[Step]) -> None:
    program = taken(program, chosen).program
    exported = export(program, "python", "ipynb")
    exported.encode()
    cells = notebook(exported).cells
    assert "".join(cell.source.replace("\n", "") for cell in cells) == program.source().replace("\n", "")
    assert len({cell.id for cell in cells}) == len(cells)


def test_markdown() -> None:
    assert export(PROGRAM, "python", "md", ran(PROGRAM, "[1, 2]\n2\n")) == (
        "```python\n#!/usr/bin/env python3\n```\n\n"
        "## read numbers\n\nfrom stdin\n\n```python\nx = [1, 2]\n```\n\n"
        "## print them\n\n```python\nprint(x)\n\nprint(len(x))\n```\n\n"
        "## Output\n\n```\n[1, 2]\n2\n```\n"
    )
    assert "Output" not in export(PROGRAM, "python", "md", ran(PROGRAM.drop(0), "[1, 2]\n"))


# What Markdown would take for more than words, and what would end a fence.
_MARKUP: tuple[str, ...] = (
    "&amp;",
    "<b>",
    "<!--",
    "1.",
    "1)",
    "-",
    "+",
    "---",
    "===",
    "=",
    "#",
    ">",
    "***",
    "__",
    "`a`",
    "[a]: b",
    "~~~",
)
_MARKUP += ("![a](b)", "\\", "|", "$", "<a:b>", "\t", "a", " ", "é")
_WORDS = st.lists(st.sampled_from(_MARKUP), min_size=1, max_size=4).map("".join).filter(str.strip)
_CODE = st.lists(st.sampled_from(("`", "```", "````", "~~~", "a", " ", "\n", "#")), max_size=6).map("".join)
_CODE = _CODE.filter(str.strip)


@given(st.lists(st.tuples(st.lists(_WORDS, min_size=1, max_size=3), _CODE), max_size=3), _CODE)
def test_markdown_shows_the_words_and_the_code_as_they_are(turns: list[tuple[list[str], str]], output: str) -> None:
    program = Program(layout=RAW)
    for lines, code in turns:
        program = program.add(Turn("\n".join(lines), code))
    shown = []
    for token in MarkdownIt().parse(export(program, "python", "md", ran(program, output))):
        if token.type == "inline":
            assert token.children is not None and all(child.type.startswith("text") for child in token.children)
            shown.append("".join(child.content for child in token.children))
        elif token.type == "fence":
            shown.append(token.content.removesuffix("\n"))
        else:
            assert token.type in {"heading_open", "heading_close", "paragraph_open", "paragraph_close"}
    expected = [part for lines, code in turns for part in (*(line.strip() for line in lines), code.strip("\n"))]
    assert shown == [*expected, "Output", output.strip("\n")]


@pytest.mark.parametrize(("output", "errors"), [("1\n", "careful\n"), ("", "careful"), ("1", "")])
def test_markdown_shows_each_stream_by_itself(output: str, errors: str) -> None:
    text = export(PROGRAM, "python", "md", ran(PROGRAM, output, errors=errors)).partition("## Output\n\n")[2]
    assert text == "\n\n".join(f"```\n{said.strip()}\n```" for said in (output, errors) if said) + "\n"


def test_a_problem_has_the_fields_of_the_benchmark() -> None:
    program = PROGRAM.add(drawn(PROGRAM, 'fill {A} in "{"', "print(7)"))
    text = export(program, "python", "mtpb", ran(program, "1\n[1, 2]\n"))
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "prompts": ["read numbers\nfrom stdin", "print them", 'fill {{A}} in "{{"'],
        "inputs": [{}],
        "outputs": [[1, 2]],
        "max_gen_length": 256,
        "category": "exported",
        "name": "read numbers",
        "description": 'read numbers from stdin print them fill {A} in "{"',
        "id": digest(program.source()),
    }


def test_a_problem_is_one_of_the_benchmark(shared: Path) -> None:
    """The same keys in the same order; its prompts are filled as the benchmark's are."""
    with (shared / "data" / "mtpb.jsonl").open(encoding="utf-8") as lines:
        known = json.loads(next(lines))
    program = Program().add(Turn("a set {1, 2}", "x"))
    problem = json.loads(export(program, "python", "mtpb"))
    assert list(problem) == list(known)
    assert problem["prompts"][0].format(**problem["inputs"][0]) == "a set {1, 2}"
    assert {key: type(value) for key, value in problem.items()} == {key: type(value) for key, value in known.items()}


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("5\n", [5]),
        ("5.50", [5.5]),
        ("abc 'd'", ["abc 'd'"]),
        ("x\nTrue\n", [True]),
        ("None", [None]),
        (r"'\d'", [r"\d"]),
        ("{'a': [1]}", [{"a": [1]}]),
        ("{1: 2}", ["{1: 2}"]),
        ("{1}", ["{1}"]),
        ("(1, 2)", ["(1, 2)"]),
        ("1e999", ["1e999"]),
        ("[" * 500, ["[" * 500]),
        ("\n", []),
        ("", []),
    ],
)
def test_what_a_problem_expects_is_what_was_printed_last(printed: str, expected: list[Any]) -> None:
    told = ran(PROGRAM, printed, errors="careful\n")
    assert json.loads(export(PROGRAM, "python", "mtpb", told))["outputs"] == expected
    assert json.loads(export(PROGRAM, "python", "mtpb", ran(PROGRAM, printed, passed=False)))["outputs"] == []


def test_a_problem_needs_a_prompt() -> None:
    with pytest.raises(UsageError, match="no prompts"):
        export(Program("x = 1\n").add(Turn(None, "y")), "python", "mtpb")

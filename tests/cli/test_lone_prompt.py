"""`score` of prompts alone: as `gen` reads them, with the gauge's word."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.cli import run

PROMPT = "sort a list of words by length"


def scored(text: str, *options: str, **variables: Any) -> dict[str, Any]:
    ran = run("score", "-", "-m", "codegen-nano", "--json", *options, stdin=text.encode(), **variables)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def asked(*options: str, prompt: str = PROMPT, **variables: Any) -> float:
    ran = run("gen", prompt, "-m", "codegen-nano", "--max-tokens", "1", "--json", "--seed", "1", *options, **variables)
    return float(json.loads(ran.out)["turns"][0]["prompt_perplexity"])


@pytest.mark.parametrize("text", [f"# {PROMPT}\n", f"# {PROMPT}", f"\n# {PROMPT}\n\n"])
def test_the_perplexity_is_that_of_gen(text: str) -> None:
    found = scored(text, "--tokens")
    assert found["perplexity"] == found["prompts"]["perplexity"] == pytest.approx(asked(), rel=0.02)
    assert found["turns"][0]["line"] == 1 and found["prefix"]["tokens"] == 0 and found["unscored"] == ""
    assert "".join(piece["piece"] for piece in found["pieces"]) == f"# {PROMPT}\n"


def test_with_the_prefix_of_the_settings_and_of_the_language() -> None:
    prefix = "import os\nimport sys\n\n"
    own = scored(f"# {PROMPT}\n", CGCLI_PREFIX=prefix)["perplexity"]
    assert own == pytest.approx(asked(CGCLI_PREFIX=prefix), rel=0.02) and own != scored(f"# {PROMPT}\n")["perplexity"]
    go = scored(f"// {PROMPT}\n", "--lang", "go")["perplexity"]
    assert go == pytest.approx(asked("--lang", "go"), rel=0.02)


def test_prompts_of_several_lines_and_several_prompts_are_prompts_alone() -> None:
    found = scored("# read a file\n# print it\n")
    assert found["perplexity"] == pytest.approx(asked(prompt="read a file\nprint it"), rel=0.02)
    assert len(scored("# read a file\n\n# print it\n")["turns"]) == 2


def test_a_program_is_scored_as_it_stands() -> None:
    found = scored(f"# {PROMPT}\nx = 1\n")
    assert found["unscored"] == "#"


def test_the_words_of_the_gauge() -> None:
    said = {}
    for prompt in ("print the sum of the numbers", "zebra quantum (of) the lamp -> sideways"):
        ran = run("score", "-", "-m", "codegen-nano", stdin=f"# {prompt}\n".encode())
        found = re.search(r"perplexity ([\d.]+) · (clear|fair|unclear) over (\d+) of \3 tokens", ran.err)
        assert found, ran.err
        said[prompt] = found[2]
    assert said == {"print the sum of the numbers": "clear", "zebra quantum (of) the lamp -> sideways": "unclear"}
    assert "·" not in run("score", "-", "-m", "codegen-nano", stdin=b"# x\nx = 1\n").err

"""What evaluations say of how samples were drawn, and of what judged them."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evals.tiny_humaneval import write_samples, write_tasks
from tests.support.cli import run
from tests.support.process import Ran

RIGHT = ("S/one", "    return 1\n")
PYTHON = f"{platform.python_implementation()} {platform.python_version()}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path / "tasks.jsonl")
    problem: dict[str, Any] = {"id": "1", "category": "math", "prompts": ["Let x be {x}.", "Print it."]}
    problem |= {"max_gen_length": 8, "inputs": [{"x": 3}], "outputs": [3]}
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    return tmp_path


def humaneval(*options: str) -> Ran:
    ran = run("eval", "humaneval", "--data", "tasks.jsonl", "--unsafe", *options)
    assert ran.status == 0, ran.err
    return ran


def mtpb(*options: str) -> Ran:
    ran = run("eval", "mtpb", "--data", "problems.jsonl", "--unsafe", *options)
    assert ran.status == 0, ran.err
    return ran


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_results_name_the_interpreter_and_its_packages() -> None:
    write_samples(Path("s.jsonl"), RIGHT)
    told = json.loads(humaneval("--judge", "s.jsonl", "--json").out)
    (row,) = rows("s.jsonl_results.jsonl")
    for facts in (told, row):
        assert facts["python"] == PYTHON and facts["numpy"] == np.__version__ and "pandas" in facts
    sample = {"id": "1", "completions": "print(3)", "gold_output": 3}
    Path("m.jsonl").write_text(json.dumps(sample) + "\n")
    told = json.loads(mtpb("--judge", "m.jsonl", "--json").out)
    (row,) = rows("m.jsonl_results.jsonl")
    for facts in (told, row):
        assert facts["python"] == PYTHON and facts["numpy"] == np.__version__ and "pandas" in facts


@pytest.mark.parametrize("other", [{"python": "CPython 3.10.1"}, {"numpy": None}, {"pandas": "0.1"}])
def test_samples_are_judged_again_by_another_interpreter(other: dict[str, Any]) -> None:
    write_samples(Path("s.jsonl"), RIGHT)
    humaneval("--judge", "s.jsonl")
    (row,) = rows("s.jsonl_results.jsonl")
    changed = {**row, **other, "outcome": "wrong answer", "passed": False}
    Path("s.jsonl_results.jsonl").write_text(json.dumps(changed) + "\n")
    assert json.loads(humaneval("--judge", "s.jsonl", "--json").out)["verdicts"] == {"passed": 1}
    assert rows("s.jsonl_results.jsonl")[0]["outcome"] == "passed"


def test_top_k_is_an_option_of_both(tiny_model: Path) -> None:
    model = ("-m", str(tiny_model), "--top-k", "50", "--json")
    told = json.loads(humaneval(*model, "--max-tokens", "4", "-o", "h.jsonl").out)
    assert told["top_k"] == 50 and {row["top_k"] for row in rows("h.jsonl")} == {50}
    told = json.loads(mtpb(*model, "--turns", "multi", "-o", "m.jsonl").out)
    assert told["top_k"] == 50 and {row["top_k"] for row in rows("m.jsonl")} == {50}


def test_the_papers_preset_says_what_salesforces_sampler_did_besides(tiny_model: Path) -> None:
    preset = ("-m", str(tiny_model), "--preset", "paper", "-n", "1", "-t", "0.2", "--limit", "1", "--max-tokens", "4")
    ran = humaneval(*preset, "-o", "a.jsonl")
    assert "published code used --top-k 50\n" in ran.err and {row["top_k"] for row in rows("a.jsonl")} == {0}
    ran = humaneval(*preset, "-o", "b.jsonl", "--top-k", "50")
    assert "top-k" not in ran.err and {row["top_k"] for row in rows("b.jsonl")} == {50}

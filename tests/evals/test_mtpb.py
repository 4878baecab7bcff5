"""Reading MTPB's problems, and the faults of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.evals.mtpb import ODDITIES, PUBLISHED, Problem, SampleSpec, Turns, load_problems, oddities

ROW = {"id": "7", "category": "math", "prompts": ["Add {a}.", "Print {a}."], "inputs": [{"a": 1}], "outputs": [2]}


def problem(folder: Path, **changes: object) -> Problem:
    file = folder / "problems.jsonl"
    file.write_text(json.dumps(ROW | changes) + "\n")
    (found,) = load_problems(file)
    return found


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Problem]:
    file = shared / "data" / "mtpb.jsonl"
    if not file.exists():
        pytest.skip("the benchmark files are not beside this repository")
    assert file.stat().st_size == PUBLISHED.size
    return {one.id: one for one in load_problems(file)}


def test_the_published_problems(published: dict[str, Problem]) -> None:
    assert list(published) == [str(number) for number in range(1, 116)]
    assert sum(len(one.prompts) for one in published.values()) == 514
    assert sum(len(list(one.cases())) for one in published.values()) == 575
    assert sorted({one.max_tokens for one in published.values()}) == [128, 256, 512]


def test_the_oddities_are_as_described(published: dict[str, Problem]) -> None:
    assert oddities(published) == ODDITIES
    assert published["10"].inputs[1] == published["10"].inputs[4]
    assert "\n" in published["17"].prompts[0]
    assert None in published["41"].outputs
    assert (len(published["57"].inputs), len(published["57"].outputs)) == (5, 6)
    assert all(isinstance(expected, dict) for expected in published["89"].outputs)


def test_inputs_are_filled_in_and_single_joins_the_prompts_as_comments(tmp_path: Path) -> None:
    found = problem(tmp_path, max_gen_length=10)
    (case,) = found.cases()
    assert (case.prompts, case.input, case.expected) == (("Add 1.", "Print 1."), {"a": 1}, 2)

    def spec(turns: Turns) -> tuple[tuple[str, ...], int]:
        one = SampleSpec(case, turns, 0)
        return one.prompts, one.max_tokens

    assert spec("multi") == (("Add 1.", "Print 1."), 10)
    assert spec("single") == (("Add 1.\n# Print 1.",), 20)


def test_the_default_limit_is_256_tokens(tmp_path: Path) -> None:
    assert problem(tmp_path).max_tokens == 256


@pytest.mark.parametrize(
    "changes", [{"prompts": []}, {"prompts": ["{b}"]}, {"prompts": ["{"]}, {"inputs": []}, {"inputs": [3]},
                {"max_gen_length": "many"}, {"outputs": None}],
)  # fmt: skip
def test_the_error_for_a_bad_problem_names_the_file(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CgcliError, match=r"problems\.jsonl is not an MTPB file"):
        problem(tmp_path, **changes)

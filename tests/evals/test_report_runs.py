"""Which samples form a run, and which files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.evals.report.numbers import commands, numbers
from cgcli.evals.report.runs import EvalRun, read_runs
from cgcli.evals.report.sections import caveats
from tests.evals.run_files import humaneval, mtpb, problem, task, write


def one(*paths: Path) -> EvalRun:
    (run,) = read_runs(paths, {})
    return run


def test_files_of_one_run_count_as_one(tmp_path: Path) -> None:
    whole = humaneval(tmp_path / "whole.jsonl")
    lines = whole.read_text().splitlines(keepends=True)
    judged = {
        row["sample"]: row for row in map(json.loads, (tmp_path / "whole.jsonl_results.jsonl").read_text().splitlines())
    }
    shards = []
    for shard in range(3):
        numbers_of = range(shard, len(lines), 3)
        path = tmp_path / f"shard{shard}.jsonl"
        path.write_text("".join(lines[number] for number in numbers_of))
        results = [{**judged[number], "sample": at} for at, number in enumerate(numbers_of)]
        (tmp_path / f"{path.name}_results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
        shards.append(path)
    joined = one(*shards)
    assert numbers([joined], []) == numbers([one(whole)], [])
    assert joined.files == shards and joined.samples == 12 and joined.repeated == 0


def test_duplicate_rows_count_once(tmp_path: Path) -> None:
    file = humaneval(tmp_path / "run.jsonl")
    again = humaneval(tmp_path / "copy.jsonl")
    results = tmp_path / "run.jsonl_results.jsonl"
    assert one(file, results).repeated == 0  # a file of verdicts stands for its samples
    both = one(results, file, again)
    assert (both.samples, both.repeated) == (12, 12)


def test_multi_and_single_in_two_files_are_one_run(tmp_path: Path) -> None:
    several = write(tmp_path / "a.jsonl", [problem(1, 0, "multi", "passed")], rules="paper")
    at_once = write(tmp_path / "b.jsonl", [problem(1, 0, "single", "exception")], rules="paper")
    assert set(one(several, at_once).analysis["turns"]) == {"multi", "single"}


@pytest.mark.parametrize(
    "facts", [{"model": "other"}, {"quant": "q8_0"}, {"sha256": "cd" * 32}, {"top_p": 1.0}, {"max_tokens": 64}]
)
def test_other_settings_are_another_run(tmp_path: Path, facts: dict[str, object]) -> None:
    file = write(tmp_path / "run.jsonl", [task(0, 0, "passed"), task(0, 0, "exception", **facts)])
    runs = read_runs([file], {})
    assert len(runs) == 2 and {run.samples for run in runs} == {1}
    # Lines that a table would show alike are told apart.
    assert len({(run.label, run.identity.quant) for run in runs}) == 2


def test_temperatures_of_humaneval_are_one_run_and_of_mtpb_several(tmp_path: Path) -> None:
    warm = [task(0, 0, "passed", temperature=temperature) for temperature in (0.2, 0.8)]
    assert one(write(tmp_path / "h.jsonl", warm)).temperatures == [0.2, 0.8]
    warm = [problem(1, 0, "multi", "passed", temperature=temperature) for temperature in (0.2, 0.8)]
    runs = read_runs([write(tmp_path / "m.jsonl", warm, rules="paper")], {})
    assert [(run.identity.temperature, run.label) for run in runs] == [
        (0.2, "codegen-350m-mono (T 0.2)"),
        (0.8, "codegen-350m-mono (T 0.8)"),
    ]


def test_each_seed_is_a_run_with_its_own_label(tmp_path: Path) -> None:
    rows = [task(0, 0, "passed", seed=7), task(0, 0, "exception", seed=1)]
    assert [run.label for run in read_runs([write(tmp_path / "h.jsonl", rows)], {})] == [
        "codegen-350m-mono (seed 1)",
        "codegen-350m-mono (seed 7)",
    ]
    rows.append(task(0, 0, "exception", seed=1, top_p=1.0))
    labels = {run.label for run in read_runs([write(tmp_path / "h.jsonl", rows)], {})}
    assert labels == {f"codegen-350m-mono (run {number})" for number in (1, 2, 3)}
    greedy = [task(0, 0, "passed"), task(0, 0, "passed", temperature=0.0, top_p=1.0)]
    labels = {run.label for run in read_runs([write(tmp_path / "h.jsonl", greedy)], {})}
    assert labels == {"codegen-350m-mono (greedy)", "codegen-350m-mono (T 0.2)"}


def test_rules_are_those_of_the_verdicts(tmp_path: Path) -> None:
    paper = write(tmp_path / "a.jsonl", [problem(1, 0, "multi", "passed")], rules="paper")
    strict = write(tmp_path / "b.jsonl", [problem(1, 0, "multi", "exception")], rules="strict")
    assert [run.identity.rules for run in read_runs([paper, strict], {})] == ["paper", "strict"]


def test_samples_without_a_verdict_are_reported_and_not_counted(tmp_path: Path) -> None:
    run = one(write(tmp_path / "run.jsonl", [task(0, 0, "passed"), task(0, 1, ""), task(1, 0, "")]))
    assert (run.samples, run.unjudged, run.problems) == (1, 2, {"HumanEval/0"})


def test_an_unjudged_run_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", [task(0, 0, "passed"), task(0, 0, "", model="other")])
    with pytest.raises(CgcliError, match="the samples of other q4_0 in"):
        read_runs([file], {})


def test_human_evals_own_verdicts_are_read(tmp_path: Path) -> None:
    samples = [{"task_id": "HumanEval/0", "completion": text} for text in ("a", "b", "c")]
    file = tmp_path / "others.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in samples))
    results = [{**row, "result": "?", "passed": row["completion"] == "b"} for row in samples]
    (tmp_path / "others.jsonl_results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
    run = one(file)
    assert run.verdicts == {"passed": 1, "failed": 2} and run.label == "others"


@pytest.mark.parametrize(("make", "benchmark"), [(humaneval, "humaneval"), (mtpb, "mtpb")])
def test_the_error_for_a_file_without_results_names_the_command(tmp_path: Path, make: object, benchmark: str) -> None:
    assert callable(make)
    file = make(tmp_path / "run.jsonl")
    (tmp_path / "run.jsonl_results.jsonl").unlink()
    with pytest.raises(CgcliError, match="have not been judged") as caught:
        read_runs([file], {})
    assert caught.value.line.endswith(f"type: cgcli eval {benchmark} --judge {file}")


def test_verdicts_on_other_samples_are_refused(tmp_path: Path) -> None:
    file = humaneval(tmp_path / "run.jsonl")
    file.write_text(file.read_text().replace("return 3", "return 4"))
    with pytest.raises(CgcliError, match="belongs to other samples"):
        read_runs([file], {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no samples"),
        ('{"prompt": "x"}\n', "line 1 is not a sample of HumanEval or MTPB"),
        ("[1]\n", "line 1 is not a JSON object: a list of 1"),
    ],
)
def test_a_file_without_samples_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(CgcliError, match=words):
        read_runs([tmp_path / "x.jsonl"], {})


def test_a_row_without_its_task_is_refused(tmp_path: Path) -> None:
    row, outcome = task(0, 0, "passed")
    del row["task_id"]
    with pytest.raises(CgcliError, match="line 1 is not a sample of HumanEval: KeyError"):
        read_runs([write(tmp_path / "run.jsonl", [(row, outcome)])], {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.jsonl does not exist"):
        read_runs([tmp_path / "none.jsonl"], {})


def test_a_run_with_guards_is_another_run_and_says_so(tmp_path: Path) -> None:
    plain, guarded = humaneval(tmp_path / "plain.jsonl"), humaneval(tmp_path / "guarded.jsonl", guard="on")
    runs = read_runs([plain, guarded], {})
    assert [run.identity.guarded for run in runs] == [False, True]
    assert [" --guard on" in next(commands(run)) for run in runs] == [False, True]
    assert [any("--guard on" in caveat for caveat in caveats(run)) for run in runs] == [False, True]

"""The numbers of a report against ones computed by hand and against those that the evaluations print."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cgcli.evals.mtpb import Problem
from cgcli.evals.report.numbers import PAPER, Number, as_csv, commands, group_by_model, numbers, published
from cgcli.evals.report.runs import EvalRun, read_runs
from cgcli.hub.catalog import load_catalog
from tests.evals.run_files import humaneval, mtpb, problem, task, write


def read(*paths: Path) -> list[EvalRun]:
    return read_runs(paths, {})


def value(found: list[Number], measure: str, **facts: object) -> Number:
    (number,) = (
        one
        for one in found
        if one.measure == measure and all(getattr(one, name) == wanted for name, wanted in facts.items())
    )
    return number


def test_humaneval(tmp_path: Path) -> None:
    found = numbers(read(humaneval(tmp_path / "run.jsonl")), [])
    number = value(found, "pass@k")
    assert (number.k, number.n, number.temperature) == (1, 12, 0.2) and number.value == pytest.approx(0.5)
    assert number.low is not None and number.high is not None and number.low < 0.5 < number.high
    assert [(one.measure, one.value) for one in found if one.measure.startswith("verdict")] == [
        ("verdict/passed", 6),
        ("verdict/exception", 3),
        ("verdict/wrong answer", 3),
    ]


def test_the_best_temperature_for_each_k(tmp_path: Path) -> None:
    # At 0.2 one of two tasks always passes; at 0.8 both do, in one sample of ten.
    rows = [task(0, index, "passed") for index in range(10)] + [task(1, index, "exception") for index in range(10)]
    rows += [
        task(number, index, "passed" if index == 0 else "exception", temperature=0.8)
        for number in range(2)
        for index in range(10)
    ]
    found = numbers(read(write(tmp_path / "run.jsonl", rows)), [])
    best = {one.k: (one.temperature, round(one.value, 9)) for one in found if one.measure == "best pass@k"}
    assert best == {1: (0.2, 0.5), 10: (0.8, 1.0)}
    assert not [one for one in found if one.k == 100]


def test_mtpb(tmp_path: Path) -> None:
    (run,) = read(mtpb(tmp_path / "run.jsonl"))
    found = numbers([run], [])
    assert value(found, "pass/multi").value == pytest.approx(0.5)
    assert value(found, "pass/single").value == pytest.approx(0.125)
    gain = value(found, "gain")
    assert gain.value == pytest.approx(0.375) and gain.low is not None and 0 <= gain.low < 0.375
    assert value(found, "pass/multi/number_of_turns/3").value == pytest.approx(0.5)
    # Of both ways together the problems pass 3, 1, 1 and 0 of 4 times.
    assert value(found, "pass/multi/difficulty/easy").value == 1
    assert value(found, "pass/multi/difficulty/hard").value == pytest.approx(1 / 3)
    # The first inputs have the lower perplexity, and pass more often.
    quarters = [value(found, f"pass/multi/perplexity_quartile/{number}").value for number in (1, 2, 3, 4)]
    assert sum(quarters[:2]) == pytest.approx(1.5) and sum(quarters[2:]) == pytest.approx(0.5)
    assert value(found, "perplexity/multi/all").value == pytest.approx(5.5)
    assert run.analysis["turns"]["multi"]["pass@1"] == pytest.approx(0.5)


def test_gain_is_over_the_problems_drawn_both_ways(tmp_path: Path) -> None:
    rows = [problem(1, 0, "multi", "passed"), problem(1, 0, "single", "exception"), problem(2, 0, "multi", "exception")]
    found = numbers(read(write(tmp_path / "run.jsonl", rows, rules="paper")), [])
    assert value(found, "gain").value == 1
    assert value(found, "pass/multi").value == pytest.approx(0.5)


def test_categories_come_from_the_data(tmp_path: Path) -> None:
    known = {"10": Problem("10", "math", ("a", "b", "c"), ({}, {}), (1, 1))}
    found = numbers(read_runs([mtpb(tmp_path / "run.jsonl")], known), [])
    assert value(found, "pass/multi/category/math").value == 1
    assert value(found, "pass/multi/category/unknown").value == pytest.approx(1 / 3)


def test_speed_is_over_the_rows_with_times(tmp_path: Path) -> None:
    rows = [task(0, index, "passed", seconds=0.5) for index in range(4)] + [task(0, 4, "passed")]
    found = numbers(read(write(tmp_path / "run.jsonl", rows)), [])
    assert (value(found, "tokens/s").value, value(found, "samples/s").value, value(found, "tokens/s").n) == (20, 2, 4)
    assert not [one for one in numbers(read(humaneval(tmp_path / "h.jsonl")), []) if one.measure == "tokens/s"]


def test_a_number_has_no_interval_if_all_problems_are_equal(tmp_path: Path) -> None:
    rows = [problem(1, 0, "multi", "passed"), problem(2, 0, "multi", "passed"), problem(1, 0, "single", "passed")]
    found = numbers(read(write(tmp_path / "run.jsonl", rows, rules="paper")), [])
    for measure in ("pass/multi", "gain", "perplexity/multi/all"):
        assert (value(found, measure).low, value(found, measure).high) == (None, None)


def test_csv_has_a_line_for_each_number(tmp_path: Path) -> None:
    runs = read(humaneval(tmp_path / "h.jsonl"), mtpb(tmp_path / "m.jsonl"))
    found = numbers(runs, published(runs))
    header, *lines = csv.reader(as_csv(found).splitlines())
    assert header == ["benchmark", "model", "quant", "temperature", "measure", "k", "value", "low", "high", "n"]
    assert len(lines) == len(found)
    assert ["humaneval", "codegen-350m-mono", "", "", "published/pass@k", "1", "0.1276", "", "", ""] in lines
    # A number is named by what comes before its value.
    assert len({tuple(line[:6]) for line in lines}) == len(lines)


def test_published_numbers_have_their_sources(tmp_path: Path) -> None:
    runs = read(humaneval(tmp_path / "h.jsonl"), mtpb(tmp_path / "m.jsonl"))
    found = published(runs)
    for one in found:
        score = load_catalog().require(one.model).human_eval
        assert "https://" in one.source
        if one.benchmark == "humaneval":
            assert score and one.source == score.source
            assert one.k != 1 or one.value == pytest.approx(score.pass_at_1 / 100)
    single = {one.model for one in found if one.measure == "pass/single"}
    assert single == {"codegen-350m-mono", "codegen-16b-mono"}  # the two cells that could be confirmed
    assert {one.benchmark for one in published(runs[:1])} == {"humaneval"}


def test_a_models_published_numbers_stand_beside_its_runs(tmp_path: Path) -> None:
    file = write(tmp_path / "h.jsonl", [task(0, 0, "passed"), task(0, 0, "passed", model="smollm2-135m")])
    runs = read(file)
    groups = list(group_by_model(runs, published(runs)))
    assert [(len(own), len(theirs)) for own, theirs in groups[:2]] == [(1, 3), (1, 0)]
    assert [theirs[0].model for _, theirs in groups[2:]] == list(PAPER[1:])


def test_commands_repeat_the_run(tmp_path: Path) -> None:
    (run,) = read(humaneval(tmp_path / "h.jsonl"))
    assert list(commands(run)) == [
        "cgcli eval humaneval -m codegen-350m-mono:q4_0 -n 4 -t 0.2 --top-p 0.95 --max-tokens 256 --seed 0 "
        "--to-the-letter --limit 3"
    ]
    rows = [problem(7, 0, "single", "passed", top_k=40, model="/a b/m.gguf", seed=seed) for seed in (1, 2)]
    runs = read(write(tmp_path / "m.jsonl", rows, rules="strict"))
    assert [command for run in runs for command in commands(run)] == [
        f"CGCLI_TOP_K=40 cgcli eval mtpb -m '/a b/m.gguf' -n 1 -t 0.2 --top-p 0.95 --seed {seed} "
        "--to-the-letter --turns single --rules strict"
        for seed in (1, 2)
    ]


def test_temperatures_with_other_problems_have_their_own_command(tmp_path: Path) -> None:
    rows = [task(number, 0, "passed", temperature=heat) for number in (0, 1) for heat in (0.2, 0.6)]
    rows += [task(0, index, "passed", temperature=0.8) for index in (0, 1)]
    (run,) = read(write(tmp_path / "h.jsonl", rows))
    assert [command.partition(" -n ")[2] for command in commands(run)] == [
        "1 -t 0.2 -t 0.6 --top-p 0.95 --max-tokens 256 --seed 0 --to-the-letter --limit 2",
        "2 -t 0.8 --top-p 0.95 --max-tokens 256 --seed 0 --to-the-letter --limit 1",
    ]

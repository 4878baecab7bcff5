"""Drawing HumanEval's samples: each one once, prompts read once, few requests at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from cgcli.core.errors import ContextError, Interrupted, UsageError
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Request
from cgcli.evals.humaneval import PRESETS, HumanEvalKey, HumanEvalTask, SamplePlan, draw_rows, needs_healing, request
from cgcli.evals.samples import Row, Samples, check_same, read_rows
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.truncate import CODEGEN
from tests.support.engines import MakeEngine

PROMPT = "def f{}(x):\n    '''" + "Say what is asked. " * 6 + "'''\n"
TASKS = {f"T/{n}": HumanEvalTask(f"T/{n}", PROMPT.format(n), f"f{n}", "") for n in range(4)}
PLAN = SamplePlan(5, (0.2, 0.8), Generation(Sampling(seed=3), max_tokens=12, rules=CODEGEN))
FACTS = {"model": "tiny", "quant": "f16", "sha256": "00"}


@pytest.fixture
def engine(make_engine: MakeEngine) -> LlamaEngine:
    return make_engine(sequences=4, exact=True)


def drawn(engine: LlamaEngine, path: Path, plan: SamplePlan = PLAN) -> list[dict[str, object]]:
    """Draw the samples that a file lacks into it."""
    return list(drawing(engine, path, plan))


def drawing(engine: LlamaEngine, path: Path, plan: SamplePlan = PLAN) -> Iterator[Row]:
    with Samples(path, HumanEvalKey._fields) as samples:
        missing = [key for key in plan.keys(list(TASKS)) if key not in samples]
        for row in draw_rows(engine, missing, TASKS, plan, FACTS):
            samples.append(row)
            yield row


def test_every_sample_is_drawn_once(engine: LlamaEngine, tmp_path: Path) -> None:
    rows = drawn(engine, tmp_path / "s.jsonl")
    assert list(read_rows(tmp_path / "s.jsonl")) == rows
    keys = [tuple(row[name] for name in HumanEvalKey._fields) for row in rows]
    assert set(keys) == set(PLAN.keys(list(TASKS))) and len(keys) == len(set(keys)) == 40
    assert {row["temperature"] for row in rows} == {0.2, 0.8} and all(row.items() >= FACTS.items() for row in rows)


def test_each_prompt_is_read_once(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(sequences=4)  # not exact: then what is idle is soon given up
    assert len(drawn(engine, tmp_path / "s.jsonl")) == 40
    prompts = sum(engine.count(task.prompt.encode()) for task in TASKS.values())
    assert engine.timings.prefill_tokens <= prompts


def test_an_interrupted_run_resumes_to_the_same_samples(engine: LlamaEngine, tmp_path: Path) -> None:
    whole = drawn(engine, tmp_path / "whole.jsonl")
    part = tmp_path / "part.jsonl"
    rows = drawing(engine, part)
    begun = list(islice(rows, 7))
    rows.close()  # type: ignore[attr-defined]
    with part.open("ab") as file:
        file.write(b'{"task_id": "T/3", "temp')  # as after a kill
    rest = drawn(engine, part)
    assert len(begun) + len(rest) == 40
    assert sorted(map(str, [*begun, *rest])) == sorted(map(str, whole))
    assert drawn(engine, part) == []


def test_raising_n_gives_the_samples_of_a_larger_run(engine: LlamaEngine, tmp_path: Path) -> None:
    few = drawn(engine, tmp_path / "s.jsonl", replace(PLAN, n=2))
    more = drawn(engine, tmp_path / "s.jsonl")
    assert (len(few), len(more)) == (16, 24)
    assert sorted(map(str, [*few, *more])) == sorted(map(str, drawn(engine, tmp_path / "whole.jsonl")))


def test_a_sample_is_the_completion_of_its_prompt(engine: LlamaEngine, tmp_path: Path) -> None:
    row = next(row for row in drawn(engine, tmp_path / "s.jsonl") if row["index"] == 4 and row["temperature"] == 0.8)
    task = TASKS[str(row["task_id"])]
    how = replace(PLAN.generation.sampling, temperature=0.8)
    alone = Request(task.prompt.encode(), how, lambda: PLAN.generation.cutter(b"\n"), 12, 0, 4)
    assert "".join(engine.stream(alone)) == row["completion"]


def test_few_requests_wait_at_a_time(engine: LlamaEngine) -> None:
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for taken in range(1, 201):
            yield request(TASKS["T/0"], PLAN, 0.8, taken, heal=False)

    found = engine.complete(requests())
    for count, _ in enumerate(islice(found, 50), 1):
        assert taken <= count + 2 * engine.sequences
    found.close()  # type: ignore[attr-defined]
    assert engine.scheduler.step() is False  # nothing is left


def test_ctrl_c_keeps_finished_samples_only(engine: LlamaEngine, interrupt: Interrupt, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    rows = drawing(engine, path)
    next(rows)
    interrupt.set()
    with pytest.raises(Interrupted):
        list(rows)
    found = list(read_rows(path))
    assert 1 <= len(found) < 40 and all(row["finish_reason"] != "interrupted" for row in found)


def test_a_prompt_that_does_not_fit_is_an_error(make_engine: MakeEngine, tmp_path: Path) -> None:
    with pytest.raises(ContextError):
        drawn(make_engine(ctx=64), tmp_path / "s.jsonl")


def test_the_last_line_end_is_left_to_the_model_if_the_tokenizer_merges_it(
    engine: LlamaEngine, make_engine: MakeEngine, embedded_model: Path
) -> None:
    assert not needs_healing(engine)
    smol = make_engine(embedded_model)
    assert needs_healing(smol)
    asked = request(TASKS["T/0"], PLAN, 0.0, 0, heal=True)
    assert "".join(smol.stream(asked)).startswith("    ")


def test_samples_with_other_settings_are_refused(engine: LlamaEngine, tmp_path: Path) -> None:
    drawn(engine, tmp_path / "s.jsonl", replace(PLAN, n=1))
    check_same(tmp_path / "s.jsonl", {"sha256": "00", **PLAN.facts})
    with pytest.raises(UsageError, match="samples with sha256 00, not 11"):
        check_same(tmp_path / "s.jsonl", {"sha256": "11"})
    with pytest.raises(UsageError, match="samples with max_tokens 12, not 256"):
        check_same(tmp_path / "s.jsonl", {**PLAN.facts, "max_tokens": 256})


def test_which_rows_the_plan_includes() -> None:
    assert len(list(PLAN.keys(["a", "b"]))) == 20
    row = {"task_id": "a", "temperature": 0.2, "seed": 3, "index": 4}
    assert PLAN.includes(row)
    for other in ({"index": 5}, {"seed": 4}, {"temperature": 0.6}, {"index": None}):
        assert not PLAN.includes(row | other)


def test_the_presets_are_the_papers_and_evalplus() -> None:
    assert (PRESETS["paper"].n, PRESETS["paper"].temperatures) == (200, (0.2, 0.6, 0.8))
    assert (PRESETS["paper"].sampling.top_p, PRESETS["paper"].sampling.top_k) == (0.95, 0)
    assert (PRESETS["greedy"].n, PRESETS["greedy"].temperatures) == (1, (0.0,))

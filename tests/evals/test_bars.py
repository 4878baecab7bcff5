"""Completions of an evaluation end at a bar in a comment, unless drawn to the letter; no verdict depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from cgcli.engine.protocol import Engine
from cgcli.evals.humaneval import HumanEvalKey, HumanEvalTask, SamplePlan, draw_rows
from cgcli.evals.mtpb import Problem, SampleSpec
from cgcli.evals.mtpb import draw as draw_mtpb
from cgcli.evals.samples import read_rows
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.truncate import CODEGEN
from tests.evals.run_files import humaneval
from tests.program.fake import ScriptedEngine
from tests.support.cli import run as cgcli

TASK = HumanEvalTask("T/0", 'def f():\n    """Return 1."""\n', "f", "")
CODE = "    return 1\n    "
FOREVER = CODE + "#" * 300
ENDED = CODE + "#" * 89


def how(*, end_bars: bool) -> Generation:
    return Generation(Sampling(temperature=0), 400, CODEGEN, end_bars=end_bars)


def drawn(text: str, generation: Generation) -> dict[str, Any]:
    plan = SamplePlan(1, (0.0,), generation)
    engine = ScriptedEngine([text], width=1)
    (row,) = draw_rows(cast(Engine, engine), [HumanEvalKey("T/0", 0.0, 0, 0)], {"T/0": TASK}, plan, {})
    return row


def test_a_completion_ends_at_a_bar_unless_it_is_drawn_to_the_letter() -> None:
    ended, whole = (drawn(FOREVER, how(end_bars=on)) for on in (True, False))
    assert (ended["completion"], ended["finish_reason"], ended["end_bars"]) == (ENDED, "stop", True)
    assert (whole["completion"], whole["finish_reason"], whole["end_bars"]) == (FOREVER, "length", False)
    assert ended["tokens"] == len(ENDED) < whole["tokens"]


def test_only_the_last_turn_of_a_program_ends_there() -> None:
    """What comes after a turn reads it."""
    problem = Problem("1", "math", ("Set.", "Print."), ({},), (1,), 400)
    engine = ScriptedEngine([FOREVER, FOREVER], width=1)
    engine.submit = lambda request, first=False: _Done(engine, request)  # type: ignore[attr-defined]
    engine.wait = list  # type: ignore[attr-defined]
    engine.cancel = lambda streams: None  # type: ignore[attr-defined]
    (sample,) = draw_mtpb(cast(Engine, engine), [SampleSpec(next(problem.cases()), "multi", 0)], how(end_bars=True))
    assert [turn.completion for turn in sample.program.turns] == [FOREVER, ENDED]


class _Done:
    """A stream that is drawn at once."""

    def __init__(self, engine: ScriptedEngine, request: Any) -> None:
        self.completion = next(iter(engine.complete([request])))[1]
        self.scores = engine.score(request.context, request.score_from or 0)


def test_published_samples_lose_nothing_but_the_rest_of_a_bar(shared: Path) -> None:
    """CodeGen-16B's (microsoft/CodeT): what is left out is one character, on the last line of the text."""
    shorter = 0
    for row in read_rows(shared / "data" / "codet" / "humaneval-codegen16b.jsonl.gz"):
        for sample in row["samples"]:
            if "#" * 60 not in sample:
                continue
            ended, whole = (how(end_bars=on).cutter(row["prompt"].encode()) for on in (True, False))
            kept, text = (cutter.feed(sample) + cutter.finish() for cutter in (ended, whole))
            assert text.startswith(kept) and set(text[len(kept) :]) <= {"#"}
            shorter += kept != text
    assert shorter > 1000


def test_a_report_says_how_a_run_was_drawn(tmp_path: Path) -> None:
    for number, facts in enumerate(({"end_bars": True}, {"end_bars": False}, {})):
        path = humaneval(tmp_path / f"{number}.jsonl", **facts)
        text = cgcli("eval", "report", str(path)).out.decode()
        assert (
            ("completions end at a bar" in text)
            == (" --to-the-letter" not in text.split("cgcli eval")[1])
            == (number == 0)
        )


@pytest.mark.parametrize("benchmark", ["humaneval", "mtpb"])
def test_guards_are_not_to_the_letter(benchmark: str) -> None:
    done = cgcli("eval", benchmark, "--guard", "on", "--to-the-letter")
    assert done.status == 2 and "--to-the-letter has no effect; leave one of them out" in done.err

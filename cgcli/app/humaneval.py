"""What `cgcli eval humaneval` does: draw samples, judge them, print the totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cgcli.app.evaluation import (
    Drawing,
    EvaluationArguments,
    check_sandbox,
    default_file,
    evaluating,
    judge_rows,
    only_draw,
    report_other_seeds,
    report_unused,
    sample_identity,
)
from cgcli.app.model import choose_model
from cgcli.core.errors import UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.evals.humaneval import HumanEvalKey, HumanEvalTask, SamplePlan
    from cgcli.evals.judging import Judge, JudgedSample
    from cgcli.evals.passk import Mean, Totals
    from cgcli.evals.samples import Key, Row, Shard
    from cgcli.hub.choose import Choice


@dataclass(frozen=True)
class HumanEvalArguments(EvaluationArguments):
    """The command line of `eval humaneval`, without the settings."""

    preset: Literal["paper", "greedy"] | None = None
    temperatures: tuple[float, ...] = ()
    top_p: float | None = None
    top_k: int | None = None


@dataclass(frozen=True)
class _Data:
    """The problems."""

    tasks: Mapping[str, HumanEvalTask]
    sha256: str  # of their file
    chosen: Mapping[str, HumanEvalTask]  # those that --limit and --shard leave
    shard: Shard | None

    @property
    def facts(self) -> dict[str, object]:
        return {"shard": str(self.shard)} if self.shard else {}


def evaluate_humaneval(run: Run, settings: Settings, arguments: HumanEvalArguments) -> None:
    """Draw, judge, report. Raises CgcliError of every kind; finished samples are kept, and the same call resumes."""
    with evaluating(arguments):
        data = _data(run, arguments)
        if arguments.judge:
            _judge(run, arguments, data, arguments.judge)
        else:
            _draw(run, settings, arguments, data)


def _data(run: Run, arguments: HumanEvalArguments) -> _Data:
    import hashlib

    from cgcli.evals.fetch import fetch
    from cgcli.evals.humaneval import PUBLISHED, load_tasks
    from cgcli.evals.samples import Shard

    shard = Shard.parse(arguments.shard) if arguments.shard else None
    path = arguments.data or fetch(PUBLISHED, run.environment, run.output.progress())
    tasks = load_tasks(path)
    named = list(tasks)[: arguments.limit]
    if shard:
        named = shard.part(named)
    return _Data(tasks, hashlib.sha256(path.read_bytes()).hexdigest(), {name: tasks[name] for name in named}, shard)


def _judge(run: Run, arguments: HumanEvalArguments, data: _Data, path: Path) -> None:
    """Judge the samples in a file."""
    from cgcli.evals.humaneval import HumanEvalKey, checker
    from cgcli.evals.samples import check_once, read_rows

    def wanted(row: Row) -> bool:
        return row.get("task_id") in data.chosen

    check_once(path, HumanEvalKey._fields)
    total = 0
    check = checker(data.tasks, path, unsafe=arguments.unsafe)
    models: set[tuple[tuple[str, object], ...]] = set()
    for row in read_rows(path):
        check(row)  # refuse a file of other samples before anything is written
        total += wanted(row)
        models.add(tuple((name, row[name]) for name in ("model", "quant", "sha256") if name in row))
    facts: dict[str, object] = dict(models.pop()) if len(models) == 1 else {}
    with _judging(run, arguments, data, path, wanted) as judge:
        totals = _judged(run, judge, read_rows(path), total)
    _report(run, arguments, data, {**facts, **_places(path)}, totals)


def _draw(run: Run, settings: Settings, arguments: HumanEvalArguments, data: _Data) -> None:
    """Draw the missing samples and, unless only drawing, judge them meanwhile."""
    from cgcli.evals.humaneval import CPU_S, HumanEvalKey, draw_rows
    from cgcli.evals.judging import judging_policy
    from cgcli.evals.samples import Samples, check_once, check_same, read_rows

    choice = choose_model(run, settings)
    report_unused(run, settings, {"prefix": "HumanEval's prompts start the programs"})
    plan = _plan(settings, arguments, choice)
    model = sample_identity(run, choice)
    usual = default_file(run, arguments.named("humaneval"), choice, model["quant"], data.shard)
    path = arguments.generate or arguments.output or usual
    if not arguments.generate:
        check_sandbox(judging_policy(CPU_S, unsafe=arguments.unsafe))

    def wanted(row: Row) -> bool:
        return row.get("task_id") in data.chosen and plan.includes(row)

    if arguments.preset == "paper" and not plan.generation.sampling.top_k:
        run.output.note("sampling without top-k, as in the paper; Salesforce's published code used --top-k 50")
    facts = {**model, "seed": plan.seed, "n": plan.n, **plan.facts}
    keys: dict[Key, HumanEvalKey] = {key: key for key in plan.keys(list(data.chosen))}
    of_keys = partial(draw_rows, tasks=data.chosen, plan=plan, facts=model)
    drawing: Drawing[HumanEvalKey] = Drawing(settings, choice, model["sha256"], of_keys)
    with (
        Samples(path, HumanEvalKey._fields) as samples,
        closing(drawing.rows(run, keys, samples, arguments.ray)) as new,
    ):
        check_once(path, HumanEvalKey._fields)
        check_same(path, {"sha256": model["sha256"], **plan.facts})
        report_other_seeds(run, path, plan.seed)
        if arguments.generate:
            only_draw(run, "humaneval", samples, new, sum(key in samples for key in keys), len(keys))
            if arguments.json:
                drawn = {"n_samples": len(keys), "samples": str(path), "ran_on": drawing.ran_on}
                run.output.json({"benchmark": "humaneval", **facts, **drawn})
            return
        with _judging(run, arguments, data, path, wanted) as judge:
            totals = _judged(run, judge, chain(read_rows(path), new), len(keys))
    _report(run, arguments, data, {**facts, **_places(path), "ran_on": drawing.ran_on}, totals)


def _plan(settings: Settings, arguments: HumanEvalArguments, choice: Choice) -> SamplePlan:
    """The samples to draw, from the preset, if any, and the options, which take precedence."""
    from cgcli.core.config import TEMPERATURE
    from cgcli.evals.humaneval import PRESETS, SamplePlan
    from cgcli.program.generation import Generation
    from cgcli.program.truncate import CODEGEN

    settings, n = arguments.guarding(settings), 1
    temperature = TEMPERATURE if settings.temperature is None else settings.temperature
    temperatures: tuple[float, ...] = (temperature,)
    if arguments.preset is not None:
        preset = PRESETS[arguments.preset]
        n, temperatures, sampling = preset.n, preset.temperatures, preset.sampling
        top_p = sampling.top_p if arguments.top_p is None else arguments.top_p
        top_k = sampling.top_k if arguments.top_k is None else arguments.top_k
        settings = replace(settings, top_p=top_p, top_k=top_k, min_p=sampling.min_p)
    temperatures = tuple(dict.fromkeys(arguments.temperatures or temperatures))
    settings = replace(settings, temperature=max(temperatures))
    generation = Generation.of(settings, choice.card, CODEGEN, end_bars=not arguments.to_the_letter)
    return SamplePlan(arguments.n or n, temperatures, generation)


def _judging(run: Run, arguments: HumanEvalArguments, data: _Data, path: Path, wanted: Callable[[Row], bool]) -> Judge:
    from cgcli.evals.humaneval import checker
    from cgcli.evals.judging import Judge, worker_count
    from cgcli.sandbox.interpreter import interpreter_facts

    check = checker(data.tasks, path, unsafe=arguments.unsafe)
    facts = interpreter_facts(unsafe=arguments.unsafe)
    return Judge(path, check, workers=arguments.workers or worker_count(), wanted=wanted, facts=facts)


def _judged(run: Run, judge: Judge, rows: Iterable[Row], total: int) -> Totals:
    from cgcli.evals.passk import Totals

    totals = Totals()

    def add(judged: JudgedSample) -> str:
        totals.add(judged)
        return totals.score

    judge_rows(run, judge, rows, total, add)
    return totals


def _places(path: Path) -> dict[str, str]:
    from cgcli.evals.judging import results_path

    return {"samples": str(path), "results": str(results_path(path))}


def _report(run: Run, arguments: HumanEvalArguments, data: _Data, facts: Mapping[str, object], totals: Totals) -> None:
    from cgcli.core.machine import processor_name
    from cgcli.evals.humaneval import CPU_S
    from cgcli.sandbox.interpreter import interpreter_facts
    from cgcli.terminal.text import plural

    output = run.output
    if not totals.samples:
        raise UsageError(f"{facts['samples']} has no samples of these tasks", hint="check --limit, --shard and --data")
    if arguments.json:
        how = {"data_sha256": data.sha256, "cpu_s": CPU_S, "sandbox": not arguments.unsafe, "machine": processor_name()}
        ran = interpreter_facts(unsafe=arguments.unsafe)
        output.json({"benchmark": "humaneval", **facts, **data.facts, **how, **ran, **totals.report()})
    else:
        _print_table(run, totals)
    listed = ", ".join(f"{count} {name}" for name, count in totals.counts.items())
    output.note(f"{totals.problems} of {len(data.tasks)} tasks, {plural(totals.samples, 'sample')}: {listed}")
    output.note(f"verdicts in {facts['results']}")


def _print_table(run: Run, totals: Totals) -> None:
    ks = totals.ks
    rows = [
        (
            "-" if temperature is None else f"{temperature:g}",
            str(tally.samples),
            *(_share(tally.pass_at(k)) for k in ks),
        )
        for temperature, tally in totals.sorted()
    ]
    if len(totals.comparable) > 1:
        best = [found[1] if (found := totals.best(k)) else None for k in ks]
        rows.append(("best", "", *map(_share, best)))
    run.output.table(("TEMPERATURE", "SAMPLES", *(f"PASS@{k}" for k in ks)), rows)


def _share(mean: Mean | None) -> str:
    from cgcli.evals.report.parts import share

    return share(mean.value, mean.interval) if mean else share(None, None)

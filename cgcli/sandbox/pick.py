"""Picks one of a turn's candidates: by what their functions return, by what they print, or by what the model finds.

`tests`: candidates whose function returns the same for calls that the model proposes are a group, and the largest group
wins, as in MBR-EXEC (Shi et al. 2022, arXiv 2204.11454). What a weak model expects of a function is often wrong; what
its candidates agree on is not. `run`: candidates that print the same are a group, as in AlphaCode (Li et al. 2022).
`reviewer`: the candidate that makes the prompt most probable. Within a group, and between groups of one size, the most
probable completion wins. `Rank` has the criteria that count before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from cgcli.core.errors import Interrupted, SandboxError, UsageError
from cgcli.core.progress import Progress, Silent
from cgcli.program.program import Picked, VoteGroup
from cgcli.program.rank import Rank
from cgcli.program.source import encode
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import never, run
from cgcli.sandbox.verdict import Verdict
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.program.assertions import FunctionUnderTest
    from cgcli.program.program import Program
    from cgcli.program.session import Option, Plan, Session
    from cgcli.sandbox.calls import Called

PickRule = Literal["auto", "probable", "run", "tests", "reviewer"]
Result = TypeVar("Result")

_CALLS = 100  # of the function, at most
_SHOWN = 60  # characters of an example
_CPU_S, _WALL_S = 5.0, 10.0  # of a candidate that nobody asked to run


@dataclass(kw_only=True)
class Picker:
    """Picks among the candidates of a turn: a `program.session.Prefer`.

    `auto` is `tests` where the turn has a function, else `run`. Where that tells nothing, or programs cannot be run,
    the most probable completion is taken. Ctrl-C ends the picking, and the best candidate so far is taken.
    """

    rule: PickRule
    policy: Policy
    run: Callable[[Program, Policy, Sequence[str]], Verdict]  # runs a program with checks; raises SandboxError
    note: Callable[[str], object]  # tells the user something
    checks: Sequence[str] = ()  # these count before the rule
    progress: Progress = field(default_factory=Silent)
    interrupted: Callable[[], bool] = never
    verdicts: dict[int, Verdict] = field(default_factory=dict)  # of the candidates of the last turn that were run

    def __call__(self, session: Session, plan: Plan, options: Sequence[Option]) -> tuple[int, Picked]:
        """Pick one of the options; returns its index. Raises SandboxError if the sandbox stops working meanwhile."""
        self.verdicts = {}
        contest = _Contest(options)
        try:
            picked = self._pick(session, plan, contest)
        except Interrupted:
            self.note("interrupted while picking: took the best candidate so far")
            picked = Picked("probable", interrupted=True)
        return contest.best.index, picked

    def _pick(self, session: Session, plan: Plan, contest: _Contest) -> Picked:
        self._report_left_out(contest)
        if self.checks:
            self._run(contest)
        rule, function = self.rule, None
        if rule in ("auto", "tests", "run") and not self._can_run(session, plan):
            rule = "probable"
        if rule == "reviewer" and contest.differ:
            return Picked("reviewer" if self._review(session, plan, contest) else "probable")
        if rule in ("auto", "tests") and contest.differ:
            function = _function(plan, contest)
            if rule == "tests" and not function:
                self.note("the candidates define no function with parameters, so their output is compared")
        picked = Picked("probable")
        if function:
            picked = self._test(session, plan, contest, function)
        elif rule == "run" or (rule in ("auto", "tests") and contest.differ):
            picked = Picked("run", groups=self._vote(contest))
        sizes = [len(one.candidates) for one in picked.groups]
        agreed = bool(sizes) and sizes[0] > max(sizes[1:], default=0)
        return picked if agreed else replace(picked, rule="probable")

    def _report_left_out(self, contest: _Contest) -> None:
        total, leaders = len(contest.options), contest.leaders
        faulty = total - sum(one.rank.sound for one in contest.options)
        if faulty == total:
            self.note("all candidates have a visible fault")
        elif left := total - len(leaders):
            counts = f"{faulty} with a visible fault", f"{left - faulty} cut off"
            why = ", ".join(words for words in counts if not words.startswith("0 "))
            self.note(f"{left} of {total} candidates are left out: {why}")

    def _can_run(self, session: Session, plan: Plan) -> bool:
        """Whether the candidates are programs that can be run; says why not."""
        if session.language != "python" or (self.rule == "auto" and not plan.program.layout.tidy):
            return False
        try:
            run(b"", policy=self.policy)
        except SandboxError as error:
            self.note(f"the candidates are not run: {error.message}")
            return False
        return True

    def _run(self, contest: _Contest) -> None:
        """Run the leading candidates."""
        leaders = [one for one in contest.leaders if one.index not in self.verdicts]
        policy = self.policy if self.rule != "auto" else replace(self.policy, cpu_s=_CPU_S, wall_s=_WALL_S)
        found = self._each("running candidates", leaders, lambda one: self.run(one.program, policy, self.checks))
        self.verdicts.update((one.index, verdict) for one, verdict in zip(leaders, found, strict=True))
        if any(verdict.outcome == "interrupted" for verdict in found):
            raise Interrupted
        for one, verdict in zip(leaders, found, strict=True):
            contest.put(one.index, contest.ranks[one.index].with_run(verdict.ran, verdict.checks_passed, 0))

    def _vote(self, contest: _Contest) -> tuple[VoteGroup, ...]:
        """Run the leading candidates; those that print the same vote for each other."""
        self._run(contest)
        leaders = contest.leaders
        verdicts = [self.verdicts[one.index] for one in leaders]
        alike: dict[bytes, list[int]] = {}
        for one, verdict, votes in zip(leaders, verdicts, output_votes(verdicts), strict=True):
            contest.put(one.index, contest.ranks[one.index]._replace(votes=votes))
            if votes:
                alike.setdefault(verdict.stdout, []).append(one.index)
        return _groups({tuple(indices): _last_line(output) for output, indices in alike.items()})

    def _test(self, session: Session, plan: Plan, contest: _Contest, function: FunctionUnderTest) -> Picked:
        """Call the function of the leading candidates; those that return the same vote for each other."""
        from cgcli.program.assertions import common_calls, draw_assertions
        from cgcli.sandbox.calls import call_function

        name = function.name
        texts = draw_assertions(session, plan, function, progress=self.progress)
        calls = common_calls(texts, name, _CALLS)
        if not calls:
            self.note(f"the model wrote no call of {name} to test")
            return Picked("probable")
        leaders = contest.leaders

        def call(one: Option) -> Called:
            return call_function(encode(one.program.source()), calls, self.policy, interrupted=self.interrupted)

        called = dict(zip((one.index for one in leaders), self._each("testing candidates", leaders, call), strict=True))
        alike: dict[tuple[str, ...], list[int]] = {}
        for index, result in called.items():
            if result.ran and any(value.tells for value in result.returned):
                alike.setdefault(tuple(value.key for value in result.returned), []).append(index)
        for index, result in called.items():
            before = contest.ranks[index]
            ran = before.ran if self.checks else result.ran
            contest.put(index, before.with_run(ran, before.held, 0))
        telling = _most_telling(list(alike))
        examples = {}
        for indices in alike.values():
            examples[tuple(indices)] = f"{calls[telling]} → {called[indices[0]].returned[telling].shown}"
            for index in indices:
                contest.put(index, contest.ranks[index]._replace(votes=len(indices)))
        if not alike:
            self.note(f"no candidate returns a value for {plural(len(calls), 'call')} of {name}")
            return Picked("probable")
        return Picked("tests", name, len(calls), _groups(examples))

    def _review(self, session: Session, plan: Plan, contest: _Contest) -> bool:
        """Let the reviewer decide among the leading candidates; False, and a note, if there is nothing to review by."""
        from cgcli.program.reviewer import review

        leaders = contest.leaders
        texts = list(dict.fromkeys(one.candidate.text for one in leaders))
        reviews = review(session, plan, texts)
        if reviews is None:
            self.note("the candidates are not reviewed: there is no prompt, or no room for it")
            return False
        for one in leaders:
            found = reviews[texts.index(one.candidate.text)]
            contest.put(one.index, contest.ranks[one.index]._replace(review=found))
        return True

    def _each(self, title: str, options: Sequence[Option], do: Callable[[Option], Result]) -> list[Result]:
        """What `do` returns for each option; equal programs are done once."""
        found: dict[str, Result] = {}
        with self.progress.task(title, len({one.program.source() for one in options}), unit="steps") as task:
            for one in options:
                text = one.program.source()
                if text not in found:
                    if self.interrupted():
                        raise Interrupted
                    found[text] = do(one)
                    task.advance(1)
        return [found[one.program.source()] for one in options]


class _Contest:
    """The candidates and what is known of them so far."""

    def __init__(self, options: Sequence[Option]) -> None:
        self.options = options
        self.ranks = {one.index: one.rank for one in options}

    def put(self, index: int, rank: Rank) -> None:
        self.ranks[index] = rank

    @property
    def leaders(self) -> list[Option]:
        """The candidates that nothing tells apart so far but their log-probability."""
        top = max(rank.level for rank in self.ranks.values())
        return [one for one in self.options if self.ranks[one.index].level == top]

    @property
    def differ(self) -> bool:
        """Whether the leaders are different programs, so that there is something to pick."""
        return len({one.candidate.text for one in self.leaders}) > 1

    @property
    def best(self) -> Option:
        return max(self.options, key=lambda one: self.ranks[one.index])


def _function(plan: Plan, contest: _Contest) -> FunctionUnderTest | None:
    from cgcli.program.assertions import function_under_test

    before = plan.program.source() + plan.program.opening(plan.prompt)
    return function_under_test(before, [one.candidate.text for one in contest.leaders], plan.prompt or "")


def _groups(examples: dict[tuple[int, ...], str]) -> tuple[VoteGroup, ...]:
    """The groups, the largest first."""
    return tuple(
        VoteGroup(indices, examples[indices]) for indices in sorted(examples, key=lambda one: (-len(one), one))
    )


def _most_telling(results: Sequence[tuple[str, ...]]) -> int:
    """The index of the call that most groups return something else for."""
    different = [len(set(column)) for column in zip(*results, strict=True)]
    return different.index(max(different)) if different else 0


def _last_line(output: bytes) -> str:
    from cgcli.terminal.text import visible

    lines = [line.strip() for line in output.decode("utf-8", "replace").split("\n")]
    last = visible(next((line for line in reversed(lines) if line), ""))
    return last if len(last) <= _SHOWN else last[: _SHOWN - 1] + "…"


def output_votes(verdicts: Sequence[Verdict]) -> list[int]:
    """For each verdict, how many print the same and pass as many checks; 0 for one that failed or prints nothing."""
    votes = Counter((one.checks_passed, one.stdout) for one in verdicts if one.ran and not one.silent)
    return [votes[one.checks_passed, one.stdout] if one.ran else 0 for one in verdicts]


def summary(verdicts: Sequence[Verdict], checks: Sequence[str] = ()) -> str:
    """One line for the user: how many ran or passed the checks, and how many of those printed the same."""
    passed = [one for one in verdicts if one.passed]
    counted = f"{len(passed)} of {len(verdicts)}" + (" candidates passed the checks" if checks else " ran")
    if passed and not checks and all(one.silent for one in passed):
        return f"{counted}; none printed anything, so running them tested nothing"
    votes = max(output_votes(passed), default=0)
    return f"{counted}; {votes} printed the same output" if votes > 1 else counted


def check_expressions(checks: Sequence[str]) -> None:
    """Raises UsageError for a check that is not an expression."""
    for check in checks:
        try:
            compile(check, "--check", "eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"--check {check!r} is not a Python expression", hint="--check 'f(2) == 4'") from error

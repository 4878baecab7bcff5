"""Draws a turn again until the program runs with it, or passes the checks.

`Until.draw` takes the place of `Session.draw`. It runs the program with the turn. If the program fails inside what the
turn wrote, the next draft keeps the turn up to the top-level statement that failed; where that was tried, the turn is
drawn whole. The best draft stands. Tries end early if another draft would not help: the program fails before the turn,
or for want of something that it does not get in the sandbox (lack.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from cgcli.core.errors import CgcliError, ContextError, Interrupted
from cgcli.program.languages import compiles, parse_python
from cgcli.program.program import Candidate, Program, Turn
from cgcli.program.session import Plan, Reading, Session
from cgcli.program.source import encode
from cgcli.sandbox.hint import lack_words
from cgcli.sandbox.lack import lack
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

TRIES = 4
SECONDS = 20.0

RunProgram = Callable[[Program, Policy, Sequence[str]], Verdict]
"""Runs a program and evaluates checks at its end. Raises SandboxError, UsageError."""

_CPU_SHARE, _WALL_SHARE = 4, 2  # what a single run may take of the seconds
_ASKS_TO_PRINT = re.compile(
    r"(?:^|[.,;:!?\n]|\b(?:and|then|now|also|please))\s*(?:(?:and|then|now|also|please)\s+)*(?:print|show|display|output)\b",
    re.IGNORECASE,
)
#: A line at the margin that belongs to the statement before it.
_CONTINUES = re.compile(r"(else|elif|except|finally)\b|[)\]}#]")


class _Grade(IntEnum):
    """What the program did with a draft, the better the greater."""

    EMPTY = 0
    NOT_RUN = 1
    DOES_NOT_PARSE = 2
    FAILED = 3
    LACKED = 4  # something outside
    CHECK_FAILED = 5
    SILENT = 6  # although it was asked to print
    RAN = 7


@dataclass(frozen=True)
class _Draft:
    """A turn that was drawn, and what the program did with it."""

    turn: Turn
    grade: _Grade
    words: str  # what the program did, for the user
    keep: str | None = None  # of its code, for another try; None if another try would not help
    reached: int = 0  # statements of the turn that ran, or checks that passed
    verdict: Verdict | None = None

    @property
    def rank(self) -> tuple[int, int]:
        return self.grade, self.reached


@dataclass(frozen=True)
class Effort:
    """How long to try."""

    tries: int = TRIES  # how often a turn is drawn again
    seconds: float = SECONDS  # for runs and tries of all turns together; the first draw of each does not count


class Until:
    """Draws turns of a session. `failure` and `verdict` tell how the last one ended."""

    def __init__(
        self,
        session: Session,
        run: RunProgram,
        policy: Policy,
        effort: Effort = Effort(),
        *,
        checks: Sequence[str] = (),
        checked_turns: int = 0,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """checks: must pass once the program has `checked_turns` turns. say: called with lines for the user."""
        self.failure: CgcliError | None = None  # what ended the last turn's tries: Ctrl-C, no sandbox
        self.verdict: Verdict | None = None  # on the program with the last turn; None if it was not run
        self._session = session
        self._run_program = run
        self._policy = replace(
            policy,
            cpu_s=min(policy.cpu_s, effort.seconds / _CPU_SHARE),
            wall_s=min(policy.wall_s, effort.seconds / _WALL_SHARE),
        )
        self._effort = effort
        self._checks = tuple(checks)
        self._checked_turns = checked_turns
        self._say = say
        self._clock = clock
        self._spent = 0.0  # seconds
        self._verdicts: dict[tuple[str, tuple[str, ...]], Verdict] = {}

    def draw(self, reading: Reading, first: int = 0) -> Generator[str, None, Turn]:
        """Draw a turn as `Session.draw` does, with as many tries as it takes; all candidates of the turn are kept.

        Yields the text when it stands. Ctrl-C and errors of the sandbox end the tries and become `failure`.
        """
        self.failure = None
        plan = reading.plan
        name = f"turn {len(plan.program.turns) + 1}"
        turn = yield from self._drawn(reading, first)
        began = self._clock()
        drafts = [self._tried(plan, turn)]
        kept: set[str] = set()
        while self._goes_on(drafts, began):
            keep = drafts[-1].keep or plan.keep
            if keep in kept:
                keep = plan.keep
            kept.add(keep)
            self._say(f"{name}: {drafts[-1].words}; {self._next(plan, keep, len(drafts))}")
            try:
                again = self._session.read(self._session.plan(plan.prompt, keep))
                turn = yield from self._drawn(again, 1 + max(one.draw for one in _candidates(drafts)))
            except ContextError:
                break
            except Interrupted as interruption:
                self.failure = interruption
                break
            drafts.append(self._tried(plan, turn))
            if turn.interrupted:
                self.failure = Interrupted()
        self._spent += self._clock() - began
        best = max(drafts, key=lambda draft: draft.rank)
        self.verdict = best.verdict
        if best.turn.accepted is not None:
            yield best.turn.completion[len(plan.keep) :]
        self._say(f"{name}{self._end(drafts, best)}")
        return _merged(drafts, best)

    def _drawn(self, reading: Reading, first: int) -> Generator[str, None, Turn]:
        """Draw once."""
        from cgcli.program.session import drain

        return drain(self._session.draw(reading, first))
        yield

    def _goes_on(self, drafts: Sequence[_Draft], began: float) -> bool:
        spent = self._spent + self._clock() - began
        wanted = drafts[-1].keep is not None and self.failure is None
        return wanted and len(drafts) <= self._effort.tries and spent < self._effort.seconds

    def _next(self, plan: Plan, keep: str, number: int) -> str:
        where = ""
        if keep:
            text = plan.program.source() + plan.program.opening(plan.prompt) + keep
            where = f" from line {text.count(chr(10)) + 1}"
        return f"drawing it again{where}, try {number} of {self._effort.tries}"

    def _end(self, drafts: Sequence[_Draft], best: _Draft) -> str:
        """The end of the line that says which draft stands, and why."""
        at = drafts.index(best)
        if best.grade == _Grade.RAN:
            return f" {best.words}" + f" at try {at}" * bool(at)
        if len(drafts) == 1:
            return f": {best.words}" + "; another try would not help" * (best.keep is None and not self.failure)
        return f": kept draft {at + 1} of {len(drafts)}, the best: {best.words}"

    # --- running

    def _tried(self, plan: Plan, turn: Turn) -> _Draft:
        """Run the program with a turn."""
        if turn.accepted is None:
            keep = None if turn.interrupted else plan.keep
            return _Draft(turn, _Grade.EMPTY, "the model returned nothing", keep)
        if turn.interrupted:
            return _Draft(turn, _Grade.NOT_RUN, "interrupted")
        program = plan.program.add(turn)
        checks = self._checks if len(program.turns) >= self._checked_turns else ()
        try:
            verdict = self._run(program, checks)
            return self._judged(plan, turn, program, verdict)
        except CgcliError as error:
            self.failure = error
            return _Draft(turn, _Grade.NOT_RUN, "not run")

    def _run(self, program: Program, checks: tuple[str, ...] = ()) -> Verdict:
        key = program.source(), checks
        if key not in self._verdicts:
            verdict = self._run_program(program, self._policy, checks)
            if verdict.outcome == "interrupted":
                raise Interrupted
            self._verdicts[key] = verdict
        return self._verdicts[key]

    def _judged(self, plan: Plan, turn: Turn, program: Program, verdict: Verdict) -> _Draft:
        def draft(grade: _Grade, words: str = str(verdict), keep: str | None = None, reached: int = 0) -> _Draft:
            return _Draft(turn, grade, words, keep, reached, verdict)

        if verdict.passed:
            if self._is_silent(plan, verdict):
                return draft(_Grade.SILENT, "ran, but printed nothing", plan.keep)
            return draft(_Grade.RAN, "passed the checks" if verdict.checks_passed else "ran")
        if verdict.ran:
            return draft(_Grade.CHECK_FAILED, keep=plan.keep, reached=verdict.checks_passed)
        text = program.source()
        span = list(program.spans())[-1]
        if not compiles(text):
            if plan.prompt is not None and not compiles(text[: span.code]):
                return draft(_Grade.NOT_RUN, "the program before it does not parse")
            return draft(_Grade.DOES_NOT_PARSE, keep=_whole_part(text, span.code, verdict.line))
        if lacked := lack(verdict, encode(text), self._policy):
            return draft(_Grade.LACKED, f"{lack_words(lacked, self._policy)} ({verdict})")
        if not verdict.statement:
            before = self._run(plan.program)
            if not before.ran:
                return draft(_Grade.NOT_RUN, f"the program before it fails: {before}")
            return draft(_Grade.FAILED, keep=plan.keep)
        starts = _statements(text)
        at = max((begin for begin, end, first, last in starts if first <= verdict.statement <= last), default=span.code)
        if any(begin == at and end <= span.code for begin, end, _, _ in starts):
            return draft(_Grade.NOT_RUN, f"the program before it fails: {verdict}")
        reached = sum(span.code <= begin < at for begin, _, _, _ in starts)
        return draft(_Grade.FAILED, keep=max(text[span.code : at], plan.keep, key=len), reached=reached)

    def _is_silent(self, plan: Plan, verdict: Verdict) -> bool:
        """Whether the turn was asked to print and the program printed nothing more than without it."""
        if self._checks or not _ASKS_TO_PRINT.search(plan.prompt or ""):
            return False
        return verdict.silent or verdict.stdout == self._run(plan.program).stdout


def _statements(text: str) -> list[tuple[int, int, int, int]]:
    """The top-level statements of a program, decorators included: where each begins and ends, in characters, and its
    first and last line."""
    tree = parse_python(text)
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n"), len(text)]
    found = []
    for node in tree.body if tree else ():
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        last = min(node.end_lineno or node.lineno, len(starts) - 1)
        found.append((starts[first - 1], starts[last], first, last))
    return found


def _whole_part(text: str, code: int, line: int) -> str:
    """What a turn that begins at `code` has before the statement with the syntax error that Python found at `line`."""
    begins = [match.start() for match in re.finditer(r"^\S", text, re.MULTILINE) if match.start() > code]
    for at in reversed(begins):
        before = not line or text.count("\n", 0, at) < line
        if before and not _CONTINUES.match(text, at) and compiles(text[:at]):
            return text[code:at]
    return ""


def _candidates(drafts: Sequence[_Draft]) -> list[Candidate]:
    return [candidate for draft in drafts for candidate in draft.turn.candidates]


def _merged(drafts: Sequence[_Draft], best: _Draft) -> Turn:
    """The best draft as a turn with the candidates of all; each that was run has what the program did with it."""
    candidates: list[Candidate] = []
    accepted = None
    seconds = 0.0
    for draft in drafts:
        if draft is best and draft.turn.accepted is not None:
            accepted = len(candidates) + draft.turn.accepted
        for index, candidate in enumerate(draft.turn.candidates):
            ran = draft.words if draft.verdict and index == draft.turn.accepted else ""
            candidates.append(replace(candidate, ran=ran))
        seconds += draft.turn.facts.seconds if draft.turn.facts else 0.0
    facts = drafts[0].turn.facts
    return Turn(
        best.turn.prompt,
        best.turn.completion,
        tuple(candidates),
        accepted,
        replace(facts, seconds=seconds) if facts else None,
    )

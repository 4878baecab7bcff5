"""Draws a turn again until the program runs with it, or passes the checks.

`Until.draw` takes the place of `Session.draw`. It runs the program with the turn. If the program fails inside what the
turn wrote, the next draft keeps the turn up to the top-level statement that failed; if it only lacks output, the whole
turn, to go on behind it. Where that was tried, the turn is drawn whole again. The best draft stands. Tries end early if
another draft would not help: the program fails before the turn, or for want of something that it does not get in the
sandbox (lack.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from cgcli.core.errors import CgcliError, ContextError, Interrupted
from cgcli.program.faults import Syntax
from cgcli.program.languages import parse_python
from cgcli.program.program import Candidate, Program, Turn
from cgcli.program.session import Plan, Reading, Session, drain
from cgcli.program.source import encode
from cgcli.program.statements import Lines, first_line
from cgcli.sandbox.hint import lack_words
from cgcli.sandbox.lack import lack
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

TRIES = 4
SECONDS = 20.0

RunProgram = Callable[[Program, Policy, Sequence[str]], Verdict]
"""Runs a program and evaluates checks at its end. Raises SandboxError, UsageError."""

_CPU_SHARE, _WALL_SHARE = 4, 2  # what a single run may take of the seconds
_HOTTER, _HOTTEST = 0.2, 0.8  # each try's temperature above the one before, and the highest
_ASKS_TO_PRINT = re.compile(
    r"(?:^|[.,;:!?\n]|\b(?:and|then|now|also|please))\s*(?:(?:and|then|now|also|please)\s+)*(?:print|show|display|output)\b",
    re.IGNORECASE,
)
_SYNTAX_ERRORS = {"SyntaxError", "IndentationError", "TabError"}
_TOP_LEVEL = re.compile(r"^(?!(?:elif|else|except|finally)\b)[^\s#)\]}]", re.MULTILINE)


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
class Patience:
    """How long to try."""

    tries: int = TRIES  # how often a turn is drawn again
    seconds: float = SECONDS  # for runs and tries of all turns together; the first draw of each does not count


class Until:
    """Draws turns of a session."""

    def __init__(
        self,
        session: Session,
        run: RunProgram,
        policy: Policy,
        patience: Patience = Patience(),
        *,
        checks: Sequence[str] = (),
        checked_turns: int = 0,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """checks: must pass once the program has `checked_turns` turns. say: called with a line for the user before
        each try."""
        self.failure: CgcliError | None = None  # what ended the last turn's tries: Ctrl-C, no sandbox
        self.verdict: Verdict | None = None  # on the program with the last turn; None if it was not run
        self.ends: list[str] = []  # for each turn, a line for the user: which draft stands, and why
        self._session = session
        self._run_program = run
        self._policy = replace(
            policy,
            cpu_s=min(policy.cpu_s, patience.seconds / _CPU_SHARE),
            wall_s=min(policy.wall_s, patience.seconds / _WALL_SHARE),
        )
        self._patience = patience
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
        if self.failure:
            raise self.failure
        plan = reading.plan
        name = f"turn {len(plan.program.turns) + 1}"
        turn = self._drawn(plan, reading, first)
        began = self._clock()
        drafts = [self._tried(plan, turn)]
        kept: set[str] = set()  # by the tries so far
        went_on = False  # whether one went on behind a whole turn
        while self._goes_on(drafts, began):
            keep, silent = drafts[-1].keep or plan.keep, drafts[-1].grade == _Grade.SILENT
            if keep in kept or (silent and went_on):
                keep = plan.keep
            went_on |= silent
            kept.add(keep)
            self._say(f"{name}: {drafts[-1].words}; {self._next(plan, keep, drafts)}")
            try:
                turn = self._drawn_again(plan, keep, drafts)
            except ContextError:
                break
            except Interrupted as interruption:
                self.failure = interruption
                break
            drafts.append(self._tried(plan, turn))
            if turn.interrupted:
                self.failure = Interrupted("interrupted; the best draft so far is kept")
        in_time = self._has_time(began)
        self._spent += self._clock() - began
        best = max(drafts, key=lambda draft: draft.rank)
        self.verdict = best.verdict
        if best.turn.accepted is not None:
            yield best.turn.completion[len(plan.keep) :]
        if self._session.preview:
            self._session.preview("")
        self.ends.append(f"{name}{self._end(drafts, best, in_time=in_time)}")
        return _merged(drafts, best)

    def _drawn_again(self, plan: Plan, keep: str, drafts: Sequence[_Draft]) -> Turn:
        """Draw a turn again, at a higher temperature: what a model is sure of it writes again."""
        session, generation = self._session, self._session.generation
        temperature = generation.sampling.temperature
        hotter = _hotter(temperature, len(drafts))
        session.generation = generation.at(hotter)
        try:
            reading = session.read(session.plan(plan.prompt, keep))
            turn = self._drawn(plan, reading, 1 + max(one.draw for one in _candidates(drafts)))
        finally:
            session.generation = generation
        if hotter == temperature:
            return turn
        found = (replace(one, temperature=one.temperature or hotter) for one in turn.candidates)
        return replace(turn, candidates=tuple(found))

    def _drawn(self, plan: Plan, reading: Reading, first: int) -> Turn:
        """Draw once; all of it is a preview, since another draft may stand."""
        session, preview = self._session, self._session.preview
        text = reading.plan.keep[len(plan.keep) :]

        def show(held: str) -> None:
            if preview and text + held:  # the last draft stays until there is something new
                preview(text + held)

        def add(piece: str) -> None:
            nonlocal text
            text += piece
            show("")

        session.preview = show if preview else None
        try:
            return drain(session.draw(reading, first), add)
        finally:
            session.preview = preview

    def _goes_on(self, drafts: Sequence[_Draft], began: float) -> bool:
        wanted = drafts[-1].keep is not None and self.failure is None
        return wanted and len(drafts) <= self._patience.tries and self._has_time(began)

    def _has_time(self, began: float) -> bool:
        return self._spent + self._clock() - began < self._patience.seconds

    def _next(self, plan: Plan, keep: str, drafts: Sequence[_Draft]) -> str:
        what = "going on" if keep and drafts[-1].grade == _Grade.SILENT else "regenerating it"
        text = plan.program.source() + plan.program.opening(plan.prompt) + keep
        where = f" from line {text.count(chr(10)) + 1}" if keep else ""
        return f"{what}{where}, try {len(drafts)} of {self._patience.tries}"

    def _end(self, drafts: Sequence[_Draft], best: _Draft, *, in_time: bool) -> str:
        """The end of the line that says which draft stands, and why."""
        at, last = drafts.index(best), drafts[-1]
        if best.grade == _Grade.RAN:
            silent = best.verdict is not None and best.verdict.silent and not best.verdict.checks_passed
            return f" {best.words}" + f" at try {at}" * bool(at) + ", printed nothing" * silent
        why = ""
        if last.keep is None and not self.failure:
            why = "; another try would not help"
        elif not in_time:
            why = "; the time for tries is over"
        if len(drafts) == 1:
            return f": {best.words}{why}"
        return f": kept draft {at + 1} of {len(drafts)}, the best: {best.words}{why}"

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

        text, span = program.source(), list(program.spans())[-1]
        before, code = text[: span.code], text[span.code :]
        if verdict.passed:
            if self._is_silent(plan, verdict):
                return draft(_Grade.SILENT, "ran, but printed nothing", keep=code.rstrip() + "\n")
            return draft(_Grade.RAN, "passed the checks" if verdict.checks_passed else "ran")
        if verdict.ran:
            return draft(_Grade.CHECK_FAILED, keep=plan.keep, reached=verdict.checks_passed)
        if verdict.detail.partition(":")[0] in _SYNTAX_ERRORS:
            if fault := Syntax(before).ended(code):
                return draft(_Grade.DOES_NOT_PARSE, keep=_longer(plan.keep, _parsing_part(before, code, fault.at)))
            if parse_python(text) is None:
                return draft(_Grade.NOT_RUN, f"the program before it does not parse: {verdict}")
        if lacked := lack(verdict, encode(text), self._policy):
            return draft(_Grade.LACKED, f"{lack_words(lacked, self._policy)} ({verdict})")
        failed = _statement(text, verdict.statement, span.code)
        if failed is None:
            earlier = self._run(plan.program)
            if not earlier.ran:
                return draft(_Grade.NOT_RUN, f"the program before it fails: {earlier}")
            return draft(_Grade.FAILED, keep=plan.keep)
        if failed.end <= span.code:
            return draft(_Grade.NOT_RUN, f"the program before it fails: {verdict}")
        keep = _longer(plan.keep, text[span.code : failed.begin])
        return draft(_Grade.FAILED, keep=keep, reached=failed.number)

    def _is_silent(self, plan: Plan, verdict: Verdict) -> bool:
        """Whether the turn was asked to print and the program printed nothing more than without it."""
        if self._checks or not _ASKS_TO_PRINT.search(plan.prompt or ""):
            return False
        return verdict.silent or verdict.stdout == self._run(plan.program).stdout


@dataclass(frozen=True)
class _Statement:
    """A top-level statement, in characters."""

    begin: int
    end: int
    number: int  # of the turn's statements that come before it


def _statement(text: str, line: int, code: int) -> _Statement | None:
    """The top-level statement at a line of a program whose last turn begins at `code`; None if there is none."""
    tree, lines = parse_python(text), Lines(text)
    number = 0
    for one in tree.body if tree else ():
        begin, last = first_line(one), one.end_lineno or one.lineno
        if begin <= line <= last:
            return _Statement(lines.begin(begin), lines.begin(last + 1), number)
        number += lines.begin(begin) >= code
    return None


def _parsing_part(before: str, code: str, fault: int) -> str:
    """The part of a turn before the top-level statement that has a syntax error at `fault`."""
    syntax = Syntax(before)
    begins = [match.start() for match in _TOP_LEVEL.finditer(code) if match.start() <= fault]
    return next((code[:at] for at in reversed(begins) if not syntax.ended(code[:at])), "")


def _longer(one: str, other: str) -> str:
    return max(one, other, key=len)


def _hotter(temperature: float, tried: int) -> float:
    """The temperature of the `tried`-th try."""
    return min(temperature + _HOTTER * tried, max(temperature, _HOTTEST))


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
    facts = replace(facts, seconds=seconds) if facts else None
    return replace(best.turn, candidates=tuple(candidates), accepted=accepted, facts=facts)

"""What `gen` and `watch` say about the turns that they drew: notes on stderr, and the errors that turns end with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.hub.choose import Choice
    from cgcli.program.program import Turn
    from cgcli.program.session import Plan, Session
    from cgcli.terminal.output import Output

_CUT = {"interrupted", "length", "context"}


def report_turns(
    output: Output, choice: Choice, session: Session, turns: list[Turn], ends: Sequence[str] = (), *, known: int = 0
) -> None:
    """On stderr: candidates chosen, completions cut, turns that do not parse, the seed and the speed.

    ends: how the tries of each turn ended, with --until. known: turns that were there before.
    """
    from cgcli.program.languages import broken_turn
    from cgcli.program.truncate import NONE

    how, timings = session.generation, session.engine.timings
    if how.guard and session.language != "python":
        output.detail(f"{session.language} is only kept from loops: the other guards know Python")
    kept = 0  # turns that are part of the program
    for number, turn in enumerate(turns, 1):
        name, facts = f"turn {number}", turn.facts
        if number <= known:
            kept += 1
            continue
        if facts and facts.prompt_perplexity is not None:
            output.detail(
                f"{name}: prompt of {plural(facts.prompt_tokens, 'token')}, perplexity {facts.prompt_perplexity:.2f}"
            )
        if number - known <= len(ends):
            output.note(ends[number - known - 1])
        if turn.accepted is None:
            continue
        line = session.program.code_line(kept)
        kept += 1
        if how.candidates > 1:
            output.note(f"{name}: {kept_candidate(turn, turn.accepted)}")
        report_turn(output, session, turn, name, line)
    broken = broken_turn(session.program) if session.language == "python" and how.rules != NONE else None
    if broken is not None and _ended(turn := session.program.turns[broken]):
        others = f"another --seed or -n {2 * max(4, how.candidates)}" if how.sampling.temperature else "-t 0.6"
        number = turns.index(turn) + 1  # not `broken`: an empty turn is no part of the program
        output.note(f"turn {number} does not parse; try {others}")
    if timings.acceptance is not None:
        faster = f", {timings.speedup:.2f} times as fast as without guesses" if timings.speedup else ""
        output.detail(f"guessed {plural(timings.drafted, 'token')} ahead, {timings.acceptance:.0%} accepted{faster}")
    output.note(
        f"{choice.name} {session.engine.quant}, seed {how.sampling.seed}, "
        f"{plural(timings.decode_tokens, 'token')} at {timings.tokens_per_s:.0f} tokens/s"
    )


def report_turn(output: Output, session: Session, turn: Turn, name: str, line: int) -> None:
    """On stderr: what the guards did to a turn, and why it was cut. line: the one on which its code begins."""
    if turn.accepted is None:
        return
    chosen = turn.candidates[turn.accepted]
    if chosen.guard:
        for note in chosen.guard.notes(line):
            output.note(f"{name}: {note}")
        for cut in chosen.guard.cuts:
            at = cut.line + line - 1
            output.detail(f"{name}: {cut.guard} guard cut at line {at}, {plural(cut.tokens, 'token')}: {cut.reason}")
    if chosen.finish_reason == "length":
        output.note(f"{name}: cut at {plural(session.generation.max_tokens, 'token')} (--max-tokens)")
    if chosen.finish_reason == "context":
        output.note(f"{name}: cut because the context window of {session.engine.window} tokens is full")


class FoldNotice:
    """Reports the parts that a fold leaves out, whenever they change."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._parts: tuple[str, ...] = ()

    def __call__(self, plan: Plan) -> None:
        fold = plan.fold
        if fold and fold.parts != self._parts:
            self._parts = fold.parts
            self._output.note(
                f"the program exceeds the context window of {plan.window} tokens; the model reads it without "
                f"{fold.summary}, which saves {plural(fold.saved, 'token')} (--fold off stops instead)"
            )


def kept_candidate(turn: Turn, index: int) -> str:
    """Which candidate of a turn was kept and why, in words. index: of that candidate."""
    why = turn.picked.why if turn.picked else ""
    logprob = turn.candidates[index].logprob or 0.0
    return f"kept candidate {index + 1} of {turn.drawn}, {why or f'log-probability {logprob:.2f}'}"


def _ended(turn: Turn) -> bool:
    """Whether the completion came to its own end."""
    return turn.accepted is not None and turn.candidates[turn.accepted].finish_reason not in _CUT


def require_turns(turns: list[Turn]) -> None:
    """Raise Interrupted after Ctrl-C, CgcliError for a turn that came out empty."""
    if any(turn.interrupted for turn in turns):
        raise Interrupted
    for number, turn in enumerate(turns, 1):
        if turn.accepted is None:
            name = f" ({turn.prompt!r})" if turn.prompt is not None else ""
            raise CgcliError(
                f"turn {number}{name}: the model returned nothing in {len(turn.candidates)} attempts",
                hint=("try another prompt, " if name else "try ") + "another --seed, or a higher temperature: -t 0.6",
            )

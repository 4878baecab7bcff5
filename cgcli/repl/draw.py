"""Draws turns: a prompt is read and scored, the code streams, and one of the candidates becomes the turn.

Used for typed prompts and by every command that draws a turn again. If drawing fails, nothing changes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.program import languages
from cgcli.program.faults import asks_for_stub, visible_fault
from cgcli.program.history import Add, Put
from cgcli.program.program import Candidate, Picked, Program, Turn
from cgcli.program.score import clarity
from cgcli.program.source import checked_prompt, digest
from cgcli.repl import running
from cgcli.repl.reader import CandidateCard
from cgcli.repl.state import Repl
from cgcli.terminal.text import clipped, columns, plural, visible

if TYPE_CHECKING:
    from typing import Literal

    from cgcli.program.folding import Fold
    from cgcli.program.session import Plan, Reading, Session
    from cgcli.sandbox.pick import Picker
    from cgcli.sandbox.until import Until

_DIFF_LINES = 20
_OUTCOME_COLUMNS = 100  # for what a candidate did when it ran: three rows of the narrowest card
_OUTCOME_END_COLUMNS = 30  # of these for its end, where an error names its line


# --- drawing


def draw_turn(repl: Repl, prompt: str) -> None:
    """Draw a new turn for a prompt. Raises what loading the model and drawing raise."""
    before, start = repl.program, repl.start
    if not start and repl.language.name == "python" and languages.looks_like_code(prompt):
        repl.ui.screen.note(f"the prompt looks like code, and becomes a comment; to begin with it: /start {prompt}")
    with _offered_again(repl, as_line(prompt)):
        turn, failure = _draw(repl, before, prompt, keep=start)
    turn, repl.start = replace(turn, start=start), ""
    repl.do(repl.history.commit(Add(turn)))
    _report_end(repl, len(before.turns), turn)
    report_stale(repl)
    if failure:
        raise failure
    if not _is_partial(turn):
        run_if_auto(repl)


def redraw_turn(
    repl: Repl,
    index: int,
    why: Literal["retry", "edit", "from", "replay"],
    *,
    prompt: str | None = None,
    keep: str | None = None,
) -> None:
    """Draw a turn again, for another `prompt` if one is given; its code starts with `keep`, or as it was told to.

    The earlier candidates stay if the text before them is the same and they were drawn with the same model, seed and
    sampler, since the turn's facts hold for all candidates. The new draws then differ from theirs. A replay asks
    nothing and runs nothing, as more turns follow. Raises what loading the model and drawing raise.
    """
    before, old = repl.program.until(index), repl.program.turns[index]
    keep = old.start if keep is None else keep
    wanted = old.prompt if prompt is None else prompt
    context = digest(before.source() + before.opening(wanted))
    stay = old.facts and old.facts.context == context and repl.session().draws_like(old.facts)
    earlier = old.candidates if stay else ()
    with _offered_again(repl, f"/edit {index + 1} {wanted}" if why == "edit" else ""):
        turn, failure = _draw(repl, before, wanted, keep=keep, earlier=earlier, replays=why == "replay")
    turn = replace(turn, start=old.start if keep.startswith(old.start) else "")
    repl.do(repl.history.commit(Put(index, turn, why)))
    _report_end(repl, index, turn)
    if why != "replay":
        report_stale(repl)
    is_new = turn.accepted is not None and turn.accepted >= len(earlier)
    if why == "retry" and is_new and turn.completion in {candidate.text for candidate in earlier}:
        repl.ui.screen.note("same code as before: reword the prompt or raise the temperature (/set temperature 0.8)")
    if failure:
        raise failure
    if why != "replay" and not _is_partial(turn):
        run_if_auto(repl)


def as_line(prompt: str) -> str:
    """A prompt as it is typed: a leading `/` is doubled."""
    return f"/{prompt}" if prompt.startswith("/") else prompt


@contextmanager
def _offered_again(repl: Repl, line: str) -> Iterator[None]:
    """If the block fails, the next input line starts with `line`, so that the user can reword it."""
    try:
        yield
    except BaseException:
        repl.next_line = line
        raise


def _draw(
    repl: Repl,
    before: Program,
    prompt: str | None,
    *,
    keep: str = "",
    earlier: tuple[Candidate, ...] = (),
    replays: bool = False,
) -> tuple[Turn, CgcliError | None]:
    """Draw a turn for `prompt` after the program `before`, and show it; its candidates follow `earlier` ones.

    Also returns what ended the tries with `/set until runs`: the turn is the best so far. replays: ask and run nothing.

    Raises UsageError for a prompt that is not text, ContextError, what loading the model raised, Interrupted if
    nothing was written, CgcliError if every candidate is empty.
    """
    from cgcli.program.session import drain  # imports the engine, which is not needed when the REPL starts

    if prompt is not None:
        prompt = checked_prompt(prompt, "the prompt")
    session, screen = repl.session(), repl.ui.screen
    session.program = before
    plan = session.plan(prompt, keep)
    if plan.fold is not None:
        report_fold(repl, plan, plan.fold)
    if plan.tokens > session.limit:
        room, wanted = plan.window - plan.tokens, session.generation.max_tokens
        screen.note(f"the context window of {plan.window} tokens has room for {room} more, not for {wanted}")
    repl.last.fold = plan.fold
    repl.last.reading = session.read(plan)
    repl.tokens_given += plan.tokens
    report_perplexity(repl, repl.last.reading)
    session.prefer = _picker(repl)
    until = None if replays else _until(repl, session)
    first = 1 + max((candidate.draw for candidate in earlier), default=-1)
    pieces = (until or session).draw(repl.last.reading, first)
    streams = repl.options.candidates == 1 and not repl.ui.script
    turn = _stream(repl, keep, pieces) if streams else drain(pieces)
    if turn.accepted is None:
        if turn.interrupted:
            raise Interrupted("interrupted before anything was written")
        count = len(turn.candidates)
        raise CgcliError(
            f"the model returned nothing in {count} attempt{'s' * (count != 1)}",
            hint="reword the prompt, or try /seed N or /set temperature 0.6",
        )
    if until:
        screen.note(until.ends[-1])
    choosing = not (replays or turn.interrupted)
    turn = replace(
        turn,
        candidates=(*earlier, *turn.candidates),
        accepted=len(earlier) + turn.accepted,
        picked=turn.picked and turn.picked.shifted(len(earlier)),
    )
    if repl.options.candidates > 1:
        if choosing:
            turn = pick_candidate(repl, before, turn) or turn
        if not repl.ui.script:
            screen.code(turn.completion)
    return turn, until.failure if until else None


def _until(repl: Repl, session: Session) -> Until | None:
    """What draws turns again with `/set until runs`."""
    options = repl.options
    if options.until == "off":
        return None
    from cgcli.sandbox.until import Patience, Until

    return Until(
        session,
        lambda program, policy, _: running.execute(repl, program, (), policy=policy),
        options.policy,
        Patience(options.tries, options.try_time),
        say=repl.ui.screen.note,
    )


def _stream(repl: Repl, keep: str, pieces: Generator[str, None, Turn]) -> Turn:
    from cgcli.program.session import drain

    stream = repl.ui.screen.stream()
    session = repl.session()
    session.preview = stream.preview
    try:
        stream.write(keep)
        return drain(pieces, stream.write)
    finally:
        pieces.close()
        session.preview = None
        stream.close()


def _picker(repl: Repl) -> Picker | None:
    """What picks one of several candidates before the user does; None: the most probable one."""
    if repl.options.candidates == 1 or repl.options.pick == "probable":
        return None
    from cgcli.native.interrupt import Interrupt
    from cgcli.sandbox.pick import Picker

    return Picker(
        rule=repl.options.pick,
        policy=repl.options.policy,
        run=lambda program, policy, _: running.execute_unseen(repl, program, policy),
        note=repl.ui.screen.note,
        progress=repl.ui.progress,
        interrupted=lambda: Interrupt().requested,
    )


def run_if_auto(repl: Repl) -> None:
    """Run the program if `/auto` is on. Raises what `run_program` raises."""
    if repl.options.auto:
        running.run_program(repl, ())


# --- reports


def report_perplexity(repl: Repl, reading: Reading) -> None:
    if reading.perplexity is not None:
        word = clarity(reading.perplexity, repl.choice.card)
        repl.ui.screen.note(f"perplexity {reading.perplexity:.1f}" + (f" · {word}" if word else ""))


def report_fold(repl: Repl, plan: Plan, fold: Fold) -> None:
    """Name the parts of the program that the model skips; with a diff if they changed."""
    screen = repl.ui.screen
    screen.note(
        f"the program exceeds the context window of {plan.window} tokens; the model reads it without {fold.summary}, "
        f"which saves {plural(fold.saved, 'token')} and rereads {fold.reread} (/set fold off stops instead)"
    )
    if repl.last.fold is not None and repl.last.fold.parts == fold.parts:
        return
    lines = fold.diff()
    screen.diff(lines[:_DIFF_LINES])
    if len(lines) > _DIFF_LINES:
        screen.note(f"… {plural(len(lines) - _DIFF_LINES, 'more line')}: /diff fold")


def report_stale(repl: Repl) -> None:
    """Name the turns that were drawn for another text than the one before them now, unless that was just said."""
    stale = repl.program.stale()
    reported, repl.last.stale = repl.last.stale, stale
    if stale and stale != reported:
        numbers = ", ".join(str(index + 1) for index in stale)
        which, them = ("turns", "them") if len(stale) > 1 else ("turn", "it")
        repl.ui.screen.note(f"stale {which}: {numbers} (/replay regenerates {them})")


def _report_end(repl: Repl, index: int, turn: Turn) -> None:
    """Report on a drawn turn: an early end, a syntax error, turns that became stale."""
    assert turn.accepted is not None  # `_draw` raised otherwise
    screen, number = repl.ui.screen, index + 1
    candidate = turn.candidates[turn.accepted]
    for note in candidate.guard.notes(repl.program.code_line(index)) if candidate.guard else ():
        screen.note(note)
    reason = candidate.finish_reason
    if reason == "interrupted":
        broken = ", and the program does not parse now" * (repl.broken_turn == index)
        screen.note(f"interrupted; what was written is kept{broken}: /undo removes it, /retry {number} regenerates it")
    elif reason == "length":
        screen.note(
            f"stopped at {plural(repl.options.settings.max_tokens, 'token')}: {_continuation(repl, index)} continues"
        )
    elif reason == "context":
        screen.note("stopped because the context window is full")
    if repl.broken_turn == index and reason != "interrupted":
        screen.note(f"does not parse: try /retry {number} or /code {number}")


def _continuation(repl: Repl, index: int) -> str:
    """The command that continues a turn at its end."""
    end = list(repl.program.spans())[index].end
    return f"/from {repl.program.source()[:end].count(chr(10)) + 1}"


def _is_partial(turn: Turn) -> bool:
    """Whether Ctrl-C cut off the accepted candidate."""
    return turn.accepted is not None and turn.candidates[turn.accepted].finish_reason == "interrupted"


# --- candidates


def pick_candidate(repl: Repl, before: Program, turn: Turn) -> Turn | None:
    """Return the turn with the candidate that the user picks; None if nobody can be asked, or none is picked."""
    choices = candidate_cards(repl, before, turn)
    index = repl.ui.reader.choose(choices)
    return None if index is None else turn.choose(choices[index].number - 1)


def with_candidate(turn: Turn, index: int) -> Turn:
    """Return the turn with this candidate accepted. Raises UsageError if it is empty."""
    if turn.candidates[index].blank:
        raise UsageError(f"candidate {index + 1} is empty", hint="pick another one")
    return turn.choose(index)


def candidate_cards(repl: Repl, before: Program, turn: Turn) -> list[CandidateCard]:
    """The distinct candidates of a turn that have code.

    Equal ones share a card with the number of the first; the accepted one has its own number, and a `*`.
    """
    alike: dict[str, list[int]] = {}
    for index, candidate in enumerate(turn.candidates):
        if not candidate.blank:
            alike.setdefault(candidate.text, []).append(index)
    found = []
    for indices in alike.values():
        accepted = turn.accepted in indices
        index = turn.accepted if accepted and turn.accepted is not None else indices[0]
        title = f"{index + 1} of {len(turn.candidates)}"
        title += f", generated {'twice' if len(indices) == 2 else f'{len(indices)} times'}" * (len(indices) > 1)
        text, facts = turn.candidates[index].text, candidate_facts(repl, before, turn, index)
        found.append(CandidateCard(title + " *" * accepted, facts, text, accepted, index + 1))
    return found


def same_as(turn: Turn, index: int) -> int | None:
    """Index of an earlier candidate with the same text; None without one, and for an empty candidate."""
    text = turn.candidates[index].text
    first = next(number for number, other in enumerate(turn.candidates) if other.text == text)
    return first if text and first < index else None


def candidate_facts(repl: Repl, before: Program, turn: Turn, index: int) -> str:
    """One line on a candidate: what it did when it was tested and run, its log-probability, its fault."""
    candidate = turn.candidates[index]
    text = program_with(before, turn, candidate).source()
    known = []
    if turn.picked and turn.picked.function:
        known.append(_shortened(_tested(turn.picked, index)))
    if run := repl.history.runs.get(digest(text)):
        lines = run.output.split("\n")
        printed = next((line.strip() for line in reversed(lines) if line.strip()), "")
        outcome = f"prints {printed}" if run.passed and printed else run.words if run.passed else f"run: {run.words}"
        known.append(_shortened(visible(outcome)))
    if candidate.logprob is not None:
        known.append(f"log-probability {candidate.logprob:.2f}")
    if candidate.finish_reason in ("interrupted", "empty"):
        known.append(candidate.finish_reason)
    if repl.language.name == "python" and candidate.text:
        opening = before.source() + before.opening(turn.prompt)
        fault = visible_fault(opening, candidate.text, stub=asks_for_stub(turn.prompt))
        parses = "does not parse" if fault and fault.guard == "syntax" else "parses"
        known.append(fault.reason if fault and fault.guard != "syntax" else parses)
    return ", ".join(known)


def _tested(picked: Picked, index: int) -> str:
    """What the tests told of a candidate."""
    group = picked.group(index)
    if group is None:
        return "fails in the tests"
    others = len(group.candidates) - 1
    return f"{group.example}, as {others} other{'s' * (others != 1)}" if others else group.example


def _shortened(outcome: str) -> str:
    """Cut a long outcome in the middle: an error begins with its kind and ends with its line."""
    if columns(outcome) <= _OUTCOME_COLUMNS:
        return outcome
    end = len(outcome)
    while columns(outcome[end - 1 :]) <= _OUTCOME_END_COLUMNS:
        end -= 1
    return clipped(outcome, _OUTCOME_COLUMNS - _OUTCOME_END_COLUMNS) + outcome[end:]


def program_with(before: Program, turn: Turn, candidate: Candidate) -> Program:
    """The program up to the turn, with this candidate as its code."""
    return before.add(turn.rewrite(candidate.text))

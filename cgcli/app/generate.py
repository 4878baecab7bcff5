"""What `cgcli gen` does: model, program so far and prompts together, the new text out, the facts said on stderr."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.model import chosen, identified, loaded
from cgcli.app.selection import Trial
from cgcli.app.streams import Bytes, File, Nowhere, Sink, file_bytes, prompts_of, sink_for, stdin_bytes
from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.core.units import plural

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.hub.choose import Choice
    from cgcli.program.generation import Generation
    from cgcli.program.languages import Language
    from cgcli.program.program import Program, Turn
    from cgcli.program.session import Plan, Session
    from cgcli.sandbox.verdict import Verdict
    from cgcli.terminal.output import Output

_CUT = {"interrupted", "length", "context"}


@dataclass(frozen=True)
class Wish:
    """What `gen` was asked for beyond the settings. comments: print the prompts' comments; json: facts, not text.

    pick: of several candidates keep the most `probable`, or `run` them to choose; checks: expressions that must hold at
    the end; run: the result.
    """

    prompts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    into: Path | None = None
    output: Path | None = None
    whole: bool = False
    raw: bool = False
    comments: bool = True
    read_stdin: bool = True
    language: str | None = None
    json: bool = False
    candidates: int = 1
    stops: tuple[str, ...] = ()
    pick: str = "probable"
    checks: tuple[str, ...] = ()
    run: bool = False
    unsafe: bool = False


def generate(run: Run, settings: Settings, wish: Wish) -> None:
    """Grow a program as wished. Raises CgcliError of every kind; what was drawn before is kept."""
    from cgcli.program.languages import language, language_of
    from cgcli.program.session import Session, grow

    _check(wish)
    code = language(wish.language) if wish.language else language_of(wish.into or wish.output or Path())
    prompts: list[str | None] = [*prompts_of(wish.prompts, wish.files, raw=wish.raw)]
    output = run.output
    choice = chosen(run, settings)
    before = _program_so_far(output, wish)
    text = _text(wish, before)
    if not prompts and not text:
        raise UsageError("no prompt", hint='cgcli gen "read a CSV and print the mean of each column"')
    prompts = prompts or [None]
    program = _program(wish, settings, choice, code, text)
    generation = _generation(wish, settings, choice, code)
    picks = wish.pick == "run"
    runs = wish.run or picks
    file = wish.into or wish.output or Path("FILE.py")
    trial = Trial.of(output, code.name, wish.checks, unsafe=wish.unsafe, file=file) if runs else None
    sink = _sink(output, wish, code, before)
    facts = File(wish.output, Nowhere(), output, Bytes()) if wish.json and wish.output else None
    session: Session | None = None
    turns: list[Turn] = []
    verdict: Verdict | None = None
    try:
        with loaded(run, settings, choice) as engine:
            session = Session(
                engine,
                program,
                generation,
                model=choice.name,
                language=code.name,
                fold=settings.fold == "on",
                prefer=trial.prefer if trial and picks else None,
                progress=output.progress(),
            )
            session.reserve(prompts)
            due = "" if text and not wish.whole else program.prefix
            try:
                told = _Told(output)
                for piece in grow(session, prompts, turns, head=due, comments=wish.comments, told=told):
                    due = ""
                    sink.write(piece)
            finally:
                if text and due:
                    sink.write(due)  # what was there comes out whatever happens: somebody may put it back
                sink.close()
    finally:
        # Of the turns that are done, also where a later one failed; outside the block, where Ctrl-C is answered again.
        if session and turns:
            _say(output, choice, session, turns)
            if trial and not any(turn.interrupted for turn in turns):
                if wish.run or wish.checks:
                    verdict = trial.run(session.program)
                else:
                    trial.tell_uncalled(session.program, trial.kept)
            if wish.json:
                _print_report(run, facts, session, turns, choice, verdict)
    _judge(turns)
    if trial and session and verdict:
        trial.judge(verdict, session.program, wish.candidates if picks else 1)


class _Told:
    """Says what is left out of a program before the model reads it, wherever that is not what was said before."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._parts: tuple[str, ...] = ()

    def __call__(self, plan: Plan) -> None:
        fold = plan.fold
        if fold and fold.parts != self._parts:
            self._parts = fold.parts
            self._output.note(
                f"too long for the window of {plan.window} tokens: the model reads the program without "
                f"{fold.summary}, {fold.saved} tokens less (--fold off refuses)"
            )


def _check(wish: Wish) -> None:
    if wish.pick not in ("probable", "run"):
        raise UsageError(f"--pick is {wish.pick!r}, not probable or run", hint="cgcli gen --help")
    if wish.into and wish.output:
        raise UsageError("--into and --output are two places for one program", hint="leave one of them out")
    if wish.into and wish.whole:
        raise UsageError("--whole says what to print, and --into prints nothing", hint="leave one of them out")


def _program_so_far(output: Output, wish: Wish) -> bytes:
    if wish.into:
        from cgcli.core.reading import read_if_present

        return read_if_present(wish.into)  # a pipe or a device is nothing to add to
    if not wish.read_stdin or Path("-") in wish.files:
        return b""
    before = stdin_bytes(waiting=lambda: output.note("reading stdin (--no-stdin leaves it alone)"))
    if before and (wish.prompts or wish.files):  # in a loop over lines it may be meant for the loop
        lines = before.count(b"\n") + (not before.endswith(b"\n"))
        output.note(f"the program so far: {plural(lines, 'line')} from stdin (--no-stdin leaves it alone)")
    if before and not wish.whole and wish.output and wish.output.is_file() and file_bytes(wish.output) == before:
        raise UsageError(
            f"{wish.output} is the program so far, and -o would leave only what is new in it",
            hint=f"--into {wish.output}, or --whole",
        )
    return before


def _text(wish: Wish, before: bytes) -> str:
    """The program so far as the model reads it."""
    from cgcli.program.source import decode, from_file

    return decode(before) if wish.raw else from_file(before)


def _program(wish: Wish, settings: Settings, choice: Choice, code: Language, text: str) -> Program:
    from cgcli.program.program import RAW, Layout, Program, new_program

    if wish.raw:
        return Program(text or settings.prefix or "", layout=RAW)
    return Program(text, layout=Layout(code.mark)) if text else new_program(code, settings, choice.card)


def _generation(wish: Wish, settings: Settings, choice: Choice, code: Language) -> Generation:
    from cgcli.program.generation import Generation
    from cgcli.program.truncate import NONE

    seed = secrets.randbits(32) if settings.seed is None else settings.seed
    card, rules, redraws = (None, NONE, 0) if wish.raw else (choice.card, code.rules, 3)
    return Generation.of(
        replace(settings, seed=seed), card, rules, stops=wish.stops, candidates=wish.candidates, redraws=redraws
    )


def _sink(output: Output, wish: Wish, code: Language, before: bytes) -> Sink:
    """before: the program so far, as the file that it is from has it."""
    how = Bytes() if wish.raw else Bytes(before, begins=wish.whole)
    if wish.into:
        view = Nowhere() if wish.json else sink_for(output, code.name, quiet=True)
        return File(wish.into, view, output, how, before=before, json=wish.json)
    if wish.json:
        return Nowhere()
    if wish.output:
        return File(wish.output, sink_for(output, code.name, quiet=True), output, how)
    return sink_for(output, code.name, how)


def _print_report(
    run: Run, file: File | None, session: Session, turns: list[Turn], choice: Choice, verdict: Verdict | None
) -> None:
    from cgcli.program.report import report
    from cgcli.terminal.text import json_text

    identity = identified(run, choice, session.engine.quant)
    ran = None
    if verdict:
        ran = {"outcome": verdict.outcome, "detail": verdict.detail, "seconds": round(verdict.seconds, 4)}
    facts = {**identity, **report(session.engine, session.generation, turns), "run": ran}
    if file:
        file.write(json_text(facts) + "\n")
        file.close()
    else:
        run.output.json(facts)


def _say(output: Output, choice: Choice, session: Session, turns: list[Turn]) -> None:
    """The facts of the turns on stderr: what was chosen, what was cut, what does not parse, the seed."""
    from cgcli.program.languages import broken_turn
    from cgcli.program.truncate import NONE

    how, timings = session.generation, session.engine.timings
    for number, turn in enumerate(turns, 1):
        named, facts = f"turn {number}", turn.facts
        if facts and facts.prompt_perplexity is not None:
            output.detail(f"{named}: prompt of {facts.prompt_tokens} tokens, perplexity {facts.prompt_perplexity:.2f}")
        if turn.accepted is None:
            continue
        chosen = turn.candidates[turn.accepted]
        if how.candidates > 1:
            mean = chosen.mean_logprob or 0.0
            which = f"{turn.accepted + 1} of {len(turn.candidates)}"
            output.note(f"{named}: candidate {which}, of mean log-probability {mean:.3f}")
        if chosen.finish_reason == "length":
            output.note(f"{named} was cut at --max-tokens {how.max_tokens}")
        if chosen.finish_reason == "context":
            output.note(f"{named} was cut where the window of {session.engine.window} tokens is full")
    broken = broken_turn(session.program) if session.language == "python" and how.rules != NONE else None
    if broken is not None and _ended(turn := session.program.turns[broken]):
        others = f"another --seed, or -n {2 * max(4, how.candidates)}" if how.sampling.temperature else "-t 0.6"
        output.note(f"turn {turns.index(turn) + 1} does not parse: {others}")  # one that came out empty is a turn, too
    if timings.acceptance is not None:
        faster = f", {timings.speedup:.2f} times as fast as without" if timings.speedup else ""
        output.detail(f"guessed {timings.drafted} tokens ahead, {timings.acceptance:.0%} came true{faster}")
    output.note(
        f"{choice.name} {session.engine.quant}, seed {how.sampling.seed}, "
        f"{timings.decode_tokens} tokens at {timings.tokens_per_s:.0f} a second"
    )


def _ended(turn: Turn) -> bool:
    """Whether it came to its own end."""
    return turn.accepted is not None and turn.candidates[turn.accepted].finish_reason not in _CUT


def _judge(turns: list[Turn]) -> None:
    """Raises Interrupted after Ctrl-C, CgcliError for a turn that came out empty."""
    if any(turn.interrupted for turn in turns):
        raise Interrupted
    for number, turn in enumerate(turns, 1):
        if turn.accepted is None:
            named = f" ({turn.prompt!r})" if turn.prompt is not None else ""
            raise CgcliError(
                f"turn {number}{named}: nothing came in {len(turn.candidates)} tries",
                hint=("other words, " if named else "") + "another --seed, or a higher temperature: -t 0.6",
            )

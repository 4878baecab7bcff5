"""What `cgcli fill` does: find a hole in a file, let the model fill it, and print or write the result."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.log import RunRecord, logged
from cgcli.app.model import loaded_engine, model_identity, planned_facts
from cgcli.app.offer import choose_or_pull
from cgcli.app.streams import Encoder, given_bytes, stdout_sink
from cgcli.core.config import CANDIDATES
from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.hub.choose import Choice
    from cgcli.program.generation import Generation
    from cgcli.program.hole import Extent, Hole
    from cgcli.program.infill import Filling
    from cgcli.program.languages import Language
    from cgcli.program.run_log import RunStart

_HINT = "cgcli fill FILE:LINE, or :LINE for stdin"


@dataclass(frozen=True)
class FillArguments:
    """The command line of `fill`, without the settings."""

    place: str  # FILE or FILE:LINE
    in_place: bool = False
    whole: bool = False
    extent: Extent | None = None
    lang: str | None = None
    json: bool = False
    no_log: bool = False
    candidates: int | None = None  # None: one for a model that infills, else `infill.CANDIDATES`
    stops: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UsageError for options that contradict each other."""
        if self.in_place and self.whole:
            raise UsageError("--in-place prints no program, so --whole has no effect", hint="leave one of them out")
        if self.candidates is not None:
            CANDIDATES.of_value(self.candidates, "-n")


@dataclass(frozen=True)
class _Job:
    """A command line that passed all checks, with its input."""

    arguments: FillArguments
    choice: Choice
    language: Language
    file: Path | None  # None: stdin
    before: bytes  # of the file, or of stdin
    hole: Hole
    how: Generation  # with the candidates that were asked for, or 1


def fill_hole(run: Run, settings: Settings, arguments: FillArguments) -> None:
    """Fill a hole and print what goes into it. Raises CgcliError of every kind; a file is then as it was."""
    job = _prepare(run, settings, arguments)
    with logged(run, _start(run, settings, job) if settings.log == "on" and not arguments.no_log else None) as record:
        _fill(run, settings, job, record)


def _prepare(run: Run, settings: Settings, arguments: FillArguments) -> _Job:
    from cgcli.core.files import check_writable
    from cgcli.program.generation import Generation
    from cgcli.program.hole import find_hole
    from cgcli.program.languages import language, language_of
    from cgcli.program.source import from_file

    arguments.check()
    file, line = _place(arguments.place)
    if file is None and arguments.in_place:
        raise UsageError("--in-place needs a file, not stdin", hint="to fill a file: cgcli fill FILE:LINE --in-place")
    if file and file.is_dir():
        raise UsageError(f"{file} is a folder", hint=f"name a file in it: {_HINT}")
    code = language(arguments.lang) if arguments.lang else language_of(file or Path())
    before = given_bytes(file or Path("-"), hint=_HINT)
    text = from_file(before)
    name = str(file) if file else "stdin"
    if not text.strip():
        raise UsageError(f"{name} is empty", hint='to write a program: cgcli gen "..."')
    command = "" if file else "cgcli fill :"
    hole = find_hole(text, line, code, name=name, command=command, extent=arguments.extent)
    if file and arguments.in_place:
        check_writable(file)
    choice = choose_or_pull(run, settings)
    settings = replace(settings, seed=int.from_bytes(os.urandom(4)) if settings.seed is None else settings.seed)
    how = Generation.of(settings, choice.card, code.rules, stops=arguments.stops, candidates=arguments.candidates or 2)
    return _Job(arguments, choice, code, file, before, hole, how)


def _place(place: str) -> tuple[Path | None, int | None]:
    """The file (None: stdin) and the line of `FILE:LINE`; a file of exactly that name comes first.

    A column may follow, as compilers write it, and means nothing.
    """
    found = re.fullmatch(r"(.*?):(\d+)(?::\d+)?:?", place)
    if found is None or os.access(place, os.F_OK):
        return (None if place == "-" else Path(place)), None
    name, line = found[1], int(found[2])
    if line < 1:
        raise UsageError(f"{place} names line {line}, but lines are counted from 1", hint=f"cgcli fill {name}:1")
    return (None if name in ("", "-") else Path(name)), line


def _start(run: Run, settings: Settings, job: _Job) -> RunStart:
    """The beginning of the run's row in the log."""
    from cgcli.program.conditions import conditions
    from cgcli.program.program import Layout
    from cgcli.program.run_log import RunStart

    known = conditions(planned_facts(settings, job.choice, job.how))
    return RunStart(
        folder=str(Path.cwd()),
        command=run.arguments,
        prompts=(job.hole.asked or None,),
        before="",
        prefix="",
        language=job.language.name,
        layout=Layout(job.language.mark),
        comments=True,
        file=str(job.file.resolve()) if job.file and job.arguments.in_place else None,
        how={name: value for name, value in known.items() if name != "window" or value},
    )


def _fill(run: Run, settings: Settings, job: _Job, record: RunRecord) -> None:
    from cgcli.program.infill import CANDIDATES as RERANKED
    from cgcli.program.infill import fill
    from cgcli.program.program import new_program
    from cgcli.program.report import fill_report

    arguments, hole = job.arguments, job.hole
    with loaded_engine(run, settings, job.choice) as engine:
        candidates = arguments.candidates or (1 if engine.infill else RERANKED)
        how = replace(job.how, candidates=candidates)
        beginning = new_program(job.language, settings, job.choice.card).prefix
        filling = fill(engine, hole, how, beginning=beginning, progress=run.output.progress())
        facts: dict[str, object] = {}
        if arguments.json:
            where = str(job.file) if job.file else None
            identity = model_identity(run, job.choice, engine.quant)
            facts = {**identity, "file": where, **fill_report(engine, how, hole, filling)}
        speed = f"{plural(engine.timings.decode_tokens, 'token')} at {engine.timings.tokens_per_s:.0f} tokens/s"
        quant = engine.quant
    if filling.interrupted:
        raise Interrupted
    if arguments.json:
        run.output.json(facts)
    if filling.accepted is None:
        raise CgcliError(
            f"the model returned nothing in {plural(candidates, 'attempt')}",
            hint="try another --seed, a higher temperature (-t 0.8), or a comment that says what goes there",
        )
    record.text = hole.filled(filling.text)
    _write(run, job, filling)
    _report(run, job, filling)
    run.output.note(f"{job.choice.name} {quant}, seed {how.sampling.seed}, {speed}")


def _write(run: Run, job: _Job, filling: Filling) -> None:
    """Put the result where it was asked for. Raises CgcliError if a file cannot be written."""
    from cgcli.core.files import locked, write_atomic
    from cgcli.core.reading import read_if_possible
    from cgcli.program.source import for_file

    arguments, hole, output = job.arguments, job.hole, run.output
    whole = hole.filled(filling.text)
    new = hole.lines(filling.text)
    if arguments.in_place and job.file:
        try:
            with locked(job.file):
                if read_if_possible(job.file) != job.before:
                    hint = f"the new text is {'in the JSON' if arguments.json else 'on stdout'}"
                    raise CgcliError(f"{job.file} changed in the meantime; it was not overwritten", hint=hint)
                write_atomic(job.file, for_file(whole, job.before))
        except CgcliError:
            if not arguments.json:
                output.write(Encoder(job.before)(new))
            raise
    if arguments.json:
        return
    if arguments.whole and not output.stdout_is_terminal:
        output.write(for_file(whole, job.before))
        return
    sink = stdout_sink(output, job.language.name, Encoder(job.before), view=arguments.in_place)
    sink.write(whole if arguments.whole else new)
    sink.close()


def _report(run: Run, job: _Job, filling: Filling) -> None:
    """On stderr: what was written where and why, and what the model did not read."""
    output, hole, count = run.output, job.hole, len(filling.candidates)
    assert filling.accepted is not None
    if job.arguments.in_place:
        first, last = hole.line, hole.line + filling.text.count("\n")
        output.note(f"wrote {f'line {first}' if first == last else f'lines {first} to {last}'} of {job.file}")
    if count > 1:
        why = "the most probable"
        if filling.kind == "reranked":
            why = "most probable with what follows" if hole.extent == "line" else "it makes what follows most probable"
        output.note(f"kept candidate {filling.accepted + 1} of {count}: {why}")
    if filling.kind != "reranked":
        output.detail("the model read the text on both sides of the hole")
    if filling.unread:
        output.note(f"the context window has no room for {plural(filling.unread, 'character')} farthest from the hole")
    if filling.candidates[filling.accepted].finish_reason == "length":
        output.note("cut at the maximum number of tokens (--max-tokens)")

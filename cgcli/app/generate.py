"""What `cgcli gen` does: read the program so far, draw a turn for each prompt, write the new text, report the facts.

`_prepare` makes all checks before the model is loaded. `_write` draws the turns; `generate` reports them after the
engine is closed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.gen_arguments import GenArguments
from cgcli.app.log import RunRecord, last_program, logged
from cgcli.app.model import Opening, Use, model_identity, planned_facts, setup_of
from cgcli.app.offer import choose_or_pull
from cgcli.app.program_so_far import as_read, program_so_far, require_program
from cgcli.app.selection import Selection
from cgcli.app.streams import (
    PROMPT_HINT,
    Encoder,
    FileSink,
    NullSink,
    Sink,
    prompts_of,
    stdout_sink,
)
from cgcli.app.turn_report import FoldNotice, report_turns, require_turns
from cgcli.app.written import foreign_text
from cgcli.core.errors import Interrupted, UsageError
from cgcli.core.reading import read_if_possible
from cgcli.program.source import encode, lines_of
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.hub.choose import Choice
    from cgcli.program.generation import Generation
    from cgcli.program.languages import Language
    from cgcli.program.program import Program, Turn
    from cgcli.program.run_log import RunStart
    from cgcli.program.session import Session
    from cgcli.sandbox.until import Until
    from cgcli.sandbox.verdict import Verdict
    from cgcli.terminal.output import Output


_MOST_KEPT = 1 << 22  # characters of a file that is replaced


@dataclass(frozen=True)
class _Job:
    """A command line that passed all checks, with its input."""

    arguments: GenArguments
    choice: Choice
    opening: Opening | None  # of its engine; None: not yet
    language: Language
    text: str  # the program so far
    prompts: list[str | None]  # None continues the text where it ends
    program: Program
    generation: Generation
    sink: Sink
    facts: FileSink | None  # for the JSON; None prints it
    selection: Selection | None  # None runs nothing
    done: bool = False  # the file is what would be written


@dataclass
class _Written:
    """The result of a job."""

    session: Session | None = None
    turns: list[Turn] = field(default_factory=list)  # those that are done
    until: Until | None = None
    failure: Exception | None = None  # what ended it early

    @property
    def interrupted(self) -> bool:
        return isinstance(self.failure, Interrupted) or any(turn.interrupted for turn in self.turns)


def generate(run: Run, settings: Settings, arguments: GenArguments) -> None:
    """Add a turn for each prompt. Raises CgcliError of every kind; finished turns are kept and reported."""
    if arguments.template:
        from cgcli.core.templates import find_template

        template = find_template(run.environment, arguments.template)
        arguments = replace(arguments, checks=(*template.checks, *arguments.checks))
    with ExitStack() as opened:
        _finish(run, settings, _prepare(run, settings, arguments, opened))


def _finish(run: Run, settings: Settings, job: _Job) -> None:
    arguments = job.arguments
    clipboard = run.output.clipboard() if arguments.copy else None
    if arguments.if_changed:
        job = _without_unchanged(run, settings, job)
    if job.done:
        return
    file = arguments.output
    replaced = foreign_text(run, file) if file else ""
    start = _start(run, settings, job, replaced) if settings.log == "on" and not arguments.no_log else None
    with logged(run, start) as record:
        try:
            _generate(run, settings, job, record)
        finally:
            if file and replaced and not record.unwritten and read_if_possible(file) != encode(replaced):
                lines = plural(len(lines_of(replaced)), "line")
                kept = record.number and start and start.replaced
                back = f", kept in the log: cgcli log use {record.number} --replaced" if kept else ""
                run.output.note(f"replaced {file}: {lines} that cgcli did not write{back}")
            if clipboard and record.text:
                clipboard.copy(job.text * arguments.whole + record.text)
                run.output.note(f"copied to {clipboard.name}")


def _generate(run: Run, settings: Settings, job: _Job, record: RunRecord) -> None:
    arguments, written = job.arguments, _write(run, settings, job, record)
    session, turns, selection = written.session, written.turns, job.selection
    verdict: Verdict | None = None
    record.turns = (session or job).program.turns
    if session and turns:
        ends, known = written.until.ends if written.until else (), len(job.program.turns)
        report_turns(run.output, job.choice, session, turns, ends, known=known)
        if selection and not written.interrupted:
            if arguments.run or arguments.checks:
                verdict = selection.run(session.program)
            elif written.until:
                verdict = written.until.verdict
                selection.report_uncalled(session.program, verdict)
            else:
                selection.report_uncalled(session.program, selection.kept)
            record.verdict = str(verdict or selection.kept or "")
        if arguments.json:
            with record.storing():
                _print_json(run, job, session, turns, verdict)
    if written.failure:
        raise written.failure
    if settings.warm != "off":
        from cgcli.app.serve import warm_up

        warm_up(run, settings, job.choice)
    require_turns(turns)
    if selection and session and verdict:
        selection.require_passed(verdict, session.program, arguments, known=len(job.program.turns))


def _prepare(run: Run, settings: Settings, arguments: GenArguments, opened: ExitStack) -> _Job:
    """Check the command line and read the program so far. The model loads from when it is clear that it is needed."""
    from shlex import quote

    from cgcli.program.languages import language, language_of, looks_like_code

    arguments.check()
    require_program(arguments)
    file = arguments.into or arguments.output
    last = last_program(run) if arguments.go_on else None
    wanted = arguments.lang or (last.language if last and not file else None)
    code = language(wanted) if wanted else language_of(file or Path())
    prompts: list[str | None] = [*prompts_of(arguments.prompts, arguments.files, raw=arguments.raw)]
    choice = choose_or_pull(run, settings)
    before = program_so_far(run.output, arguments, last)
    text = as_read(arguments, before)
    if not prompts and not (text or arguments.start):
        raise UsageError("no prompt", hint=PROMPT_HINT)
    if text and arguments.prefix:
        raise UsageError("--prefix starts a new program, but there is one to add to", hint="leave --prefix out")
    if arguments.start and len(prompts) > 1:
        raise UsageError(f"--start is for a single prompt, not for {len(prompts)}", hint="give the others afterwards")
    opening = None if arguments.if_changed else opened.enter_context(closing(Opening(run, settings, choice)))
    if code.name == "python" and not arguments.raw:
        for prompt in filter(looks_like_code, filter(None, prompts)):
            begin = f"to begin with it: --start {quote(prompt)}"
            run.output.note(f"the prompt looks like code, and becomes a comment; {begin}")
    selection = None
    if arguments.needs_to_run or arguments.picks:
        selection = Selection.of(
            run.output,
            code.name,
            arguments.checks,
            policy=arguments.policy,
            needed=arguments.needs_to_run,
            file=file or Path("FILE.py"),
        )
    facts = None
    if arguments.json and arguments.output:
        facts = FileSink(arguments.output, NullSink(), run.output, Encoder())
    return _Job(
        arguments,
        choice,
        opening,
        code,
        text,
        prompts or [None],
        _program(arguments, settings, choice, code, text),
        _generation(arguments, settings, choice, code),
        _sink(run.output, arguments, code, before),
        facts,
        selection,
    )


def _without_unchanged(run: Run, settings: Settings, job: _Job) -> _Job:
    """The job without the prompts whose turns the file has already. Raises CgcliError if the file was changed."""
    from cgcli.app.unchanged import unchanged

    file = job.arguments.output
    assert file  # checked
    found = unchanged(
        run,
        file,
        job.program,
        job.prompts,
        planned_facts(settings, job.choice, job.generation),
        any_seed=settings.seed is None,
        comments=not job.arguments.no_comment,
        start=job.arguments.start,
    )
    if found.whole:
        os.utime(file)  # for make
    how = job.generation
    if found.seed is not None:
        how = replace(how, sampling=replace(how.sampling, seed=found.seed))
    program, prompts = replace(job.program, turns=found.turns), job.prompts[len(found.turns) :]
    return replace(job, program=program, prompts=prompts, generation=how, done=found.whole)


def _start(run: Run, settings: Settings, job: _Job, replaced: str) -> RunStart:
    """The beginning of the run's row in the log. replaced: what is in the file, if cgcli did not write it."""
    from cgcli.program.conditions import conditions
    from cgcli.program.run_log import RunStart

    file = job.arguments.into or job.arguments.output
    known = conditions(planned_facts(settings, job.choice, job.generation))
    return RunStart(
        folder=str(Path.cwd()),
        command=run.arguments,
        prompts=(*(turn.prompt for turn in job.program.turns), *job.prompts),
        before=job.text,
        prefix=job.program.prefix,
        language=job.language.name,
        layout=job.program.layout,
        comments=not job.arguments.no_comment,
        file=str(file.resolve()) if file else None,
        how={name: value for name, value in known.items() if name != "window" or value},
        replaced=replaced if len(replaced) <= _MOST_KEPT else "",
    )


def _write(run: Run, settings: Settings, job: _Job, record: RunRecord) -> _Written:
    """Load the model and draw the turns. An error ends it, and is part of the result."""
    from cgcli.program.grow import grow
    from cgcli.program.session import Session

    arguments, choice = job.arguments, job.choice
    beginning = job.program.source(comments=not arguments.no_comment)
    prefer = partial(job.selection.prefer, arguments.rule) if job.selection and arguments.picks else None
    written = _Written(turns=list(job.program.turns))
    try:
        if not job.prompts:  # those that are gone were the last
            record.text = beginning
            job.sink.write(beginning)
            _end(run, job, job.program, record)
            return written
        from cgcli.app.draft_texts import draft_texts

        texts = draft_texts(run, settings, arguments.into)
        opening = job.opening or Opening(run, settings, choice)
        with opening.engine(Use(texts=texts)) as engine:
            session = written.session = Session(
                engine,
                job.program,
                job.generation,
                model=choice.name,
                language=job.language.name,
                fold=settings.fold == "on",
                prefer=prefer,
                progress=run.output.progress(),
            )
            session.setup = setup_of(settings, choice, engine)
            session.reserve(job.prompts)
            if others := session.generation.others:
                count = session.generation.candidates
                which = {2: "candidate 2 uses", 3: "candidates 2 and 3 use"}.get(count, f"candidates 2 to {count} use")
                run.output.note(f"{which} temperature {others:g}; -t sets one temperature for all")
            session.start = arguments.start
            until = written.until = _until(run.output, job, session)
            due = "" if job.text and not arguments.whole else beginning
            notice = FoldNotice(run.output)
            pieces = grow(
                session,
                job.prompts,
                written.turns,
                head=due,
                comments=not arguments.no_comment,
                on_plan=notice,
                draw=until.draw if until else None,
                preview=job.sink.preview,
            )
            try:
                for piece in pieces:
                    record.text += piece[len(due) if job.text else 0 :]
                    due = ""
                    job.sink.write(piece)
            finally:
                if job.text and due:
                    job.sink.write(due)  # print the program so far in any case: the reader may write it back
                _end(run, job, session.program, record)
            written.failure = until.failure if until else None
    except Exception as failure:
        written.failure = failure
    return written


def _end(run: Run, job: _Job, program: Program, record: RunRecord) -> None:
    """Write the stamp, and close the sink. Raises CgcliError if the text cannot be stored."""
    if job.arguments.stamp:
        from cgcli.program.recorded import Recorded
        from cgcli.program.stamp import stamp

        written = Recorded(program, job.language.name, job.text, not job.arguments.no_comment, "")
        if program.turns and written.text == job.text + record.text:
            job.sink.write(stamp(written))
        else:
            run.output.note("no stamp: nothing was written")
    with record.storing():
        job.sink.close()


def _until(output: Output, job: _Job, session: Session) -> Until | None:
    arguments, selection = job.arguments, job.selection
    if not (arguments.until and selection):
        return None
    from cgcli.sandbox.until import Patience, Until

    def say(words: str) -> None:
        output.note(words)
        job.sink.settle()

    patience = Patience()
    return Until(
        session,
        selection.verdict_on,
        selection.policy,
        replace(patience, tries=arguments.tries or patience.tries, seconds=arguments.try_time or patience.seconds),
        checks=arguments.checks if arguments.until == "checks" else (),
        checked_turns=len(job.program.turns) + len(job.prompts),
        say=say,
    )


def _program(arguments: GenArguments, settings: Settings, choice: Choice, code: Language, text: str) -> Program:
    from cgcli.program.program import RAW, Layout, Program, new_program

    if arguments.raw:
        return Program(text or settings.prefix or "", layout=RAW)
    return Program(text, layout=Layout(code.mark)) if text else new_program(code, settings, choice.card)


def _generation(arguments: GenArguments, settings: Settings, choice: Choice, code: Language) -> Generation:
    from cgcli.program.generation import Generation
    from cgcli.program.truncate import NONE

    settings = replace(settings, seed=int.from_bytes(os.urandom(4)) if settings.seed is None else settings.seed)
    card, rules, redraws = (None, NONE, 0) if arguments.raw else (choice.card, code.rules, 3)
    return Generation.of(settings, card, rules, stops=arguments.stops, candidates=arguments.candidates, redraws=redraws)


def _sink(output: Output, arguments: GenArguments, code: Language, before: bytes) -> Sink:
    """before: the program so far, byte for byte."""
    encoder = Encoder() if arguments.raw else Encoder(before, begins=arguments.whole)
    if arguments.into:
        view = NullSink() if arguments.json else stdout_sink(output, code.name, view=True)
        return FileSink(arguments.into, view, output, encoder, before=before, json=arguments.json)
    if arguments.json:
        return NullSink()
    if arguments.output:
        return FileSink(arguments.output, stdout_sink(output, code.name, view=True), output, encoder)
    return stdout_sink(output, code.name, encoder)


def _print_json(run: Run, job: _Job, session: Session, turns: list[Turn], verdict: Verdict | None) -> None:
    from cgcli.program.report import report
    from cgcli.terminal.text import json_text

    identity = model_identity(run, job.choice, session.engine.quant)
    ran = None
    if verdict:
        ran = {"outcome": verdict.outcome, "detail": verdict.detail, "seconds": round(verdict.wall_s, 4)}
    facts = {**identity, **report(session.engine, session.generation, turns), "run": ran}
    if job.facts:
        job.facts.write(json_text(facts) + "\n")
        job.facts.close()
    else:
        run.output.json(facts)

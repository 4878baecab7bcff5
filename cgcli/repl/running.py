"""Runs the program in the sandbox for `/run` and `/auto`: shows its output, and keeps the verdict in the journal."""

from __future__ import annotations

import codecs
import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from cgcli.core.errors import Interrupted, ProgramFailed, SandboxError, UsageError
from cgcli.program.history import Run
from cgcli.program.languages import never_called
from cgcli.program.program import Program
from cgcli.program.source import digest, encode
from cgcli.repl.state import Repl
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.repl.reader import Lent
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.verdict import Verdict
    from cgcli.sandbox.watch import Listener, Stream

_LONG_S = 1.0
_SHOWN_LINES = 30
_SHOWN_ERROR_LINES = 10
_SHOWN_RISKS = 5
_KEPT = 4000  # characters of each stream that a journal keeps


def run_program(repl: Repl, arguments: Sequence[str]) -> None:
    """Run the program and show its output. Raises ProgramFailed, SandboxError, Interrupted, UsageError."""
    screen = repl.ui.screen
    if repl.history.run_of(repl.program) is None or digest(repl.program.source()) in repl.unseen:
        _report_risks(repl, encode(repl.program.source()))
        repl.unseen.discard(digest(repl.program.source()))
    output = _LiveOutput(repl)
    policy = replace(repl.options.policy, names=True)
    with repl.ui.reader.lent() as lent, output.waited_for() if lent else nullcontext():
        verdict = execute(repl, repl.program, arguments, output, lent, policy)
    output.finish(verdict)
    repl.variables = digest(repl.program.source()), verdict.variables
    if verdict.outcome == "interrupted":
        if lent:
            screen.typed("^C")
        raise Interrupted(f"stopped the program after {verdict.wall_s:.2f} s")
    if not verdict.passed:
        raise ProgramFailed(f"{verdict}, after {verdict.wall_s:.2f} s", hint=_next_step(repl, verdict))
    screen.say(f"ran in {verdict.wall_s:.2f} s{', printed nothing' * verdict.silent}", "green")
    if warning := never_called(repl.program.source()):
        screen.note(warning)


def execute_unseen(repl: Repl, program: Program, policy: Policy) -> Verdict:
    """Run a candidate that the user has not seen yet; `run_program` still reports its risks. Raises as `execute`."""
    if repl.history.run_of(program) is None:
        repl.unseen.add(digest(program.source()))
    return execute(repl, program, (), policy=policy)


def execute(
    repl: Repl,
    program: Program,
    arguments: Sequence[str],
    listener: Listener | None = None,
    lent: Lent | None = None,
    policy: Policy | None = None,
) -> Verdict:
    """Run a program and record the verdict in the journal. Raises SandboxError, UsageError.

    listener: called with what the program prints. lent: keyboard input for the program, which then has no time limit.
    policy: other limits than the usual ones.
    """
    if repl.language.name != "python":
        raise UsageError(f"only Python programs can be run, not {repl.language.name}", hint="/save writes it to a file")
    from cgcli.native.interrupt import Interrupt
    from cgcli.sandbox.run import run as run_sandboxed

    text = program.source()
    policy = policy or repl.options.policy
    try:
        verdict = run_sandboxed(
            encode(text),
            arguments=tuple(arguments),
            policy=replace(policy, wall_s=math.inf) if lent else policy,
            interrupted=lambda: Interrupt().requested,
            stdin=lent.descriptor if lent else None,
            listener=listener,
        )
    except SandboxError as error:
        hint = "`cgcli doctor` shows what is missing; /set unsafe on runs programs without a sandbox"
        raise SandboxError(error.message, hint=hint) from error
    if lent:
        lent.unread = verdict.unread
    output, errors = (stream.decode("utf-8", "replace")[-_KEPT:] for stream in (verdict.stdout, verdict.stderr))
    repl.do(Run(digest(text), str(verdict), verdict.passed, verdict.wall_s, output, errors, tuple(arguments)))
    return verdict


def _report_risks(repl: Repl, source: bytes) -> None:
    """Warn of risky calls before a program runs for the first time."""
    from cgcli.sandbox.risks import risks

    found = risks(source)
    for risk in found[:_SHOWN_RISKS]:
        repl.ui.screen.note(f"line {risk.line}: {risk.what}")
    if len(found) > _SHOWN_RISKS:
        repl.ui.screen.note(f"… {plural(len(found) - _SHOWN_RISKS, 'more line')} like these")


class _LiveOutput:
    """Shows what a program prints while it runs: the first lines, again after each line of input; stderr's end."""

    def __init__(self, repl: Repl) -> None:
        self._screen = repl.ui.screen
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._room = _SHOWN_LINES
        self._hidden = 0  # lines that were not shown
        self._in_line = False
        self._seen = False  # whether it has written something

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Say once that the program runs, if it takes long and has not written anything."""
        timer = threading.Timer(_LONG_S, self._say_that_it_runs)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _say_that_it_runs(self) -> None:
        if not self._seen:
            self._screen.note("still running; what you type is its input, Ctrl-C stops it")

    def __call__(self, stream: Stream | Literal["stdin"], chunk: bytes) -> None:
        self._seen = True
        if stream == "stdin":
            self._screen.typed(chunk.decode("utf-8", "replace"))
            self._room = _SHOWN_LINES
        elif stream == "stdout":
            self._add(self._decoder.decode(chunk))

    def finish(self, verdict: Verdict) -> None:
        self._add(self._decoder.decode(b"", final=True))
        if self._hidden:
            self._screen.note(f"… {plural(self._hidden, 'more line')}")
        for line in verdict.stderr.decode("utf-8", "replace").splitlines()[-_SHOWN_ERROR_LINES:]:
            self._screen.say(line, "dim")

    def _add(self, text: str) -> None:
        for part in re.findall(r"[^\n]*\n|[^\n]+", text):
            if self._room:
                self._screen.part(part)
            elif not self._in_line:
                self._hidden += 1
            self._in_line = not part.endswith("\n")
            self._room = max(0, self._room - (not self._in_line))


def _next_step(repl: Repl, verdict: Verdict) -> str:
    """A hint for a failure: how to open the sandbox if it was in the way, else which turn to draw again.

    That is the turn whose line failed; no turn where no line is known, as of a program that was killed. After a syntax
    error it is the first turn with which the program no longer parses, whatever line Python names.
    """
    from cgcli.sandbox.hint import sandbox_hint

    broken = repl.broken_turn
    if broken is not None:
        return f"try /retry {broken + 1} or /code {broken + 1}"
    text = repl.program.source()
    file = repl.known_file.path if repl.known_file else "FILE.py"
    hint = sandbox_hint(
        verdict,
        repl.options.policy,
        encode(text),
        command=f"/save {file}, then cgcli run {{}} {file}",
        opening=lambda options: re.sub("(^| or )--", r"\1/set ", options),
    )
    if hint:
        return hint
    number = len(repl.program.turns)
    if not (verdict.line and number):
        return "/show all shows the program"
    spans = enumerate(repl.program.spans(), 1)
    number = next((turn for turn, span in spans if text.count("\n", 0, span.end) >= verdict.line), number)
    return f"try /retry {number} or /code {number}"

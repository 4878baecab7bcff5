"""What `cgcli run` does: run a program in the sandbox, relay its output and report the verdict."""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cgcli.app.streams import given_bytes
from cgcli.core.errors import Interrupted, ProgramFailed, UsageError
from cgcli.core.units import parse_bytes, parse_seconds
from cgcli.sandbox.hint import sandbox_hint
from cgcli.sandbox.opened import check_paths, escaping_links
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.risks import risks
from cgcli.sandbox.run import run
from cgcli.terminal.text import visible

if TYPE_CHECKING:
    from cgcli.sandbox.watch import Stream
    from cgcli.terminal.output import Output

_LEAST_MEMORY = 64 * 10**6
_WALL = 5  # wall-clock seconds allowed per second of processor time


@dataclass(frozen=True)
class RunArguments:
    """The command line of `run`."""

    file: Path
    arguments: tuple[str, ...] = ()  # of the program
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    allow_net: bool = False
    time: str | None = None  # of the processor, see `parse_seconds`
    memory: str | None = None  # see `parse_bytes`
    unsafe: bool = False

    @property
    def policy(self) -> Policy:
        """Raises UsageError for paths that cannot be opened, and for limits that are too low."""
        check_paths((*self.read, *self.write))
        cpu_s = Policy.cpu_s if self.time is None else parse_seconds(self.time, "--time")
        if not cpu_s > 0:
            raise UsageError(f"--time must be positive, not {self.time}", hint="give a time, such as --time 10s")
        memory = Policy.memory_bytes if self.memory is None else parse_bytes(self.memory, "--memory")
        if memory < _LEAST_MEMORY:
            raise UsageError(
                f"--memory must be 64MB or more, not {self.memory}", hint="give more, such as --memory 512MB"
            )
        return Policy(
            unsafe=self.unsafe,
            cpu_s=cpu_s,
            wall_s=_WALL * cpu_s,
            memory_bytes=memory,
            network=self.allow_net,
            read=self.read,
            write=self.write,
        )


def run_file(output: Output, arguments: RunArguments) -> None:
    """Run the program. Raises ProgramFailed if it fails, SandboxError if no sandbox works, UsageError, Interrupted."""
    policy = arguments.policy
    source = given_bytes(arguments.file, hint="give an existing file, or - for stdin: cgcli run FILE.py")
    from_stdin = str(arguments.file) == "-"
    name = "program.py" if from_stdin else str(arguments.file) if policy.unsafe else arguments.file.name
    found = risks(source)
    for risk in found:
        output.note(f"{name}, line {risk.line}: {risk.what}")
    before = escaping_links(policy.write, policy.read)
    try:
        verdict = run(
            source,
            arguments=arguments.arguments,
            policy=policy,
            name=name,
            stdin=None if from_stdin or sys.stdin is None else sys.stdin.fileno(),
            listener=_RelayedOutput(output),
        )
    except KeyboardInterrupt:
        raise Interrupted from None  # Typer would exit without a message
    finally:
        for link, target in sorted(escaping_links(policy.write, policy.read).items() - before.items()):
            output.note(f"{visible(link)} links to {visible(target)}, outside the opened folders")
    output.detail(f"{verdict}, {verdict.wall_s:.2f} s, {verdict.cpu_s:.2f} s of processor time")
    left_early = verdict.outcome == "exit" and verdict.status == 0  # not a failure here
    if not (verdict.passed or left_early):
        hint = sandbox_hint(verdict, policy, source)
        raise ProgramFailed(f"{name}: {verdict}", hint=hint)
    if not (policy.unsafe or policy.write) and any(risk.what.startswith("writes files") for risk in found):
        output.note("files that the program wrote were deleted with the sandbox; keep them with --write PATH")


class _RelayedOutput:
    """Relays the program's output, with control characters escaped on a terminal."""

    def __init__(self, output: Output) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._output = output
        self._decoders = {"stdout": decoder("surrogateescape"), "stderr": decoder("surrogateescape")}

    def __call__(self, stream: Stream | Literal["stdin"], chunk: bytes) -> None:
        if stream == "stdin":
            return
        output = self._output
        if stream == "stdout" and not output.stdout_is_terminal:
            output.write(chunk)
            return
        text = self._decoders[stream].decode(chunk)
        if stream == "stdout" or output.stderr_is_terminal:
            text = "\n".join(map(visible, text.split("\n")))
        if stream == "stdout":
            output.write(text.encode())
        else:
            output.stderr.write(text)
            output.stderr.flush()

"""`cgcli run`: runs a program in the sandbox, relays its output and reports the verdict."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cgcli.cli.command import run_of

if TYPE_CHECKING:
    from cgcli.sandbox.watch import Stream
    from cgcli.terminal.output import Output

_WALL = 5  # wall-clock seconds allowed per second of processor time


def run(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Python program; - reads it from stdin.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]", help="Arguments for the program, including options.")
    ] = None,
    read: Annotated[
        list[Path] | None, typer.Option("--read", metavar="PATH", help="Let it read a file or folder; repeatable.")
    ] = None,
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", metavar="PATH", help="Let it change a file or folder; repeatable."),
    ] = None,
    allow_net: Annotated[bool, typer.Option("--allow-net", help="Let it use the network.")] = False,
    time: Annotated[
        float | None,
        typer.Option(
            "--time",
            metavar="SECONDS",
            show_default="20",
            help="Processor time limit; elapsed time may be five times that.",
        ),
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--memory", metavar="MB", min=64, show_default="2147", help="Memory limit.")
    ] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Run it without a sandbox.")] = False,
) -> None:
    """Run a program in a sandbox: no network, no access to your files, limits on time and memory.

    Put options before FILE; everything after FILE goes to the program.
    The program sees a relative PATH under the same relative name.
    Output is limited to 16 MB.

    [dim]cgcli run prog.py
    cgcli run --read data.csv prog.py data.csv[/dim]
    """
    import sys

    from cgcli.app.streams import given_bytes
    from cgcli.core.errors import Interrupted, ProgramFailed, UsageError
    from cgcli.sandbox.hint import sandbox_hint
    from cgcli.sandbox.opened import check_path, escaping_links
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.risks import risks
    from cgcli.sandbox.run import run as run_program
    from cgcli.terminal.text import visible

    output = run_of(ctx).output
    for path in (*(read or ()), *(write or ())):
        check_path(path)
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}", hint="--read and --write need an existing path")
    cpu_s = Policy.cpu_s if time is None else time
    if not cpu_s > 0:
        raise UsageError(f"--time must be positive, not {cpu_s:g}", hint="--time SECONDS")
    policy = Policy(
        unsafe=unsafe,
        cpu_s=cpu_s,
        wall_s=_WALL * cpu_s,
        memory_bytes=Policy.memory_bytes if memory is None else memory * 10**6,
        network=allow_net,
        read=tuple(read or ()),
        write=tuple(write or ()),
    )
    source = given_bytes(file, hint="cgcli run FILE.py, or - for stdin")
    from_stdin = str(file) == "-"
    name = "program.py" if from_stdin else str(file) if unsafe else file.name
    found = risks(source)
    for risk in found:
        output.note(f"{name}, line {risk.line}: {risk.what}")
    before = escaping_links(policy.write, policy.read)
    try:
        verdict = run_program(
            source,
            arguments=arguments or (),
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
    if not (unsafe or write) and any(risk.what.startswith("writes files") for risk in found):
        output.note("files that the program wrote were deleted with the sandbox; keep them with --write PATH")


class _RelayedOutput:
    """Relays the program's output, with control characters escaped on a terminal."""

    def __init__(self, output: Output) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._output = output
        self._decoders = {"stdout": decoder("surrogateescape"), "stderr": decoder("surrogateescape")}

    def __call__(self, stream: Stream | Literal["stdin"], chunk: bytes) -> None:
        from cgcli.terminal.text import visible

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

"""`cgcli run`: a program in the sandbox, its output as it comes, and the verdict."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cgcli.cli.context import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgcli.core.output import Output
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.verdict import Verdict
    from cgcli.sandbox.watch import Stream

_WALL = 5
"""Seconds on the clock for each of processor time."""
_PATH = re.compile(r"\] [\w -]+: '")
"""In the words of an OSError that names a file."""
_UNREACHED = re.compile(r"^PermissionError: \[Errno 1\] [\w ]+(, line|$)|urlopen error|name resolution|\[Errno 101\]")
"""In the words of what meets no network: a socket not made, a name not found, a network not there."""


def run(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Python program; - is stdin.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]", help="Its arguments, options among them.")
    ] = None,
    read: Annotated[
        list[Path] | None, typer.Option("--read", metavar="PATH", help="Let it read a file or a folder (repeatable).")
    ] = None,
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", metavar="PATH", help="Let it change a file or a folder (repeatable)."),
    ] = None,
    allow_net: Annotated[bool, typer.Option("--allow-net", help="Let it use the network.")] = False,
    time: Annotated[
        float | None,
        typer.Option(
            "--time", metavar="SECONDS", show_default="20", help="Processor time; on the clock five times that."
        ),
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--memory", metavar="MB", min=64, show_default="2147", help="Memory.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run it on this machine as it is, without a sandbox.")
    ] = False,
) -> None:
    """Run a program in a sandbox: no network, none of your files, limits on time and memory.

    Options stand before FILE; what follows it is the program's. A relative PATH keeps its place beside the program.
    It may print 16 MB.

    [dim]cgcli run prog.py
    cgcli run --read data.csv prog.py data.csv[/dim]
    """
    import sys

    from cgcli.cli.sources import given_bytes
    from cgcli.core.errors import Interrupted, UsageError
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.risks import risks
    from cgcli.sandbox.run import run as run_program

    output = Run.of(ctx).output
    for path in (*(read or ()), *(write or ())):
        if not path.exists():
            raise UsageError(f"there is no {path}", hint="--read and --write open what is there")
    cpu_s = Policy.cpu_s if time is None else time
    if not cpu_s > 0:
        raise UsageError(f"--time is {cpu_s:g}: a program needs more", hint="--time SECONDS")
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
    try:
        verdict = run_program(
            source,
            arguments=arguments or (),
            policy=policy,
            name=name,
            stdin=None if from_stdin or sys.stdin is None else sys.stdin.fileno(),
            listener=_Shown(output),
        )
    except KeyboardInterrupt:
        raise Interrupted from None  # Typer would say nothing
    output.detail(f"{verdict.outcome}, {verdict.seconds:.2f} s, {verdict.cpu_s:.2f} s of processor time")
    if not verdict.passed:
        raise _failure(name, verdict, policy, risks=[risk.what for risk in found])
    if not (unsafe or write) and any(risk.what.startswith("writes files") for risk in found):
        output.note("what it wrote went with the sandbox; --write PATH lets it change a file or a folder of yours")


def _failure(name: str, verdict: Verdict, policy: Policy, *, risks: Sequence[str]) -> Exception:
    """risks: what the program's text shows that it does."""
    from cgcli.core.errors import ProgramFailed

    reaches_out = not policy.network and any(what.startswith("uses the network") for what in risks)
    if verdict.outcome in {"denied", "exception"} and reaches_out and _UNREACHED.search(verdict.detail):
        return ProgramFailed(f"{name}: {verdict}", hint="the sandbox has no network; open it with --allow-net")
    hints = {
        "FileNotFoundError": "the sandbox shows it no files of yours; open some with --read PATH, or --write PATH",
        "ModuleNotFoundError": "the sandbox has the standard library, numpy and pandas",
        "denied": (
            "run by root it is another user: chmod what it needs, or be no root"
            if (policy.read or policy.write) and os.geteuid() == 0
            else "open what it needs with --read PATH or --write PATH"
            if _PATH.search(verdict.detail)
            else "open what it needs with --read PATH, --write PATH, --allow-net"
        ),
        "cpu time": "more with --time SECONDS",
        "wall time": "more with --time SECONDS",
        "memory": "more with --memory MB",
    }
    hint = next(
        (hint for key, hint in hints.items() if key in (verdict.outcome, verdict.detail.partition(":")[0])), None
    )
    return ProgramFailed(f"{name}: {verdict}", hint=hint)


class _Shown:
    """Hands on what the program writes; to a terminal with control characters spelt out."""

    def __init__(self, output: Output) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._output = output
        self._decoders = {"stdout": decoder("surrogateescape"), "stderr": decoder("surrogateescape")}

    def __call__(self, stream: Stream | Literal["stdin"], chunk: bytes) -> None:
        from cgcli.core.visible import visible

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

"""Runs a generated program, in a sandbox or with `unsafe` on the host, and judges how it went.

A program passes if it reaches its end: it runs past its last line, or calls `sys.exit()` with 0 or no argument. One
that ends by `os._exit`, by a signal, by becoming another program or with another status does not. Times and the exit
status are observed from outside. The program's own interpreter reports whether it reached the end, its exception and
the checks that passed: a dishonest program can forge these.

Without a working sandbox the program does not run; it never falls back to the host.
"""

from __future__ import annotations

import errno
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cgcli.core.errors import SandboxError
from cgcli.sandbox.bubblewrap import in_sandbox
from cgcli.sandbox.interpreter import starter_command
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Outcome, Variable, Verdict
from cgcli.sandbox.watch import Execution, Launch, Listener, watch
from cgcli.terminal.text import visible

_DETAIL_WIDTH = 200  # characters
_DENIED = {errno.EPERM, errno.EACCES, errno.EROFS, errno.ESOCKTNOSUPPORT}
_DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_SHELL_SIGNAL = 128  # the sandbox reports a signal as shells do: 128 plus its number


def never() -> bool:
    return False


def run(
    source: bytes,
    *,
    arguments: Sequence[str] = (),
    checks: Sequence[str] = (),
    policy: Policy,
    interrupted: Callable[[], bool] = never,
    name: str = "program.py",
    stdin: int | None = None,
    listener: Listener | None = None,
) -> Verdict:
    """Run a Python program to its end or to a limit of `policy`; no process of it survives.

    All of `checks`, expressions in the program's own namespace, are evaluated at its end. The run stops once
    `interrupted` returns true; it is called every few hundredths of a second. `name` appears in tracebacks and
    sys.argv. `stdin` is a descriptor to read input from; None means no input. `listener` gets the output as it comes.

    Raises SandboxError if no sandbox works and `policy` is not unsafe.
    """
    prepare = _on_host if policy.unsafe else in_sandbox
    with prepare(source, name, arguments, policy, checks) as launch:
        execution = watch(launch, policy, stdin=stdin, interrupted=interrupted, listener=listener)
    if not execution.began and execution.stopped != "interrupted":
        raise _not_started(launch, execution)
    return judge(execution, policy, checks)


@contextmanager
def _on_host(
    source: bytes, name: str, arguments: Sequence[str], policy: Policy, checks: Sequence[str] = ()
) -> Iterator[Launch]:
    """Prepare a run without a sandbox, in the interpreter that runs cgcli, with all its packages.

    The program may do whatever the user may. The limits only stop an honest program from filling the memory or running
    forever.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        file.write(source)
        file.seek(0)
        path = f"/dev/fd/{file.fileno()}"
        report = theirs.fileno()
        command = starter_command(
            Path(sys.executable), path, name, arguments, policy, checks, report=report, sandbox=False
        )
        yield Launch(command, ours, (report, file.fileno()), isolated=False)


def _not_started(launch: Launch, execution: Execution) -> SandboxError:
    late = f" within {execution.wall_s:.1f} s" if execution.stopped else ""
    words = visible(" ".join(bytes(execution.output["stderr"]).decode("utf-8", "replace").split()[-40:]))
    hint = "enable unprivileged user namespaces, which bubblewrap needs, or run without a sandbox: --unsafe"
    if late:
        hint = "the machine is busy; try again later"
    return SandboxError(f"{launch.command[0]} did not start the program{late}: {words}".removesuffix(": "), hint=hint)


# --- judging


@dataclass
class _StarterReport:
    """What the starter reported about the program's end (see starter.py)."""

    error: tuple[str, ...] = ()  # class, errno and message of the exception that ended the program
    place: tuple[int, int] = (0, 0)  # its innermost and its outermost line in the program's text; 0 if unknown
    end: str = ""  # how it reached its end, "end" or "exit"; "" if it did not
    checks: dict[int, str] = field(default_factory=dict)  # by index: why the check failed, "" if it passed
    variables: list[Variable] = field(default_factory=list)

    @classmethod
    def parse(cls, report: bytes) -> _StarterReport:
        parsed = cls()
        for line in report.decode("utf-8", "replace").split("\n"):
            match line.split("\0"):
                case ["error", *words] if len(words) == 3:
                    parsed.error = tuple(words)
                case ["at", *lines] if len(lines) == 2:
                    parsed.place = (_number(lines[0]), _number(lines[1]))
                case ["end" | "exit" as how]:
                    parsed.end = how
                case ["check", number, why] if number[:9].isdecimal() and number.isascii():
                    parsed.checks[int(number[:9])] = why
                case ["name", name, kind, value]:
                    parsed.variables.append(Variable(visible(name), visible(kind), visible(value)))
        return parsed


def _number(word: str) -> int:
    """The number that a report contains, which the program may have forged; 0 for anything else."""
    return int(word[:9]) if word[:9].isdecimal() and word.isascii() else 0


def judge(execution: Execution, policy: Policy, checks: Sequence[str] = ()) -> Verdict:
    """The verdict on a program that began, and whose `checks` were evaluated at its end."""
    report = _StarterReport.parse(bytes(execution.report))
    outcome, detail = _judged(execution, report, policy, checks)
    return Verdict(
        outcome,
        detail,
        bytes(execution.output["stdout"]),
        bytes(execution.output["stderr"]),
        execution.wall_s,
        execution.cpu_s,
        execution.unread,
        execution.status,
        report.end == "exit",
        sum(report.checks.get(number) == "" for number in range(len(checks))),
        *report.place,
        tuple(report.variables),
    )


def _judged(execution: Execution, report: _StarterReport, policy: Policy, checks: Sequence[str]) -> tuple[Outcome, str]:
    limits: dict[Outcome, str] = {
        "cpu time": f"more than {policy.cpu_s:g} s of processor time",
        "wall time": f"took more than {policy.wall_s:g} s",
        "memory": f"more than {policy.memory_bytes / 1e6:.0f} MB",
        "output limit": f"more than {policy.output_bytes / 1e6:g} MB written",
    }
    if execution.cpu_s > policy.cpu_s and execution.stopped in {None, "wall time"}:
        return "cpu time", limits["cpu time"]
    if execution.stopped:
        return execution.stopped, limits.get(execution.stopped, "")
    if report.error:
        return _exception(*report.error, line=report.place[0], policy=policy)
    if reached_end(execution, report):
        return _checked(report, checks)
    early = " before the checks" if checks and not report.end else ""
    number = -execution.status if execution.status < 0 else execution.status - _SHELL_SIGNAL
    if number == signal.SIGSYS and not policy.unsafe:
        return "denied", "system call of another architecture"
    if number == signal.SIGXCPU:  # the kernel's own limit, see interpreter.py
        return "cpu time", limits["cpu time"]
    if number in set(signal.Signals):
        return "crash", signal.Signals(number).name + early
    if execution.status == 0 and not early:
        early = " before the last line"
    return "exit", f"status {execution.status}{early}"


def reached_end(execution: Execution, report: _StarterReport) -> bool:
    """Whether a program without an error or a limit reached its own end. Every verdict rests on this."""
    return execution.status == 0 and bool(report.end)


def _checked(report: _StarterReport, checks: Sequence[str]) -> tuple[Outcome, str]:
    """Outcome and detail of a program that reached its end."""
    results = [(check, report.checks.get(number)) for number, check in enumerate(checks)]
    failed = [(check, why) for check, why in results if why != ""]
    if not failed:
        return "passed", ""
    check, why = failed[0]
    if why is None:
        why = "it ended the program"
    passed = f"{len(checks) - len(failed)} of {len(checks)} checks passed; " if len(checks) > 1 else ""
    return "check", f"{passed}{_clipped(f'check {check} failed')}{'' if why == 'not true' else f': {_clipped(why)}'}"


def _clipped(text: str) -> str:
    words = visible(" ".join(text.splitlines()))
    return words if len(words) <= _DETAIL_WIDTH else words[: _DETAIL_WIDTH - 1] + "…"


def _exception(kind: str, number: str, message: str, *, line: int, policy: Policy) -> tuple[Outcome, str]:
    first = next(iter(message.splitlines()), "")
    words = _clipped(f"{kind}: {first}" if first else kind)
    if line:
        words += f", line {line}"
    return _exception_outcome(kind, _number(number), first, policy), words


def _exception_outcome(kind: str, number: int, message: str, policy: Policy) -> Outcome:
    if kind == "MemoryError" or number == errno.ENOMEM:
        return "memory"
    if number in _DISK:
        return "output limit"
    if (kind == "BlockingIOError" and number == errno.EAGAIN) or message == "can't start new thread":
        return "processes"
    if number in _DENIED and not policy.unsafe:
        return "denied"
    return "exception"

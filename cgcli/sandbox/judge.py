"""From how a program ran to a verdict: whether it reached its end, which checks held there, and else why not.

A program passes where it reached its end: it came behind its last line, or left by `sys.exit()` with 0 or nothing. One
that ends by `os._exit`, by a signal, by becoming another program, or with another status has not. The clock, the
processor time and the exit status are seen from outside. That the end was reached, which checks held and which
exception there was is told by the program's own interpreter: it holds for every program that does not mean to lie.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Outcome, Verdict
from cgcli.sandbox.watch import Course
from cgcli.terminal.text import visible

_DETAIL_WIDTH = 200  # characters
_DENIED = {errno.EPERM, errno.EACCES, errno.EROFS, errno.ESOCKTNOSUPPORT}
_DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_SHELL_SIGNAL = 128
"""From the sandbox a signal is told as shells do: 128 and its number."""


@dataclass
class _Told:
    """What the starter told: the error that ended the program, if any; how it reached its end, "" where it did not; why
    each check fails, by its number, "" where it holds."""

    error: tuple[str, ...] = ()
    end: str = ""
    checks: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, report: bytes) -> _Told:
        told = cls()
        for line in report.decode("utf-8", "replace").split("\n"):
            match line.split("\0"):
                case ["error", *words] if len(words) == 4:
                    told.error = tuple(words)
                case ["end" | "exit" as how]:
                    told.end = how
                case ["check", number, why] if number[:9].isdecimal() and number.isascii():
                    told.checks[int(number[:9])] = why
        return told


def judge(course: Course, policy: Policy, checks: Sequence[str] = ()) -> Verdict:
    """The verdict on a program that began, and was held to `checks` at its end."""
    told = _Told.of(bytes(course.report))
    outcome, detail = _judged(course, told, policy, checks)
    return Verdict(
        outcome,
        detail,
        bytes(course.said["stdout"]),
        bytes(course.said["stderr"]),
        course.seconds,
        course.cpu_s,
        course.unread,
        course.status,
        told.end == "exit",
        sum(told.checks.get(number) == "" for number in range(len(checks))),
    )


def _judged(course: Course, told: _Told, policy: Policy, checks: Sequence[str]) -> tuple[Outcome, str]:
    limits: dict[Outcome, str] = {
        "cpu time": f"more than {policy.cpu_s:g} s of processor time",
        "wall time": f"more than {policy.wall_s:g} s",
        "memory": f"more than {policy.memory_bytes / 1e6:.0f} MB",
        "output limit": f"more than {policy.output_bytes / 1e6:g} MB written",
    }
    if course.cpu_s > policy.cpu_s and course.stopped in {None, "wall time"}:
        return "cpu time", limits["cpu time"]
    if course.stopped:
        return course.stopped, limits.get(course.stopped, "")
    if told.error:
        return _exception(*told.error, policy=policy)
    if reached_end(course, told):
        return _checked(told, checks)
    early = "ended before the checks, " if checks and not told.end else ""
    number = -course.status if course.status < 0 else course.status - _SHELL_SIGNAL
    if number == signal.SIGSYS and not policy.unsafe:
        return "denied", "system call of another architecture"
    if number in set(signal.Signals):
        return "crash", early + signal.Signals(number).name
    if course.status == 0 and not early:
        early = "ended before its last line, "
    return "exit", f"{early}status {course.status}"


def reached_end(course: Course, told: _Told) -> bool:
    """Whether a program that met no limit and no error came to its own end: what every verdict rests on."""
    return course.status == 0 and bool(told.end)


def _checked(told: _Told, checks: Sequence[str]) -> tuple[Outcome, str]:
    """Of a program that reached its end."""
    failed = [(check, told.checks.get(number)) for number, check in enumerate(checks) if told.checks.get(number) != ""]
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


def _exception(kind: str, number: str, message: str, line: str, *, policy: Policy) -> tuple[Outcome, str]:
    first = next(iter(message.splitlines()), "")
    words = _clipped(f"{kind}: {first}" if first else kind)
    if line.isdecimal() and line != "0":
        words += f", line {visible(line[:9])}"
    return _outcome(kind, int(number) if number[:4].isdecimal() and number.isascii() else 0, first, policy), words


def _outcome(kind: str, number: int, message: str, policy: Policy) -> Outcome:
    if kind == "MemoryError" or number == errno.ENOMEM:
        return "memory"
    if number in _DISK:
        return "output limit"
    if (kind == "BlockingIOError" and number == errno.EAGAIN) or message == "can't start new thread":
        return "processes"
    if number in _DENIED and not policy.unsafe:
        return "denied"
    return "exception"

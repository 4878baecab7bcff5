"""From how a program ran to a verdict.

Whether it passed is told by the processor time, by the exit status and by us where we ended it. Which exception it was
is told by the program's own interpreter, which the program could have lied to: that changes the words of a failure,
and never makes a failure a pass.
"""

from __future__ import annotations

import errno
import signal

from cgcli.core.visible import visible
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Outcome, Verdict
from cgcli.sandbox.watch import Course

_DETAIL_WIDTH = 200  # characters
_DENIED = {errno.EPERM, errno.EACCES, errno.EROFS}
_DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_SHELL_SIGNAL = 128
"""From the sandbox a signal is told as shells do: 128 and its number."""


def judge(course: Course, policy: Policy) -> Verdict:
    """The verdict on a program that began."""
    outcome, detail = _judged(course, policy)
    said = course.said
    stdout, stderr = bytes(said["stdout"]), bytes(said["stderr"])
    return Verdict(outcome, detail, stdout, stderr, course.seconds, course.cpu_s, course.unread)


def _judged(course: Course, policy: Policy) -> tuple[Outcome, str]:
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
    if course.report:
        return _exception(bytes(course.report), policy)
    if course.status == 0:
        return "passed", ""
    number = -course.status if course.status < 0 else course.status - _SHELL_SIGNAL
    if number == signal.SIGSYS and not policy.unsafe:
        return "denied", "a system call of another kind of processor"
    if number in set(signal.Signals):
        return "crash", signal.Signals(number).name
    return "exit", f"status {course.status}"


def _exception(report: bytes, policy: Policy) -> tuple[Outcome, str]:
    kind, number, line, message = (*report.decode("utf-8", "replace").split("\0", 3), "", "", "", "")[:4]
    first = next(iter(message.splitlines()), "")
    words = visible(f"{kind}: {first}" if first else kind)
    if len(words) > _DETAIL_WIDTH:
        words = words[: _DETAIL_WIDTH - 1] + "…"
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

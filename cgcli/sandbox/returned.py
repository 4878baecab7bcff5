"""Runs inside the sandbox: calls a function of a program and reports what each call returned.

This file is passed to the sandbox as text, so it imports nothing from cgcli. The program is executed as a module: code
under `if __name__ == "__main__"` does not run. What it prints is dropped.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from types import FrameType, ModuleType
from typing import Any, NoReturn

_WALL_FACTOR = 5  # seconds of wall time for each second of processor time
_AGAIN_S = 0.05  # until the limit strikes again, at a program that caught it
_SLOW = 3  # calls over their time; the rest is not called
_ITEMS = 1000  # that are read of an iterator
_LONGEST = 10_000  # characters of a value
_SHOWN = 60
_DEEPEST = 20


class _TimeLimit(BaseException):
    """Not an Exception, which a program might catch."""


def report_values(source: bytes, calls: list[str], seconds: float, mark: str) -> NoReturn:
    """Execute a program and evaluate `calls` in it; write `mark` and a JSON value to stdout for the program and for
    each call, one a line, and exit.

    The program's is why it failed, "" if it reached its end. A call's is a list: whether it returned something other
    than None, the value in a form that is the same for equal values, and the value as a person reads it. Each has
    `seconds` of processor time, the program four times that.
    """
    own, channel = os.getpid(), os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w", encoding="utf-8", errors="replace")

    def report(value: Any) -> None:
        if os.getpid() != own:  # a child that the program forked
            os._exit(0)
        line = f"{mark}{json.dumps(value)}\n".encode()
        while line:
            line = line[os.write(channel, line) :]

    module = ModuleType("program")
    sys.modules["program"] = module  # where dataclasses look
    _, _, why = _limited(
        lambda: exec(compile(source, "program.py", "exec", dont_inherit=True), vars(module)), 4 * seconds
    )
    report(why)
    slow = 0
    for call in calls:
        task = partial(eval, compile(call, "call", "eval", dont_inherit=True), vars(module))
        value, key, why = _limited(task, seconds) if slow < _SLOW else (None, "", "time")
        slow += why == "time"
        report([False, why, why] if why else [value is not None, key, _shown(value)])
    os._exit(0)


def _limited(task: Callable[[], Any], seconds: float) -> tuple[Any, str, str]:
    """Run a task with so many seconds of processor time. Returns its value, the value's key, and why it failed."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _TimeLimit

    try:
        try:
            signal.signal(signal.SIGPROF, stop)
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_PROF, seconds, _AGAIN_S)
            signal.setitimer(signal.ITIMER_REAL, _WALL_FACTOR * seconds, _WALL_FACTOR * _AGAIN_S)
            value = task()
            key = _key(value)
            return value, key if len(key) <= _LONGEST else f"{len(key)} {key[:_LONGEST]}", ""
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TimeLimit:
        return None, "", "time"
    except BaseException as error:
        return None, "", type(error).__name__


def _key(value: Any, depth: int = 0) -> str:
    """A text that is the same for values that are equal, and for values that print the same."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, bool | int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else f"{value:.10g}"
    if isinstance(value, list | tuple):
        begin, end = "[]" if isinstance(value, list) else "()"
        return begin + ",".join(_key(one, depth + 1) for one in value) + end
    if isinstance(value, set | frozenset):
        return "{" + ",".join(sorted(_key(one, depth + 1) for one in value)) + "}"
    if isinstance(value, dict):
        return (
            "{" + ",".join(sorted(f"{_key(key, depth + 1)}:{_key(one, depth + 1)}" for key, one in value.items())) + "}"
        )
    if hasattr(value, "__next__"):
        return "iter" + _key(list(islice(value, _ITEMS)), depth + 1)
    if hasattr(value, "tolist"):
        return "array" + _key(value.tolist(), depth + 1)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _shown(value: Any) -> str:
    try:
        text = " ".join(repr(value)[: 2 * _SHOWN].split())
    except BaseException:
        return type(value).__name__
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

"""Calls a function of a generated program in the sandbox, and collects what it returns."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cgcli.core.errors import Interrupted
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import never, run

_CALL_S = 0.5  # processor time of a call
_LIMIT_S = 10.0  # of the program and all calls


@dataclass(frozen=True)
class Returned:
    """What a call returned."""

    tells: bool  # whether it says something about the program: no error, and not None
    key: str  # the same for equal values, and for all errors
    shown: str  # for people: the value, or the error's class


FAILED = Returned(False, "", "error")


@dataclass(frozen=True)
class Called:
    """A program whose function was called."""

    ran: bool  # whether the program itself reached its end without an error
    returned: tuple[Returned, ...]  # one per call


def call_function(
    source: bytes, calls: Sequence[str], policy: Policy, *, interrupted: Callable[[], bool] = never
) -> Called:
    """Execute a program and evaluate `calls`, expressions in its namespace, one after the other.

    Calls that did not come to pass, because the program used up its time or memory, have failed. Raises SandboxError if
    no sandbox works and `policy` is not unsafe, and Interrupted.
    """
    mark = secrets.token_hex(8)
    arguments = ", ".join(map(ascii, (source, list(calls), _CALL_S, mark)))
    program = f"{_inside()}\n\nreport_values({arguments})\n".encode()
    limits = replace(policy, cpu_s=_LIMIT_S, wall_s=5 * _LIMIT_S, lingers=False)
    verdict = run(program, policy=limits, interrupted=interrupted)
    if verdict.outcome == "interrupted":
        raise Interrupted("interrupted while the candidates ran")
    lines = [line for line in verdict.stdout.decode("utf-8", "replace").split("\n") if line.startswith(mark)]
    try:
        why, *values = [json.loads(line.removeprefix(mark)) for line in lines]
        returned = [
            Returned(bool(tells), str(key) if tells or key == "None" else "", str(shown))
            for tells, key, shown in values
        ]
    except (ValueError, TypeError):  # it did not get that far, or wrote on the channel itself
        why, returned = "no report", []
    missing = len(calls) - len(returned)
    return Called(why == "", (*returned[: len(calls)], *[FAILED] * missing))


@functools.cache
def _inside() -> str:
    return Path(__file__).with_name("returned.py").read_text("utf-8")

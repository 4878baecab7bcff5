"""Judges samples of MTPB: each runs in the sandbox, and the value it printed last is compared outside.

No sample sees its expected value. The limit is 20 s of processor time; the paper's is 20 s of wall time.

The paper's rules (salesforce/CodeGen codegen1/benchmark/mtpb_exec.py, `check_equivalence`; BSD-3-Clause): the first
argument of the last print counts, whatever happened after it. Tuples in a list become lists and NumPy values become
Python's own; then the value is cast to the expected value's type. Strings, integers, lists and bools are compared with
==, floats to 1e-6, a pandas Series with numpy.allclose. An expected dict or None never passes.

The strict rules differ in these points alone:
- a program that raised, exited or hit a limit fails, whatever it had printed;
- nothing is cast, but integers and floats compare as numbers and tuples as lists: "5" is not 5, 3.7 is not 3;
- a Series is a list and must have the same length;
- an expected dict passes with an equal dict (#89), None with None or the text "None", which the prompt asks for (#41).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cgcli.core.errors import CgcliError
from cgcli.evals.judging import CheckResult, judging_policy
from cgcli.evals.samples import Row
from cgcli.program.source import digest
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

SECONDS = 20.0
TOLERANCE = 1e-6
_OVERHEAD_S = 3.0  # for starting Python, importing NumPy and reporting the value, besides the program's own time
_MAX_SHOWN = 200  # characters of a value or an exception

RulesName = Literal["strict", "paper"]


@dataclass(frozen=True)
class MTPBRules:
    """How samples are judged."""

    name: RulesName = "paper"  # how values are compared
    seconds: float = SECONDS  # of processor time for the program itself
    unsafe: bool = False

    @property
    def policy(self) -> Policy:
        return judging_policy(self.seconds + _OVERHEAD_S, unsafe=self.unsafe)


@dataclass(frozen=True)
class MTPBCheck:
    """Checks one program; implements `judging.Check`."""

    text: str
    expected: Any  # the value to print
    rules: MTPBRules
    mark: str = field(default_factory=lambda: f"\n{secrets.token_hex(16)} ")  # written before the report of the value

    @property
    def program_hash(self) -> str:
        return digest(json.dumps([self.text, self.expected, self.rules.name, self.rules.seconds]))

    @property
    def source(self) -> bytes:
        arguments = (self.text, type(self.expected).__name__, self.rules.seconds, self.mark)
        return f"{_last_print_source()}\n\nrun_and_report({', '.join(map(ascii, arguments))})\n".encode()

    @property
    def policy(self) -> Policy:
        return self.rules.policy

    def result(self, verdict: Verdict) -> CheckResult:
        outcome, detail = self._outcome(verdict)
        return CheckResult(outcome, detail, verdict.cpu_s)

    def _outcome(self, verdict: Verdict) -> tuple[str, str]:
        if not verdict.passed:
            return verdict.outcome, verdict.detail
        _, mark, report = verdict.stdout.rpartition(self.mark.encode())
        try:
            printed = Printed.parse(report if mark else b"")
        except ValueError:
            return "exit", "it exited before its end"
        if equal(printed, self.expected, self.rules.name):
            return "passed", ""
        if printed.ended in {"cpu time", "wall time"}:
            return printed.ended, ""
        if printed.ended:
            return "exception", _visible(printed.ended)
        return ("wrong answer", _visible(printed.shown)) if printed.type else ("no print", "")


def checker(path: Path, rules: MTPBRules) -> Callable[[Row], MTPBCheck]:
    """A function that turns rows of the file `path` into checks. It raises CgcliError if a row is not a sample."""

    def check(row: Row) -> MTPBCheck:
        if not isinstance(row.get("completions"), str) or "gold_output" not in row or "id" not in row:
            raise CgcliError(
                f"{path} is not a file of MTPB samples: a row lacks id, completions or gold_output",
                hint=f"cgcli eval humaneval --judge {path}" if "task_id" in row else None,
            )
        return MTPBCheck(row["completions"], row["gold_output"], rules)

    return check


def _visible(text: str) -> str:
    from cgcli.terminal.text import visible

    return visible(text[:_MAX_SHOWN])


@cache
def _last_print_source() -> str:
    return Path(__file__).with_name("last_print.py").read_text("utf-8")


# --- comparing values


class _Missing:
    """A value that equals nothing."""

    def __repr__(self) -> str:
        return "…"


_MISSING = _Missing()


@dataclass(frozen=True)
class Printed:
    """The value that a sample printed last, as last_print.py reports it."""

    ended: str  # why the program ended early, "" if it did not
    type: str = ""  # the name of the value's class, "" if nothing was printed
    value: Any = _MISSING  # with NumPy's types as Python's
    cast: Any = _MISSING  # of the expected value's type
    series: bool = False  # it was a pandas Series

    @classmethod
    def parse(cls, report: bytes) -> Printed:
        """Parse the sandbox's report. Raises ValueError for anything else: the program may have written it."""
        try:
            found = json.loads(report)
            values = {name: _decode(found[name]) for name in ("value", "cast") if name in found}
            return cls(str(found["ended"]), str(found.get("type", "")), series=found.get("series") is True, **values)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
            raise ValueError(f"not a report of last_print.py: {error}") from error

    @property
    def shown(self) -> str:
        """The value for a person to read, or the name of its type if the value is not known."""
        return self.type if self.value is _MISSING else f"{self.value!r}"


def equal(printed: Printed, expected: Any, rules: RulesName) -> bool:
    """Whether a sample passes by these rules."""
    try:
        return bool(_equal_paper(printed, expected) if rules == "paper" else _equal_strict(printed, expected))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False  # for example lists of arrays, whose == is not a single bool


def _equal_paper(printed: Printed, expected: Any) -> Any:
    value = printed.cast
    if value is _MISSING:
        return False  # before NumPy sees it: to NumPy it is a scalar, equal to every empty array
    if printed.series:
        import numpy as np

        return np.allclose(value, np.array(expected))
    if isinstance(expected, bool):
        return value == expected if isinstance(value, bool) else value == str(expected)
    if isinstance(expected, float):
        return abs(value - expected) < TOLERANCE
    return isinstance(expected, (str, int, list)) and value == expected


def _equal_strict(printed: Printed, expected: Any) -> Any:
    value = _lists(printed.value)
    if printed.ended:
        return False
    match expected:
        case None:
            return value is None or value == "None"
        case bool():
            return isinstance(value, bool) and value == expected
        case int() | float():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return number and abs(value - expected) < TOLERANCE
        case str() | list() | dict():
            return isinstance(value, type(expected)) and value == expected
    return False


def _lists(value: Any) -> Any:
    """The value with tuples as lists, at every depth."""
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _decode(encoded: Any) -> Any:
    """The inverse of `last_print._encode`."""
    if isinstance(encoded, list):
        return [_decode(item) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    match encoded:
        case {"int": str(digits)}:
            return int(digits, 16)
        case {"float": str(digits)}:
            return float.fromhex(digits)
        case {"complex": [str(real), str(imaginary)]}:
            return complex(float.fromhex(real), float.fromhex(imaginary))
        case {"fraction": [over, under]}:
            return Fraction(_decode(over), _decode(under))
        case {"tuple": list(items)}:
            return tuple(map(_decode, items))
        case {"dict": list(items)}:
            return {_decode(key): _decode(value) for key, value in items}
        case {"array": str(data), "dtype": str(dtype), "shape": list(shape)}:
            return _array(data, dtype, shape)
    return _MISSING


def _array(data: str, dtype: str, shape: list[Any]) -> Any:
    import numpy as np

    if not re.fullmatch(r"[<>|=][biufcU]\d+", dtype) or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"cannot decode an array of {dtype}")
    array = np.frombuffer(bytes.fromhex(data), np.dtype(dtype)).reshape(shape)
    return array if shape else array[()]

"""When what a sample of MTPB printed is the expected value: the paper's rules to the letter, and strict ones.

The paper's (salesforce/CodeGen codegen1/benchmark/mtpb_exec.py, `check_equivalence`; BSD-3-Clause): the first argument
of the last print, whatever happened after it, with tuples in a list as lists and numpy's values as Python's own, is
cast to the expected value's type; then strings, integers, lists and bools are compared with ==, floats to 1e-6, a
pandas Series with numpy.allclose; an expected dict or None is never met.

Strict differs from them in this alone:
- a program that raised, exited or met a limit fails, whatever it had printed;
- nothing is cast, but an integer is a number like a float, and a tuple a list: "5" is not 5, 3.7 is not 3;
- a Series is a list, of the same length;
- an expected dict is met by an equal dict (#89), and None by None or the word, which the prompt asks for (#41).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

RulesName = Literal["strict", "paper"]
TOLERANCE = 1e-6


class _Missing:
    """What equals nothing."""

    def __repr__(self) -> str:
        return "…"


_MISSING = _Missing()


@dataclass(frozen=True)
class Printed:
    """What a sample printed last, as last_print.py tells it.

    ended: why the program ended early, "" where it did not. value: normalised; cast: of the expected type; both equal
    nothing where they could not be had. series: it was a pandas Series; type: its class's name, "" without a print.
    """

    ended: str
    type: str = ""
    value: Any = _MISSING
    cast: Any = _MISSING
    series: bool = False

    @classmethod
    def told(cls, words: bytes) -> Printed:
        """From JSON that the sandbox wrote. Raises ValueError for anything else: a program may have written it."""
        try:
            told = json.loads(words)
            found = {name: _decoded(told[name]) for name in ("value", "cast") if name in told}
            return cls(str(told["ended"]), str(told.get("type", "")), series=told.get("series") is True, **found)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
            raise ValueError(f"not what the sandbox tells: {error}") from error

    @property
    def shown(self) -> str:
        """What was printed, for a person; its type's name where there are no words for it."""
        return self.type if self.value is _MISSING else f"{self.value!r}"


def equal(printed: Printed, expected: Any, rules: RulesName) -> bool:
    """Whether a sample passes."""
    try:
        return bool(_as_paper(printed, expected) if rules == "paper" else _strictly(printed, expected))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False  # such as lists of arrays, whose == is no single bool


def _as_paper(printed: Printed, expected: Any) -> Any:
    value = printed.cast
    if value is _MISSING:
        return False  # also before numpy, which takes it for a scalar, equal to every array without items
    if printed.series:
        import numpy as np

        return np.allclose(value, np.array(expected))
    if isinstance(expected, bool):
        return value == expected if isinstance(value, bool) else value == str(expected)
    if isinstance(expected, float):
        return abs(value - expected) < TOLERANCE
    return isinstance(expected, (str, int, list)) and value == expected


def _strictly(printed: Printed, expected: Any) -> Any:
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
    """With tuples as lists, at every depth."""
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _decoded(told: Any) -> Any:
    """A value of `last_print._plain`."""
    if isinstance(told, list):
        return [_decoded(item) for item in told]
    if not isinstance(told, dict):
        return told
    match told:
        case {"int": str(digits)}:
            return int(digits, 16)
        case {"float": str(digits)}:
            return float.fromhex(digits)
        case {"complex": [str(real), str(imaginary)]}:
            return complex(float.fromhex(real), float.fromhex(imaginary))
        case {"fraction": [over, under]}:
            return Fraction(_decoded(over), _decoded(under))
        case {"tuple": list(items)}:
            return tuple(map(_decoded, items))
        case {"dict": list(items)}:
            return {_decoded(key): _decoded(value) for key, value in items}
        case {"array": str(data), "dtype": str(dtype), "shape": list(shape)}:
            return _array(data, dtype, shape)
    return _MISSING


def _array(data: str, dtype: str, shape: list[Any]) -> Any:
    import numpy as np

    if not re.fullmatch(r"[<>|=][biufcU]\d+", dtype) or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"no plain array of {dtype}")
    array = np.frombuffer(bytes.fromhex(data), np.dtype(dtype)).reshape(shape)
    return array if shape else array[()]

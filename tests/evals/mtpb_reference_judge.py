"""MTPB's rules written a second time, plainly: the program runs in this process, and its own objects are compared.

Written from the description of the paper's judge, not from cgcli's code: no sandbox, no JSON, no rewritten syntax tree.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import signal
from typing import Any

import numpy as np

SECONDS = 0.2  # of processor time; programs that test the limit on wall time send themselves its signal


class OutOfTime(Exception):
    pass


def printing(program: str) -> str:
    """The program with print( ) around its last statement's value."""
    try:
        last: Any = ast.parse(program).body[-1]
    except (SyntaxError, ValueError, IndexError):
        return program
    value = getattr(last, "value", None)
    if value is None:
        return program
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id.startswith("print"):
        return program
    lines = program.encode().splitlines(keepends=True)
    begin = sum(map(len, lines[: value.lineno - 1])) + value.col_offset
    end = sum(map(len, lines[: value.end_lineno - 1])) + value.end_col_offset
    text = program.encode()
    return (text[:begin] + b"print((" + text[begin:end] + b"))" + text[end:]).decode()


def run(program: str) -> tuple[list[tuple[Any, ...]], bool]:
    """All calls of print, and whether the program ran to its end."""
    calls: list[tuple[Any, ...]] = []

    def recording(*words: Any, **options: Any) -> None:
        calls.append(words)
        builtins.print(*words, **options)

    def late(*_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)  # again: Python drops what is raised in a callback
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(printing(program), {"__name__": "__main__", "print": recording})
    except BaseException:
        return calls, False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return calls, True


def verdicts(program: str, expected: list[Any]) -> list[dict[str, bool]]:
    """The verdicts of both sets of rules for each expected value. Needs its own process: signal handlers raise."""
    found = []
    for one in expected:
        calls, ended = run(program)
        found.append({"paper": passes_paper(calls, one), "strict": ended and passes_strictly(calls, one)})
    return found


def passes_paper(calls: list[tuple[Any, ...]], expected: Any) -> bool:
    try:
        return bool(_same(calls[-1][0], expected))
    except Exception:
        return False


def _same(value: Any, expected: Any) -> Any:
    if type(value).__name__ == "Series":
        array = value.to_numpy()
        # numpy before 2 has no allclose for these; later ones have it where broadcasting leaves no item to compare.
        return (array.dtype.kind not in "OMm" or not array.size) and np.allclose(array, np.array(expected))
    if type(value) is list and value and type(value[0]) is tuple:
        value = [list(one) for one in value]
    elif type(value) in (np.uint8, np.int16, np.int32, np.int64):
        value = int(value)
    elif type(value) in (np.float16, np.float32, np.float64):
        value = float(value)
    elif type(value) is np.bool_:
        value = bool(value)
    elif type(value) is np.ndarray:
        value = value.tolist()
    if type(value) is not type(expected):
        if type(expected) is bool:
            return str(value) == str(expected)
        value = type(expected)(value)
    if type(value) is float:
        return abs(value - expected) < 1e-6
    return type(value) in (str, int, list, bool) and value == expected


def passes_strictly(calls: list[tuple[Any, ...]], expected: Any) -> bool:
    try:
        return bool(_as_strict(_plain(calls[-1][0]), expected))
    except Exception:
        return False


def _plain(value: Any) -> Any:
    if type(value).__name__ == "Series":
        return _plain(value.tolist())
    if type(value) in (np.uint8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64, np.bool_):
        return value.item()
    if type(value) is np.ndarray:
        return _plain(value.tolist())
    if type(value) is list and value and type(value[0]) is tuple:
        value = [list(one) for one in value]
    return _listed(value)


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, (tuple, list)) else value


def _as_strict(value: Any, expected: Any) -> Any:
    if expected is None:
        return value is None or value == "None"
    if type(expected) in (int, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value - expected) < 1e-6
    return isinstance(value, type(expected)) and value == expected

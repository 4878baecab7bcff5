"""Runs inside the sandbox: executes a sample of MTPB and reports the value of its last print as JSON.

This file is passed to the sandbox as text, so it imports nothing from cgcli. The expected value never enters the
sandbox, only the name of its type, for the cast of the paper's rules: a sample that writes its own report knows no more
than its prompts. A value that no JSON value can equal is reported by the name of its type.

Source of the rules: salesforce/CodeGen codegen1/benchmark/mtpb_exec.py (BSD-3-Clause); mtpb_judge.py describes them.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import os
import signal
import sys
from types import FrameType, ModuleType
from typing import Any, NoReturn

_MAX_INT = 2**63
_PLAIN_ARRAYS = "biufcU"  # kinds of dtypes whose bytes are the value
_INTEGERS = ("uint8", "int16", "int32", "int64")
_FLOATS = ("float16", "float32", "float64")
_KINDS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict, "NoneType": type(None)}
_WALL_FACTOR = 5  # seconds of wall time for each second of processor time


class _TimeLimit(Exception):
    """An Exception, as in the paper's judge, so that a program may catch it."""


def with_print(source: str) -> str:
    """The program with its last statement's value printed; unchanged if that has no value or is a print already."""
    try:
        tree = ast.parse(source)
        last: Any = tree.body[-1]
        if _prints(last):
            return source
        last.value = ast.Call(func=ast.Name(id="print", ctx=ast.Load()), args=[last.value], keywords=[])
        ast.fix_missing_locations(tree)
        return ast.unparse(tree)
    except Exception:
        return source


def _prints(statement: Any) -> bool:
    try:
        return bool(statement.value.func.id.startswith("print"))
    except AttributeError:
        return False


def run_and_report(source: str, kind: str, seconds: float, mark: str) -> NoReturn:
    """Execute a program, write `mark` and the report on its last print to stdout, and exit.

    `kind` is the name of the expected value's type; the program has `seconds` of processor time.
    """
    own, channel = os.getpid(), os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w", encoding="utf-8", errors="replace")
    _import_lazily("numpy")
    printed: list[tuple[Any, ...]] = []

    def record(*args: Any, **options: Any) -> None:
        printed[:] = [args]
        builtins.print(*args, **options)  # noqa: T201 (the program's own print)

    ended = _run(source, {"__name__": "__main__", "print": record}, seconds)
    report = {"ended": ended, **_value_report(printed, kind)}
    if os.getpid() != own:  # a child that the program forked also gets here
        os._exit(0)
    line = f"{mark}{json.dumps(report)}\n".encode()
    while line:
        line = line[os.write(channel, line) :]
    raise SystemExit


class _LazyModule(ModuleType):
    """A module that is executed when an attribute is first used."""

    def __getattr__(self, name: str) -> Any:
        spec, self.__class__ = self.__spec__, ModuleType  # type: ignore[assignment]
        assert spec and spec.loader
        self.__path__ = spec.submodule_search_locations or []
        spec.loader.exec_module(self)
        return getattr(self, name)


def _import_lazily(name: str) -> None:
    """Import a package when it is first used: every sample imports NumPy, few use it.

    (For importlib's LazyLoader, the import statement itself is a use.)
    """
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec:
        module = importlib.util.module_from_spec(spec)
        del module.__path__  # so that importing a submodule is a use
        module.__class__ = _LazyModule
        sys.modules[name] = module


def _run(source: str, namespace: dict[str, Any], seconds: float) -> str:
    """Execute the program; returns why it ended early, "" if it did not."""
    reasons = {signal.SIGPROF: "cpu time", signal.SIGALRM: "wall time"}
    fired: list[str] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        fired.append(reasons[signal.Signals(number)])
        raise _TimeLimit(fired[0])

    for number in reasons:
        signal.signal(number, stop)
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _WALL_FACTOR * seconds)
        exec(compile(with_print(source), "program.py", "exec", dont_inherit=True), namespace)
    except BaseException as error:
        return fired[0] if fired else _describe(error)
    return fired[0] if fired else ""


def _describe(error: BaseException) -> str:
    try:
        message = next(iter(str(error).splitlines()), "")
    except Exception:
        message = ""
    return f"{type(error).__name__}: {message}"[:200]


def _value_report(printed: list[tuple[Any, ...]], kind: str) -> dict[str, Any]:
    """The printed value's type, the value, and the value cast to the expected type by the paper's rule.

    Entries that do not exist are absent: no print, a print without arguments, a failed cast.
    """
    report: dict[str, Any] = {}
    try:
        if not printed or not printed[-1]:
            return report
        value = printed[-1][0]
        report["type"] = type(value).__name__
        series = str(type(value)) == "<class 'pandas.core.series.Series'>" or _is_series(value)
        value = _as_python(value, series)
        # tolist would turn dates into numbers
        report["value"] = _encode((list(value) if value.dtype.kind in "Mm" else value.tolist()) if series else value)
        report["series"] = series
        report["cast"] = _encode(value if series else _cast(value, kind))
    except Exception:
        pass
    return report


def _is_series(value: Any) -> bool:
    """Also recognizes pandas 3, whose classes have `pandas` as their module."""
    return type(value).__name__ == "Series" and type(value).__module__.partition(".")[0] == "pandas"


def _as_python(value: Any, series: bool) -> Any:
    """NumPy's scalars and arrays, and tuples in a list, as Python's own types by the paper's rule."""
    if series:
        return value.to_numpy()
    if type(value) is list:
        return [list(item) for item in value] if value and type(value[0]) is tuple else value
    if type(value).__module__ == "numpy":
        name = type(value).__name__
        if name in _INTEGERS:
            return int(value)
        if name in _FLOATS:
            return float(value)
        if name in {"bool", "bool_"}:
            return bool(value)
        if name == "ndarray":
            return value.tolist()
    return value


def _cast(value: Any, kind: str) -> Any:
    """Cast to the expected type; for bool, to text. Raises whatever the cast raises."""
    expected: Any = _KINDS[kind]
    if type(value) is expected:
        return value
    return str(value) if expected is bool else expected(value)


def _encode(value: Any) -> Any:
    """A value as JSON; types that JSON lacks become objects. Raises RecursionError."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int(value)
        return number if -_MAX_INT < number < _MAX_INT else {"int": hex(number)}
    if isinstance(value, float):
        return {"float": float.hex(value)}
    if isinstance(value, complex):
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if type(value).__module__ in {"decimal", "fractions"} and hasattr(value, "as_integer_ratio"):
        return {"fraction": [_encode(number) for number in value.as_integer_ratio()]}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    dtype: Any = getattr(value, "dtype", None)
    plain = dtype is not None and (dtype.kind in _PLAIN_ARRAYS or (dtype.kind == "O" and not value.size))
    if type(value).__module__ == "numpy" and plain:
        code = dtype.str if dtype.kind in _PLAIN_ARRAYS else "<f8"  # before pandas 2 an empty Series had floats
        return {"array": value.tobytes().hex(), "dtype": code, "shape": list(value.shape)}
    return {"other": type(value).__name__}

"""What runs in the sandbox around a sample of MTPB: it executes the program and tells the value of its last print.

Handed to the sandbox as text, so it imports nothing of cgcli. The expected value never comes here, only the name of its
type, for the cast that the paper's rules make; a sample that writes an answer of its own knows no more than its
prompts do. What is told is JSON; values that equal nothing that JSON has are told by the name of their type.

Source of the rules: salesforce/CodeGen codegen1/benchmark/mtpb_exec.py (BSD-3-Clause), as described in equality.py.
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

_MOST_INT = 2**63
_PLAIN_ARRAYS = "biufcU"
"""Kinds of dtypes whose bytes are the value."""
_INTEGERS = ("uint8", "int16", "int32", "int64")
_FLOATS = ("float16", "float32", "float64")
_KINDS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict, "NoneType": type(None)}
_CLOCK = 5
"""Seconds on the clock for each of processor time."""


class _TimeLimit(Exception):
    """An Exception, as in the paper's judge, so a program may catch it."""


def with_print(source: str) -> str:
    """The program, its last statement's value printed; as it is where that has no value, or prints already."""
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


def tell(source: str, kind: str, seconds: float, mark: str) -> NoReturn:
    """Execute a program, write what it printed last to stdout after `mark`, and reach the end.

    kind: the name of the expected value's type; seconds: of processor time.
    """
    own, channel = os.getpid(), os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w", encoding="utf-8", errors="replace")
    _put_off("numpy")
    printed: list[tuple[Any, ...]] = []

    def record(*args: Any, **options: Any) -> None:
        printed[:] = [args]
        builtins.print(*args, **options)  # noqa: T201 (what the program asked for)

    ended = _run(source, {"__name__": "__main__", "print": record}, seconds)
    told = {"ended": ended, **_told(printed, kind)}
    if os.getpid() != own:  # a child that the program forked comes by here, too
        os._exit(0)
    words = f"{mark}{json.dumps(told)}\n".encode()
    while words:
        words = words[os.write(channel, words) :]
    raise SystemExit


class _PutOff(ModuleType):
    """A module that is executed when something of it is first used."""

    def __getattr__(self, name: str) -> Any:
        spec, self.__class__ = self.__spec__, ModuleType  # type: ignore[assignment]
        assert spec and spec.loader
        self.__path__ = spec.submodule_search_locations or []
        spec.loader.exec_module(self)
        return getattr(self, name)


def _put_off(name: str) -> None:
    """Import a package when it is first used: every sample imports numpy, and few use it.

    (importlib's LazyLoader takes the import statement itself for a use.)
    """
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec:
        module = importlib.util.module_from_spec(spec)
        del module.__path__  # so that an import of something inside is a use
        module.__class__ = _PutOff
        sys.modules[name] = module


def _run(source: str, namespace: dict[str, Any], seconds: float) -> str:
    """Execute it; why it ended early, "" if it did not."""
    reasons = {signal.SIGPROF: "cpu time", signal.SIGALRM: "wall time"}
    fired: list[str] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        fired.append(reasons[signal.Signals(number)])
        raise _TimeLimit(fired[0])

    for number in reasons:
        signal.signal(number, stop)
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _CLOCK * seconds)
        exec(compile(with_print(source), "program.py", "exec", dont_inherit=True), namespace)
    except BaseException as error:
        return fired[0] if fired else _named(error)
    return fired[0] if fired else ""


def _named(error: BaseException) -> str:
    try:
        message = next(iter(str(error).splitlines()), "")
    except Exception:
        message = ""
    return f"{type(error).__name__}: {message}"[:200]


def _told(printed: list[tuple[Any, ...]], kind: str) -> dict[str, Any]:
    """type: of the value as printed; value: normalised; cast: of the expected value's type by the paper's rule.

    What cannot be had (no print, no argument, a cast that fails) is not there.
    """
    told: dict[str, Any] = {}
    try:
        if not printed or not printed[-1]:
            return told
        value = printed[-1][0]
        told["type"] = type(value).__name__
        series = str(type(value)) == "<class 'pandas.core.series.Series'>" or _is_series(value)
        value = _normalised(value, series)
        # tolist makes numbers of dates
        told["value"] = _plain((list(value) if value.dtype.kind in "Mm" else value.tolist()) if series else value)
        told["series"] = series
        told["cast"] = _plain(value if series else _cast(value, kind))
    except Exception:
        pass
    return told


def _is_series(value: Any) -> bool:
    """pandas 3 names its classes after the package alone."""
    return type(value).__name__ == "Series" and type(value).__module__.partition(".")[0] == "pandas"


def _normalised(value: Any, series: bool) -> Any:
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
    """To the expected type; where that is bool, its text. Raises whatever the cast does."""
    wanted: Any = _KINDS[kind]
    if type(value) is wanted:
        return value
    return str(value) if wanted is bool else wanted(value)


def _plain(value: Any) -> Any:
    """As JSON; what JSON has not under a name. Raises RecursionError."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int(value)
        return number if -_MOST_INT < number < _MOST_INT else {"int": hex(number)}
    if isinstance(value, float):
        return {"float": float.hex(value)}
    if isinstance(value, complex):
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if type(value).__module__ in {"decimal", "fractions"} and hasattr(value, "as_integer_ratio"):
        return {"fraction": [_plain(number) for number in value.as_integer_ratio()]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(item)] for key, item in value.items()]}
    dtype: Any = getattr(value, "dtype", None)
    plain = dtype is not None and (dtype.kind in _PLAIN_ARRAYS or (dtype.kind == "O" and not value.size))
    if type(value).__module__ == "numpy" and plain:
        code = dtype.str if dtype.kind in _PLAIN_ARRAYS else "<f8"  # an empty Series was of floats before pandas 2
        return {"array": value.tobytes().hex(), "dtype": code, "shape": list(value.shape)}
    return {"other": type(value).__name__}

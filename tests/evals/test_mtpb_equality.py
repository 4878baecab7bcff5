"""MTPB's judge agrees with an independent implementation of the paper rules and the strict rules."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgcli.evals.mtpb_judge import Printed, RulesName, equal
from tests.evals import mtpb_reference_judge

ENDINGS = r"""
print(3) | 3 | x = 3 | x = print(3) | x: int = 3 | x: int | x = 0\nx += 3 | print(3)\nprint(4) | print(4)\nprint(3)
print() | print(3)\nprint() | print(3, 4) | print(*[3, 4]) | print(3, end="") | print(3, nothing=1) | pass | [3][0]
print(3)\nif True: pass | for i in range(4): i | def f():\n    print(3)\nf() | def f():\n    print(3)\n    return 5\nf()
def f():\n    return 3\nf() | def f():\n    return 3\nx = f() | def print_all(): print(3)\nprint_all() | import os
def print_all(): return 3\nprint_all() | def print_all(): return 3\nx = print_all() | print = 5\n3 | print(print(3))
print(3)\n1 / 0 | 1 / 0\nprint(3) | print(3)\nraise SystemExit | print(3)\nimport sys\nsys.exit(1) | print(3)\n]
print(3)\nwhile True: pass | print(3)\n{limit} | {limit} | print(3)\n{clock} | (3) | (y := 3)
return 3
print("a")\n"3" | '''3''' | x = 1, 2 | *[1, 2], 3 | f"{1 + 2}" | x = y = 3 | lambda: 3 | yield 3 | print\n(3)
x = [1]\nprint(x)\nx.append(2) | x = [3]\nx[0] | del print\nprint(3) | import builtins\nbuiltins.print(3) | True | None
if True:\n    print(3) | 3 # said | # nothing | assert 3 | "3"; 3 | try:\n    1 / 0\nexcept Exception:\n    print(3)
try:\n    print(3)\n    {limit}\nexcept Exception:\n    print(1) | await 3 | class C: x = 3\nC.x | x = (\n3\n)
print("é")\nx = ("é", 3)\nx[1] | s = "a"\ns.upper() | print(3) or 4 | print(3); x = 5 | print (3) | [1, 2] | [1] + [2]
"""
VALUES = """
3 | 3.0 | 3.0000009 | 3.0000011 | 1e-6 | 9.99e-7 | -1.001e-6
2.9999995 | 3.7 | -0.5 | "3" | " 3 " | "3.0" | "True" | "None" | "abc" | "" | True
False | None | [] | [3] | ["3"] | [3.0] | [1, 2] | (1, 2) | [(1, 2)] | [(1, 2), (3, 4)] | [[1, 2], [3, 4]] | ((1, 2),)
[[1, 2], (3, 4)] | [(1, 2), 3] | [(1, 2), "ab"] | {1, 2} | {} | {"a": [1]} | {"a": (1,)} | {1: 2} | [{"a": 1}] | set()
range(1, 3) | (i for i in (1, 2)) | "12" | b"3" | 3 + 0j | [3 + 0j] | float("nan") | [float("nan")] | float("inf")
10**30 | [10**30] | 2**63 | -(2**63) | 1e16 | ["a", "b", "c"] | "a b c" | object() | [object()] | [None] | [True, 1]
np.int64(3) | np.int8(3) | np.uint8(3) | np.uint64(3) | np.int16(3) | np.float16(3) | np.float32(3) | np.float64(3)
np.float32(0.1) | np.float64(0.1) | np.bool_(True) | np.array(3) | np.array([1, 2]) | np.array([1.0, 2.0])
np.array([]) | np.array([[1, 2], [3, 4]]) | [np.array([1, 2])] | [np.array([3])] | [np.int64(1), np.float32(2)]
[np.float32(0.1)] | np.array(["a", "b", "c"]) | np.array([1, "a"], dtype=object) | np.array([True, False])
[np.bool_(True), np.True_] | np.datetime64("2020-01-01")
np.str_("abc") | [np.str_("a"), "b", "c"] | np.nan | [[[3]]] | [[]] | "[1, 2]" | str
type("S", (str,), {})("abc") | type("I", (int,), {})(3) | type("L", (list,), {})([1, 2]) | __import__("math").pi
__import__("decimal").Decimal("3") | [__import__("decimal").Decimal(3)] | [__import__("fractions").Fraction(1, 10)]
__import__("decimal").Decimal("nan") | [__import__("decimal").Decimal("nan")]
__import__("collections").OrderedDict(a=[1]) | __import__("collections").deque([1, 2])
[__import__("collections").Counter(a=1)]
"""
SERIES = """
["a", "b"] | ["a"] | [] | [], dtype=object | [], dtype=float | [], dtype="datetime64[ns]" | [[1], [2, 3]] | [[1]]
pd.to_datetime(["2020-01-01", "2020-01-02"]) | pd.to_datetime(["2020-01-01"]) | pd.to_timedelta([1, 2]) | [None] | [{}]
["a", "b"], dtype="category" | ["a", "b"], dtype=object | [1, "a"] | [1, None], dtype="Int64" | [3], dtype="Int64"
[1, 2] | [3] | [1.0, 2.0] | [True, 1.0] | [True] | [float("nan")] | [(1, 2)] | [object()] | [3 + 0j] | [10**30]
pd.period_range("2020", periods=2) | [1, 2], dtype=object | ["3"] | [b"a"] | [pd.NaT] | [pd.NA]
"""
EXPECTED: list[Any] = [
    0.0, 3, 1, 3.0, 0.1, "3", "abc", "", True, False, None, [],
    [3], [1, 2], [[1, 2]], [[1, 2], [3, 4]], ["a", "b", "c"],
    {"a": [1]}, [0.1], [None], [True, 1], [{"a": 1}], 10**30, math.inf,
]  # fmt: skip
RULES: tuple[RulesName, ...] = ("paper", "strict")
# The moment at which a limit is met, without the wait for it.
LIMITS = {"{limit}": "import signal; signal.raise_signal(signal.SIGPROF)"}
LIMITS["{clock}"] = LIMITS["{limit}"].replace("SIGPROF", "SIGALRM")


def told(cases: str) -> list[str]:
    """The programs of a table above, where \\n stands for a line end."""
    for name, code in LIMITS.items():
        cases = cases.replace(name, code)
    return [case.strip().replace("\\n", "\n") for line in cases.strip().splitlines() for case in line.split(" | ")]


class Both:
    """A worker process in which both judges run programs."""

    def __init__(self, worker: subprocess.Popen[str]) -> None:
        self._worker = worker
        self._tell = functools.cache(self._told)

    def agree(self, program: str, *expected: Any) -> list[Any]:
        """Fails where the two judges differ; the expected values that pass by the paper's rules."""
        verdicts = json.loads(self._ask(program=program, expected=expected))
        for one, verdict in zip(expected, verdicts, strict=True):
            printed = self._tell(program, type(one).__name__)
            for name in RULES:
                assert equal(printed, one, name) == verdict[name], (name, program, one, printed)
        return [one for one, verdict in zip(expected, verdicts, strict=True) if verdict["paper"]]

    def _told(self, program: str, kind: str) -> Printed:
        return Printed.parse(self._ask(program=program, kind=kind, seconds=mtpb_reference_judge.SECONDS).encode())

    def _ask(self, **question: Any) -> str:
        stdin, stdout = self._worker.stdin, self._worker.stdout
        assert stdin and stdout
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        return stdout.readline()


@contextlib.contextmanager
def worker(*modules: str) -> Iterator[Both]:
    """modules: what its programs find imported, which makes every start of one slower."""
    command = [sys.executable, str(Path(__file__).with_name("judge_worker.py")), *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Both(process)


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with worker("numpy") as judges:
        yield judges


@pytest.fixture(scope="module")
def both_with_pandas() -> Iterator[Both]:
    pytest.importorskip("pandas")
    with worker("numpy", "pandas") as judges:
        yield judges


def test_what_counts_as_the_last_print(both: Both) -> None:
    for program in told(ENDINGS):
        both.agree(program, 3, [1, 2])


def test_every_kind_of_value_against_every_kind_of_expected_value(both: Both) -> None:
    passed = set()
    for value in told(VALUES):
        passed |= set(map(json.dumps, both.agree(f"import numpy as np\nprint({value})", *EXPECTED)))
    assert len(passed) == len(EXPECTED) - 3  # all but the dict, None and infinity


def test_every_kind_of_series_against_every_kind_of_expected_value(both_with_pandas: Both) -> None:
    for value in told(SERIES):
        both_with_pandas.agree(f"import pandas as pd\nprint(pd.Series({value}))", *EXPECTED)


@pytest.mark.parametrize(
    "value", ["pd.DataFrame({'a': []})", "pd.Index([])", "[pd.Series(['a'])]", "pd.Series([1]).items()", "pd.NA"]
)
def test_other_values_of_pandas_against_every_kind_of_expected_value(both_with_pandas: Both, value: str) -> None:
    both_with_pandas.agree(f"import pandas as pd\nprint({value})", *EXPECTED)


def test_there_are_enough_cases() -> None:
    assert 2 * len(told(ENDINGS)) + len(told(VALUES)) * len(EXPECTED) > 300


ATOMS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(10**20), 10**20), st.integers(-3, 3), st.floats(), st.floats(-4, 4, width=16), st.booleans(),
    st.text("ab1 .", max_size=4), st.text(max_size=3), st.sampled_from(["True", "None", "3"]),
)  # fmt: skip
GOLD: st.SearchStrategy[Any] = st.one_of(
    ATOMS,
    st.none(),
    st.lists(ATOMS, max_size=3),
    st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=2), max_size=3),
    st.dictionaries(st.text("ab", max_size=2), st.integers(0, 3), max_size=2),
)
MADE = (
    "{}", "{}", "str({})", "[{}]", "({},)", "np.array({})", "tuple({})", "list(map(tuple, {}))", "float({})", "int({})",
    "np.float32({})", "np.int64({})", "{} + 9e-7", "{} + 1.1e-6", "{} - 9.99e-7", "np.array({}).tolist()", "set({})",
    "list(np.array({}))", "bool({})", "np.bool_({})", "iter({})", "repr({})",
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(GOLD, st.sampled_from(MADE), st.one_of(st.none(), GOLD), st.sampled_from(["print({})", "{}", "x = {}"]))
def test_random_values_against_random_expected_values(
    both: Both, expected: Any, made: str, other: Any, ending: str
) -> None:
    value = made.format(repr(expected if other is None else other))
    program = f"import numpy as np\nnan, inf = np.nan, np.inf\n{ending.format(value)}"
    both.agree(program, expected)


@pytest.mark.parametrize("series", ["[1, 2]", "[1.0, 2.0 + 1e-9]", "['a']", "[1]", "[True, False]", "[]", "[1, None]"])
def test_a_series_of_pandas(both_with_pandas: Both, series: str) -> None:
    expected: tuple[Any, ...] = ([1, 2], [1.0, 2.0], ["a"], 1, "a", True, [], [1, 1])
    both_with_pandas.agree(f"import pandas as pd\nprint(pd.Series({series}))", *expected)
    both_with_pandas.agree(f"import pandas as pd\npd.DataFrame({{'a': {series}}})['a']", *expected)


TOLD = """
3 | [] | {} | {"ended": "", "value": {"int": 3}} | {"ended": "", "value": {"array": "00", "dtype": "O", "shape": []}}
{"ended": "", "value": {"array": "00", "dtype": "<i8", "shape": [-1]}} | {"ended": "", "cast": {"dict": [[[], 1]]}}
{"ended": "", "cast": {"fraction": [1, 0]}} | {"ended": "", "cast": {"float": "0x1p99999"}} | {"ended": "", "value": [
"""


def test_a_forged_report_is_not_an_error() -> None:
    for words in (b"", b"\n", b"\xff", b'{"ended": "", "cast": ' + b"[" * 10**5, *map(str.encode, told(TOLD))):
        with contextlib.suppress(ValueError):
            assert not equal(Printed.parse(words), 3, "paper"), words

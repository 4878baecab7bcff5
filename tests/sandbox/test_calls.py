"""Functions are called in the sandbox, and what they return is compared as Python would."""

from __future__ import annotations

import pytest

from cgcli.core.errors import Interrupted
from cgcli.sandbox import calls
from cgcli.sandbox.calls import Called, call_function
from cgcli.sandbox.policy import Policy

HOST = Policy(unsafe=True)


def called(source: str, *asked: str) -> Called:
    return call_function(source.encode(), asked, HOST)


def test_equal_values_have_one_key() -> None:
    values = "1", "True", "1.0", "0.1 + 0.2", "0.3", "{8, 'a', 0}", "{0, 'a', 8}", "{1: 2, 3: 4}", "{3: 4, 1: 2}"
    one, two, three, third, same, a, b, c, d = (value.key for value in called("", *values).returned)
    assert one == two == three and third == same and a == b and c == d
    assert len({one, third, a, c}) == 4
    different = called("", "'1'", "[1]", "(1,)", "2", "{1}", "'[1]'", "1.5", "float('nan')", "float('inf')").returned
    assert len({value.key for value in different}) == 9 and all(value.tells for value in different)


def test_errors_and_none_tell_nothing() -> None:
    found = called("def f(x):\n    return x.y\n", "f(1)", "f([])", "g(1)", "None", "exit()", "int('9' * 5000)").returned
    assert [value.tells for value in found] == [False] * 6
    assert [value.shown for value in found[:5]] == [
        "AttributeError",
        "AttributeError",
        "NameError",
        "None",
        "SystemExit",
    ]
    assert {value.key for value in found} == {"", "None"}


def test_values_are_shown_as_python_writes_them_in_one_short_line() -> None:
    found = called("", "'a\\nb'", "[1, 2]", "'x' * 1000", "range(3)", "object()", "iter([1, 2])").returned
    assert [value.shown for value in found[:4]] == [r"'a\nb'", "[1, 2]", "'" + "x" * 58 + "…", "range(0, 3)"]
    assert found[4].key == "<object object>" and found[5].key == "iter[1,2]"


def test_the_program_is_a_module_whose_output_is_dropped() -> None:
    program = (
        "import dataclasses, os\nprint('hello')\nos.write(1, b'x')\n"
        "@dataclasses.dataclass\nclass A:\n    x: int\n"
        "def f(x):\n    print(x)\n    return A(x)\n"
        "if __name__ == '__main__':\n    f(1 / 0)\n"
    )
    found = called(program, "f(3)")
    assert found.ran and found.returned[0].shown == "A(x=3)"


def test_a_program_that_fails_is_called_all_the_same() -> None:
    found = called("def f(x):\n    return x\ninput()\n", "f(3)")
    assert not found.ran and found.returned[0].shown == "3"
    assert not called("def f(:", "f(3)").ran


def test_calls_that_take_too_long_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_CALL_S", 0.02)
    monkeypatch.setattr(calls, "_LIMIT_S", 2.0)
    program = "def f(x):\n  while x:\n    try:\n      while x: pass\n    except Exception:\n      pass\n  return x\n"
    found = called(program, "f(1)", "f(0)", "f(2)", "f(3)", "f(0)")
    assert [value.shown for value in found.returned] == ["time", "0", "time", "time", "time"]


def test_a_program_that_is_killed_keeps_what_it_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os\ndef f(x):\n    return os._exit(x) if x else 7\n"
    found = called(program, "f(0)", "f(1)", "f(0)")
    assert [value.shown for value in found.returned] == ["7", "error", "error"]
    assert not called("import os\nos._exit(0)\n", "f(0)").ran


def test_a_child_reports_nothing() -> None:
    found = called("import os\ndef f(x):\n    os.fork()\n    return x\n", "f(1)", "f(2)")
    assert [value.shown for value in found.returned] == ["1", "2"]


def test_ctrl_c_ends_it() -> None:
    with pytest.raises(Interrupted):
        call_function(b"while True:\n    pass\n", ["f(1)"], HOST, interrupted=lambda: True)


def test_in_the_sandbox(sandbox: None) -> None:
    found = call_function(b"def f(x):\n    return open('/etc/passwd').read() + x\n", ["f('a')", "len('abc')"], Policy())
    assert [value.shown for value in found.returned] == ["FileNotFoundError", "3"]

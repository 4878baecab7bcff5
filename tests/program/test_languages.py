"""Unused functions of a Python program."""

from __future__ import annotations

import pytest

from cgcli.program.languages import uncalled


@pytest.mark.parametrize(
    ("text", "checks", "names"),
    [
        ("def f(): pass", (), ["f"]),
        ("def f(): pass\nf()", (), []),
        ("def f(): pass\nprint(map(f, [1]))", (), []),
        ("def f(n): return f(n - 1)", (), ["f"]),
        ("def g(): pass\ndef f(): g()", (), ["f"]),
        ("def f(): g()\ndef g(): f()", (), ["f"]),
        ("def g(): pass\ndef f(): g()\nf()", (), []),
        ("def f(): pass\ndef g(): pass", (), ["f", "g"]),
        ("def f(): pass\nif __name__ == '__main__':\n    f()", (), []),
        ("async def f(): pass", (), ["f"]),
        ("class A:\n    def f(self): pass", (), ["A"]),
        ("class A: pass\nclass B(A): pass\nB()", (), []),
        ("import m\n@m.route\ndef f(): pass", (), []),
        ("def f(): pass\nglobals()['f']()", (), []),
        ("def f(): pass", ("f() is None",), []),
        ("def f(): pass\nf = 3", (), ["f"]),
        ("print(1)", (), []),
        ("def f(:", (), []),
    ],
)
def test_what_is_defined_and_never_used(text: str, checks: tuple[str, ...], names: list[str]) -> None:
    assert uncalled(text, checks) == names

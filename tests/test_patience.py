"""No test depends on how busy the machine is: what waits takes its limit from tests/support/patience.py."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.patience import PATIENCE_S

CLOCKS = {"monotonic", "perf_counter", "Timer", "alarm"}
MAY_ASK = {"tests/support/patience.py", "tests/support/pseudo_terminal.py"}
FILES = [path for path in (REPOSITORY / "tests").rglob("*.py") if "benchmarks" not in path.parts]


def hurried(source: str, clocks: set[str]) -> list[str]:
    """The lines with a time limit of their own, or with a clock that others make run fast."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "timeout":
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(value, (int, float)) and value < PATIENCE_S:
                found.append(f"line {node.value.lineno}: timeout={value}")
        elif isinstance(node, (ast.Attribute, ast.Name)):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in clocks:
                found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_test_is_in_a_hurry(path: Path) -> None:
    clocks = set() if str(path.relative_to(REPOSITORY)) in MAY_ASK else CLOCKS
    assert hurried(path.read_text(encoding="utf-8"), clocks) == []


def test_hurry_is_seen() -> None:
    source = (
        "began = time.monotonic()\nrun(x, timeout=5)\nTimer(0.1, x)\nrun(x, timeout=PATIENCE_S)\nrun(x, timeout=600)"
    )
    assert sorted(hurried(source, CLOCKS)) == ["line 1: monotonic", "line 2: timeout=5", "line 3: Timer"]

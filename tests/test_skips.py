"""In CI a test skips only for a reason that conftest.py lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MAY_SKIP, REPOSITORY, check_skip

ELSEWHERE = "the embedded model is not in build/test-home: make test pulls it"


def outcome(reason: str, **facts: Any) -> str:
    why = ("a.py", 1, f"Skipped: {reason}")
    report = pytest.TestReport("a", ("a.py", 1, "a"), {}, "skipped", why, "setup", **facts)
    check_skip(report)
    return report.outcome


def test_in_ci_only_a_listed_reason_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert {outcome(reason) for reason in MAY_SKIP} == {"skipped"}
    assert outcome(ELSEWHERE) == outcome("could not import 'ray': No module named 'ray'") == "failed"
    assert outcome("", wasxfail="known") == "skipped"


def test_elsewhere_any_reason_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert outcome(ELSEWHERE) == "skipped"


def test_each_listed_reason_is_one_of_a_test() -> None:
    folder = REPOSITORY / "tests"
    others = {folder / "conftest.py", Path(__file__)}
    ours = "".join(path.read_text("utf-8") for path in others)
    tests = "".join(path.read_text("utf-8") for path in folder.rglob("*.py") if path not in others)
    assert [reason for reason in MAY_SKIP if reason not in tests and ours.count(reason) < 2] == []

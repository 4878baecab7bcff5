"""What benchmarks write into the docs lands where it belongs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.engine import CASES, command
from tests.support.markdown import block

MAKEFILE = (report.ROOT / "Makefile").read_text("utf-8")
NAMES = re.findall(r"^BENCH \?= (.*)$", MAKEFILE, re.MULTILINE)[0].split()


@pytest.mark.parametrize("name", [*NAMES, "peers"])
def test_every_benchmark_that_make_runs_has_its_block_in_the_docs(name: str) -> None:
    module = importlib.import_module(f"tests.benchmarks.{name}")
    for one in map(command, CASES) if name == "engine" else [module.COMMAND]:
        assert block(report.MEASUREMENTS, one).startswith(f"`{one}`")


def test_a_table_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- make x -->\nold\n<!-- end of make x -->\nafter\n")
    monkeypatch.setattr(report, "MEASUREMENTS", page)
    text = report.table(["", "a"], [["b", "1"]])
    report.publish("make x", text, "3 rounds", write=False)
    said = capsys.readouterr().out
    assert text in said and f"{report.machine()}; 3 rounds; 20" in said and "old" in page.read_text()
    report.publish("make x", text, "3 rounds", write=True)
    assert block(page, "make x").startswith("`make x`, ") and block(page, "make x").endswith(f":\n\n{text}")
    assert page.read_text().startswith("before\n") and page.read_text().endswith("\nafter\n")

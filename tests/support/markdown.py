"""Blocks of Markdown files that a program writes: each stands between two markers that name it."""

from __future__ import annotations

from pathlib import Path


def _split(text: str, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    block, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"no block {begin.strip()} … {end}: put both lines where it belongs")
    return before + begin, block, end + after


def block(file: Path, name: str) -> str:
    """What stands in the block."""
    return _split(file.read_text("utf-8"), name)[1]


def write_block(file: Path, name: str, text: str) -> None:
    """Replace the block's text."""
    before, _, after = _split(file.read_text("utf-8"), name)
    file.write_text(before + text + after, "utf-8")

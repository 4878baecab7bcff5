"""One line on the state of things, in as many columns as there are: the least important parts go first."""

from __future__ import annotations

from collections.abc import Iterable

from cgcli.repl.view import Status
from cgcli.terminal.text import clipped, columns, visible

_CELLS = 10
"""Of the context's bar."""
_STEPS = {"clear": "▮▮▮", "fair": "▮▮▯", "unclear": "▮▯▯"}
_BETWEEN = " · "

# What goes first, where all does not fit.
_LEAST_IMPORTANT_FIRST = ("bar", "gauge", "quant", "rate", "model", "branch", "stale", "turn", "clarity", "context")


def toolbar(status: Status, width: int) -> str:
    """What there is to say, in at most `width` columns."""
    # What belongs together has one number, and only a blank between.
    parts = [
        (0, "state", visible(status.state)),
        (1, "model", clipped(visible(status.model), 28)),
        (1, "quant", visible(status.quant)),
        (2, "turn", f"turn {status.turn}"),
        (3, "bar", _bar(status.tokens, status.window)),
        (3, "context", f"{status.tokens}/{status.window} tokens" if status.window else ""),
        (4, "gauge", _STEPS.get(status.clarity, "")),
        (4, "clarity", _clarity(status)),
        (5, "rate", f"{status.tokens_per_s:.0f} tokens/s" if status.tokens_per_s else ""),
        (6, "branch", f"branch {visible(status.branch)}" if status.branch not in ("", "main") else ""),
        (7, "stale", f"{status.stale} stale" if status.stale else ""),
    ]
    line = _joined(parts)
    for least in _LEAST_IMPORTANT_FIRST:
        if columns(line) <= width:
            break
        parts = [part for part in parts if part[1] != least]
        line = _joined(parts)
    return clipped(line, width)


def _joined(parts: Iterable[tuple[int, str, str]]) -> str:
    groups: dict[int, list[str]] = {}
    for group, _, text in parts:
        if text:
            groups.setdefault(group, []).append(text)
    return _BETWEEN.join(" ".join(group) for group in groups.values())


def _bar(tokens: int, window: int) -> str:
    if not window:
        return ""
    full = min(_CELLS, -(-tokens * _CELLS // window))
    return "▰" * full + "▱" * (_CELLS - full)


def _clarity(status: Status) -> str:
    """The perplexity, and its word; a word alone says too little, a number alone what it is."""
    if status.perplexity is None:
        return ""
    number = f"{status.perplexity:.1f}" if status.perplexity < 100 else f"{status.perplexity:.0f}"
    return f"{status.clarity or 'perplexity'} {number}"

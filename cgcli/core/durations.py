"""Lengths of time as people type them: 90s, 10m, 2h, 1d; a number alone is seconds."""

from __future__ import annotations

import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """The seconds of a length of time. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a time such as 90s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def is_duration(text: str) -> bool:
    try:
        return duration_s(text) > 0
    except ValueError:
        return False

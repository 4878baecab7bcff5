"""Amounts as people type them: `20s`, `2GB`."""

from __future__ import annotations

import re

from cgcli.core.errors import UsageError

_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES = {"": 10**6, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
          "kib": 2**10, "mib": 2**20, "gib": 2**30}  # fmt: skip


def parse_seconds(text: str, option: str) -> float:
    """The seconds of `20`, `20s`, `1.5m` or `1h`. Raises UsageError that names the option."""
    return _parse(text, _SECONDS, f"{option} is {text!r}, not a time", f"give seconds or a unit, such as {option} 20s")


def parse_bytes(text: str, option: str) -> int:
    """The bytes of `512MB`, `2GB` or `1GiB`; a number alone is megabytes. Raises UsageError that names the option."""
    return int(_parse(text, _BYTES, f"{option} is {text!r}, not a size", f"give a size, such as {option} 2GB"))


def _parse(text: str, units: dict[str, float] | dict[str, int], message: str, hint: str) -> float:
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z]*)\s*", text)
    unit = units.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise UsageError(message, hint=hint)
    return float(found[1]) * unit

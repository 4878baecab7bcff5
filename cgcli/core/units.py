"""Amounts as people read them: bytes in decimal units, as disks are sold; times as a clock; counts with their noun."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in the largest decimal unit that leaves at least 1: 98362432 -> '98.4 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        # 999.95 would be shown as 1000.0.
        if count < 999.95:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: '1 file', '3,000 lines'."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def compact(number: float) -> str:
    """A large number in three digits: 1234567 -> '1.23 M'."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f}"

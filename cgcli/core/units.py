"""Amounts as people read them: bytes in decimal units (as the Hub and disks are sold), seconds as a clock."""

from __future__ import annotations


def size(count: float) -> str:
    """`count` bytes in the largest decimal unit that leaves a number of at least 1: 98362432 -> '98.4 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        # 999.95 would be printed as 1000.0.
        if count < 999.95:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def clock(seconds: float) -> str:
    """`seconds` as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""The format of a program's file, and the conversion of its lines to values and back.

The file is UTF-8 with a JSON object on each line; lines are only added. The first line is a `JournalHeader`:

    {"format": 1, "id": "20261123-0415", "created": "2026-11-23T04:15:02+00:00", "language": "python",
     "cgcli": "0.1.0", "prefix": "#!/usr/bin/env python3\\n\\n",
     "layout": {"mark": "#", "whole_prompt": true, "after": null}, "turns": []}

Each following line is an event with its time; applied in order to the program of the header, they give its history:

    {"time": "…", "event": "commit", "parent": 0, "operation": {"op": "add", "turn": {…}}}
    {"time": "…", "event": "point", "branch": "main", "version": 0}
    {"time": "…", "event": "run", "text": "16 hexadecimal digits", "verdict": "ran", "passed": true, …}
    {"time": "…", "event": "saved", "path": "/home/me/mean.py", "text": "16 hexadecimal digits"}
    {"time": "…", "event": "setting", "key": "temperature", "value": "0.8"}

Versions are counted from 0, the header's program; every commit makes the next one. The other operations are `put`
(index, turn, why), `drop` (index) and `move` (index, to), with turns counted from 0, and `fill` (begin, end, text,
line). The keys are the names of the fields in history.py and program.py, which explain them; times are ISO 8601 in UTC.
A byte of a program that is not UTF-8 is written as a lone surrogate (PEP 383), `\\udc80`. A key with a default may be
missing, as in a line of an older cgcli; an unknown key is an error. `format` changes when older versions could misread
what is written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cgcli.core.reading import parse_json, shown
from cgcli.core.typed import plain, typed
from cgcli.program.history import Add, Commit, Drop, Event, Fill, Move, Point, Put, Run, Saved, Setting
from cgcli.program.program import Layout, Program, Turn

FORMAT = 1

# The key that distinguishes the members of a union; its value is the class name in lower case.
_TAGS: dict[type, str] = {
    **dict.fromkeys((Commit, Point, Run, Saved, Setting), "event"),
    **dict.fromkeys((Add, Put, Drop, Move, Fill), "op"),
}


@dataclass(frozen=True)
class JournalHeader:
    """The first line: the program that the events begin with."""

    format: int
    id: str
    created: str
    language: str  # as `--lang` takes it
    cgcli: str  # the version that wrote it
    prefix: str
    layout: Layout
    turns: tuple[Turn, ...] = ()

    @property
    def program(self) -> Program:
        return Program(self.prefix, self.turns, self.layout)


@dataclass(frozen=True)
class Entry:
    """Any following line."""

    time: str
    event: Event


def line(value: JournalHeader | Entry) -> bytes:
    """A line of the file, including its end."""
    record = plain(value, _TAGS)
    if isinstance(value, Entry):
        record = {"time": value.time, **record["event"]}
    # A number that JSON does not have (an infinite perplexity) is written as in JavaScript: better than a lost turn.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def quoted(text: str) -> bytes:
    """A text as it is written in a line."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace")


def header(data: bytes) -> JournalHeader:
    """Parse the first line. Raises ValueError with a message for the user."""
    record = _object(data)
    if record.get("format") != FORMAT:
        raise ValueError(f"format is {shown(record.get('format'))}; this version of cgcli reads format {FORMAT}")
    found: JournalHeader = typed(JournalHeader, record, "header", _TAGS)
    return found


def entry(data: bytes) -> Entry:
    """Parse a following line. Raises ValueError with a message for the user."""
    record = _object(data)
    time = typed(str, record.pop("time", None), "time")
    return Entry(time, typed(Event, record, "line", _TAGS))


def _object(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = typed(dict[str, Any], parse_json(data), "line")
    return found

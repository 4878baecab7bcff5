"""A program's file: what its lines are, and lines to values and back. Where the file lies is not known here.

The file is UTF-8, a JSON object a line, only ever added to. The first line is the header, as `Header` has it:

    {"format": 1, "id": "20261123-0415", "created": "2026-11-23T04:15:02+00:00", "language": "python",
     "cgcli": "0.1.0", "prefix": "#!/usr/bin/env python3\\n\\n",
     "layout": {"mark": "#", "whole_prompt": true, "after": null}, "turns": []}

Each line after it is an event, with its time; done in order to the program of the header, they give its history:

    {"time": "…", "event": "commit", "parent": 0, "operation": {"op": "add", "turn": {…}}}
    {"time": "…", "event": "point", "branch": "main", "version": 0}
    {"time": "…", "event": "run", "text": "16 hexadecimal digits", "verdict": "ran", "passed": true, …}
    {"time": "…", "event": "saved", "path": "/home/me/mean.py", "text": "16 hexadecimal digits"}
    {"time": "…", "event": "setting", "key": "temperature", "value": "0.8"}

Versions are counted from 0, the header's own; every commit makes the next one. The other operations are `put` (index,
turn, why), `drop` (index) and `move` (index, to), with turns counted from 0. The keys are the names of the fields in
history.py and program.py, which say what they mean; times are ISO 8601 in UTC. A byte of a program that is
not UTF-8 stands as a lone surrogate (PEP 383), spelt `\\udc80`. A key that has a default may be missing, as where an
older cgcli wrote the line; a key that is not known is an error. `format` changes when what is written could be
misread by what read it before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from cgcli.core.reading import parse_json, shown
from cgcli.core.typed import tag, typed
from cgcli.program.history import Add, Commit, Drop, Event, Move, Point, Put, Run, Saved, Setting
from cgcli.program.program import Layout, Program, Turn

FORMAT = 1

# What tells members of a union apart: under which key each has the name of its class, in small letters.
_TAGS: dict[type, str] = {
    **dict.fromkeys((Commit, Point, Run, Saved, Setting), "event"),
    **dict.fromkeys((Add, Put, Drop, Move), "op"),
}


@dataclass(frozen=True)
class Header:
    """The first line. cgcli: the version that wrote it; language: as `--lang` takes it; the rest is the program that
    the events begin with."""

    format: int
    id: str
    created: str
    language: str
    cgcli: str
    prefix: str
    layout: Layout
    turns: tuple[Turn, ...] = ()

    @property
    def program(self) -> Program:
        return Program(self.prefix, self.turns, self.layout)


@dataclass(frozen=True)
class Entry:
    """Any other line."""

    time: str
    event: Event


def line(value: Header | Entry) -> bytes:
    """A line of the file, its end included."""
    record = _record(value)
    if isinstance(value, Entry):
        record = {"time": value.time, **record["event"]}
    # What is no number of JSON's (an infinite perplexity) is written as JavaScript has it: better than a lost turn.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def spelt(text: str) -> bytes:
    """A text as it stands in a line."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace")


def header(data: bytes) -> Header:
    """The first line as a value. Raises ValueError that says what is wrong with it."""
    record = _object(data)
    if record.get("format") != FORMAT:
        raise ValueError(f"format is {shown(record.get('format'))}, and this cgcli reads {FORMAT}")
    found: Header = typed(Header, record, "header", _TAGS)
    return found


def entry(data: bytes) -> Entry:
    """A later line as a value. Raises ValueError that says what is wrong with it."""
    record = _object(data)
    time = typed(str, record.pop("time", None), "time")
    return Entry(time, typed(Event, record, "line", _TAGS))


def _object(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = typed(dict[str, Any], parse_json(data), "line")
    return found


def _record(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, tuple):
        return [_record(one) for one in value]
    if not is_dataclass(value):
        return value
    tags = {_TAGS[type(value)]: tag(type(value))} if type(value) in _TAGS else {}
    return tags | {field.name: _record(getattr(value, field.name)) for field in fields(value)}

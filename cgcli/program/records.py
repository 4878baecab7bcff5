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

Versions are counted from 0, the header's own; every commit makes the next one. The other operations are `put` (index,
turn, why), `drop` (index) and `move` (index, to), with turns counted from 0. The keys are the names of the fields in
history.py, operations.py and turn.py, which say what they mean; times are ISO 8601 in UTC. A byte of a program that is
not UTF-8 stands as a lone surrogate (PEP 383), spelt `\\udc80`. A key that has a default may be missing, as where an
older cgcli wrote the line; a key that is not known is an error. `format` changes when what is written could be
misread by what read it before.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cgcli.program.history import Commit, Event, Point, Run, Saved
from cgcli.program.operations import Add, Drop, Move, Put
from cgcli.program.program import Layout, Program
from cgcli.program.turn import Turn

FORMAT = 1

# What tells members of a union apart: under which key each has the name of its class, in small letters.
_TAGS: dict[type, str] = {
    **dict.fromkeys((Commit, Point, Run, Saved), "event"),
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


def header(data: bytes) -> Header:
    """The first line as a value. Raises ValueError that says what is wrong with it."""
    record = _object(data)
    if record.get("format") != FORMAT:
        raise ValueError(f"format is {record.get('format')!r:.40}, and this cgcli reads {FORMAT}")
    found: Header = _value(Header, record, "header")
    return found


def entry(data: bytes) -> Entry:
    """A later line as a value. Raises ValueError that says what is wrong with it."""
    record = _object(data)
    time = _value(str, record.pop("time", None), "time")
    return Entry(time, _value(Event, record, "line"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    found: dict[str, Any] = _expect(value, dict, "line")
    return found


def _record(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, tuple):
        return [_record(one) for one in value]
    if not is_dataclass(value):
        return value
    tag = {_TAGS[type(value)]: _word(type(value))} if type(value) in _TAGS else {}
    return tag | {field.name: _record(getattr(value, field.name)) for field in fields(value)}


def _value(kind: Any, value: Any, name: str) -> Any:
    """The value of type `kind` that a JSON value stands for. name: of the place, for the error."""
    if type(value) is kind:
        return value
    if kind is float:
        return _expect(value, (float, int), name)
    if is_dataclass(kind):
        return _instance(kind, value, name)
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return tuple(_value(arguments[0], one, f"{name}[{at}]") for at, one in enumerate(_expect(value, list, name)))
    if get_origin(kind) is Literal:
        if value not in arguments:
            raise ValueError(f"{name} is {value!r:.40}, none of {', '.join(arguments)}")
        return value
    if isinstance(kind, UnionType):
        if value is None and NoneType in arguments:
            return None
        kinds = [one for one in arguments if one is not NoneType]
        return _value(kinds[0] if len(kinds) == 1 else _member(kinds, value, name), value, name)
    return _expect(value, kind, name)


def _instance(kind: Any, value: Any, name: str) -> Any:
    given = dict(_expect(value, dict, name))
    given.pop(_TAGS.get(kind), None)
    kinds = _kinds(kind)
    if unknown := given.keys() - kinds.keys():
        raise ValueError(f"{name} has {', '.join(sorted(unknown))}, which nobody knows")
    needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
    if missing := needed - given.keys():
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    return kind(**{key: _value(kinds[key], one, key) for key, one in given.items()})


def _member(kinds: list[Any], value: Any, name: str) -> Any:
    """Which of tagged classes a JSON value says that it is."""
    key = _TAGS[kinds[0]]
    said = _expect(value, dict, name).get(key)
    found = next((kind for kind in kinds if _word(kind) == said), None)
    if found is None:
        raise ValueError(f"{key} is {said!r:.40}, none of {', '.join(map(_word, kinds))}")
    return found


def _expect(value: Any, kind: Any, name: str) -> Any:
    """The value, if it is of exactly that type: true is no number."""
    if type(value) not in (kind if isinstance(kind, tuple) else (kind,)):
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def _word(kind: type) -> str:
    return kind.__name__.lower()


@cache
def _kinds(kind: type) -> dict[str, Any]:
    """The types of a class's fields."""
    return get_type_hints(kind)

"""Converts JSON and TOML values to dataclasses, and back: every field must be present with its type, and no other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from cgcli.core.reading import shown

_NO_TAGS: Mapping[type, str] = {}


def typed(kind: Any, value: Any, name: str, tags: Mapping[type, str] = _NO_TAGS) -> Any:
    """Convert a JSON value to type `kind`. Raises ValueError that names the fault.

    kind: a plain type, Any, Literal, tuple[X, ...], dict[str, X], a dataclass, or a union of these. name: what errors
    call the value. tags: for each dataclass of a union, the key that holds its name in lowercase. A boolean is not a
    number; an integer is accepted for a float.
    """
    arguments, origin = get_args(kind), get_origin(kind)
    if kind is Any:
        return value
    if kind is float:
        return float(_expect(value, (float, int), name))
    if is_dataclass(kind):
        return _instance(kind, value, name, tags)
    if origin is tuple:
        return tuple(
            typed(arguments[0], one, f"{name}[{at}]", tags) for at, one in enumerate(_expect(value, (list,), name))
        )
    if origin is dict:
        return {key: typed(arguments[1], one, key, tags) for key, one in _expect(value, (dict,), name).items()}
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} is {shown(value)}, none of {', '.join(arguments)}")
        return value
    if origin in (UnionType, Union):
        if value is None and NoneType in arguments:
            return None
        kinds = [one for one in arguments if one is not NoneType]
        return typed(kinds[0] if len(kinds) == 1 else _member(kinds, value, name, tags), value, name, tags)
    return _expect(value, (kind,), name)


def plain(value: Any, tags: Mapping[type, str] = _NO_TAGS) -> Any:
    """A value as JSON data, which `typed` converts back. tags: as there."""
    if isinstance(value, tuple):
        return [plain(one, tags) for one in value]
    if not is_dataclass(value):
        return value
    kind: Any = type(value)
    own = {tags[kind]: tag(kind)} if kind in tags else {}
    return own | {field.name: plain(getattr(value, field.name), tags) for field in fields(value)}


def finite(value: float, name: str) -> float:
    """Return `value`. Raises ValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    return value


def tag(kind: type) -> str:
    """The name of a class in files."""
    return kind.__name__.lower()


def _instance(kind: Any, value: Any, name: str, tags: Mapping[type, str]) -> Any:
    given = dict(_expect(value, (dict,), name))
    given.pop(tags.get(kind), None)
    kinds = _kinds(kind)
    if unknown := given.keys() - kinds.keys():
        raise ValueError(f"{name} has {', '.join(map(shown, sorted(unknown)))}, which is unknown")
    needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
    if missing := needed - given.keys():
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    return kind(**{key: typed(kinds[key], one, key, tags) for key, one in given.items()})


def _member(kinds: list[Any], value: Any, name: str, tags: Mapping[type, str]) -> Any:
    """The class that a JSON value's tag names."""
    key = tags[kinds[0]]
    said = _expect(value, (dict,), name).get(key)
    found = next((kind for kind in kinds if tag(kind) == said), None)
    if found is None:
        raise ValueError(f"{key} is {shown(said)}, none of {', '.join(map(tag, kinds))}")
    return found


def _expect(value: Any, kinds: tuple[type, ...], name: str) -> Any:
    """Return the value. Raises ValueError unless it is of exactly one of those types."""
    if type(value) not in kinds:
        raise ValueError(f"{name} is {shown(value)}")
    return value


@cache
def _kinds(kind: type) -> dict[str, Any]:
    """The types of a class's fields."""
    return get_type_hints(kind)

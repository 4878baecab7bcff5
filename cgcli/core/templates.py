"""Templates of programs, and a project's own file: `.cgcli.toml` at the root of a project.

    [templates.cli]             # in config.toml, or in a project's file
    prefix = "import argparse\\n"  # or prefix_file = "cli.py"
    temperature = 0.4           # any setting
    checks = ["main"]           # only in config.toml: checks run programs

A project's file may be anybody's. So it sets a prefix, templates and `draft_from`, all below its root, and nothing that
runs a program, loads a file as a model or says where data goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cgcli.core.config import RULES, Environment, nearest, read_settings
from cgcli.core.errors import UsageError
from cgcli.core.paths import expanded
from cgcli.core.reading import read_text, read_toml, unreadable

_SAFE = {"temperature", "top_p", "top_k", "min_p", "max_tokens", "seed", "prefix", "exact", "guard", "fold"}
"""What a template of a project may set."""

_PROJECT = {"prefix", "prefix_file", "draft_from", "templates"}
_BESIDES = ("prefix_file", "checks")  # what a template has that is no setting


@dataclass(frozen=True)
class Template:
    """What `gen -T NAME` begins with."""

    name: str
    path: Path  # of the file that has it
    settings: Mapping[str, object] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    prefix_file: Path | None = None  # whose text is the prefix, once the template is used


def load_templates(environment: Environment) -> dict[str, Template]:
    """The templates by name: those of the project, and the user's own, which take precedence. Raises UsageError."""
    found: list[Template] = []
    if path := environment.project:
        found += _templates(path, read_toml(path, UsageError).get("templates", {}), root=path.parent)
    found += _templates(environment.config_file, read_settings(environment).get("templates", {}))
    return {one.name: one for one in found}


def find_template(environment: Environment, name: str) -> Template:
    """A template, with the prefix that is in a file. Raises UsageError if there is none of this name."""
    found = load_templates(environment)
    if name not in found:
        raise UsageError(f"no template {name!r:.80}{nearest(name, found)}", hint="cgcli templates")
    one = found[name]
    if one.prefix_file is None:
        return one
    where = f"{one.path}: templates.{name}.prefix_file"
    return replace(one, settings={**one.settings, "prefix": _text(one.prefix_file, where)})


def _templates(path: Path, tables: object, *, root: Path | None = None) -> list[Template]:
    """The templates in a table of tables. root: of the project whose file it is. Raises UsageError."""
    return [_template(path, name, table, root) for name, table in _table(tables, f"{path}: templates").items()]


def _template(path: Path, name: str, table: object, root: Path | None) -> Template:
    where = f"{path}: templates.{name}"
    found: dict[str, object] = {}
    checks: tuple[str, ...] = ()
    prefix_file: Path | None = None
    allowed = {*(_SAFE if root else RULES), *(() if root else ("checks",)), "prefix_file"}
    for key, value in _table(table, where).items():
        _require(key, allowed, where, root)
        if key == "checks":
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise UsageError(f"{where}.checks is no list of Python expressions")
            checks = tuple(value)
        elif key == "prefix_file":
            prefix_file = _file(value, f"{where}.{key}", path, root)
        else:
            found[key] = RULES[key].of_value(value, f"{where}.{key}")
    return Template(name, path, found, checks, prefix_file)


def project_settings(path: Path) -> dict[str, object]:
    """The settings in a project's file. Raises UsageError for one that it may not have, or a path outside of it."""
    root = path.parent
    found: dict[str, object] = {}
    for key, value in read_toml(path, UsageError).items():
        where = f"{path}: {key}"
        _require(key, _PROJECT, str(path), root)
        if key == "prefix_file":
            found["prefix"] = _text(_file(value, where, path, root), where)
        elif key != "templates":
            found[key] = RULES[key].of_value(value, where)
    place = found.get("draft_from", "off")
    if isinstance(place, str) and place not in ("auto", "off"):
        found["draft_from"] = str(_below(root, place, f"{path}: draft_from"))
    return found


def _require(key: str, allowed: set[str], where: str, root: Path | None) -> None:
    if key in allowed:
        return
    if root and (key in RULES or key in _BESIDES):
        raise UsageError(f"{where}: a project may not set {key}", hint="set it in your own config.toml")
    known = sorted(allowed)
    raise UsageError(
        f"{where}: unknown setting {key!r:.80}{nearest(key, known)}", hint=f"use one of {', '.join(known)}"
    )


def _file(value: object, where: str, path: Path, root: Path | None) -> Path:
    """The file that a value of `path` names. Raises UsageError."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{where} is {value!r:.80}, not a file")
    return _below(root, value, where) if root else path.parent / expanded(value)


def _text(file: Path, where: str) -> str:
    try:
        return read_text(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {unreadable(file, error).message}") from error


def _below(root: Path, value: str, where: str) -> Path:
    """A path in a project. Raises UsageError if it leads out of it, also through a link."""
    try:
        path = (root / value).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise UsageError(f"{where} is {value!r:.80}, which cannot be found") from error
    if not path.is_relative_to(root.resolve()):
        raise UsageError(f"{where} is {value!r:.80}, which is outside of {root}", hint="name a file below it")
    return path


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is {value!r:.80}, not a table")
    return value

"""Names that a completion uses and nothing defines, and the imports that some of them lack.

pyflakes tells which names are undefined. It reads the whole program, so only one that parses is judged; whatever else
it raises is no verdict.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cgcli.program.imports import import_of
from cgcli.program.languages import parse_python
from cgcli.program.source import legible
from cgcli.program.statements import Lines, first_line, outer_statements

_DYNAMIC = {"exec", "globals", "locals", "vars"}
"""A program that uses one of these may define names without a statement that says so."""
_NOTEBOOK = {"display", "_", "get_ipython"}
"""Names that a notebook defines."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Loop = ast.For | ast.AsyncFor | ast.While


@dataclass(frozen=True)
class Missing:
    """A name that a text uses and nothing defines, where it does so first."""

    name: str
    at: int  # where the line begins that uses it
    statement: int  # where the statement with it begins at the text's own indentation: an import belongs there
    deferred: bool  # it is inside a function, and a later definition may come
    called_only: bool  # wherever the text uses it, it calls it
    cure: str | None  # an import statement that defines it


class Names:
    """The names that a text lacks behind the program `before`.

    Not judged: names that this program lacked already, those in annotations that nobody evaluates, those that the
    program deletes or a notebook defines, and all if the program has `exec`, `globals`, `locals`, `vars` or a star
    import.
    """

    def __init__(self, before: str) -> None:
        self._before = legible(before)

    def missing(self, text: str) -> list[Missing]:
        """The missing names in the order of the text, at most two for each: outside functions, and inside. Empty if the
        program does not parse."""
        found: dict[tuple[str, bool], Missing] = {}
        uses = self._missing_uses(text)
        lines, begin = Lines(self._before + text), len(self._before)
        statements = self._statements(text) if uses else []
        for use in uses:
            name, at = use.node.id, lines.begin(use.node.lineno) - begin
            alike = [other.how for other in uses if other.node.id == name]
            statement = max((one for one in statements if one <= at), default=-1)
            called_only = all(how == "()" for how in alike)
            cure = import_of(name, set(alike)) if statement >= 0 else None
            one = Missing(name, max(at, 0), max(statement, 0), use.place.deferred, called_only, cure)
            if (name, one.deferred) not in found:
                found[name, one.deferred] = one if self._cures(text, one, len(alike)) else replace(one, cure=None)
        return list(found.values())

    def _statements(self, text: str) -> list[int]:
        """Where the statements of the text begin, without those inside them."""
        source, begin = self._before + text, len(self._before)
        tree, lines = parse_python(source), Lines(source)
        outer = outer_statements(tree, lines.number(begin)) if tree else []
        return [lines.begin(first_line(one)) - begin for one in outer]

    def _cures(self, text: str, missing: Missing, uses: int) -> bool:
        """Whether the import defines the name, as none in a class does for its methods."""
        if not missing.cure:
            return False
        left = self._missing_uses(write_import(text, missing))
        return sum(use.node.id == missing.name for use in left) < uses

    def _missing_uses(self, text: str) -> list[_Use]:
        source, begin = self._before + text, len(self._before)
        tree = parse_python(source)
        if tree is None or _is_dynamic(tree):
            return []
        try:
            undefined = _undefined(tree)
            found = [use for use in _uses(tree, _Place()) if (use.node.lineno, use.node.col_offset) in undefined]
        except Exception:
            return []  # pyflakes stumbled, or the program is nested too deeply
        lines = Lines(source)
        places = {use: lines.position(use.node.lineno, use.node.col_offset) for use in found}
        lacked = {use.node.id for use in found if places[use] < begin} | _deleted(tree)
        return [use for use in sorted(found, key=lambda use: places[use]) if use.judged and use.node.id not in lacked]


def _is_dynamic(tree: ast.Module) -> bool:
    nodes = list(ast.walk(tree))
    stars = any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes)
    return stars or any(isinstance(node, ast.Name) and node.id in _DYNAMIC for node in nodes)


def _deleted(tree: ast.Module) -> set[str]:
    """Names that are deleted somewhere; pyflakes takes them for undefined in every function."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)}


def with_imports(before: str, text: str) -> tuple[str, tuple[str, ...]]:
    """A text with the imports that it lacks, each directly before the statement that needs it, and these imports."""
    names, written = Names(before), []
    while cured := next((one for one in names.missing(text) if one.cure), None):
        text = write_import(text, cured)
        written.append(cured.cure or "")
    return text, tuple(written)


def write_import(text: str, missing: Missing) -> str:
    """The text with the import that defines a name, on a line of its own with the indentation of its statement."""
    head, tail = text[: missing.statement], text[missing.statement :]
    indent = tail[: len(tail) - len(tail.lstrip(" \t\f"))]
    return f"{head}{indent}{missing.cure}\n{tail}"


def _undefined(tree: ast.Module) -> set[tuple[int, int]]:
    """The line and column of each undefined name."""
    from pyflakes.checker import Checker  # only a program with code needs it
    from pyflakes.messages import UndefinedName

    found = Checker(tree, withDoctest=False).messages
    return {(message.lineno, message.col) for message in found if isinstance(message, UndefinedName)}


@dataclass(frozen=True)
class _Place:
    """What surrounds an expression."""

    deferred: bool = False  # it runs when a function is called
    in_function: bool = False  # the nearest scope is a function's
    evaluated: bool = True
    annotates: bool = False
    lazy_annotations: bool = False  # of the whole program
    bound: frozenset[str] = frozenset()  # by the loops around it: their first pass defines what a later one uses


@dataclass(frozen=True, eq=False)
class _Use:
    """A name where it is read."""

    node: ast.Name
    how: str  # as `import_of` takes it
    place: _Place

    @property
    def judged(self) -> bool:
        name = self.node.id
        return self.place.evaluated and name not in _NOTEBOOK and name not in self.place.bound


def _uses(node: ast.AST, place: _Place, how: str = "") -> Iterator[_Use]:
    """The names that a program reads."""
    if isinstance(node, ast.Name):
        yield _Use(node, how or ":" * place.annotates, place)
        return
    if isinstance(node, ast.Module):
        lazy = any(_postpones_annotations(one) for one in node.body)
        place = replace(place, lazy_annotations=lazy)
    if isinstance(node, _Loop):
        place = replace(place, bound=place.bound | _bound(node))
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _uses(child, _inside(node, field, place), _how(node, field))


def _inside(node: ast.AST, field: str, place: _Place) -> _Place:
    """The place of a field of a node at `place`."""
    if isinstance(node, _Function | ast.Lambda) and field == "body":
        return replace(place, deferred=True, in_function=True, bound=frozenset())
    if isinstance(node, ast.ClassDef) and field == "body":
        return replace(place, in_function=False, bound=frozenset())
    if field in ("annotation", "returns"):
        local = isinstance(node, ast.AnnAssign) and place.in_function
        evaluated = place.evaluated and not (local or place.lazy_annotations)
        return replace(place, annotates=True, evaluated=evaluated)
    return place


def _how(node: ast.AST, field: str) -> str:
    """How a name that is this field of the node is used."""
    if isinstance(node, ast.Attribute):
        return f".{node.attr}"
    if isinstance(node, ast.Subscript) and field == "value":
        return "[]"
    called = isinstance(node, ast.Call) and field == "func"
    return "()" if called or field in ("decorator_list", "bases") else ""


def _postpones_annotations(statement: ast.stmt) -> bool:
    is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    return is_future and any(alias.name == "annotations" for alias in statement.names)  # type: ignore[attr-defined]


def _bound(loop: ast.AST) -> set[str]:
    """The names that the statements in a loop assign."""
    found: set[str] = set()
    todo = [loop]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, _Function | ast.ClassDef):
            found.add(node.name)
            continue
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        targets = [node.target] if isinstance(node, ast.AugAssign) else []
        todo += [child for child in ast.iter_child_nodes(node) if child not in targets]
    return found

"""Languages: their comment marks, prefixes and stop rules. Python is also parsed, to find errors and unused code."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.program.source import encode
from cgcli.program.truncate import BLANK_LINES, CODEGEN, Rules

if TYPE_CHECKING:
    from cgcli.program.program import Program


class Language(NamedTuple):
    """A programming language."""

    name: str  # as `--lang` takes it
    mark: str  # makes the rest of a line a comment
    suffixes: tuple[str, ...]  # of its files
    prefix: str = ""  # of a new program
    rules: Rules = BLANK_LINES  # end a completion


PYTHON = Language("python", "#", (".py", ".pyi", ".pyw"), "#!/usr/bin/env python3\n\n", CODEGEN)

LANGUAGES = (
    PYTHON,
    Language("c", "//", (".c", ".h")),
    Language("cpp", "//", (".cc", ".cpp", ".cxx", ".hh", ".hpp")),
    Language("csharp", "//", (".cs",)),
    Language("go", "//", (".go",)),
    Language("haskell", "--", (".hs",)),
    Language("java", "//", (".java",)),
    Language("javascript", "//", (".js", ".mjs", ".cjs", ".jsx")),
    Language("julia", "#", (".jl",)),
    Language("kotlin", "//", (".kt", ".kts")),
    Language("lua", "--", (".lua",)),
    Language("perl", "#", (".pl", ".pm")),
    Language("php", "//", (".php",)),
    Language("r", "#", (".r", ".R")),
    Language("ruby", "#", (".rb",)),
    Language("rust", "//", (".rs",)),
    Language("scala", "//", (".scala",)),
    Language("shell", "#", (".sh", ".bash", ".zsh")),
    Language("sql", "--", (".sql",)),
    Language("swift", "//", (".swift",)),
    Language("typescript", "//", (".ts", ".tsx")),
    Language("verilog", "//", (".v", ".sv")),
)


def language(name: str) -> Language:
    """The language with this name or file suffix. Raises UsageError with the nearest name."""
    wanted = name.lower()
    for known in LANGUAGES:
        if wanted == known.name or f".{wanted.lstrip('.')}" in known.suffixes:
            return known
    names = [known.name for known in LANGUAGES]
    raise UsageError(f"unknown language {name!r}{nearest(wanted, names)}", hint=f"choose one of: {', '.join(names)}")


def language_of(path: PurePath) -> Language:
    """The language of a file by its suffix; Python if the suffix is unknown."""
    return next((known for known in LANGUAGES if path.suffix in known.suffixes), PYTHON)


def is_known(path: PurePath) -> bool:
    """Whether the suffix of a file is that of a language."""
    return any(path.suffix.lower() in known.suffixes for known in LANGUAGES)


def parse_python(text: str) -> ast.Module | None:
    """The syntax tree of a text, read as the bytes of a file; None if it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in strings
            return ast.parse(encode(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AugAssign,
         ast.For, ast.While, ast.If, ast.With, ast.Return)  # fmt: skip


def looks_like_code(prompt: str) -> bool:
    """Whether a prompt is Python rather than words: a statement or its head, such as `def f(x):`, or a call."""
    tree = parse_python(prompt) or parse_python(prompt + "\n    pass")
    first = tree.body[0] if tree and tree.body else None
    return isinstance(first, _CODE) or (isinstance(first, ast.Expr) and isinstance(first.value, ast.Call))


def broken_turn(program: Program) -> int | None:
    """The index of the first turn with which a Python program does not parse; None also if its prefix does not."""
    if parse_python(program.prefix) is None:
        return None
    text = program.source()
    return next((i for i, span in enumerate(program.spans()) if parse_python(text[: span.end]) is None), None)


_DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "getattr", "__import__"}
"""Code that uses one of these may call functions without naming them."""
_LISTED = 3  # names in a message
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def uncalled(text: str, checks: Sequence[str] = ()) -> list[str]:
    """The top-level functions and classes of a Python program that are never used, in their order.

    Leaves out those that another unused one uses, and decorated ones, which the decorator may call. checks: expressions
    that are evaluated at the end. Empty if the text is not Python.
    """
    program, *ends = (parse_python(part) for part in (text, *checks))
    if program is None:
        return []
    own = {node.name: node for node in program.body if isinstance(node, _Definition) and not node.decorator_list}
    reads = {name: _names([node]) for name, node in own.items()}
    used = _names([node for node in program.body if node not in own.values()] + [end for end in ends if end])
    if _DYNAMIC & used.union(*reads.values()):
        return []
    waiting = [*used]
    while waiting:
        new = reads.get(waiting.pop(), set()) - used
        used |= new
        waiting += new
    unused = [name for name in own if name not in used]
    first = [name for name in unused if not any(name in reads[other] for other in unused if other != name)]
    return first or unused[:1]  # these call each other


def never_called(text: str, checks: Sequence[str] = ()) -> str:
    """A message about the definitions that `uncalled` finds; "" if it finds none."""
    names = uncalled(text, checks)
    listed = names[:_LISTED] + ([f"{len(names) - _LISTED} more"] if len(names) > _LISTED else [])
    if not listed:
        return ""
    *others, last = listed
    named = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"{named} defined and never called"


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that these nodes read."""
    read = (one for node in nodes for one in ast.walk(node) if isinstance(one, ast.Name))
    return {name.id for name in read if isinstance(name.ctx, ast.Load)}

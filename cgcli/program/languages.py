"""What cgcli must know of a language: its comment mark, how a program in it starts, where a completion of it ends."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from cgcli.core.errors import UsageError
from cgcli.program.program import Program
from cgcli.program.source import encode
from cgcli.program.truncate import BLANK_LINES, CODEGEN, Rules


@dataclass(frozen=True)
class Language:
    """name as `--lang` takes it; suffixes of its files; mark that makes the rest of a line a comment."""

    name: str
    mark: str
    suffixes: tuple[str, ...]
    prefix: str = ""
    rules: Rules = BLANK_LINES


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
    """The language called `name`, or whose files end in it. Raises UsageError with the nearest name."""
    wanted = name.lower()
    for known in LANGUAGES:
        if wanted == known.name or f".{wanted.lstrip('.')}" in known.suffixes:
            return known
    names = [known.name for known in LANGUAGES]
    near = difflib.get_close_matches(wanted, names, n=1)
    raise UsageError(f"no language {name!r}", hint=f"--lang {near[0]}" if near else f"one of: {', '.join(names)}")


def language_of(path: PurePath) -> Language:
    """The language of a file by its suffix; Python where that says nothing."""
    return next((known for known in LANGUAGES if path.suffix in known.suffixes), PYTHON)


def parse_python(text: str) -> ast.Module | None:
    """Its syntax tree, of its bytes as Python reads them in a file; None where it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in a string is not ours to tell
            return ast.parse(encode(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def broken_turn(program: Program) -> int | None:
    """The first turn with which a Python program no longer parses; None also where what is before them does not."""
    if parse_python(program.prefix) is None:
        return None
    text = program.source()
    return next((i for i, span in enumerate(program.spans()) if parse_python(text[: span.end]) is None), None)


_DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "getattr", "__import__"}
"""Who uses one of these may call what no text shows."""
_LISTED = 3  # names
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def uncalled(text: str, checks: Sequence[str] = ()) -> list[str]:
    """The functions and classes of a Python program that are defined and never used, in their order.

    Only those at the top level, and none that another one of them uses. checks: expressions that are evaluated at its
    end. What is decorated may be called by whoever decorates it. None where the text is not Python.
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
    """A line for a person about what `uncalled` found; "" where that is nothing."""
    names = uncalled(text, checks)
    listed = names[:_LISTED] + ([f"{len(names) - _LISTED} more"] if len(names) > _LISTED else [])
    if not listed:
        return ""
    *others, last = listed
    named = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"{named} defined and never called"


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that is read in these."""
    read = (one for node in nodes for one in ast.walk(node) if isinstance(one, ast.Name))
    return {name.id for name in read if isinstance(name.ctx, ast.Load)}

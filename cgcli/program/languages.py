"""What cgcli must know of a language: its comment mark, how a program in it starts, where a completion of it ends."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import PurePath

from cgcli.core.errors import UsageError
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

"""Whether a program failed for want of something that it does not get where it runs, rather than by its own fault.

The class of the exception and the line that raised it tell: `input()` without input, a file that the sandbox hides, a
package that is not installed. That line may be right all the same, so nobody should write it anew. This helps with
honest programs only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cgcli.sandbox.policy import Policy
from cgcli.sandbox.risks import risks, written_paths
from cgcli.sandbox.verdict import Verdict

Lack = Literal["input", "arguments", "file", "package", "network", "display", "permission", "time"]
"""What a program lacked. permission: for a file or a system call; time: it was asleep when its time was over."""

#: The path in the message of an OSError.
_PATH = re.compile(r"\] [\w -]+: (?P<path>'[^']*'|\"[^\"]*\")")
#: Messages of programs without a network: socket refused, host name not resolved, network unreachable.
_UNREACHED = re.compile(r"^PermissionError: \[Errno 1\] [\w ]+(, line|$)|urlopen error|name resolution|\[Errno 101\]")
#: Errors without a display or a terminal, and imports of Tk where it is not installed.
_DISPLAY = re.compile(
    r"^_?(tkinter|turtle|curses|termios)\.|\[Errno 25\]|No module named '_?(tkinter|curses)'|lib(tk|tcl)\d"
)
_MODULE = re.compile(r"No module named '([^']+)'")
_READS_INPUT = re.compile(r"\b(input|getpass|stdin|fileinput)\b")
_READS_STDIN = re.compile(r"\b(stdin|fileinput)\b")  # where the end of input is an empty text, not an EOFError
_AWAKE = 0.1  # share of the elapsed time that a program computes which is not asleep, on a busy machine too
_ARGPARSE_STATUS = 2


def lack(verdict: Verdict, source: bytes, policy: Policy) -> Lack | None:
    """What a program that failed did not get; None if it passed, or if the failure seems to be its own."""
    detail, kind = verdict.detail, verdict.detail.partition(":")[0]
    if verdict.outcome == "wall time":
        return "time" if verdict.cpu_s < _AWAKE * verdict.wall_s else None
    if verdict.outcome not in {"exception", "denied", "exit"}:
        return None
    place = _Place.of(source, verdict.line)
    if verdict.outcome == "exit":
        left_by_parser = verdict.status == _ARGPARSE_STATUS and re.search(r"\.parse_(known_)?args\(", place.statement)
        return "arguments" if left_by_parser or any("argv" in test for test in place.conditions) else None
    if kind == "EOFError" and _READS_INPUT.search(place.statement):
        return "input"
    if kind in {"IndexError", "ValueError"}:
        if "argv" in place.statement:
            return "arguments"
        return "input" if _READS_STDIN.search(place.statement) else None
    if _DISPLAY.search(detail):
        return "display"
    if kind == "ModuleNotFoundError":
        found = _MODULE.search(detail)
        return "package" if found and found[1] not in sys.stdlib_module_names and "." not in found[1] else None
    if policy.unsafe:
        return None
    if not policy.network and _UNREACHED.search(detail) and _reaches_out(source):
        return "network"
    if kind == "FileNotFoundError":
        return "file" if hidden(detail, policy) or _path(detail) not in written_paths(source) else None
    return "permission" if verdict.outcome == "denied" else None


def hidden(detail: str, policy: Policy) -> tuple[str, str] | None:
    """The existing path of the user that a program did not find, and the option that opens it."""
    try:
        path = Path(_path(detail) or "/")
        if path.is_absolute() and not any(path.is_relative_to(own) for own in (Path.cwd(), Path.home())):
            return None  # do not suggest to open system files
        opened = {one.absolute() for one in (*policy.read, *policy.write)}
        for one, flag in ((path, "--read"), (path.parent, "--write")):
            if one.exists() and one.absolute() != Path.cwd() and not opened & {one.absolute(), *one.absolute().parents}:
                return str(one), flag
    except (OSError, ValueError, RuntimeError):
        pass
    return None


def names_a_file(detail: str) -> bool:
    """Whether the message of an OSError contains a path."""
    return _PATH.search(detail) is not None


def _path(detail: str) -> str | None:
    found = _PATH.search(detail)
    try:
        return str(ast.literal_eval(found["path"])) if found else None
    except (ValueError, SyntaxError):
        return None


def _reaches_out(source: bytes) -> bool:
    return any(risk.what.startswith("uses the network") for risk in risks(source))


class _Place:
    """Where a program was left."""

    def __init__(self, statement: str, conditions: tuple[str, ...]) -> None:
        self.statement = statement  # the innermost statement; of a compound one, the line alone
        self.conditions = conditions  # the tests of each `if` around it

    @classmethod
    def of(cls, source: bytes, line: int) -> _Place:
        try:
            text = source.decode("utf-8", "replace")
            around = list(_around(ast.parse(source), line))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return cls("", ())
        lines = text.split("\n")
        if not around or not 0 < line <= len(lines):
            return cls("", ())
        inner = around[-1]
        whole = not hasattr(inner, "body")
        statement = lines[inner.lineno - 1 : inner.end_lineno] if whole else lines[line - 1 : line]
        tests = (ast.unparse(one.test) for one in around if isinstance(one, ast.If))
        return cls("\n".join(statement), tuple(tests))


def _around(tree: ast.AST, line: int) -> Iterator[ast.stmt]:
    """The statements that contain a line, from the outermost to the innermost."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            yield node

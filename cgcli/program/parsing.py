"""What Python itself says of a text without running it: whether it is Python, and what in it nobody calls."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Sequence

from cgcli.program.program import Program, encode


def parsed(text: str) -> ast.Module | None:
    """Its syntax tree, of its bytes as Python reads them in a file; None where it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in a string is not ours to tell
            return ast.parse(encode(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def broken_turn(program: Program) -> int | None:
    """The first turn with which a Python program no longer parses; None also where what is before them does not."""
    if parsed(program.prefix) is None:
        return None
    text = program.source()
    return next((i for i, span in enumerate(program.spans()) if parsed(text[: span.end]) is None), None)


_DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "getattr", "__import__"}
"""Who uses one of these may call what no text shows."""
_LISTED = 3  # names
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def uncalled(text: str, checks: Sequence[str] = ()) -> list[str]:
    """The functions and classes of a Python program that are defined and never used, in their order.

    Only those at the top level, and none that another one of them uses. checks: expressions that are evaluated at its
    end. What is decorated may be called by whoever decorates it. None where the text is not Python.
    """
    program, *ends = (parsed(part) for part in (text, *checks))
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

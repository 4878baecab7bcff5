"""What a person can do where it was the sandbox, and not the program, that made a program fail."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from cgcli.sandbox.policy import Policy
from cgcli.sandbox.users import becomes_another
from cgcli.sandbox.verdict import Verdict
from cgcli.terminal.text import visible

_PATH = re.compile(r"\] [\w -]+: (?P<path>'[^']*'|\"[^\"]*\")")
"""In the words of an OSError that names a file."""
_UNREACHED = re.compile(r"^PermissionError: \[Errno 1\] [\w ]+(, line|$)|urlopen error|name resolution|\[Errno 101\]")
"""In the words of what meets no network: a socket not made, a name not found, a network not there."""
_NO_UNIX_SOCKETS = b"[Errno 94]"
"""ESOCKTNOSUPPORT in a traceback, its own or a child's: multiprocessing's managers say no more than EOFError."""


def sandbox_hint(verdict: Verdict, policy: Policy, risks: Sequence[str] = (), *, command: str = "") -> str | None:
    """What to do about a failure that the sandbox or its limits explain; None where they do not.

    risks: what the program's text shows that it does. command: how the program is run with an option, as
    `cgcli run {} FILE.py`; "" where the user gave the options, and can give others.
    """

    def option(words: str, verb: str = "open it") -> str:
        return f"{verb}: {command.format(words)}" if command else f"{verb} with {words}"

    kind = verdict.detail.partition(":")[0]
    if verdict.outcome in {"cpu time", "wall time"}:
        return option("--time SECONDS", "more")
    if verdict.outcome == "memory":
        return option("--memory MB", "more")
    if policy.unsafe:
        return None
    if not policy.unix_sockets and _NO_UNIX_SOCKETS in verdict.stderr:
        why = "they could reach services of this machine"
        return f"with a folder in --read or --write, or with --allow-net, it gets no Unix sockets: {why}"
    reaches_out = not policy.network and any(what.startswith("uses the network") for what in risks)
    if verdict.outcome in {"denied", "exception"} and reaches_out and _UNREACHED.search(verdict.detail):
        return f"the sandbox has no network; {option('--allow-net')}"
    if kind == "FileNotFoundError":
        if hidden := _hidden(verdict.detail, policy):
            path, flag = hidden
            shown = visible(shlex.quote(path))
            return f"{visible(path)} is there, but the sandbox hides it; {option(f'{flag} {shown}')}"
        return f"the sandbox shows it no files of yours; {option('--read PATH, or --write PATH', 'open some')}"
    if kind == "ModuleNotFoundError":
        return "the sandbox has the standard library, numpy and pandas"
    if verdict.outcome == "denied":
        if (policy.read or policy.write) and becomes_another():
            return "run by root it is another user: chmod what it needs, or be no root"
        names_a_file = _PATH.search(verdict.detail)
        needed = "--read PATH or --write PATH" if names_a_file else "--read PATH, --write PATH, --allow-net"
        return option(needed, "open what it needs")
    return None


def _hidden(detail: str, policy: Policy) -> tuple[str, str] | None:
    """The user's file or folder that a program looked for in vain, and the option that opens it."""
    found = _PATH.search(detail)
    if not found:
        return None
    try:
        path = Path(ast.literal_eval(found["path"]))
        if path.is_absolute() and not any(path.is_relative_to(own) for own in (Path.cwd(), Path.home())):
            return None  # nothing to open lightly
        opened = {one.absolute() for one in (*policy.read, *policy.write)}
        for one, flag in ((path, "--read"), (path.parent, "--write")):
            if one.exists() and one.absolute() != Path.cwd() and not opened & {one.absolute(), *one.absolute().parents}:
                return str(one), flag
    except (OSError, ValueError, SyntaxError, RuntimeError):
        pass
    return None

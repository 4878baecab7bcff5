"""Hints for failures that the sandbox caused, not the program: which option to add."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from cgcli.sandbox.policy import Policy
from cgcli.sandbox.users import runs_as_another_user
from cgcli.sandbox.verdict import Verdict
from cgcli.terminal.text import visible

#: The path in the message of an OSError.
_PATH = re.compile(r"\] [\w -]+: (?P<path>'[^']*'|\"[^\"]*\")")
#: Messages of programs without a network: socket refused, host name not resolved, network unreachable.
_UNREACHED = re.compile(r"^PermissionError: \[Errno 1\] [\w ]+(, line|$)|urlopen error|name resolution|\[Errno 101\]")
#: ESOCKTNOSUPPORT in a traceback of the program or a child; multiprocessing's managers themselves only raise EOFError.
_NO_UNIX_SOCKETS = b"[Errno 94]"


def sandbox_hint(verdict: Verdict, policy: Policy, risks: Sequence[str] = (), *, command: str = "") -> str | None:
    """Return the hint for a failure that the sandbox or its limits explain, else None.

    `risks` are the descriptions that `risks.risks` found in the program. `command` shows how to run the program with an
    option, e.g. `cgcli run {} FILE.py`; "" if the user typed the options and can add one.
    """

    def option(words: str, verb: str) -> str:
        return f"{verb}: {command.format(words)}" if command else f"{verb} with {words}"

    kind = verdict.detail.partition(":")[0]
    if verdict.outcome in {"cpu time", "wall time"}:
        return option("--time SECONDS", "raise the limit")
    if verdict.outcome == "memory":
        return option("--memory MB", "raise the limit")
    if policy.unsafe:
        return None
    if not policy.unix_sockets and _NO_UNIX_SOCKETS in verdict.stderr:
        return "--allow-net and folders in --read or --write disable Unix sockets; run it without these options"
    reaches_out = not policy.network and any(what.startswith("uses the network") for what in risks)
    if verdict.outcome in {"denied", "exception"} and reaches_out and _UNREACHED.search(verdict.detail):
        return f"the sandbox has no network; {option('--allow-net', 'allow it')}"
    if kind == "FileNotFoundError":
        if hidden := _hidden(verdict.detail, policy):
            path, flag = hidden
            shown = visible(shlex.quote(path))
            return f"{visible(path)} exists, but the sandbox hides it; {option(f'{flag} {shown}', 'open it')}"
        return f"the sandbox hides your files; {option('--read PATH or --write PATH', 'open some')}"
    if kind == "ModuleNotFoundError":
        return "programs in the sandbox can import the standard library, numpy and pandas"
    if verdict.outcome == "denied":
        if (policy.read or policy.write) and runs_as_another_user():
            return "under root the program runs as another user: chmod the files it needs, or run as a normal user"
        names_a_file = _PATH.search(verdict.detail)
        needed = "--read PATH or --write PATH" if names_a_file else "--read PATH, --write PATH or --allow-net"
        return option(needed, "open what it needs")
    return None


def _hidden(detail: str, policy: Policy) -> tuple[str, str] | None:
    """The existing path of the user that a program did not find, and the option that opens it."""
    found = _PATH.search(detail)
    if not found:
        return None
    try:
        path = Path(ast.literal_eval(found["path"]))
        if path.is_absolute() and not any(path.is_relative_to(own) for own in (Path.cwd(), Path.home())):
            return None  # do not suggest to open system files
        opened = {one.absolute() for one in (*policy.read, *policy.write)}
        for one, flag in ((path, "--read"), (path.parent, "--write")):
            if one.exists() and one.absolute() != Path.cwd() and not opened & {one.absolute(), *one.absolute().parents}:
                return str(one), flag
    except (OSError, ValueError, SyntaxError, RuntimeError):
        pass
    return None

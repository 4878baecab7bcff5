"""Hints for failures that the sandbox caused, not the program: which option to add."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from cgcli.sandbox.lack import Lack, hidden, lack, names_a_file
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.root import runs_as_another_user
from cgcli.sandbox.verdict import Verdict
from cgcli.terminal.text import visible

#: ESOCKTNOSUPPORT in a traceback of the program or a child; multiprocessing's managers themselves only raise EOFError.
_NO_UNIX_SOCKETS = b"[Errno 94]"
_WORDS: dict[Lack, str] = {
    "input": "the program reads input, and there was no more",
    "arguments": "the program needs arguments",
    "file": "the sandbox hides your files",
    "package": "programs in the sandbox can import the standard library, numpy and pandas",
    "network": "the sandbox has no network",
    "display": "the sandbox has no display and no terminal",
    "permission": "the sandbox does not allow it",
    "time": "the program was waiting when its time was over",
}
_WORDS_UNSAFE = _WORDS | {"package": "the package is not installed", "display": "there is no display or no terminal"}


def lack_words(lacked: Lack, policy: Policy) -> str:
    """What a program lacked, for the user."""
    return (_WORDS_UNSAFE if policy.unsafe else _WORDS)[lacked]


def sandbox_hint(
    verdict: Verdict,
    policy: Policy,
    source: bytes,
    *,
    command: str = "",
    opening: Callable[[str], str] | None = None,
) -> str | None:
    """Return the hint for a failure that the sandbox or its limits explain, else None.

    `command` shows how to run the program with an option, e.g. `cgcli run {} FILE.py`; "" if the user typed the options
    and can add one. `opening` does so for --read and --write, if these can be had otherwise.
    """

    def option(words: str, verb: str) -> str:
        return f"{verb}: {command.format(words)}" if command else f"{verb} with {words}"

    def open_files(words: str, verb: str) -> str:
        return f"{verb}: {opening(words)}" if opening else option(words, verb)

    if verdict.outcome in {"cpu time", "wall time"}:
        return option("--time TIME", "raise the limit")
    if verdict.outcome == "memory":
        return option("--memory SIZE", "raise the limit")
    if not policy.unsafe and not policy.unix_sockets and _NO_UNIX_SOCKETS in verdict.stderr:
        return "--allow-net and folders in --read or --write disable Unix sockets; run it without these options"
    lacked = lack(verdict, source, policy)
    if lacked is None:
        return None
    words = lack_words(lacked, policy)
    match lacked:
        case "input" | "arguments" if command:
            plain = " ".join(command.format("--unsafe" * policy.unsafe).split())
            return f"{words}; run it: {plain}{' ARGUMENTS' * (lacked == 'arguments')}"
        case "network":
            return f"{words}; {option('--allow-net', 'allow it')}"
        case "file":
            if found := hidden(verdict.detail, policy):
                path, flag = found
                shown = visible(shlex.quote(path))
                return f"{visible(path)} exists, but the sandbox hides it; {open_files(f'{flag} {shown}', 'open it')}"
            return f"{words}; {open_files('--read PATH or --write PATH', 'open some')}"
        case "permission":
            if (policy.read or policy.write) and runs_as_another_user():
                return "under root the program runs as another user: chmod the files it needs, or run as a normal user"
            if opening or names_a_file(verdict.detail):
                return open_files("--read PATH or --write PATH", "open what it needs")
            return option("--read PATH, --write PATH or --allow-net", "open what it needs")
    return words

"""The clipboard: of the terminal, by its escape sequence OSC 52, or else of a program that has one.

A terminal does not answer, so nobody knows whether it took the text. What is copied cannot drive a terminal, neither on
the way, since OSC 52 carries base64, nor when it is pasted: control characters other than tabs and line ends are left
out.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cgcli.core.errors import CgcliError

_PROGRAMS = (
    (("wl-copy",), "WAYLAND_DISPLAY"),
    (("xclip", "-selection", "clipboard"), "DISPLAY"),
    (("xsel", "--clipboard", "--input"), "DISPLAY"),
    (("pbcopy",), ""),
    (("clip.exe",), ""),  # Windows, from its Linux
)
"""Commands that read what to copy, and the variable without which they cannot."""

_WITHOUT = {"", "dumb", "linux"}  # terminals (TERM) that have no clipboard
_MOST = 74_994  # bytes in a sequence: what terminals take; source: github.com/chromium/hterm, osc52.md
_PATIENCE_S = 5
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
_PASTED = {code: None for code in _CONTROLS if chr(code) not in "\t\n"}


@dataclass(frozen=True)
class Clipboard:
    """Where to copy to."""

    name: str  # for the user
    copy: Callable[[str], None]  # raises CgcliError


def find_clipboard(variables: Mapping[str, str], write: Callable[[bytes], object] | None) -> Clipboard:
    """The clipboard to use. write: writes to a terminal; None if there is none. Raises CgcliError if there is none."""
    program = next(
        (command for command, needs in _PROGRAMS if (not needs or variables.get(needs)) and shutil.which(command[0])),
        None,
    )
    if write is not None and variables.get("TERM", "") not in _WITHOUT:
        return Clipboard("the terminal's clipboard", lambda text: _send(text, write, program))
    if program is None:
        raise CgcliError("there is no clipboard here", hint="install wl-clipboard, xclip or xsel")
    return Clipboard(program[0], lambda text: _run(text, program))


def pasteable(text: str) -> str:
    """The text without what could drive a terminal when it is pasted."""
    return text.replace("\r\n", "\n").translate(_PASTED)


def _send(text: str, write: Callable[[bytes], object], program: tuple[str, ...] | None) -> None:
    packed = base64.b64encode(pasteable(text).encode("utf-8", "replace"))
    if len(packed) <= _MOST:
        write(b"\x1b]52;c;" + packed + b"\x07")
    elif program:
        _run(text, program)
    else:
        raise CgcliError(f"not copied: the text is too long for a terminal's clipboard, {len(text)} characters")


def _run(text: str, program: tuple[str, ...]) -> None:
    text = pasteable(text)
    data = text.encode("utf-16", "replace") if program[0] == "clip.exe" else text.encode("utf-8", "replace")
    quiet = subprocess.DEVNULL  # some stay behind to serve the text, and would keep a pipe open
    try:
        subprocess.run(program, input=data, stdout=quiet, stderr=quiet, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise CgcliError(f"not copied: {program[0]} failed") from error

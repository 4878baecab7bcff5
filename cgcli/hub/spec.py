"""What a user may name on a command line: `NAME[:QUANT]`, or a place on the Hub, `hf:OWNER/REPO[/FILE.gguf]`.

Only words are parsed here; nothing is looked up.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from cgcli.core.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_HUB = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?P<file>/[^@:]+)?(?:@(?P<revision>[^@:]+))?(?::(?P<quant>[^@:/]+))?")
_PLAIN = re.compile(r"(?P<name>[^@:/]+)(?:@(?P<revision>[^@:]+))?(?::(?P<quant>[^@:/]+))?")


@dataclass(frozen=True)
class Spec:
    """`name` is the store's name for it; `repo` and `file` are set for a place on the Hub only."""

    name: str
    quant: str | None = None
    revision: str | None = None
    repo: str | None = None
    file: str | None = None

    @property
    def source(self) -> str:
        """The place on the Hub, as it was written, without revision and quant; the name where there is none."""
        if self.repo is None:
            return self.name
        return f"hf:{self.repo}/{self.file}" if self.file else f"hf:{self.repo}"


def check_name(name: str, *, hint: str | None = None) -> str:
    """The name itself if it can be a folder of the store, whatever the file system; raises UsageError."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name!r} cannot be a model's name",
            hint=hint or "use small letters, digits, dots, dashes and underscores",
        )
    return name


def parse_spec(text: str, name: str | None = None) -> Spec:
    """`NAME[@REVISION][:QUANT]` or `hf:OWNER/REPO[/FILE.gguf][@REVISION][:QUANT]`; names and quants in any case.

    name: the store's name for a place on the Hub, where it is not to be the place's last part in small letters,
    without `.gguf`. Raises UsageError.
    """
    match = _HUB.fullmatch(text) if text.startswith("hf:") else _PLAIN.fullmatch(text)
    if match is None:
        if text.startswith((".", "/", "~")):
            raise UsageError(f"{text!r} names no model", hint="cgcli models add FILE.gguf --name NAME")
        if _HUB.fullmatch(f"hf:{text}"):
            raise UsageError(f"{text!r} names no model", hint=f"cgcli pull hf:{text}")
        raise UsageError(
            f"{text!r} names no model",
            hint="write NAME[:QUANT], hf:OWNER/REPO[@REVISION][:QUANT] or hf:OWNER/REPO/FILE.gguf",
        )
    parts = match.groupdict()
    quant = parts["quant"].lower() if parts["quant"] else None
    if "name" in parts:
        return Spec(check_name(parts["name"].lower()), quant, parts["revision"])
    file = parts["file"][1:] if parts["file"] else None
    if file is not None and (not file.lower().endswith(".gguf") or ".." in PurePosixPath(file).parts):
        raise UsageError(f"{text!r}: only a .gguf file can be pulled by itself", hint=f"cgcli pull hf:{parts['repo']}")
    if file is not None and quant is not None:
        raise UsageError(f"{text!r}: a ready GGUF is stored as it is", hint=f"cgcli pull {text.rpartition(':')[0]}")
    if name is None:
        last = PurePosixPath(file).stem if file else parts["repo"].partition("/")[2]
        called = check_name(last.lower(), hint=f"cgcli pull {shlex.quote(text)} --name NAME")
    else:
        called = check_name(name.lower())
    return Spec(called, quant, parts["revision"], parts["repo"], file)

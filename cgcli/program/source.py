"""A program's source text: to and from the bytes of a file, and taken apart into the turns that it was written in.

`split` is the inverse of `Program.source`. A comment that begins at column 0 after a blank line, or at the start of the
text, is a prompt; what follows it up to the next one is its code. What comes before the first is the prefix, a comment
that begins with an interpreter line (`#!`) included. Nothing here parses a language: such a comment inside a string of
several lines is a prompt, too.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

_BOM = re.compile(rb"\A(?:\xef\xbb\xbf)+")


def digest(text: str) -> str:
    """What a text is known by in facts and journals: 16 hexadecimal digits."""
    return hashlib.blake2b(encode(text), digest_size=8).hexdigest()


def encode(text: str) -> bytes:
    """The bytes of a program; those that were not UTF-8 when it was read come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The text of a program's bytes; what is not UTF-8 is kept, unseen."""
    return data.decode("utf-8", "surrogateescape")


def from_file(data: bytes) -> str:
    """The text of a file: LF ends its lines, and a byte order mark is no part of it."""
    return decode(re.sub(rb"\r+\n", b"\n", _BOM.sub(b"", data)))


def for_file(text: str, before: bytes = b"") -> bytes:
    """The bytes of `text` for a file that held `before`: with the byte order mark and the line ends of that.

    The first lines stay as they were, byte for byte, as far as they are the same: line ends may be mixed.
    """
    newline, mark = newline_of(before), _BOM.match(before)
    there, then, now = _BOM.sub(b"", before).split(b"\n"), from_file(before).split("\n"), text.split("\n")
    whole = min(len(then), len(now)) - 1
    same = next((at for at in range(whole) if then[at] != now[at]), whole)
    rest = encode("\n".join(now[same:]))
    if newline != b"\n":
        rest = re.sub(rb"\r*\n", newline, rest)
    return (mark[0] if mark else b"") + b"\n".join([*there[:same], rest])


def newline_of(data: bytes) -> bytes:
    """What ends most lines of a file: CRLF or LF; LF where there are none."""
    return b"\r\n" if 2 * data.count(b"\r\n") > data.count(b"\n") else b"\n"


@dataclass
class _Lines:
    """A turn while its lines come in. first: the number of its first line, from 1."""

    first: int
    comment: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A turn as it stands in the text.

    prompt: its comment without the marks; comment, code: the text itself, the blank lines before the next prompt
    included; line: where the comment begins, from 1.
    """

    prompt: str
    comment: str
    code: str
    line: int


@dataclass(frozen=True)
class Parts:
    """The prefix, and the turns after it: their texts in order are the whole text."""

    prefix: str
    turns: tuple[Part, ...]


def split(text: str, mark: str = "#") -> Parts:
    """The turns of `text`, in a language whose comments begin with `mark`."""
    prefix: list[str] = []
    turns: list[_Lines] = []
    separated, in_comment = True, False
    for number, line in enumerate(lines_of(text), 1):
        is_comment = line.startswith(mark) and not (number == 1 and line.startswith("#!"))
        if is_comment and separated:
            turns.append(_Lines(number))
        in_comment = is_comment and (separated or in_comment)
        separated = not line.strip()
        if turns:
            (turns[-1].comment if in_comment else turns[-1].code).append(line)
        else:
            prefix.append(line)
    parts = (Part(_prompt(turn.comment, mark), "".join(turn.comment), "".join(turn.code), turn.first) for turn in turns)
    return Parts("".join(prefix), tuple(parts))


def lines_of(text: str) -> list[str]:
    """The lines with their ends, which are LF alone: a form feed ends none."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def only_prompts(parts: Parts) -> bool:
    """Whether there is nothing but prompts, and one at least."""
    texts = (parts.prefix, *(turn.code for turn in parts.turns))
    return bool(parts.turns) and not any(text.strip() for text in texts)


def _prompt(comment: list[str], mark: str) -> str:
    """The words of a comment: the inverse of `Program.comment`."""
    return "\n".join(line.rstrip("\r\n").removeprefix(mark).removeprefix(" ") for line in comment)

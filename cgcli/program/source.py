"""A program's source text: conversion from and to the bytes of a file, and splitting into turns.

`split` is the inverse of `Program.source`. A comment that begins at column 0 after a blank line, or at the start of the
text, is a prompt; what follows it up to the next one is its code. What comes before the first is the prefix, a comment
that begins with an interpreter line (`#!`) included. Nothing here parses a language: such a comment inside a string of
several lines is a prompt, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from cgcli.core.errors import UsageError

_BOM = re.compile(rb"\A(?:\xef\xbb\xbf)+")
_NOT_UNICODE = re.compile(r"[\ud800-\udfff]")


def digest(text: str) -> str:
    """A hash that identifies a text in facts and journals: 16 hexadecimal digits."""
    import hashlib  # 2 ms

    return hashlib.blake2b(encode(text), digest_size=8).hexdigest()


def encode(text: str) -> bytes:
    """The bytes of a program's text; bytes that were not UTF-8 when it was read come back unchanged."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The text of a program's bytes; bytes that are not UTF-8 become lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def legible(text: str) -> str:
    """The text as Python's parser can read it: "?" for each byte that was not UTF-8, and a form feed, which counts for
    nothing, for a byte order mark. Positions stay."""
    text = _NOT_UNICODE.sub("?", text)
    return f"\f{text[1:]}" if text.startswith("\ufeff") else text


def from_file(data: bytes) -> str:
    """The text of a file, with LF as line ends and without a byte order mark."""
    return decode(re.sub(rb"\r+\n", b"\n", _BOM.sub(b"", data)))


def for_file(text: str, before: bytes = b"") -> bytes:
    """The bytes of `text` for a file that held `before`, with the same byte order mark and line ends.

    As far as the first lines are the same, they stay byte for byte: line ends may be mixed.
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
    """The line end of most lines in a file: CRLF or LF; LF if it has none."""
    return b"\r\n" if 2 * data.count(b"\r\n") > data.count(b"\n") else b"\n"


@dataclass
class _Lines:
    """A turn while its lines are collected."""

    first: int  # number of its first line, from 1
    comment: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


class SplitTurn(NamedTuple):
    """A turn of a text."""

    prompt: str  # the comment without its marks
    comment: str
    code: str  # including the blank lines before the next prompt
    line: int  # where the comment begins, from 1


class SplitProgram(NamedTuple):
    """A prefix and turns; their texts in order are the whole text."""

    prefix: str
    turns: tuple[SplitTurn, ...]


def split(text: str, mark: str = "#") -> SplitProgram:
    """The prefix and turns of `text`, in a language whose comments begin with `mark`."""
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
    parts = (
        SplitTurn(_prompt(turn.comment, mark), "".join(turn.comment), "".join(turn.code), turn.first) for turn in turns
    )
    return SplitProgram("".join(prefix), tuple(parts))


def lines_of(text: str) -> list[str]:
    """The lines with their ends. Only LF ends a line, not a form feed."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def only_prompts(parts: SplitProgram) -> bool:
    """Whether the text has prompts and nothing else."""
    texts = (parts.prefix, *(turn.code for turn in parts.turns))
    return bool(parts.turns) and not any(text.strip() for text in texts)


def _prompt(comment: list[str], mark: str) -> str:
    """The prompt of a comment: the inverse of `Program.comment`."""
    return "\n".join(line.rstrip("\r\n").removeprefix(mark).removeprefix(" ") for line in comment)


def checked_prompt(prompt: str, what: str) -> str:
    """The prompt without a byte order mark. `what` names it in errors.

    Raises UsageError if it cannot be a comment in any language: bytes that are not UTF-8, a NUL.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not UTF-8", hint="save it as UTF-8") from None
    if "\0" in prompt:
        raise UsageError(f"{what} contains a NUL character", hint="remove it: a prompt is text")
    return prompt.removeprefix("\ufeff")

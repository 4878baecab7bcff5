"""A hole in a program: where new code goes, how deep it is indented, and where it ends.

Everything here is about texts; nothing runs a model. Lines end with LF, as in all programs (source.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from cgcli.core.errors import UsageError
from cgcli.program.languages import Language
from cgcli.program.program import CODING
from cgcli.program.source import lines_of
from cgcli.terminal.text import plural

Extent = Literal["line", "block"]
"""How much goes into a hole. line: the rest of one line · block: lines, until one is indented less than the first."""

_UNIT = "    "  # one step of indentation, where the text shows none
_OPENS = (":", "{", "(", "[")  # ends of a line after which the next one is indented deeper
_CLOSES = (")", "]", "}")
_LISTED = 3  # lines in a message


@dataclass(frozen=True)
class Hole:
    """A place in a text, between two characters."""

    before: str  # with the indentation, or the code, that the line of the hole begins with
    after: str  # from the rest of that line on
    extent: Extent
    mark: str  # begins a comment; "" if that is unknown
    asked: str = ""  # the comment that says what goes here, without its mark; "" without one

    @property
    def head(self) -> str:
        """What the line of the hole begins with."""
        return self.before[self.before.rfind("\n") + 1 :]

    @property
    def rest(self) -> str:
        """What the line of the hole ends with, without blanks at its end."""
        return self.after.partition("\n")[0].rstrip()

    @property
    def indent(self) -> str:
        return _indent(self.head)

    @property
    def own_line(self) -> bool:
        """Whether nothing else stands on the line of the hole."""
        return not self.head.strip() and not self.rest

    def filled(self, text: str) -> str:
        """The whole text with the hole filled."""
        return self.before + text + self.after

    @property
    def line(self) -> int:
        """The number of its line, from 1."""
        return self.before.count("\n") + 1

    def lines(self, text: str) -> str:
        """What is inserted, as whole lines if the hole has a line of its own."""
        return f"{self.indent}{text}\n" if self.own_line else text


def find_hole(
    text: str, line: int | None, language: Language, *, name: str, command: str = "", extent: Extent | None = None
) -> Hole:
    """The hole at a line, from 1; None: at the only comment that begins with three dots, or has nothing below it.

    A line that is blank, or a comment of three dots, is replaced, unless it parts a block from the top level. Below any
    other comment, a line is inserted, and below a line that opens a block without any; at other lines with code, above
    them, but never above an interpreter line. One past the last line is the end of the text. extent: None chooses it
    from the text around. name, command: the text, and what precedes a line in a command, for errors. Raises UsageError
    if there is no such line, and without a line for no hole or several.
    """
    lines = lines_of(text)
    command = command or f"cgcli fill {name}:"
    if line is None:
        line = _only_hole(lines, language.mark, name, command)
    if line > len(lines) + 1:
        raise UsageError(
            f"{name} has no line {line}: it has {plural(len(lines), 'line')}",
            hint=f"to write at its end: {command}{len(lines) + 1}",
        )
    at = line - 1
    here = lines[at] if at < len(lines) else ""
    if at < len(lines) and (not here.strip() or _is_placeholder(here, language.mark)):
        below = lines[at + 1] if at + 1 < len(lines) else ""
        parts = (
            here == "\n"
            and bool(below.strip())
            and not _indent(below)
            and bool(_indent_at(lines, at, at + 1, language.mark))
        )
        begin, end = at, at + (not parts)
    elif _is_comment(lines, at, language.mark):
        while _is_comment(lines, at, language.mark) and _indent(lines[at]) == _indent(here):
            at += 1
        begin = end = at
    else:
        while _is_header(lines, at):
            at += 1
        begin = end = at + _opens_nothing(lines, at)
    return _hole(lines, begin, end, language.mark, extent)


def _hole(lines: list[str], begin: int, end: int, mark: str, extent: Extent | None) -> Hole:
    """The hole in place of the lines `begin` to `end` - 1; `begin` == `end` inserts a line."""
    above = "".join(lines[:begin])
    above += "\n" * bool(above and not above.endswith("\n"))
    below = "".join(lines[end:])
    replaced = lines[begin] if end > begin else ""
    last_end = replaced.endswith("\n") or end == begin
    indent = (
        _indent(replaced)
        if replaced.strip(" \t\r\n") or replaced.strip("\r\n")
        else _indent_at(lines, begin, end, mark)
    )
    comment = begin
    while _is_comment(lines, comment - 1, mark) and _indent(lines[comment - 1]) == indent:
        comment -= 1
    asked = "\n".join(_words(one, mark) for one in lines[comment:begin])
    next_line = lines[end] if end < len(lines) else ""
    goes_on = bool(next_line.strip()) and len(_indent(next_line)) >= len(indent)
    usual: Extent = "line" if goes_on and not asked else "block"
    return Hole(above + indent, ("\n" if last_end else "") + below, extent or usual, mark, asked)


def _only_hole(lines: list[str], mark: str, name: str, command: str) -> int:
    """The line of the only hole that a text shows. Raises UsageError."""
    found = [at for at, line in enumerate(lines) if _begins_with_dots(line, mark)]
    if not found:
        found = [at for at in range(len(lines)) if _is_comment(lines, at, mark) and _has_nothing_below(lines, at)]
    if not found:
        raise UsageError(f"{name} has no comment with nothing below it", hint=f"name a line: {command}LINE")
    if len(found) > 1:
        numbers = [str(at + 1) for at in found[:_LISTED]]
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise UsageError(
            f"{name} has {len(found)} places to fill: lines {', '.join(numbers)}{more}",
            hint=f"{command}{numbers[0]}",
        )
    return found[0] + 1


def _is_comment(lines: list[str], at: int, mark: str) -> bool:
    """Whether a line has a comment alone, other than one that an interpreter or an editor reads."""
    if not 0 <= at < len(lines) or not lines[at].lstrip().startswith(mark):
        return False
    return not _is_header(lines, at)


def _is_header(lines: list[str], at: int) -> bool:
    """Whether a line is one that must stay at the top."""
    return at < min(2, len(lines)) and bool(lines[at].startswith("#!") or CODING.match(lines[at]))


def _words(line: str, mark: str) -> str:
    return line.strip().removeprefix(mark).strip()


def _begins_with_dots(line: str, mark: str) -> bool:
    return line.lstrip().startswith(mark) and _words(line, mark).startswith(("...", "…"))


def _is_placeholder(line: str, mark: str) -> bool:
    return _begins_with_dots(line, mark) and not _words(line, mark).strip(".… ")


def _has_nothing_below(lines: list[str], at: int) -> bool:
    """Whether a block ends with a line: nothing, a blank line, or one that is indented less follows."""
    below = lines[at + 1] if at + 1 < len(lines) else ""
    return not below.strip() or len(_indent(below)) < len(_indent(lines[at]))


def _opens_nothing(lines: list[str], at: int) -> bool:
    """Whether a line opens a block, and nothing follows that is indented deeper."""
    if at >= len(lines) or not lines[at].rstrip().endswith(_OPENS):
        return False
    below = next((line for line in lines[at + 1 :] if line.strip()), "")
    return len(_indent(below)) <= len(_indent(lines[at]))


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))].rstrip("\r\n")


def _indent_at(lines: list[str], begin: int, end: int, mark: str) -> str:
    """The indentation of a new line between others."""
    above = next((line for line in reversed(lines[:begin]) if line.strip()), "")
    below = next((line for line in lines[end:] if line.strip()), "")
    if above.rstrip().endswith(_OPENS) and not above.lstrip().startswith(mark):
        deeper = _indent(below) if len(_indent(below)) > len(_indent(above)) else ""
        return deeper or _indent(above) + ("\t" if "\t" in _indent(above) else _UNIT)
    adjacent = end < len(lines) and lines[end].strip()
    return _indent(below) if adjacent and len(_indent(below)) <= len(_indent(above)) else _indent(above)


# --- where the text of a hole ends


def cut(hole: Hole, text: str) -> int | None:
    """Where what is drawn for a hole ends: the number of its characters. None if it may go on.

    Looks at whole lines, so a last line without its end is not judged.
    """
    lines = (hole.head + text).split("\n")[:-1]
    end = _last_line(hole, lines) if hole.extent == "line" or hole.rest else _last_of_block(hole, lines)
    if end is None:
        return None
    kept = "\n".join(lines[:end]).rstrip()
    if hole.rest and kept.endswith(hole.rest):
        kept = kept[: len(kept) - len(hole.rest)]
    return max(0, len(kept) - len(hole.head))


def _last_line(hole: Hole, lines: list[str]) -> int | None:
    """How many of the lines belong to a hole of one line."""
    first = 0 if hole.head.strip() or hole.rest else next((at for at, line in enumerate(lines) if line.strip()), None)
    if first is None or first >= len(lines):
        return None
    return first if hole.own_line and _repeats(hole, lines, first) else first + 1


def _last_of_block(hole: Hole, lines: list[str]) -> int | None:
    """How many of the lines belong to a hole of several."""
    depth, continues = len(hole.indent), bool(hole.head.strip())
    for at, line in enumerate(lines):
        if not line.strip():
            if at and at + 1 < len(lines) and not lines[at + 1].strip():
                return at
            continue
        if (at or not continues) and _repeats(hole, lines, at):
            return at
        if at == 0:
            if continues and not line.rstrip().endswith(_OPENS):
                return 1
            continue
        width = len(_indent(line))
        if continues and width == depth and line.lstrip().startswith(_CLOSES):
            return at + 1
        if width < depth + continues:
            return at
        if hole.asked and width == depth and line.lstrip().startswith(hole.mark):
            return at
    return None


def _repeats(hole: Hole, lines: list[str], at: int) -> bool:
    """Whether the text behind the hole begins at a line."""
    following = repeated(hole.after)
    return bool(following) and [line.rstrip() for line in lines[at : at + len(following)]] == following


def repeated(after: str) -> list[str]:
    """The first lines of a text that tell it from others: to the first with a letter or a digit."""
    found: list[str] = []
    for line in after.split("\n")[1:]:
        if line.strip() or found:
            found.append(line.rstrip())
        if re.search(r"\w", line):
            return found
    return []


class HoleEnd:
    """`cut` as a cutter (see `cgcli.engine.stops.Cutter`)."""

    def __init__(self, hole: Hole) -> None:
        self._hole = hole
        self._held = 1 + len(repeated(hole.after))  # lines that may still be cut
        self._text = ""
        self._given = 0
        self.finished = False

    def feed(self, text: str) -> str:
        if self.finished:
            return ""
        self._text += text
        if "\n" not in text:
            return ""
        end = cut(self._hole, self._text)
        self.finished = end is not None
        if end is None:
            certain = self._text.rsplit("\n", self._held + 1)[0].rstrip() if self._text.count("\n") > self._held else ""
            end = len(certain)
        return self._upto(end)

    def finish(self) -> str:
        if self.finished:
            return ""
        self.finished = True
        end = cut(self._hole, self._text + "\n")
        return self._upto(len(self._text) if end is None else end)

    def _upto(self, end: int) -> str:
        new = self._text[self._given : end]
        self._given = max(self._given, end)
        return new


def tidied(hole: Hole, text: str) -> str:
    """What is drawn for a hole, indented as the hole is, and without white space around it."""
    if not hole.own_line:
        return text.rstrip()
    lines = text.rstrip().split("\n")
    blank = next((at for at, line in enumerate(lines) if line.strip()), 0)
    first = lines[blank]
    own = first.removeprefix(hole.indent) if blank else first
    extra = _indent(own)
    too_deep = hole.indent + extra
    rest = [hole.indent + line[len(too_deep) :] if line.startswith(too_deep) else line for line in lines[blank + 1 :]]
    return "\n".join([own[len(extra) :], *(line.rstrip() for line in rest)])


def only_comments(hole: Hole, text: str) -> bool:
    """Whether what is drawn for a hole has no code."""
    return bool(hole.mark) and all(line.lstrip().startswith(hole.mark) for line in text.split("\n") if line.strip())


def at_cursor(before: str, after: str) -> Hole:
    """The hole between two texts, as an editor sends them; in any language."""
    hole = Hole(before, after, "block", "")
    return replace(hole, extent="line") if hole.rest else hole

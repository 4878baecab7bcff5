"""Marked comments: lines of a file in an editor that ask for something, and the text that then goes below them.

    # read a CSV and print the mean !      code, below the comment
    # !                                    code here: for the comment above, or going on with the text above
    # ?                                    the output of the program, as comments `#> ...`

A mark is a word of its own at the end of a line that is nothing but a comment, in the file's language. All here works
on a file's text as it is there, with its line ends and byte order mark: of it, only the mark goes.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cgcli.program.languages import PYTHON, Language
from cgcli.program.program import Layout, Program
from cgcli.program.source import encode, from_file, lines_of, newline_of
from cgcli.program.stamp import has_stamp, without_stamps
from cgcli.terminal.text import clipped, plural, visible

OUTPUT = ">"
"""Behind the mark of a comment, begins a line of output: `#> 42`."""

_BOM = "\ufeff"
_SHOWN_LINES = 40  # of a program's output
_SHOWN_COLUMNS = 200
_MARKED = re.compile(r"(?P<words>.*?)(?P<mark>[ \t]+[!?])[ \t\r\n]*\Z", re.DOTALL)
_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True)
class MarkedComment:
    """A mark in a file's text. Positions are in characters of that text."""

    asks: Literal["code", "output"]
    line: int  # its number, from 1
    comment: int  # where the comment begins, which may have several lines
    begin: int  # from here to `end` goes: the mark, or the whole line if it is alone there
    end: int
    below: int  # where the next line begins
    indent: str
    prompt: str | None  # the words of the comment; None: go on with the text above

    def head(self, text: str) -> str:
        """The text down to where something is inserted, without the mark."""
        return text[: self.begin] + text[self.end : self.below]

    def program(self, text: str, language: Language, beginning: str) -> tuple[Program, str | None]:
        """The program to continue, and the prompt of its next turn: as `gen` has them, if `gen` would write the same.

        beginning: what the model reads instead, where nothing is above the comment.
        """
        above, whole = (without_stamps(from_file(encode(part))) for part in (text[: self.comment], self.head(text)))
        comment = whole[len(above) :]
        if comment and not comment.endswith("\n"):
            comment += "\n"
        program = Program(above if above.strip() else beginning, layout=Layout(language.mark))
        if self.prompt is not None and program.opening(self.prompt) == comment:
            return program, self.prompt
        return Program(program.prefix + comment, layout=program.layout), None

    def insert(self, text: str, new: str, *, instead: int = 0) -> str:
        """The text with `new` (lines that end with LF but for the last) below the comment, and without the mark.

        instead: how many characters there it replaces. A blank line keeps code apart from a statement below.
        """
        newline = newline_of(encode(text)).decode()
        head, below = self.head(text), text[self.below + instead :]
        if head.strip(_BOM) and not head.endswith("\n"):
            head += newline
        new = new.replace("\n", newline) + newline
        if self.asks == "code" and not self.indent and below.partition("\n")[0].strip():
            new += newline
        if not below and not text.endswith("\n"):
            new = new.removesuffix(newline)
        return head + new + below

    def code_below(self, text: str, known: Sequence[str]) -> int:
        """How many characters below the comment are code that was written there: one of `known`, unchanged since.

        0 if the text has it more often than it was written, or goes on with it: then some of it is the user's.
        """
        below, everywhere = lines_of(text[self.below :]), _bare(text)
        for code in sorted({code for code in known if code.strip()}, key=len, reverse=True):
            lines = _bare(code)
            rest = _bare("".join(below[len(lines) : len(lines) + 1]))
            if _bare("".join(below[: len(lines)])) != lines or (not self.indent and any(rest)):
                continue
            if sum(everywhere[at : at + len(lines)] == lines for at in range(len(everywhere))) <= known.count(code):
                return sum(map(len, below[: len(lines)]))
        return 0

    def output_below(self, text: str, language: Language) -> int:
        """How many characters below the mark are output of an earlier run."""
        size = 0
        for line in lines_of(text[self.below :]):
            if not line.startswith(f"{self.indent}{language.mark}{OUTPUT}"):
                break
            size += len(line)
        return size

    def output(self, shown: str, language: Language) -> str:
        """What a program printed, as comments: the first lines, safe to show, and how many there are besides."""
        lines = [clipped(visible(line), _SHOWN_COLUMNS) for line in shown.split("\n")]
        if (more := len(lines) - _SHOWN_LINES) > 1:
            lines[_SHOWN_LINES:] = [f"… {plural(more, 'more line')}"]
        return "\n".join(f"{self.indent}{language.mark}{OUTPUT} {line}".rstrip() for line in lines)


def find_mark(text: str, language: Language) -> MarkedComment | None:
    """The first mark in the text of a file; None if there is none. Lines inside Python's strings have none."""
    strings: set[int] | None = None
    for mark in _marks(text, language):
        if strings is None:
            strings = _string_lines(text) if language is PYTHON else set()
        if mark.line not in strings:
            return mark
    return None


def unmarked(code: str, language: Language) -> str:
    """Code without the marks that it has itself: what a model writes asks for nothing."""
    text = f"\n{code}"  # its first line is not that of a file
    while mark := next(_marks(text, language), None):
        text = text[: mark.begin] + text[mark.end :]
    return text[1:]


def _marks(text: str, language: Language) -> Iterator[MarkedComment]:
    at, block = len(text) - len(text.removeprefix(_BOM)), ""  # block: the comment so far, line by line
    begin, last_indent = at, ""
    for number, line in enumerate(lines_of(text[at:]), 1):
        indent = re.match(r"[ \t]*", line)[0]  # type: ignore[index]
        body = line[len(indent) :]
        other = body.startswith(language.mark + OUTPUT) or has_stamp(line) or (number == 1 and body.startswith("#!"))
        if other or not body.startswith(language.mark):
            block = ""
            at += len(line)
            continue
        if not block or indent != last_indent:
            block, begin, last_indent = "", at, indent
        words, below = body.removeprefix(language.mark), at + len(line)
        found = _MARKED.match(words)
        if found and (found["mark"][-1] == "!" or not found["words"]):
            if found["words"]:
                start = at + len(indent) + len(language.mark) + found.end("words")
                prompt: str | None = block + _said(found["words"])
                mark = MarkedComment("code", number, begin, start, below - _line_end(line), below, indent, prompt)
            else:
                asks: Literal["code", "output"] = "code" if found["mark"][-1] == "!" else "output"
                mark = MarkedComment(asks, number, begin, at, below, below, indent, block.removesuffix("\n") or None)
            yield mark
        block += _said(words) + "\n"
        at = below


def _said(words: str) -> str:
    """A comment's words, as `source.split` takes them."""
    return words.removeprefix(" ").rstrip()


def _line_end(line: str) -> int:
    return len(line) - len(line.rstrip("\r\n"))


def _bare(text: str) -> list[str]:
    """The lines without trailing blanks, which editors remove."""
    return [line.rstrip() for line in lines_of(text)]


def _string_lines(text: str) -> set[int]:
    """The lines that begin inside a string of several lines, as far as Python can read the text."""
    found: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text.removeprefix(_BOM)).readline):
            if token.type in _STRINGS:
                found.update(range(token.start[0] + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        pass
    return found

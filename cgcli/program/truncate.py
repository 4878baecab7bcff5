"""CodeGen's truncation: where a completion stops answering its prompt.

`truncate` works on a finished text and states the rules plainly; `Truncator` works while the text streams. Both keep
the same for every text and every split into pieces. The rules are those of salesforce/CodeGen,
codegen1/jaxformer/hf/sample.py, `truncate` (BSD-3-Clause).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cgcli.engine.stops import Chain, Stops


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that end a completion. Lines match at column 0; `printer` also begins with `print`.

    In a block, lines match behind its indentation, and the first line of code that is indented less ends it, too.
    """

    second_lines: tuple[str, ...] = ()  # cut before the second line that begins with one; words in this order
    first_lines: tuple[str, ...] = ()  # cut before the first line that begins with one
    anywhere: tuple[str, ...] = ()  # cut before the first of these strings
    indent: str = ""  # of the block that is completed

    def within(self, indent: str) -> Rules:
        """The rules for a block that is indented by `indent`."""
        seconds, firsts = (tuple(indent + word for word in words) for words in (self.second_lines, self.first_lines))
        return Rules(seconds, firsts, self.anywhere, indent)


CODEGEN = Rules(("print", "def"), ("#", "'''", '"""'), ("<|endoftext|>", "\n\n\n"))
"""The paper's rules, for Python."""

BLANK_LINES = Rules(anywhere=("\n\n\n",))
"""For other languages: two blank lines end a completion."""

NONE = Rules()


def truncate(text: str, rules: Rules = CODEGEN) -> str:
    """The part of a finished completion that the rules keep. Nothing is stripped."""
    for word in rules.second_lines:
        lines = [line.start() for line in re.finditer(f"^{re.escape(word)}", text, re.MULTILINE)]
        text = text[: lines[1]] if len(lines) > 1 else text
    patterns = [f"^{re.escape(word)}" for word in rules.first_lines] + [re.escape(string) for string in rules.anywhere]
    if rules.indent:
        patterns.append(rf"^(?!{re.escape(rules.indent)})(?=[ \t]*[^ \t\n])")
    found = [match.start() for pattern in patterns if (match := re.search(pattern, text, re.MULTILINE))]
    return text[: min(found, default=len(text))]


class Truncator(Chain):
    """`truncate` as a cutter (see `cgcli.engine.stops.Cutter`).

    Each rule keeps a prefix. No match lies across the cut of another, being in a line or only line ends. So the rules
    in sequence keep what the earliest of their cuts on the whole text keeps.
    """

    def __init__(self, rules: Rules = CODEGEN) -> None:
        seconds = [_NthLine(word, 2) for word in rules.second_lines]
        firsts = [_NthLine(word, 1) for word in rules.first_lines]
        block = [_Block(rules.indent)] if rules.indent else []
        super().__init__(*seconds, *firsts, *block, Stops(rules.anywhere))


class _NthLine:
    """Cuts before the n-th line that begins with `word` (no line end in it)."""

    def __init__(self, word: str, nth: int) -> None:
        self._word = word
        self._left = nth  # such lines to come
        self._matched: int | None = 0  # characters of the word at the start of this line; None if it cannot match
        self.finished = False

    def feed(self, text: str) -> str:
        if self.finished:
            return ""
        if self._matched is None and "\n" not in text:  # most tokens: this runs for each, and for each rule
            return text
        before = self._held()
        for at, character in enumerate(text):
            if character == "\n":
                self._matched = 0
            elif self._matched is not None:
                self._matched = self._matched + 1 if character == self._word[self._matched] else None
                if self._matched == len(self._word):
                    self._matched = None
                    self._left -= 1
                    if self._left == 0:
                        self.finished = True
                        return (before + text[: at + 1]).removesuffix(self._word)
        fed = before + text
        return fed[: len(fed) - len(self._held())]

    def finish(self) -> str:
        rest = "" if self.finished else self._held()
        self.finished = True
        return rest

    def _held(self) -> str:
        """The beginning of a line that may have to be cut."""
        return self._word[: self._matched or 0] if self._left == 1 else ""


class _Block:
    """Cuts before the first line of code that does not begin with `indent`."""

    def __init__(self, indent: str) -> None:
        self._indent = indent
        self._held: str | None = ""  # blanks at the start of this line, which may be cut; None if it cannot
        self.finished = False

    def feed(self, text: str) -> str:
        if self.finished:
            return ""
        if self._held is None and "\n" not in text:
            return text
        kept = ""
        for character in text:
            if self._held is not None:
                self._held += character
                if self._held.startswith(self._indent) or character == "\n":
                    kept, self._held = kept + self._held, None
                elif character not in " \t":
                    self.finished = True
                    return kept
            else:
                kept += character
            if character == "\n":
                self._held = ""
        return kept

    def finish(self) -> str:
        rest, self.finished = "" if self.finished else self._held or "", True
        return rest

"""CodeGen's truncation: where a completion stops being the answer to its prompt.

Twice: `truncate` on a finished text, as plain as the rules are said, and `Truncator` while the text arrives. For every
text and every split into pieces both keep the same. The rules are those of salesforce/CodeGen,
codegen1/jaxformer/hf/sample.py, `truncate` (BSD-3-Clause).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cgcli.engine.stops import Chain, Stops


@dataclass(frozen=True, slots=True)
class Rules:
    """What ends a completion. A line begins with a word at column 0, the text's first character included, and no word
    boundary is asked for after it (`printer` begins with `print`).

    second_lines: cut before the second line that begins with one of these (first word first, then the next on what is
    left); first_lines: before the first line that begins with one; anywhere: before the first of these strings.
    """

    second_lines: tuple[str, ...] = ()
    first_lines: tuple[str, ...] = ()
    anywhere: tuple[str, ...] = ()


CODEGEN = Rules(("print", "def"), ("#", "'''", '"""'), ("<|endoftext|>", "\n\n\n"))
"""For Python: the paper's rules."""

BLANK_LINES = Rules(anywhere=("\n\n\n",))
"""For other languages: two blank lines."""

NONE = Rules()


def truncate(text: str, rules: Rules = CODEGEN) -> str:
    """What is kept of a finished completion; what is cut is dropped, nothing is stripped."""
    for word in rules.second_lines:
        lines = [line.start() for line in re.finditer(f"^{re.escape(word)}", text, re.MULTILINE)]
        text = text[: lines[1]] if len(lines) > 1 else text
    patterns = [f"^{re.escape(word)}" for word in rules.first_lines] + [re.escape(string) for string in rules.anywhere]
    found = [match.start() for pattern in patterns if (match := re.search(pattern, text, re.MULTILINE))]
    return text[: min(found, default=len(text))]


class Truncator(Chain):
    """`truncate` as a cutter (see `cgcli.engine.stops.Cutter`).

    Each rule keeps a prefix, and no match lies across the cut of another (it is within a line, or line ends alone), so
    the rules in their order keep what the earliest of their cuts on the whole text keeps.
    """

    def __init__(self, rules: Rules = CODEGEN) -> None:
        seconds = [_NthLine(word, 2) for word in rules.second_lines]
        firsts = [_NthLine(word, 1) for word in rules.first_lines]
        super().__init__(*seconds, *firsts, Stops(rules.anywhere))


class _NthLine:
    """Cuts before the n-th line that begins with `word` (no line end in it)."""

    def __init__(self, word: str, nth: int) -> None:
        self._word = word
        self._left = nth  # such lines yet to come
        self._matched: int | None = 0  # characters of the word that this line began with; None once it cannot match
        self.finished = False

    def feed(self, text: str) -> str:
        if self.finished:
            return ""
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
        """The beginning of a line that may become the one to cut."""
        return self._word[: self._matched or 0] if self._left == 1 else ""

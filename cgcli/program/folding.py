"""What a model reads of a program that is too long for its window: the program without its comments and old bodies.

Comments go first, the oldest turn's before the next one's (what is before the turns counts as the oldest); then the
bodies of functions and methods, which leave their signatures and docstrings. Imports and other statements stay, and so
does what is being asked. Only what is read changes, never the program.

What is folded must not change with every turn, since all that follows a change is read again. So a program is gone
through turn by turn as it was written: where a turn did not fit, as much was folded as makes room for a quarter of the
window, and that stays folded. With a quarter, a token of a long program is read some 2.5 times again in all (what is
kept of a window of 2,048 tokens, over a quarter of it); with an eighth 6 times, and a half would forget too much.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cgcli.core.errors import ContextError
from cgcli.core.units import plural
from cgcli.program.foldable import Cut, foldable, without
from cgcli.program.program import Program, encode

Count = Callable[[bytes], int]
"""The tokens of a text."""

_STEP = 4  # a fold makes room for the window / _STEP


@dataclass(frozen=True)
class Fold:
    """What is read of a program. whole: its source; text: that as it is read; parts: what is left out, in words.

    saved: tokens that it takes less; reread: tokens of it to be read, since the cache has others, or nothing, there.
    """

    whole: str
    text: str
    parts: tuple[str, ...]
    saved: int
    reread: int = 0

    @property
    def summary(self) -> str:
        """The parts in one line, for a terminal: the first of them, and how many more there are."""
        some, more = "; ".join(self.parts[:3]), len(self.parts) - 3
        return f"{some} and {more} more" if more > 0 else some

    def diff(self) -> list[str]:
        """Lines of a unified diff, without line ends, from the program to what is read of it."""
        before, after = self.whole.splitlines(), self.text.splitlines()
        return list(difflib.unified_diff(before, after, "program", "as the model reads it", lineterm=""))


def fold(
    program: Program, prompt: str | None, keep: str, *, language: str, count: Count, limit: int, window: int
) -> Fold | None:
    """What is read of a program that is too long, before `prompt` and `keep`, the beginning of its completion.

    limit: tokens that the whole should have, which is more than it can be folded to in some. None where nothing can be
    left out. Raises ContextError where what is left leaves no room in the window for a single token.
    """
    asked = encode(program.opening(prompt) + keep)
    tokens = count(encode(program.source()) + asked)
    parts = list(_parts(program))
    folding = _Folding(parts, program, language, count, open_end=prompt is None)
    openings = [encode(part.opening) for part in parts[1:]] + [asked]
    for number, opening in enumerate(openings, 1):
        size = count(opening)
        if folding.size(number) + size > limit:
            folding.shrink(number, limit - size, step=window // _STEP)
    while (left := count(encode(folding.text) + asked)) > limit and folding.more():
        pass  # pieces that were counted one by one may have more tokens together
    if left >= window:
        raise ContextError(
            f"the program and prompt are {tokens} tokens, {left} without comments and bodies, the window has {window}",
            hint="a larger --ctx, or move what is done into a module and import it",
        )
    return Fold(program.source(), folding.text, folding.said, tokens - left) if folding.said else None


@dataclass(frozen=True)
class _Part:
    """A piece of a program: what is before the turns, or a turn. opening: what of it comes before the completion."""

    name: str
    text: str
    opening: str


def _parts(program: Program) -> Iterator[_Part]:
    """A turn without a prompt belongs to the part that it continues."""
    source = program.source()
    begin, code, name = 0, 0, "prefix"
    for number, (turn, span) in enumerate(zip(program.turns, program.spans(), strict=True), 1):
        if turn.prompt is not None:
            yield _Part(name, source[begin : span.begin], source[begin:code])
            begin, code, name = span.begin, span.code, f"turn {number}"
    yield _Part(name, source[begin:], source[begin:code])


@dataclass(frozen=True)
class _Item:
    """What can be left out at once: in words, of which part, where in its text, how many tokens it saves there."""

    said: str
    part: int
    cuts: tuple[Cut, ...]
    saves: int


class _Folding:
    """Parts with what is left out of them so far; sizes in tokens, each piece counted by itself."""

    def __init__(
        self, parts: Sequence[_Part], program: Program, language: str, count: Count, *, open_end: bool
    ) -> None:
        self._texts = [part.text for part in parts]
        self._sizes = [count(encode(text)) if text else 0 for text in self._texts]
        self._done: list[_Item] = []
        comments, bodies = [], []
        dots = count(b"...")
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            found = foldable(
                part.text, language, program.layout.mark or "", first=index == 0, open_end=open_end and last
            )
            size = self._sizes[index]
            if found.comments:
                left = count(encode(without(part.text, found.comments)))
                comments.append(_Item(f"{part.name}: comments", index, found.comments, size - left))
            for body in found.bodies:
                saves = count(encode(_bare(part.text, body.cut, found.comments))) - dots
                lines = plural(body.lines, "line")
                bodies.append(_Item(f"{part.name}: body of {body.name} ({lines})", index, (body.cut,), saves))
        self._items = [item for item in (*comments, *bodies) if item.saves > 0]

    @property
    def text(self) -> str:
        cuts: list[list[Cut]] = [[] for _ in self._texts]
        for item in self._done:
            cuts[item.part] += item.cuts
        return "".join(map(without, self._texts, cuts))

    @property
    def said(self) -> tuple[str, ...]:
        return tuple(item.said for item in self._done)

    def size(self, parts: int) -> int:
        """Of the first so many parts."""
        return sum(self._sizes[:parts])

    def shrink(self, parts: int, most: int, step: int) -> None:
        """Fold the first so many parts until they have `step` tokens less than `most`; where there is not so much in
        them, only until they have no more: every turn then needs another fold, and what is new is worth more."""
        items = [item for item in self._items if item.part < parts]
        least = self.size(parts) - sum(item.saves for item in items)
        goal = most - step if least <= most - step else most
        for item in items:
            if self.size(parts) <= goal:
                break
            self._fold(item)

    def more(self) -> bool:
        """Fold what comes next, wherever it is; False where nothing is left."""
        if self._items:
            self._fold(self._items[0])
            return True
        return False

    def _fold(self, item: _Item) -> None:
        self._items.remove(item)
        self._done.append(item)
        self._sizes[item.part] -= item.saves


def _bare(text: str, body: Cut, comments: Sequence[Cut]) -> str:
    """A body without the comments in it, which go before it does."""
    inside = [cut for cut in comments if body.begin <= cut.begin and cut.end <= body.end]
    return without(text[body.begin : body.end], [Cut(cut.begin - body.begin, cut.end - body.begin) for cut in inside])

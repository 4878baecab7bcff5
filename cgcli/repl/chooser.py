"""Shows candidates side by side, and lets the user take one with the keys."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from cgcli.repl.reader import CandidateCard
from cgcli.terminal.text import clipped, columns, plural, visible

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyPressEvent
    from prompt_toolkit.output import ColorDepth, Output

_NARROWEST = 38  # columns that a candidate needs to be readable
_MOST_FACTS = 3  # rows of facts in the narrowest column, so that there is room for code
_CONTINUED = "· "  # in front of the rest of a line of code that is too wide
_BETWEEN = " │ "
_KEYS = "← → or number: select · ↑ ↓: scroll · Enter: take · q: keep *"


def side_by_side(cards: Sequence[CandidateCard], width: int) -> list[str]:
    """Return the cards as lines of text, at most three beside each other in `width` columns."""
    per_row = _cards_per_row(cards, width)
    share = _share(per_row, width)
    lines: list[str] = []
    for first in range(0, len(cards), per_row):
        row = [
            [visible(card.title), *_facts(card, share), *_code(card, share)] for card in cards[first : first + per_row]
        ]
        lines += [""] * bool(lines) + _joined(row, share)
    return lines


def _cards_per_row(cards: Sequence[CandidateCard], width: int) -> int:
    return max(1, min(3, len(cards), (width + len(_BETWEEN)) // (_NARROWEST + len(_BETWEEN))))


def _share(per_row: int, width: int) -> int:
    """Columns for each card of a row."""
    return max(1, (width - len(_BETWEEN) * (per_row - 1)) // per_row)


def _facts(card: CandidateCard, share: int) -> list[str]:
    most = max(_MOST_FACTS, -(-_MOST_FACTS * _NARROWEST // share))
    text = visible(card.facts)
    rows = textwrap.wrap(text, share)
    if len(rows) > most:  # fill the rows completely instead
        rows = _rows(text, share)
        rows[most - 1 :] = [clipped("".join(rows[most - 1 :]), share)]
    return rows


def _code(card: CandidateCard, share: int) -> list[str]:
    """All code of a card; a line that is too wide continues in the next row."""
    lines = (visible(line).expandtabs() for line in card.code.strip("\n").split("\n"))
    return [row for line in lines for row in _rows(line, share, _CONTINUED if share > 2 * len(_CONTINUED) else "")]


def _rows(line: str, share: int, continued: str = "") -> list[str]:
    """Break a line into rows of `share` columns; all but the first start with `continued`."""
    rows, width = [""], 0
    for character in line:
        if rows[-1] and width + columns(character) > share:
            rows.append(continued)
            width = columns(continued)
        rows[-1] += character
        width += columns(character)
    return rows


def _joined(row: Sequence[Sequence[str]], share: int) -> list[str]:
    """Join columns of lines, each cut and filled to `share`."""
    lines = zip_longest(*row, fillvalue="")
    return [_BETWEEN.join(_filled(cell, share) for cell in cells).rstrip() for cells in lines]


def _filled(line: str, width: int) -> str:
    short = clipped(line, width)
    return short + " " * (width - columns(short))


class Chooser:
    """Which card is selected, and which part of it is visible. Starts at the accepted one."""

    def __init__(self, cards: Sequence[CandidateCard]) -> None:
        self.cards = cards
        self.at = next((index for index, card in enumerate(cards) if card.accepted), 0)
        self._top = 0  # lines above the visible part
        self._hidden = 0  # lines below it

    def move(self, to: int) -> None:
        if 0 <= to < len(self.cards):
            self.at = to
            self._top = 0

    def move_to_number(self, number: int) -> None:
        numbers = [card.number or place for place, card in enumerate(self.cards, 1)]
        if number in numbers:
            self.move(numbers.index(number))

    def scroll(self, by: int) -> None:
        self._top = max(0, self._top + min(by, self._hidden))

    def fragments(self, width: int, height: int) -> StyleAndTextTuples:
        """The page with the selected card, its title marked, in `width` columns and `height` rows."""
        per_row = _cards_per_row(self.cards, width)
        share = _share(per_row, width)
        first = min(self.at // per_row * per_row, len(self.cards) - per_row)  # the last page is full, too
        page = self.cards[first : first + per_row]
        facts = _joined([_facts(card, share) for card in page], share)
        code = _joined([_code(card, share) for card in page], share)
        left, right = first, len(self.cards) - first - per_row
        room = max(1, height - 3 - len(facts) - bool(left or right))  # besides titles and keys, one row stays free
        seen = code[self._top : self._top + room]
        self._hidden = len(code) - self._top - len(seen)
        out: StyleAndTextTuples = []
        for number, card in enumerate(page, first):
            out += [("", _BETWEEN)] * (number > first)
            out.append(("class:chosen" if number == self.at else "bold", _filled(visible(card.title), share)))
        out += [("class:facts", "".join("\n" + line for line in facts)), ("", "".join("\n" + line for line in seen))]
        if left or right:
            more = " · ".join([f"← {left} more"] * bool(left) + [f"{right} more →"] * bool(right))
            out.append(("class:facts", "\n" + clipped(more, width)))
        below = f"{plural(self._hidden, 'more line')} · " * (self._hidden > 0)
        out.append(("class:facts", "\n" + clipped(below + _KEYS, width)))
        return out


def choose_card(
    cards: Sequence[CandidateCard],
    *,
    input: Input | None = None,
    output: Output | None = None,
    depth: ColorDepth | None = None,
) -> int | None:
    """Return the index of the card that the user takes; None if they cancel. Leaves nothing on the screen."""
    from prompt_toolkit.application import Application
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.layout import FormattedTextControl, Layout, Window
    from prompt_toolkit.styles import Style

    chooser = Chooser(cards)
    keys = KeyBindings()

    @keys.add("left")
    @keys.add("h")
    @keys.add("s-tab")
    def _(event: KeyPressEvent) -> None:
        chooser.move(chooser.at - 1)

    @keys.add("right")
    @keys.add("l")
    @keys.add("tab")
    def _(event: KeyPressEvent) -> None:
        chooser.move(chooser.at + 1)

    for digit in "123456789":

        @keys.add(digit)
        def _(event: KeyPressEvent) -> None:
            chooser.move_to_number(int(event.data))

    for key, lines in (("up", -1), ("k", -1), ("down", 1), ("j", 1), ("pageup", -10), ("pagedown", 10)):

        @keys.add(key)
        def _(event: KeyPressEvent, lines: int = lines) -> None:
            chooser.scroll(lines)

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(result=chooser.at)

    @keys.add("q")
    @keys.add("escape")
    @keys.add("c-c")
    @keys.add("c-d")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(result=None)

    def fragments() -> StyleAndTextTuples:
        size = application.output.get_size()
        return chooser.fragments(size.columns, size.rows)

    application: Application[int | None] = Application(
        Layout(Window(FormattedTextControl(fragments, show_cursor=False), dont_extend_height=True)),
        key_bindings=keys,
        style=Style.from_dict({"chosen": "reverse bold", "facts": "ansibrightblack"}),
        color_depth=depth,
        erase_when_done=True,
        input=input,
        output=output,
    )
    try:
        return application.run()
    except (EOFError, KeyboardInterrupt):
        return None

"""Candidates side by side, and the keys that take one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cgcli.core.visible import clipped, columns, visible
from cgcli.repl.reader import Card

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyPressEvent
    from prompt_toolkit.output import ColorDepth, Output

_NARROWEST = 38
"""Columns that a candidate needs for its code to be read."""
_BETWEEN = " │ "
_KEYS = "←→ or a number: another · ↑↓: scroll · Enter: take it · q: leave"


def side_by_side(cards: Sequence[Card], width: int) -> list[str]:
    """All of `cards` as lines of text, as many beside each other as `width` columns hold, at most three."""
    beside = _beside(cards, width)
    lines: list[str] = []
    for first in range(0, len(cards), beside):
        row = [_lines(card) for card in cards[first : first + beside]]
        lines += [""] * bool(lines) + _joined(row, beside, width)
    return lines


def _beside(cards: Sequence[Card], width: int) -> int:
    return max(1, min(3, len(cards), (width + len(_BETWEEN)) // (_NARROWEST + len(_BETWEEN))))


def _cell(beside: int, width: int) -> int:
    return max(1, (width - len(_BETWEEN) * (beside - 1)) // beside)


def _lines(card: Card) -> list[str]:
    return [visible(line) for line in (card.title, card.facts, *card.code.strip("\n").split("\n"))]


def _joined(row: Sequence[Sequence[str]], beside: int, width: int) -> list[str]:
    """Columns of lines as one: each cut and filled to its share of `width`."""
    share = _cell(beside, width)
    height = max(map(len, row))
    return [
        _BETWEEN.join(_filled(lines[y] if y < len(lines) else "", share) for lines in row).rstrip()
        for y in range(height)
    ]


def _filled(line: str, width: int) -> str:
    short = clipped(line, width)
    return short + " " * (width - columns(short))


class Chooser:
    """Which of `cards` is looked at, and what of it is seen. The best one is the first."""

    def __init__(self, cards: Sequence[Card]) -> None:
        self.cards = cards
        self.at = 0
        self.top = 0
        """Lines that are scrolled away."""

    def move(self, to: int) -> None:
        if 0 <= to < len(self.cards):
            self.at = to
            self.top = 0

    def scroll(self, by: int, room: int) -> None:
        """room: rows that there are for code."""
        longest = max(len(card.code.strip("\n").split("\n")) for card in self.cards)
        self.top = max(0, min(self.top + by, longest - room))

    def fragments(self, width: int, height: int) -> StyleAndTextTuples:
        """What is seen in so many columns and rows: the page with the card that is looked at, its head marked."""
        beside = _beside(self.cards, width)
        share = _cell(beside, width)
        first = self.at // beside * beside
        page = self.cards[first : first + beside]
        room = self.room(height)
        out: StyleAndTextTuples = []
        for number, card in enumerate(page, first):
            mark = "class:chosen" if number == self.at else "bold"
            out += [("", _BETWEEN)] * (number > first)
            out.append((mark, _filled(visible(card.title), share)))
        out.append(("", "\n"))
        facts = _joined([[visible(card.facts)] for card in page], beside, width)
        code = _joined([_lines(card)[2:] for card in page], beside, width)
        seen = code[self.top : self.top + room]
        out += [("class:facts", facts[0] + "\n"), ("", "\n".join(seen) + "\n")]
        more = len(code) - self.top - len(seen)
        place = f"{self.at + 1} of {len(self.cards)}" + f" · {more} lines more" * (more > 0)
        out.append(("class:facts", clipped(f"{place} · {_KEYS}", width)))
        return out

    @staticmethod
    def room(height: int) -> int:
        """Rows for code, of `height`: there are two above it, one below, and one is left alone."""
        return max(1, height - 4)


def choose(
    cards: Sequence[Card],
    *,
    input: Input | None = None,
    output: Output | None = None,
    depth: ColorDepth | None = None,
) -> int | None:
    """The index of the card that the user takes with the keys; None where none. Nothing of it stays on the screen."""
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
            chooser.move(int(event.data) - 1)

    for key, lines in (("up", -1), ("k", -1), ("down", 1), ("j", 1), ("pageup", -10), ("pagedown", 10)):

        @keys.add(key)
        def _(event: KeyPressEvent, lines: int = lines) -> None:
            chooser.scroll(lines, chooser.room(event.app.output.get_size().rows))

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

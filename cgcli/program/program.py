"""What a program is: a prefix and turns, and the one copy of the rule that makes them text.

The protocol is the paper's: a prompt becomes a comment, its completion follows, a blank line separates turns, and the
model always reads the exact text of the program so far. `Layout` holds what the paper's evaluation and the tool do
differently. Everything here is a value; nothing runs a model. Source of the protocol: salesforce/CodeGen
codegen1/benchmark/mtpb_sample.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from cgcli.core.errors import UsageError
from cgcli.program.source import digest, encode, from_file

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.hub.catalog import Card
    from cgcli.program.languages import Language

CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*[-\w.]")
"""A comment that names the encoding of its file, where it is one of the first two lines: PEP 263, Ruby's, too."""

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line, and a comment with it, in one of the languages. A form feed does not."""

End = Literal["stop", "length", "context", "interrupted", "empty"]
"""Why a candidate ended: as the engine's finish reason says, or `empty` where that left nothing usable."""


@dataclass(frozen=True)
class Candidate:
    """One completion of a turn, as it will stand in the program.

    draw: selects its draws under the seed (a retry is the next one); tokens: drawn, the one that ended it included;
    mean_logprob: of those tokens under the model itself, in nats; None where none was drawn.
    """

    text: str
    tokens: int
    mean_logprob: float | None
    finish_reason: End
    draw: int = 0

    @property
    def blank(self) -> bool:
        """Whether there is no code in it, so that it cannot be a turn."""
        return not self.text.strip()


@dataclass(frozen=True)
class Facts:
    """How the candidates of a turn were drawn.

    model: its name; seed and sampler settings as given to the sampler; prompt_tokens: those that the prompt added to
    the context; prompt_perplexity: over those of them that something predicts; folded: tokens of the program that the
    model was not given; context: `digest` of the text before the completion; seconds: from reading to the last token.
    """

    model: str
    quant: str
    seed: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int
    context: str
    prompt_tokens: int
    prompt_perplexity: float | None
    folded: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A prompt and its code. prompt None: the text before is continued as it stands.

    accepted: which of `candidates` `completion` is; None where it was written by hand, or where none was usable.
    """

    prompt: str | None
    completion: str
    candidates: tuple[Candidate, ...] = ()
    accepted: int | None = None
    facts: Facts | None = None

    @property
    def interrupted(self) -> bool:
        return any(candidate.finish_reason == "interrupted" for candidate in self.candidates)

    @property
    def by_hand(self) -> bool:
        """Whether its code is the user's own."""
        return self.accepted is None

    def choose(self, index: int) -> Turn:
        """With another of its candidates accepted. Raises IndexError."""
        return replace(self, completion=self.candidates[index].text, accepted=index)

    def rewrite(self, code: str) -> Turn:
        """With the user's own code; the candidates stay, to be chosen again."""
        return replace(self, completion=code, accepted=None)


@dataclass(frozen=True)
class Layout:
    """How turns become text.

    mark: the comment mark that prompts are written with; None leaves them as typed. whole_prompt: comment every line
    of a prompt, not the first only. after: what follows a completion, which then stands as it was drawn; None means
    tidy: the white space at its end gives way to one line end, and a blank line separates turns.
    """

    mark: str | None = "#"
    whole_prompt: bool = True
    after: str | None = None

    @property
    def tidy(self) -> bool:
        return self.after is None


RAW = Layout(mark=None, after="")
PAPER = Layout(whole_prompt=False, after="\n\n")


@dataclass(frozen=True)
class Span:
    """Where a turn stands in the text, in characters: from `begin` what separates it and its comment, from `code` its
    completion, up to `end`."""

    begin: int
    code: int
    end: int


@dataclass(frozen=True)
class Program:
    """A prefix (an existing file, imports, an interpreter line) and the turns that follow it."""

    prefix: str = ""
    turns: tuple[Turn, ...] = ()
    layout: Layout = field(default_factory=Layout)

    def source(self, *, comments: bool = True) -> str:
        """The exact text of the program; without the prompts' comments if asked."""
        text = self.prefix
        for turn in self.turns:
            text += self._opening(text, turn.prompt, comments) + turn.completion + self.closing(turn.completion)
        return text

    def opening(self, prompt: str | None, *, comments: bool = True) -> str:
        """What stands between `source()` and the completion of `prompt`: missing line ends, blank line, comment."""
        return self._opening(self.source(comments=comments), prompt, comments)

    def closing(self, completion: str) -> str:
        """What follows a completion: what the layout says, or the end of its last line."""
        if self.layout.after is not None:
            return self.layout.after
        return "" if completion.endswith("\n") or not completion else "\n"

    def comment(self, prompt: str) -> str:
        """The prompt as it stands in the program: a comment, its last line end included."""
        mark = self.layout.mark
        if mark is None:
            return prompt
        if not self.layout.whole_prompt:
            return f"{mark} {prompt}\n"
        lines = _LINE_END.split(prompt)
        if len(lines) > 1 and not lines[-1]:
            lines.pop()
        return "".join(_comment_line(mark, line) + "\n" for line in lines)

    def spans(self) -> Iterator[Span]:
        """Where each turn stands in `source()`."""
        end = len(self.prefix)
        text = self.prefix
        for turn in self.turns:
            begin = end
            text += self._opening(text, turn.prompt)
            code = len(text)
            text += turn.completion + self.closing(turn.completion)
            end = len(text)
            yield Span(begin, code, end)

    def stale(self) -> tuple[int, ...]:
        """The turns whose text before is not what their completions were drawn for; those by hand are never stale."""
        text = self.source()
        return tuple(
            index
            for index, (turn, span) in enumerate(zip(self.turns, self.spans(), strict=True))
            if turn.facts and not turn.by_hand and turn.facts.context != digest(text[: span.code])
        )

    def add(self, turn: Turn) -> Program:
        """The program with one turn more, its completion trimmed as the layout says."""
        return replace(self, turns=(*self.turns, self._trimmed(turn)))

    def put(self, index: int, turn: Turn) -> Program:
        """With another turn in the place of one. Raises IndexError."""
        self._turn(index)
        return replace(self, turns=(*self.turns[:index], self._trimmed(turn), *self.turns[index + 1 :]))

    def drop(self, index: int) -> Program:
        """Without a turn. Raises IndexError."""
        self._turn(index)
        return replace(self, turns=self.turns[:index] + self.turns[index + 1 :])

    def move(self, index: int, to: int) -> Program:
        """With a turn at another place: `to` is its index afterwards. Raises IndexError."""
        self._turn(to)
        rest = self.drop(index).turns
        return replace(self, turns=(*rest[:to], self.turns[index], *rest[to:]))

    def until(self, index: int) -> Program:
        """The program before a turn."""
        return replace(self, turns=self.turns[:index])

    def _turn(self, index: int) -> Turn:
        """A turn, counted from the front only. Raises IndexError."""
        if not 0 <= index < len(self.turns):
            raise IndexError(f"no turn {index + 1}")
        return self.turns[index]

    def _trimmed(self, turn: Turn) -> Turn:
        return replace(turn, completion=turn.completion.rstrip()) if self.layout.tidy else turn

    def _opening(self, text: str, prompt: str | None, comments: bool = True) -> str:
        if prompt is None:
            return ""
        comment = self.comment(prompt) if comments else ""
        return self._gap(text, comment) + comment

    def _gap(self, text: str, comment: str) -> str:
        """The line ends missing between `text` and a turn, so that a blank line separates them.

        A comment that would name the encoding of the file where it begins is put on the third line.
        """
        if not self.layout.tidy:
            return ""
        if not text:
            names_encoding = self.layout.mark == "#" and any(map(CODING.match, comment.split("\n")[:2]))
            return "\n\n" if names_encoding else ""
        ends = text[len(text.rstrip("\r\n")) :].count("\n")
        return "\n" * max(0, 2 - ends)


def new_program(language: Language, settings: Settings, card: Card | None) -> Program:
    """A program without turns. It starts with the prefix of the settings, else (for Python) of the model's card, else
    of the language."""
    if settings.prefix is not None:
        prefix = from_file(encode(settings.prefix))
    else:
        prefix = (card.prefix if card and language.name == "python" else None) or language.prefix
    return Program(prefix, layout=Layout(language.mark))


def _comment_line(mark: str, line: str) -> str:
    """A line of a prompt behind the mark. In C a backslash at its end would make the next line part of it."""
    comment = f"{mark} {line}".rstrip()
    return comment + "." * (mark == "//" and comment.endswith("\\"))


def checked_prompt(prompt: str, what: str) -> str:
    """A prompt without a byte order mark. what: what it is, for the error.

    Raises UsageError for one that can be no comment in any language: bytes that are not UTF-8, a NUL.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not UTF-8", hint="save it as UTF-8") from None
    if "\0" in prompt:
        raise UsageError(f"{what} has a NUL character", hint="a prompt is text")
    return prompt.removeprefix("\ufeff")

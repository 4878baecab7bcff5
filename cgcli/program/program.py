"""A program: a prefix and turns, and how they become text.

The protocol is the paper's: a prompt becomes a comment, its completion follows, a blank line separates turns, and the
model always reads the exact text of the program so far (salesforce/CodeGen codegen1/benchmark/mtpb_sample.py). `Layout`
covers the differences between the paper's evaluation and the tool. Everything here is a value; nothing runs a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from cgcli.program.source import digest, encode, from_file
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.hub.catalog import Card
    from cgcli.program.languages import Language

CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*[-\w.]")
"""A comment that declares the encoding of its file if it is on one of the first two lines: PEP 263, also Ruby's."""

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line, and thus a comment, in any of the languages. A form feed does not."""

End = Literal["stop", "length", "context", "interrupted", "empty"]
"""Why a candidate ended: the engine's finish reason, or `empty` if truncation left no code."""


_LISTED = 3  # redrawn lines in a note


@dataclass(frozen=True)
class GuardCut:
    """Text that a guard cut out of a completion."""

    guard: str  # the name of the guard, see faults.py
    line: int  # of the completion, from 1
    reason: str  # one line for the user
    tokens: int  # that were dropped


@dataclass(frozen=True)
class GuardFacts:
    """What the guards did to a completion."""

    cuts: tuple[GuardCut, ...] = ()
    imports: tuple[str, ...] = ()  # that were written
    standing: str = ""  # the fault that stands because all tries were used; "" if none

    def notes(self, first: int = 1) -> list[str]:
        """Lines for the user. first: number of the line on which the completion begins."""
        again = [cut for cut in self.cuts if cut.guard != "end"]
        reasons: dict[int, str] = {}
        for cut in again:
            reasons.setdefault(cut.line + first - 1, cut.reason)
        found = [f"added {line}" for line in self.imports]
        if again:
            lines = "; ".join(f"line {line}: {reason}" for line, reason in sorted(reasons.items())[:_LISTED])
            more = f"; {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else ""
            found.append(f"regenerated {lines}{more} ({plural(sum(cut.tokens for cut in again), 'token')} dropped)")
        ends = [cut.line + first - 2 for cut in self.cuts if cut.guard == "end"]
        found += [f"ended after line {ends[-1]}, the last that is whole"] if ends else []
        if self.standing:
            found.append(f"a fault is left after {len(again)} tries: {self.standing}")
        return found


@dataclass(frozen=True)
class Candidate:
    """One completion of a turn."""

    text: str  # as it appears in the program
    tokens: int  # drawn, including the one that ended it
    mean_logprob: float | None  # of those tokens under the model itself, in nats; None if none was drawn
    finish_reason: End
    draw: int = 0  # selects its random numbers under the seed; a retry is the next draw
    kept: int = 0  # characters at its beginning that were not drawn with it, but kept from before
    temperature: float | None = None  # that it was drawn at, if it is not the turn's
    ran: str = ""  # what the program did with it, in words, if it was run to decide whether to draw again
    guard: GuardFacts | None = None  # None if no guard did anything

    @property
    def logprob(self) -> float | None:
        """The log-probability of all these tokens together, in nats; None if none was drawn."""
        return None if self.mean_logprob is None else self.mean_logprob * self.tokens

    @property
    def blank(self) -> bool:
        """Whether it has no code, so that it cannot be a turn."""
        return not self.text.strip()


@dataclass(frozen=True)
class Setup:
    """What drew a turn, beside the settings in its facts: the same setup and settings draw the same text."""

    sha256: str  # of the model's file; "" if unknown
    file: str  # the model's file if it is outside the store, else ""
    cgcli: str  # its version
    processor: str  # its name
    threads: int
    gpu_layers: int
    window: int  # the context window, in tokens
    exact: bool
    draft: str  # as `--draft` takes it


@dataclass(frozen=True)
class TurnFacts:
    """How the candidates of a turn were drawn."""

    model: str
    quant: str
    seed: int  # this and the next four as given to the sampler
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int
    context: str  # `digest` of the text before the completion
    prompt_tokens: int  # that the prompt added to the context
    prompt_perplexity: float | None  # of the prompt's tokens, except a first token of all
    folded: int = 0  # tokens of the program that the model did not read
    seconds: float = 0.0  # from reading the prompt to the last token
    guard: str = ""  # version of the Python whose parser the guards used; "" without guards
    stops: tuple[str, ...] = ()  # strings that end a completion
    batch: int = 1  # candidates that were drawn together
    others: float | None = None  # temperature of those after the first one; None: the same
    setup: Setup | None = None  # None in a journal of an older cgcli


@dataclass(frozen=True)
class VoteGroup:
    """Candidates that do the same when they are tested."""

    candidates: tuple[int, ...]  # indices
    example: str  # a call and what it returned, or the last line that was printed


@dataclass(frozen=True)
class Picked:
    """How one of a turn's candidates was picked."""

    rule: Literal["probable", "run", "tests", "reviewer"]  # the one that decided
    function: str = ""  # whose results were compared
    calls: int = 0  # of that function
    groups: tuple[VoteGroup, ...] = ()  # of candidates that returned or printed something, the largest first
    interrupted: bool = False  # Ctrl-C ended it early

    @property
    def why(self) -> str:
        """A few words for the user; "" for the most probable one."""
        size = len(self.groups[0].candidates) if self.groups else 0
        if self.rule == "tests":
            calls = f"{plural(self.calls, 'call')} of {self.function}"
            return f"{size} agree on {calls}" if size > 1 else f"the only one that returns a value for {calls}"
        if self.rule == "run":
            return f"{size} print the same" if size > 1 else "the only one that prints something"
        return "picked by the reviewer" if self.rule == "reviewer" else ""

    def group(self, candidate: int) -> VoteGroup | None:
        """The group of a candidate."""
        return next((one for one in self.groups if candidate in one.candidates), None)

    def shifted(self, by: int) -> Picked:
        """The same for candidates that follow `by` other ones."""
        groups = (VoteGroup(tuple(index + by for index in one.candidates), one.example) for one in self.groups)
        return replace(self, groups=tuple(groups))


@dataclass(frozen=True)
class Turn:
    """A prompt and its code."""

    prompt: str | None  # None: the turn continues the text before it
    completion: str
    candidates: tuple[Candidate, ...] = ()
    accepted: int | None = None  # index of the candidate in use; None if written by hand, or if none was usable
    facts: TurnFacts | None = None
    picked: Picked | None = None  # None if there was nothing to pick from, or the most probable candidate was taken
    start: str = ""  # what the user had its code begin with; it is drawn again behind that

    @property
    def interrupted(self) -> bool:
        drawing = any(candidate.finish_reason == "interrupted" for candidate in self.candidates)
        return drawing or bool(self.picked and self.picked.interrupted)

    @property
    def usable(self) -> int:
        """How many candidates have code."""
        return sum(not one.blank for one in self.candidates)

    @property
    def drawn(self) -> str:
        """How many candidates there are, in words: `4`, or `4 (1 empty)`."""
        count = len(self.candidates)
        return f"{count} ({count - self.usable} empty)" if self.usable < count else str(count)

    @property
    def by_hand(self) -> bool:
        """Whether the user wrote its code."""
        return self.accepted is None

    def choose(self, index: int) -> Turn:
        """The turn with another of its candidates. Raises IndexError."""
        return replace(self, completion=self.candidates[index].text, accepted=index)

    def rewrite(self, code: str) -> Turn:
        """The turn with the user's own code; the candidates stay available."""
        return replace(self, completion=code, accepted=None)


@dataclass(frozen=True)
class Layout:
    """How turns become text."""

    mark: str | None = "#"  # begins a prompt's comment; None: prompts stay as typed
    whole_prompt: bool = True  # comment every line of a prompt, not only the first
    after: str | None = None  # what follows a completion, which stays as drawn; None: tidy

    @property
    def tidy(self) -> bool:
        """Whether one line end replaces the white space after a completion, and a blank line separates turns."""
        return self.after is None


RAW = Layout(mark=None, after="")
PAPER = Layout(whole_prompt=False, after="\n\n")


@dataclass(frozen=True)
class Span:
    """The position of a turn in the text, in characters."""

    begin: int  # of the blank lines before it, and its comment
    code: int  # where the completion begins
    end: int


@dataclass(frozen=True)
class Program:
    """A prefix (an existing file, imports, an interpreter line) and the turns that follow it."""

    prefix: str = ""
    turns: tuple[Turn, ...] = ()
    layout: Layout = field(default_factory=Layout)

    def source(self, *, comments: bool = True) -> str:
        """The exact text of the program. comments: include the prompts."""
        text = self.prefix
        for turn in self.turns:
            text += self._opening(text, turn.prompt, comments) + turn.completion + self.closing(turn.completion)
        return text

    def opening(self, prompt: str | None, *, comments: bool = True) -> str:
        """The text between `source()` and the completion of `prompt`: missing line ends, blank line, comment."""
        return self._opening(self.source(comments=comments), prompt, comments)

    def closing(self, completion: str) -> str:
        """The text after a completion: the layout's, or the end of its last line."""
        if self.layout.after is not None:
            return self.layout.after
        return "" if completion.endswith("\n") or not completion else "\n"

    def comment(self, prompt: str) -> str:
        """The prompt as a comment, including its last line end."""
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
        """The position of each turn in `source()`."""
        end = len(self.prefix)
        text = self.prefix
        for turn in self.turns:
            begin = end
            text += self._opening(text, turn.prompt)
            code = len(text)
            text += turn.completion + self.closing(turn.completion)
            end = len(text)
            yield Span(begin, code, end)

    def code_line(self, index: int) -> int:
        """The number of the line on which a turn's code begins, from 1."""
        return self.source()[: list(self.spans())[index].code].count("\n") + 1

    def stale(self) -> tuple[int, ...]:
        """Indices of the turns whose preceding text changed since they were drawn; turns by hand are never stale."""
        text = self.source()
        return tuple(
            index
            for index, (turn, span) in enumerate(zip(self.turns, self.spans(), strict=True))
            if turn.facts and not turn.by_hand and turn.facts.context != digest(text[: span.code])
        )

    def add(self, turn: Turn) -> Program:
        """The program with one more turn, its completion trimmed as the layout demands."""
        return replace(self, turns=(*self.turns, self._trimmed(turn)))

    def put(self, index: int, turn: Turn) -> Program:
        """The program with another turn at `index`. Raises IndexError."""
        self._turn(index)
        return replace(self, turns=(*self.turns[:index], self._trimmed(turn), *self.turns[index + 1 :]))

    def drop(self, index: int) -> Program:
        """The program without a turn. Raises IndexError."""
        self._turn(index)
        return replace(self, turns=self.turns[:index] + self.turns[index + 1 :])

    def move(self, index: int, to: int) -> Program:
        """The program with a turn moved; `to` is its index afterwards. Raises IndexError."""
        self._turn(to)
        rest = self.drop(index).turns
        return replace(self, turns=(*rest[:to], self.turns[index], *rest[to:]))

    def replaced(self, begin: int, end: int, text: str) -> Program:
        """The program with `text` in place of the characters `begin` to `end` - 1: of the prefix, or of a turn's code.

        A turn whose code changes is one by hand. Blank lines before a prompt belong to what is above them. Raises
        IndexError for a place inside a prompt.
        """
        source, spans = self.source(), list(self.spans())
        index = max((at for at, span in enumerate(spans) if span.code <= begin), default=-1)
        first, last = (spans[index].code, spans[index].end) if index >= 0 else (0, len(self.prefix))
        if source[last:end].strip():
            raise IndexError(f"character {begin} is part of a prompt")
        code = source[first:begin] + text + source[end:last]
        return self.put(index, self.turns[index].rewrite(code)) if index >= 0 else replace(self, prefix=code)

    def until(self, index: int) -> Program:
        """The program before a turn."""
        return replace(self, turns=self.turns[:index])

    def _turn(self, index: int) -> Turn:
        """The turn at `index`, which must not be negative. Raises IndexError."""
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

        A comment that would declare the encoding of the file moves to the third line.
        """
        if not self.layout.tidy:
            return ""
        if not text:
            names_encoding = self.layout.mark == "#" and any(map(CODING.match, comment.split("\n")[:2]))
            return "\n\n" if names_encoding else ""
        ends = text[len(text.rstrip("\r\n")) :].count("\n")
        return "\n" * max(0, 2 - ends)


def new_program(language: Language, settings: Settings, card: Card | None) -> Program:
    """A program without turns. Its prefix is that of the settings, else (for Python) of the model's card, else of the
    language."""
    if settings.prefix is not None:
        prefix = from_file(encode(settings.prefix))
    else:
        prefix = (card.prefix if card and language.name == "python" else None) or language.prefix
    return Program(prefix, layout=Layout(language.mark))


def _comment_line(mark: str, line: str) -> str:
    """A line of a prompt after the mark. In C a backslash at its end would join the next line to it."""
    comment = f"{mark} {line}".rstrip()
    return comment + "." * (mark == "//" and comment.endswith("\\"))

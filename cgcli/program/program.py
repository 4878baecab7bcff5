"""What a program is: a prefix and turns, and the one copy of the rule that makes them text.

The protocol is the paper's: a prompt becomes a comment, its completion follows, a blank line separates turns, and the
model always reads the exact text of the program so far. `Layout` holds what the paper's evaluation and the tool do
differently. Everything here is a value; nothing runs a model. Source of the protocol: salesforce/CodeGen
codegen1/benchmark/mtpb_sample.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


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
class Turn:
    """A prompt and its accepted completion. prompt None: the text before is continued as it stands."""

    prompt: str | None
    completion: str


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
            text += self._gap(text, turn.prompt)
            if comments and turn.prompt is not None:
                text += self.comment(turn.prompt)
            text += turn.completion + self.closing(turn.completion)
        return text

    def opening(self, prompt: str | None, *, comments: bool = True) -> str:
        """What stands between `source()` and the completion of `prompt`: missing line ends, blank line, comment."""
        if prompt is None:
            return ""
        return self._gap(self.source(comments=comments), prompt) + (self.comment(prompt) if comments else "")

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
        return "".join(f"{mark} {line}".rstrip() + "\n" for line in prompt.splitlines() or [""])

    def add(self, turn: Turn) -> Program:
        """The program with one turn more, its completion trimmed as the layout says."""
        if self.layout.tidy:
            turn = replace(turn, completion=turn.completion.rstrip())
        return replace(self, turns=(*self.turns, turn))

    def _gap(self, text: str, prompt: str | None) -> str:
        """The line ends missing between `text` and a turn, so that a blank line separates them."""
        if prompt is None or not text or not self.layout.tidy:
            return ""
        ends = text[len(text.rstrip("\r\n")) :].count("\n")
        return "\n" * max(0, 2 - ends)

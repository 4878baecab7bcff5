"""A turn: what was asked, what was drawn for it, what of that stands in the program, and the facts of how it came.

Everything here is a value that a journal can keep; nothing knows an engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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

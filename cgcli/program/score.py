"""A program's perplexity under a model: of every turn, its prompt and its code, and of the whole.

`score_report` returns the output of `score --json`, a contract that score.schema.json beside this file specifies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from cgcli.core.progress import Progress
from cgcli.engine.protocol import Engine
from cgcli.engine.request import TokenScore
from cgcli.program.source import SplitTurn, decode, encode, split
from cgcli.terminal.text import json_safe

if TYPE_CHECKING:
    from cgcli.hub.catalog import Card

Clarity = Literal["clear", "fair", "unclear"]


@dataclass(frozen=True)
class Measure:
    """The perplexity of a text."""

    tokens: int  # that were scored
    perplexity: float | None  # None if there are none

    @classmethod
    def of(cls, scores: Sequence[TokenScore]) -> Measure:
        from cgcli.engine.request import perplexity

        return cls(len(scores), perplexity([score.logprob for score in scores]))


@dataclass(frozen=True)
class TurnScore:
    """The perplexities of a turn: of its comment, its code, and both together."""

    part: SplitTurn
    prompt: Measure
    code: Measure
    whole: Measure


@dataclass(frozen=True)
class ProgramScore:
    """The perplexities of a program."""

    first: bytes  # of the first token, which nothing predicts and which is not scored
    tokens: tuple[TokenScore, ...]  # all others
    prefix: Measure
    turns: tuple[TurnScore, ...]
    prompts: Measure  # of all turns
    code: Measure  # of all turns
    whole: Measure

    @property
    def pieces(self) -> list[tuple[bytes, float | None]]:
        """Every token of the text: its bytes, and its log-probability in nats if it was scored."""
        unscored: list[tuple[bytes, float | None]] = [(self.first, None)] if self.first else []
        return unscored + [(score.piece, score.logprob) for score in self.tokens]


def score_program(
    engine: Engine,
    text: str,
    mark: str,
    *,
    before: str = "",
    stride: int | None = None,
    progress: Progress | None = None,
) -> ProgramScore:
    """Score a program whose comments begin with `mark`. For stride and errors see `Engine.surprise`.

    A token belongs to the part that has its last byte. before: text that the model reads first, not scored.
    """
    from cgcli.engine.model import readable

    data = readable(encode(text))
    text = data.decode()
    read = readable(encode(before))
    tokens = engine.surprise(read + data, len(read), stride=stride, progress=progress)
    begin = len(data) - sum(len(score.piece) for score in tokens)
    first = data[: max(0, begin)]
    ends = list(accumulate((len(score.piece) for score in tokens), initial=begin))[1:]

    def within(begin: int, end: int) -> list[TokenScore]:
        return tokens[bisect_right(ends, begin) : bisect_right(ends, end)]

    parts = split(text, mark)
    at = len(parts.prefix.encode())
    prefix = Measure.of(within(0, at))
    turns, prompts, codes = [], [], []
    for part in parts.turns:
        code = at + len(part.comment.encode())
        end = code + len(part.code.encode())
        turns.append(TurnScore(part, *(Measure.of(within(*span)) for span in ((at, code), (code, end), (at, end)))))
        prompts += within(at, code)
        codes += within(code, end)
        at = end
    measures = (Measure.of(scores) for scores in (prompts, codes, tokens))
    return ProgramScore(first, tuple(tokens), prefix, tuple(turns), *measures)


def score_report(scored: ProgramScore, engine: Engine, *, stride: int | None, tokens: bool) -> dict[str, Any]:
    """The scores as plain JSON values, log-probabilities and entropies in nats. tokens: include every token."""
    found = {
        "window": engine.window,
        "stride": stride,
        "ran_on": asdict(engine.placement),
        **asdict(scored.whole),
        "unscored": decode(scored.first),
        "prefix": asdict(scored.prefix),
        "prompts": asdict(scored.prompts),
        "code": asdict(scored.code),
        "turns": [_turn(turn) for turn in scored.turns],
        "pieces": [_piece(score) for score in scored.tokens] if tokens else None,
    }
    return {name: json_safe(value) for name, value in found.items()}


def _piece(score: TokenScore) -> dict[str, Any]:
    names = ("token", "logprob", "rank", "entropy")
    return {"piece": decode(score.piece), **{name: getattr(score, name) for name in names}}


def _turn(turn: TurnScore) -> dict[str, Any]:
    return {
        "line": turn.part.line,
        "prompt": turn.part.prompt,
        **asdict(turn.whole),
        "prompt_tokens": turn.prompt.tokens,
        "prompt_perplexity": turn.prompt.perplexity,
        "code_tokens": turn.code.tokens,
        "code_perplexity": turn.code.perplexity,
    }


def clarity(perplexity: float | None, card: Card | None) -> Clarity | None:
    """How clear a prompt is to a model: its perplexity compared with that model's quartiles over a benchmark.

    clear: up to the first quartile. fair: up to the third. None without a perplexity, or without quartiles on `card`,
    the model's. The paper found that programs with a low perplexity are solved more often; what is low differs from
    model to model. `python -m tests.benchmarks.prompt_quartiles` measured the quartiles.
    """
    if perplexity is None or card is None or card.prompt_perplexity is None:
        return None
    first, _, third = card.prompt_perplexity
    return "clear" if perplexity <= first else "fair" if perplexity <= third else "unclear"

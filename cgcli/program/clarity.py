"""How clear a prompt is to a model: its perplexity in words, beside that model's own quartiles over a benchmark.

The paper found that programs of low perplexity are solved more often; what is low differs from model to model, so a
card keeps the quartiles that `python -m tests.benchmarks.prompt_quartiles` measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cgcli.hub.catalog import Card

Clarity = Literal["clear", "fair", "unclear"]


def words(perplexity: float | None, card: Card | None) -> Clarity | None:
    """clear: up to the first quartile; fair: up to the third; None where there is no perplexity, or nothing to compare.

    card: of the model that measured it.
    """
    if perplexity is None or card is None or card.prompt_perplexity is None:
        return None
    first, _, third = card.prompt_perplexity
    return "clear" if perplexity <= first else "fair" if perplexity <= third else "unclear"

"""Words for perplexities, by a card's quartiles."""

from __future__ import annotations

from dataclasses import replace

from cgcli.hub.catalog import load_catalog
from cgcli.program.clarity import words

CARD = replace(load_catalog().cards["codegen-350m-mono"], prompt_perplexity=(5.0, 8.0, 12.0))


def test_the_quartiles_of_the_model_decide() -> None:
    said = [words(perplexity, CARD) for perplexity in (1.0, 5.0, 5.1, 12.0, 12.1)]
    assert said == ["clear", "clear", "fair", "fair", "unclear"]


def test_without_a_measure_there_are_no_words() -> None:
    assert words(None, CARD) is None and words(5.0, None) is None
    assert words(5.0, replace(CARD, prompt_perplexity=None)) is None

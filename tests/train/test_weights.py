"""Weights in the Hub's layout: saving and loading keeps every bit, and the GGUF has the same logits."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.errors import ModelFileError
from cgcli.core.progress import Silent
from cgcli.engine.context import Context
from cgcli.engine.model import Model
from cgcli.train import model
from cgcli.train.weights import TOKENIZER_FILES, load_weights, save_weights
from tests.convert.checkpoints import GOLDEN, copy_texts

pytestmark = pytest.mark.usefixtures("quick_compiler")

# The shape's vocabulary is that of the golden tokenizer. Heads of 16, as many of them as make mp_num's groups matter.
CONFIG = CodeGenConfig(Shape(layers=2, width=128, heads=8, rotary=8, vocabulary=384, context=256), name="tiny")
LOGIT_TOLERANCE = 0.02  # llama.cpp on float16 weights; measured: see test


def random_weights(seed: int = 0) -> model.Params:
    """Weights with nothing at its initial value, that float16 holds exactly."""
    rng = np.random.default_rng(seed)
    params = model.init_params(CONFIG, seed)
    return dict(
        jax.tree.map(
            lambda leaf: jnp.asarray(
                (2 * leaf + 0.05 * rng.standard_normal(leaf.shape, np.float32)).astype(np.float16).astype(np.float32)
            ),
            params,
        )
    )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_saved_and_read_again(dtype: str, tmp_path: Path) -> None:
    params = random_weights() if dtype == "float16" else model.init_params(CONFIG, 0)
    save_weights(tmp_path / "out", CONFIG, params, GOLDEN, dtype)
    config, again = load_weights(tmp_path / "out")
    assert config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert {tensor.dtype for tensor in open_checkpoint(tmp_path / "out").tensors.values()} == {
        {"float16": "f16", "float32": "f32"}[dtype]
    }


def test_a_published_checkpoint_is_saved_as_it_was(tmp_path: Path) -> None:
    config, params = load_weights(GOLDEN)
    save_weights(tmp_path / "out", config, params, GOLDEN)
    source, written = open_checkpoint(GOLDEN).tensors, open_checkpoint(tmp_path / "out").tensors
    masks = {name for name, tensor in source.items() if tensor.dtype not in ("f16", "f32", "bf16")}
    assert set(written) == set(source) - masks
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor.read(np.float16), source[name].read(np.float16), err_msg=name)
    for file in TOKENIZER_FILES:
        assert (tmp_path / "out" / file).is_file() == (GOLDEN / file).is_file()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (GOLDEN, tmp_path / "out"))
    shape = ("n_layer", "n_head", "n_embd", "rotary_dim", "vocab_size", "n_positions", "model_type", "n_inner")
    assert [after[key] for key in shape] == [before.get(key) for key in shape]
    assert after["eos_token_id"] == json.loads((GOLDEN / "vocab.json").read_text())["<|endoftext|>"]


def test_convert_takes_it_and_llama_cpp_gives_the_same_logits(tmp_path: Path) -> None:
    params = random_weights()
    save_weights(tmp_path / "out", CONFIG, params, GOLDEN)
    report = convert(
        tmp_path / "out",
        tmp_path / "f16.gguf",
        quant="f16",
        provenance=Provenance("tiny"),
        progress=Silent(),
        threads=2,
    )
    assert report.verification is not None and report.verification.layers_checked == CONFIG.shape.layers
    ids = np.random.default_rng(0).integers(0, 256, 100).tolist()
    with Model.load(tmp_path / "f16.gguf") as loaded, Context(loaded, n_ctx=128, threads=2) as context:
        context.decode(ids, outputs=range(len(ids)))
        found = np.stack([context.logits(index) for index in range(len(ids))])
    expected = np.asarray(model.logits(params, jnp.asarray([ids]), CONFIG, dtype="float32")[0])
    assert expected.std() > 0.5, "logits too small to show a difference"
    assert np.abs(found - expected).max() < LOGIT_TOLERANCE
    np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))


def test_a_weight_that_float16_does_not_hold(tmp_path: Path) -> None:
    params = random_weights()
    params["head_bias"] = params["head_bias"].at[3].set(1e5)
    with pytest.raises(ModelFileError, match=r"lm_head\.bias .* float16"):
        save_weights(tmp_path / "out", CONFIG, params, GOLDEN)
    assert not (tmp_path / "out").exists()
    save_weights(tmp_path / "out", CONFIG, params, GOLDEN, "float32")


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no vocab\.json"):
        save_weights(tmp_path / "out", CONFIG, random_weights(), tmp_path)


def test_saved_over_its_own_tokenizer(tmp_path: Path) -> None:
    folder = copy_texts(tmp_path / "model")
    save_weights(folder, CONFIG, random_weights(), folder)
    assert load_weights(folder)[0] == CONFIG

"""Random CodeGen checkpoints of the published shapes, for benchmarks: speed does not depend on what the weights hold.

    python -m tests.benchmarks.checkpoint SHAPE

writes one to build/bench, unless it is there, a tensor at a time. Two things are not left to chance, so that no side of
a comparison is favoured: the logits spread as a trained model's do, or top-p would keep thousands of tokens (here it
keeps about four at temperature 0.2); and only words can be drawn, neither the end of text nor padding nor parts of
characters, so every completion is as long as was asked for. The vocabulary is of CodeGen's size and kind: the 256
bytes, then a space and a word of letters each, so that any row of words is a text whose tokens are these words.
"""

from __future__ import annotations

import itertools
import json
import string
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.report import ROOT, command_line
from tests.convert.checkpoints import encode
from tests.support.tiny_model import byte_characters

FOLDER = ROOT / "build" / "bench"
VOCABULARY = 51_200
BYTES, END_OF_TEXT = 256, 50_256  # the words' ids lie between them
SPACE = "Ġ"  # how GPT-2's vocabulary writes it
DEVIATION = 0.02  # of weights, as they are initialised (Hugging Face's `initializer_range`)
# After the last LayerNorm a logit's deviation is this times the root of the width: 2.6 for the 350M shape.
OUTPUT_DEVIATION = 0.08
NEVER = -100.0  # bias of a logit


@dataclass(frozen=True)
class Shape:
    """layers, width (n_embd), heads, rotary dimensions of a head. Source: the config.json of Salesforce/codegen-*."""

    name: str
    layers: int
    width: int
    heads: int
    rotary: int

    @property
    def folder(self) -> Path:
        return FOLDER / f"codegen-{self.name}-random"


SHAPES = {shape.name: shape for shape in (Shape("350m", 20, 1024, 16, 32), Shape("2b", 32, 2560, 32, 64))}


def tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The tensors of a CodeGen checkpoint by name."""
    width = shape.width
    found: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (VOCABULARY, width)}
    for layer in range(shape.layers):
        block = f"transformer.h.{layer}"
        found |= {
            f"{block}.ln_1.weight": (width,),
            f"{block}.ln_1.bias": (width,),
            f"{block}.attn.qkv_proj.weight": (3 * width, width),
            f"{block}.attn.out_proj.weight": (width, width),
            f"{block}.mlp.fc_in.weight": (4 * width, width),
            f"{block}.mlp.fc_in.bias": (4 * width,),
            f"{block}.mlp.fc_out.weight": (width, 4 * width),
            f"{block}.mlp.fc_out.bias": (width,),
        }
    return found | {
        "transformer.ln_f.weight": (width,),
        "transformer.ln_f.bias": (width,),
        "lm_head.weight": (VOCABULARY, width),
        "lm_head.bias": (VOCABULARY,),
    }


def values(name: str, shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.float32]:
    deviation = OUTPUT_DEVIATION if name == "lm_head.weight" else DEVIATION
    found = draw.standard_normal(shape, np.float32)
    found *= np.float32(deviation)
    if "ln_" in name and name.endswith("weight"):
        found += 1
    if name == "lm_head.bias":
        found[:BYTES] = found[END_OF_TEXT:] = NEVER
    return found


def write_weights(path: Path, shape: Shape) -> None:
    """model.safetensors in f16, one tensor in memory at a time."""
    header, at = {}, 0
    for name, size in tensors(shape).items():
        end = at + 2 * prod(size)
        header[name] = {"dtype": "F16", "shape": list(size), "data_offsets": [at, end]}
        at = end
    draw = np.random.default_rng(0)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        text = json.dumps(header).encode()
        file.write(struct.pack("<Q", len(text)) + text)
        for name, size in tensors(shape).items():
            file.write(encode(values(name, size, draw), "f16"))
    unfinished.rename(path)


def words() -> Iterator[str]:
    """a, b, … z, aa, ab, …: every word's beginnings come before it, so that merges can build it letter by letter."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))


def write_texts(folder: Path, shape: Shape) -> None:
    """config.json and the tokenizer's files."""
    letters = byte_characters()
    built = list(itertools.islice(words(), END_OF_TEXT - len(letters)))
    tokens = [*letters, *(SPACE + word for word in built), "<|endoftext|>"]
    config = {
        "model_type": "codegen",
        "architectures": ["CodeGenForCausalLM"],
        "vocab_size": VOCABULARY,
        "n_positions": 2048,
        "n_ctx": 2048,
        "n_embd": shape.width,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": None,
        "rotary_dim": shape.rotary,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("".join(f"{SPACE}{word[:-1]} {word[-1]}\n" for word in built))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CodeGenTokenizer"}))


def checkpoint(shape: Shape) -> Path:
    """The folder of a random checkpoint, made on first use."""
    weights = shape.folder / "model.safetensors"
    if not weights.exists():
        shape.folder.mkdir(parents=True, exist_ok=True)
        write_texts(shape.folder, shape)
        write_weights(weights, shape)
    return shape.folder


def prompt(draw: np.random.Generator, tokens: int) -> list[int]:
    """The ids of a text of random words."""
    return [int(token) for token in draw.integers(BYTES, END_OF_TEXT, tokens)]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("shape", choices=SHAPES)
    print(checkpoint(SHAPES[parser.parse_args().shape]))


if __name__ == "__main__":
    main()

"""Verifies a converted model against its checkpoint: its layers, and its token ids.

Each layer is checked alone. llama.cpp reports every layer's output (`l_out-<i>`); NumPy computes layer i from
llama.cpp's own output of layer i-1. So errors do not accumulate, a mismatch names its layer, and any subset of layers
is a real check. Token ids are compared with those of the checkpoint's own tokenizer files, read by the `tokenizers`
package as transformers does: a setting that `vocabulary` does not know shows in the ids.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.convert.checkpoint import Checkpoint
from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.convert.vocabulary import TokenizerFiles
from cgcli.core.errors import Interrupted, ModelFileError
from cgcli.core.progress import Progress
from cgcli.core.reading import shown

if TYPE_CHECKING:
    import numpy as np
    import tokenizers
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# How far llama.cpp (f16 weights, f16 activations inside a product, f16 cache) may differ from float32, as a fraction of
# what the layer adds to a token's hidden state, or of the token's logits. Measured: 0.0006 at most. With two of q, k
# and v exchanged or a wrong rotary order, a layer differs by 0.06 (freshly initialized) to 1.3.
LAYER_TOLERANCE = 0.02
LOGITS_TOLERANCE = 0.02

# Nats per token of PROMPT. Trained models have 1 to 4, models with qkv rows in the wrong groups 8 and more. Since NumPy
# and llama.cpp use the same mp_num, a wrong one causes no mismatch; it shows only here.
SUSPICIOUS_LOSS = 6.0

# With up to 3 billion weights in its layers a model is checked whole, in some 20 s on two cores; of a larger one as
# many layers as fit, evenly spaced, including the first and the last.
MAX_CHECKED_WEIGHTS = 3_000_000_000
MAX_PROMPT_TOKENS = 128

PROMPT = b'''# Import libraries.

import numpy as np

# Read the numbers in a file, one a line, and print their mean and their median.
def read_numbers(path):
    """Return the numbers in the file as a list."""
    numbers = []
    with open(path) as lines:
        for line in lines:
            if line.strip():
                numbers.append(float(line))
    return numbers


numbers = read_numbers("numbers.txt")
print(sum(numbers) / len(numbers), sorted(numbers)[len(numbers) // 2])
'''


_GPT2: dict[str, Any] = {
    "version": "1.0",
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE"},
}
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "model")  # of tokenizer.json that decide the ids
_RANDOM_TEXTS = 200
_MAX_ADDED_TOKENS = 64  # in the texts

# Texts to compare token ids on.
_PIECES = (
    "def", "return x", "self", "numpy", "HTTPResponse", "snake_case", "it's", "we'll", "I'VE", "x2", "12345", "0x1F",
    "3.14", "==", "->", "({[", "]})", "'''", '"', "\\n", "#", "!?", "\n", "\n\n", "\r\n", " ", "  ", "    ",
    "\t", "\t\t", "é", "naïve", "Größe", "Привет", "日本語", "한국어", "שלום", "½", "²", "e\u0301", "🙂",
    "👩\u200d💻", "\u00a0", "\u200b", "\x0c", "\x1b",
)  # fmt: skip


@dataclass(frozen=True)
class Verification:
    """The differences between an f16 GGUF and its checkpoint."""

    prompt_tokens: int
    layers: int
    layers_checked: int
    worst_layer: int
    worst_layer_error: float  # relative, see LAYER_TOLERANCE
    logits_error: float  # relative, see LOGITS_TOLERANCE
    largest_logit_difference: float
    argmax_agreement: float  # fraction of the tokens
    loss: float  # nats per token of PROMPT, see SUSPICIOUS_LOSS


def verify(
    path: Path, checkpoint: Checkpoint, config: CodeGenConfig, progress: Progress, *, threads: int
) -> tuple[Verification, Floats]:
    """Check the f16 GGUF at `path` against its checkpoint; also returns its logits [T, n_vocab] for PROMPT.

    Raises ModelFileError, naming the layer, if one differs by more than LAYER_TOLERANCE.
    """
    import numpy as np

    from cgcli.convert.reference import Reference, log_softmax

    shape = config.shape
    layers = layers_to_check(shape)
    last = shape.layers - 1
    wanted = {*layers, *(layer - 1 for layer in layers if layer), last}
    tokens, logits, outputs = _run(path, threads=threads, capture=wanted)
    for layer in wanted:
        if outputs.get(layer, logits[:0]).shape != (len(tokens), shape.width):
            raise ModelFileError(f"{path}: llama.cpp gave an incomplete output for layer {layer}")
    reference = Reference(checkpoint, config)
    errors: dict[int, float] = {}
    with progress.task("checking against the checkpoint", len(layers) + 1, unit="steps") as task:
        for layer in layers:
            before = outputs[layer - 1] if layer else reference.embed(tokens)
            expected = reference.layer(layer, before)
            errors[layer] = relative_error(outputs[layer], expected, expected - before)
            if not errors[layer] <= LAYER_TOLERANCE:
                raise _mismatch(checkpoint, f"layer {layer} of {shape.layers}", errors[layer], LAYER_TOLERANCE)
            task.advance(1)
        expected = reference.logits(outputs[last])
        error = relative_error(logits, expected, expected)
        if not error <= LOGITS_TOLERANCE:
            raise _mismatch(checkpoint, "the output layer", error, LOGITS_TOLERANCE)
        task.advance(1)
    worst = max(errors, key=lambda layer: errors[layer])
    losses = -log_softmax(logits[:-1])[np.arange(len(tokens) - 1), tokens[1:]]
    found = Verification(
        prompt_tokens=len(tokens),
        layers=shape.layers,
        layers_checked=len(layers),
        worst_layer=worst,
        worst_layer_error=errors[worst],
        logits_error=error,
        largest_logit_difference=float(np.abs(logits - expected).max()),
        argmax_agreement=float((logits.argmax(axis=-1) == expected.argmax(axis=-1)).mean()),
        loss=float(losses.mean()),
    )
    return found, logits


def kl_divergence(path: Path, logits: Floats, *, threads: int) -> float:
    """Mean Kullback-Leibler divergence, in nats, of the GGUF at `path` from the model that gave `logits` [T, n_vocab].

    Raises ModelFileError if it is not a number.
    """
    import numpy as np

    from cgcli.convert.reference import log_softmax

    _, quantized, _ = _run(path, threads=threads)
    expected, found = log_softmax(logits), log_softmax(quantized)
    mean = float((np.exp(expected) * (expected - found)).sum(axis=-1).mean())
    if not np.isfinite(mean):
        raise ModelFileError(f"{path}: the quantized model is broken: its divergence from f16 is {mean}")
    return max(mean, 0.0)


def layers_to_check(shape: Shape) -> list[int]:
    """All layers, or as many as MAX_CHECKED_WEIGHTS allows, at least two, evenly spaced from first to last."""
    weights = shape.width * (4 * shape.width + 2 * shape.inner)
    count = min(shape.layers, max(2, MAX_CHECKED_WEIGHTS // weights))
    return sorted({round(step * (shape.layers - 1) / max(1, count - 1)) for step in range(count)})


def relative_error(found: Floats, expected: Floats, scale: Floats) -> float:
    """The largest, over the rows, of |found - expected| / |scale|, in Euclidean norms. NaN if a row has a NaN."""
    import numpy as np

    difference = np.linalg.norm(found - expected, axis=-1)
    return float((difference / np.maximum(np.linalg.norm(scale, axis=-1), np.float32(1e-20))).max())


def _run(path: Path, *, threads: int, capture: Collection[int] = ()) -> tuple[list[int], Floats, dict[int, Floats]]:
    """Run llama.cpp on PROMPT: its token ids [T], logits [T, n_vocab], and the outputs [T, width] of some layers."""
    import numpy as np

    from cgcli.engine.context import Capture, Context
    from cgcli.engine.model import Model
    from cgcli.native.interrupt import interruptible

    outputs: dict[int, Floats] = {}

    def keep(name: str, values: Floats) -> None:
        outputs[int(name.removeprefix("l_out-"))] = values

    with interruptible() as interrupt, Model.load(path, gpu_layers=0, cancelled=lambda: interrupt.requested) as model:
        tokens = model.tokenize(PROMPT)[: min(MAX_PROMPT_TOKENS, model.n_ctx_train)]
        names = frozenset(f"l_out-{layer}" for layer in capture)
        size = len(tokens)
        with Context(
            model,
            n_ctx=size,
            n_batch=size,
            threads=threads,
            abort=interrupt.callback_address,
            capture=Capture(names, keep) if names else None,
        ) as context:
            if not context.decode(tokens, outputs=range(len(tokens))):
                raise Interrupted
            logits = np.stack([context.logits(index) for index in range(len(tokens))])
    return tokens, logits, outputs


def _mismatch(checkpoint: Checkpoint, where: str, error: float, tolerance: float) -> ModelFileError:
    return ModelFileError(
        f"{checkpoint.folder}: {where} of the converted model differs from the checkpoint by a relative error of "
        f"{error:.2g} (tolerance {tolerance:g}); nothing was stored",
        hint="please report this, with the checkpoint's name",
    )


def verify_token_ids(model_path: Path, files: TokenizerFiles) -> int | None:
    """Compare the token ids that the GGUF at `model_path` gives for a few hundred texts with the checkpoint's own.

    Returns the number of texts; None if `tokenizers` is not installed. Raises ModelFileError at a difference.
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        return None
    from cgcli.engine.model import Model

    own = _own_tokenizer(files)
    texts = sample_texts(files)
    with Model.load(model_path, gpu_layers=0, vocab_only=True) as model:
        for text in texts:
            expected, ids = own.encode(text).ids, model.tokenize(text.encode())
            if ids != expected:
                at = next((i for i, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), 0)
                raise ModelFileError(
                    f"{files.place.parent}: the tokenizer is not GPT-2's: for {shown(text)} it gives {len(expected)} "
                    f"ids with {expected[at : at + 3]} at {at}, the converted one {len(ids)} with {ids[at : at + 3]}",
                    hint="only GPT-2's tokenizer is supported",
                )
    return len(texts)


def sample_texts(files: TokenizerFiles) -> list[str]:
    """Code, runs of white space, many scripts, and the added tokens that are matched in text; the shortest first, so
    that an error shows a short one."""
    code = PROMPT.decode()
    found = [code, *code.splitlines(keepends=True), *_PIECES]
    found += [f"x{run * length}y" for run in (" ", "\t", "\n") for length in range(1, 41)]
    found += [f"if x:\n{' ' * length}y = 1  \n\n" for length in range(1, 41)]
    added = [token.text for token in files.added.values() if token.in_text][:_MAX_ADDED_TOKENS]
    found += [f"{left}{right}" for left, right in pairwise(added)]
    found += [f"a{text}b {text} {text}" for text in added]
    draw = random.Random(0)
    pieces = [*_PIECES, *added]
    found += ["".join(draw.choice(pieces) for _ in range(draw.randint(2, 40))) for _ in range(_RANDOM_TEXTS)]
    return sorted(found, key=len)


def _own_tokenizer(files: TokenizerFiles) -> tokenizers.Tokenizer:
    """The checkpoint's tokenizer: tokenizer.json, or GPT-2's settings with vocab.json and merges.txt.

    The added tokens also go into the vocabulary, so that each has the id that the files give it; no merge makes one.
    """
    import tokenizers

    found = files.content or _GPT2
    content = {"version": "1.0"} | {part: found.get(part) for part in _PARTS}
    ids = files.base | {token.text: token.id for token in files.added.values()}
    content["model"] = found["model"] | {"vocab": ids, "merges": files.merges}
    content["added_tokens"] = [
        {
            "id": token.id, "content": token.text, "normalized": token.normalized, "special": not token.in_text,
            "single_word": False, "lstrip": False, "rstrip": False,
        }
        for token in sorted(files.added.values(), key=lambda token: token.id)
    ]  # fmt: skip
    try:
        own: tokenizers.Tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises nothing more specific
        raise ModelFileError(f"{files.place}: the tokenizers package cannot read it: {shown(str(error))}") from None
    own.encode_special_tokens = True  # a special token spelled in a text is text
    return own

"""Makes tests/golden/checkpoint: a small random CodeGen checkpoint and what transformers computes from it.

    python -m venv venv && venv/bin/pip install torch==2.13.0 transformers==5.23.0 numpy
    venv/bin/python tests/golden/make.py

Nothing in the tests needs torch or transformers; this script does, once. Weights are drawn wide enough for attention to
matter: with a fresh initialisation a mistake in the order of q, k and v would hardly show.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from transformers import CodeGenConfig, CodeGenForCausalLM, CodeGenTokenizer

FOLDER = Path(__file__).parent / "checkpoint"
N_MERGES = 30
N_VOCAB = 384
GREEDY_TOKENS = 48
END_OF_TEXT = "<|endoftext|>"
PROMPT = """# Import libraries.

import numpy as np

# Sort "numbers".
def sort(numbers):
\tif not numbers:
            return []
    return sorted(numbers)   # dönе
"""


def byte_characters() -> list[str]:
    """GPT-2's character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


def train_merges(text: str) -> list[tuple[str, str]]:
    """A few merges of byte-pair encoding, learnt from the prompt's own words."""
    alphabet = byte_characters()
    words = [[alphabet[byte] for byte in (" " + word).encode()] for word in text.split()]
    merges = []
    for _ in range(N_MERGES):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = ["".join(best)]
                at += 1
    return merges


def write_tokenizer() -> None:
    merges = train_merges(PROMPT)
    texts = [*byte_characters(), *("".join(pair) for pair in merges), END_OF_TEXT]
    runs = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
    files = {
        "vocab.json": json.dumps({text: token for token, text in enumerate(texts)}, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges),
        "added_tokens.json": json.dumps({run: len(texts) + n for n, run in enumerate(runs)}),
    }
    for name, content in files.items():
        (FOLDER / name).write_text(content, "utf-8")


def make_model() -> CodeGenForCausalLM:
    torch.manual_seed(20)
    config = CodeGenConfig(
        vocab_size=N_VOCAB, n_positions=512, n_ctx=512, n_embd=64, n_layer=2, n_head=4, rotary_dim=8,
        initializer_range=0.25, architectures=["CodeGenForCausalLM"],
    )  # fmt: skip
    model = CodeGenForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(1.0 if name.endswith(("ln_1.weight", "ln_f.weight")) else 0.0, 0.1)
            parameter.copy_(parameter.half().float())  # what the file holds
    return model.eval()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    write_tokenizer()
    model = make_model()
    table = {name: tensor.half() for name, tensor in model.state_dict().items()}
    for layer in range(2):  # the masks that published files carry
        table[f"transformer.h.{layer}.attn.causal_mask"] = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
    torch.save(table, FOLDER / "pytorch_model.bin")
    fields = json.loads(model.config.to_json_string(use_diff=False))
    kept = (
        "model_type", "architectures", "vocab_size", "n_positions", "n_ctx", "n_embd", "n_layer", "n_head", "n_inner",
        "rotary_dim", "activation_function", "layer_norm_epsilon", "tie_word_embeddings",
    )  # fmt: skip
    (FOLDER / "config.json").write_text(json.dumps({key: fields[key] for key in kept}, indent=1) + "\n")
    tokenizer = CodeGenTokenizer.from_pretrained(FOLDER)
    ids = tokenizer(PROMPT)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        nll = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
        longer = list(ids)
        for _ in range(GREEDY_TOKENS):
            longer.append(int(model(torch.tensor([longer])).logits[0, -1].argmax()))
    (FOLDER / "prompt.txt").write_text(PROMPT, "utf-8")
    np.savez_compressed(
        FOLDER / "expected.npz",
        ids=np.array(ids, np.int32),
        logits=logits.numpy(),
        nll=nll.numpy(),
        greedy=np.array(longer[len(ids) :], np.int32),
    )


if __name__ == "__main__":
    main()

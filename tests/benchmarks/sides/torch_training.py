"""A plain PyTorch loop: transformers' CodeGen, cross entropy, AdamW, gradients accumulated and clipped; float32."""

from __future__ import annotations

import sys
import time

import torch
from transformers import CodeGenConfig, CodeGenForCausalLM

from tests.benchmarks.sides.training import MATMUL_SIDE, MATMUL_TRIALS, WARM_UP, Asked, answer


def measure(asked: Asked) -> tuple[list[float], list[float], float]:
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    config = CodeGenConfig(
        vocab_size=asked.vocabulary,
        n_positions=asked.context,
        n_ctx=asked.context,
        n_embd=asked.width,
        n_layer=asked.layers,
        n_head=asked.heads,
        rotary_dim=asked.rotary,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    model = CodeGenForCausalLM(config).train()
    forward = torch.compile(model) if asked.compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0.1)
    tokens = torch.randint(asked.vocabulary, (asked.sequences, asked.context + 1))
    passes = tokens.split(asked.together)
    seconds, losses = [], []
    for _ in range(WARM_UP + asked.steps):
        started = time.perf_counter()
        total = 0.0
        for part in passes:
            logits = forward(input_ids=part[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()) / len(passes)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
        seconds.append(time.perf_counter() - started)
    return seconds, losses, matmul_flops()


def matmul_flops() -> float:
    left = torch.full((MATMUL_SIDE, MATMUL_SIDE), 0.5)
    seconds = []
    for _ in range(MATMUL_TRIALS):
        started = time.perf_counter()
        torch.matmul(left, left)
        seconds.append(time.perf_counter() - started)
    return 2 * MATMUL_SIDE**3 / min(seconds)


if __name__ == "__main__":
    answer(sys.argv[1:], measure)

"""Seconds and peak memory of `cgcli convert` on a checkpoint of the 350M shape: 797 MB less its mask buffers.

    python -m tests.benchmarks.conversion [--layers N]

The weights are random (nothing measured depends on them), the tokenizer is that of the golden checkpoint, padded.
Each conversion is a process of its own; its memory is the largest resident size, which counts the parts of the f16 file
that llama.cpp has mapped while it is verified. The checkpoint stays in build/bench. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.convert.checkpoints import change_config, copy_texts, write_safetensors

ROOT = Path(__file__).parents[2]
WIDTH, HEADS, ROTARY, VOCABULARY = 1024, 16, 32, 51_200
RUNS = {
    "f16, not verified": ["--quant", "f16", "--no-verify"],
    "f16, verified": ["--quant", "f16"],
    "q4_k_m, verified": ["--quant", "q4_k_m"],
}


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a CodeGen checkpoint by name."""
    found: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (VOCABULARY, WIDTH)}
    for layer in range(layers):
        block = f"transformer.h.{layer}"
        found |= {
            f"{block}.ln_1.weight": (WIDTH,),
            f"{block}.ln_1.bias": (WIDTH,),
            f"{block}.attn.qkv_proj.weight": (3 * WIDTH, WIDTH),
            f"{block}.attn.out_proj.weight": (WIDTH, WIDTH),
            f"{block}.mlp.fc_in.weight": (4 * WIDTH, WIDTH),
            f"{block}.mlp.fc_in.bias": (4 * WIDTH,),
            f"{block}.mlp.fc_out.weight": (WIDTH, 4 * WIDTH),
            f"{block}.mlp.fc_out.bias": (WIDTH,),
        }
    return found | {
        "transformer.ln_f.weight": (WIDTH,),
        "transformer.ln_f.bias": (WIDTH,),
        "lm_head.weight": (VOCABULARY, WIDTH),
        "lm_head.bias": (VOCABULARY,),
    }


def checkpoint(layers: int) -> Path:
    """A random checkpoint, made on first use."""
    folder = ROOT / "build" / "bench" / f"codegen-{layers}-layers"
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        copy_texts(folder)
        fields = {"n_embd": WIDTH, "n_head": HEADS, "rotary_dim": ROTARY, "n_layer": layers, "vocab_size": VOCABULARY}
        change_config(folder, **fields)
        draw = np.random.default_rng(0)
        weights = {}
        for name, shape in shapes(layers).items():
            weights[name] = draw.standard_normal(shape, np.float32) * np.float32(0.02)
            if "ln_" in name and name.endswith("weight"):
                weights[name] += 1
        write_safetensors(folder / "model.safetensors", weights)
    return folder


def measure(folder: Path, options: list[str]) -> tuple[float, float]:
    """Seconds, and the largest resident size in MB of the process and its children."""
    target = folder.parent / "converted.gguf"
    command = [sys.executable, "-m", "cgcli", "convert", str(folder), "-o", str(target), "-q", *options]
    started = time.perf_counter()
    pid = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    target.unlink(missing_ok=True)
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--make", action="store_true", help="only make the checkpoint")
    arguments = parser.parse_args()
    layers = arguments.layers
    if arguments.make:
        checkpoint(layers)
        return
    # In a process of its own: a child's peak counts what its parent had in memory when it was made.
    subprocess.run([sys.executable, "-m", "tests.benchmarks.conversion", "--make", "--layers", str(layers)], check=True)
    folder = checkpoint(layers)
    result = {}
    for name, options in RUNS.items():
        seconds, megabytes = measure(folder, options)
        print(f"{name:18} {seconds:6.1f} s  {megabytes:6.0f} MB")
        result[name] = {"seconds": round(seconds, 1), "peak_rss_mb": round(megabytes)}
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs"
    print(json.dumps({"benchmark": "conversion", "layers": layers, "runs": result, "machine": machine}))


if __name__ == "__main__":
    main()

"""The engine on a GPU beside llama.cpp's own loop, then the kernels' checker and microbenchmarks.

    python -m tests.benchmarks.gpu [--shapes 350m 2b] [--quants f16 q4_0] [--rounds N] [--seconds N] [--cpu]

Prefill of 512 tokens; then 1, 16 and 64 texts of 64 tokens after 128, at temperature 0.8. llama.cpp's loop is that of
its example `batched`, through llama-cpp-python, with its defaults and its sampler chains, on the same build. Sides in
turn; medians after a round that is not counted. Bandwidth: the weights that the passes of a single text read, as a
share of a plain copy. No model is begun after --seconds (480), counted from the start, so that the whole takes ten
minutes; the smallest one comes first. --model FILE: this one alone. --cpu: a rehearsal without a GPU. The last line is
JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.engine.bench import bytes_per_pass
from cgcli.engine.binding import gpu_devices, llama
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.quantize import quantize_here
from cgcli.native import products
from cgcli.terminal.text import plural
from tests.benchmarks.cases.common import TOP_P, Texts, engine, forget, request, say
from tests.benchmarks.checkpoint import SHAPES, Shape
from tests.benchmarks.model import model
from tests.benchmarks.report import ROOT, command_line, in_turn, print_facts, ratio, table

KERNELS = ROOT / "kernels"
READ, PROMPT, TOKENS, TEMPERATURE = 512, 128, 64, 0.8
STREAMS = (1, 16, 64)
CELLS = PROMPT + max(STREAMS) * (TOKENS + 8) + READ


class Loop:
    """llama.cpp's own loop."""

    def __init__(self, path: Path, gpu_layers: int, threads: int) -> None:
        api = self.api = llama().api
        if llama().without_own_products is None:
            products.use(False)
        params = api.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        self.model = api.llama_model_load_from_file(os.fsencode(path), params)
        sizes = api.llama_context_default_params()
        sizes.n_ctx, sizes.n_batch, sizes.n_seq_max, sizes.kv_unified = CELLS, READ, max(STREAMS), True
        sizes.n_threads = sizes.n_threads_batch = threads
        self.context = api.llama_init_from_model(self.model, sizes)
        self.memory = api.llama_get_memory(self.context)
        self.batch = api.llama_batch_init(READ, 0, 1)
        self.chains = [self._chain(seed) for seed in range(max(STREAMS))]

    def _chain(self, seed: int) -> Any:
        api = self.api
        chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in (api.llama_sampler_init_temp(TEMPERATURE), api.llama_sampler_init_top_p(TOP_P, 1)):
            api.llama_sampler_chain_add(chain, sampler)
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_dist(seed))
        return chain

    def _pass(self, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        """rows: token, position, sequence, whether its logits are wanted."""
        batch = self.batch
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, wanted
            batch.seq_id[i][0] = sequence
        batch.n_tokens = len(rows)
        if self.api.llama_decode(self.context, batch) != 0:
            raise RuntimeError("llama.cpp cannot decode")

    def read(self, ids: Sequence[int]) -> float:
        """Tokens a second."""
        self.api.llama_memory_clear(self.memory, False)
        started = time.perf_counter()
        self._pass([(token, at, 0, at == len(ids) - 1) for at, token in enumerate(ids)])
        self.api.llama_synchronize(self.context)
        return len(ids) / (time.perf_counter() - started)

    def draw(self, ids: Sequence[int], streams: int) -> float:
        """Tokens a second of all streams together, after the prefill."""
        self.read(ids)
        for sequence in range(1, streams):
            self.api.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)
        sample = self.api.llama_sampler_sample
        last = [sample(self.chains[sequence], self.context, -1) for sequence in range(streams)]
        started = time.perf_counter()
        for at in range(len(ids), len(ids) + TOKENS - 1):
            self._pass([(token, at, sequence, True) for sequence, token in enumerate(last)])
            last = [sample(self.chains[sequence], self.context, sequence) for sequence in range(streams)]
        return streams * (TOKENS - 1) / (time.perf_counter() - started)

    def close(self) -> None:
        for chain in self.chains:
            self.api.llama_sampler_free(chain)
        self.api.llama_batch_free(self.batch)
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)


def read(one: LlamaEngine, context: bytes) -> float:
    forget(one)
    before = one.timings.prefill_s, one.timings.prefill_tokens
    list(one.complete([request(context, 1)]))
    return (one.timings.prefill_tokens - before[1]) / (one.timings.prefill_s - before[0])


def draw(one: LlamaEngine, context: bytes, streams: int) -> float:
    forget(one)
    requests = [request(context, TOKENS, TEMPERATURE, candidate) for candidate in range(streams)]
    before, started = one.timings.prefill_s, time.perf_counter()
    drawn = sum(completion.tokens for _, completion in one.complete(requests))
    return (drawn - streams) / (time.perf_counter() - started - (one.timings.prefill_s - before))


def measured(path: Path, gpu_layers: int | None, rounds: int, copy_gb_s: float | None) -> list[dict[str, Any]]:
    """The rows of a model."""
    with engine(path, speculate=False, gpu_layers=gpu_layers, sequences=max(STREAMS)) as one:
        one.reserve(CELLS)
        loop, texts = Loop(path, one.placement.gpu_layers, one.threads), Texts(one.model, path)
        say(f"{path.name}: {one.placement}")
        found = []
        for streams in (0, *STREAMS):
            pairs = []
            for number in range(rounds + 1):
                context = texts.next(PROMPT if streams else READ - 8)
                ids = one.token_table.tokens(context)
                ours = partial(draw, one, context, streams) if streams else partial(read, one, context)
                theirs = partial(loop.draw, ids, streams) if streams else partial(loop.read, ids)
                pairs.append(in_turn(number, [ours, theirs]))
            mine, other = zip(*pairs[1:], strict=True)
            speed = statistics.median(mine)
            share = None
            if streams == 1 and copy_gb_s:
                share = speed * bytes_per_pass(one.model.header.tensors.values()) / 1e9 / copy_gb_s
            found.append(
                {
                    "model": path.stem,
                    "what": plural(streams, "text") if streams else "prefill",
                    "tokens_per_s": speed,
                    "llama.cpp": statistics.median(other),
                    "ratio": ratio(mine, other),
                    "of_bandwidth": share,
                }
            )
        loop.close()
        return found


def kernels() -> dict[str, Any]:
    """The checker, which raises where it finds a fault, and the microbenchmarks, on the GPU."""
    nvcc = [shutil.which("nvcc") or "nvcc", "-arch=native", "-O2", "-fmad=false", "-Iinclude", "cuda/cgk_cuda.cu"]
    plain = ["cc", "-std=c11", "-O2", "-ffp-contract=off", "-DTIERS=TIER(cuda)", f"-I{KERNELS / 'include'}", "-c"]
    sources = [KERNELS / name for name in ("tests/checker.c", "dispatch.c", "philox.c")]
    with tempfile.TemporaryDirectory() as folder:
        run = partial(subprocess.run, check=True, text=True, stdout=subprocess.PIPE)
        run([*plain, *map(str, sources), *map(str, (KERNELS / "ref").glob("*.c"))], cwd=folder)
        parts = [str(path) for path in Path(folder).glob("*.o")]
        run([*nvcc, "tests/cuda_on_device.cu", *parts, "-o", f"{folder}/checker"], cwd=KERNELS)
        run([*nvcc, "tests/bench_cuda.cu", "-o", f"{folder}/bench"], cwd=KERNELS)
        say(run([f"{folder}/checker"]).stdout.splitlines()[-1])
        said = run([f"{folder}/bench"]).stdout
    print(said[: said.rindex("\n{")])
    facts: dict[str, Any] = json.loads(said.splitlines()[-1])
    return facts


def made(shape: Shape, quant: str) -> Path:
    """The random model, made on first use, of its f16."""
    original = model(shape, "f16")
    target = original.with_name(f"{shape.folder.name}.{quant}.gguf")
    if not target.exists():
        quantize_here(original, target, quant, threads=os.cpu_count() or 1)
    return target


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--quants", nargs="+", default=["f16", "q4_0"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    started = time.perf_counter()
    if not arguments.cpu and not gpu_devices():
        parser.error("llama.cpp finds no GPU: `cgcli doctor`, or --cpu for a rehearsal")
    facts = {} if arguments.cpu else kernels()
    rows: list[dict[str, Any]] = []
    models: list[Callable[[], Path]] = [
        partial(made, SHAPES[shape], quant) for shape in arguments.shapes for quant in arguments.quants
    ]
    for make in [lambda: arguments.model] if arguments.model else models:
        if time.perf_counter() - started > arguments.seconds:
            say("no time left for the other models")
            break
        rows += measured(make(), 0 if arguments.cpu else None, arguments.rounds, facts.get("copy_gb_s"))
    print(table(["model", "", "tokens/s", "llama.cpp", "ratio", "of bandwidth"], map(cells, rows)))
    print_facts("gpu", device=[name for name, _, _ in gpu_devices()], kernels=facts, rows=rows)


def cells(row: dict[str, Any]) -> list[str]:
    share = "" if row["of_bandwidth"] is None else f"{row['of_bandwidth']:.0%}"
    return [
        row["model"],
        row["what"],
        f"{row['tokens_per_s']:.0f}",
        f"{row['llama.cpp']:.0f}",
        f"{row['ratio']:.2f}",
        share,
    ]


if __name__ == "__main__":
    main()

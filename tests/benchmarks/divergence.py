"""How far quantized weights move a model's predictions: the same weights in F32 against each format, on real code.

    python -m tests.benchmarks.divergence [--quants Q,…] [--texts N] [--write]

The Kullback-Leibler divergence in nats a token, the mean over pieces of the standard library: with cgcli's products,
and with llama.cpp's own. A ratio above 1 says that cgcli's lose more; at most 1.05 is aimed at, beside twice the
standard error of the difference. codegen-nano is ours, in F16; SmolLM2 is real, but known only in Q8_0, so that is what
its F32 holds. Files are made in build/bench/divergence on first use. The last line is JSON.
"""

from __future__ import annotations

import random
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from cgcli.engine import quantize
from cgcli.engine.context import Context
from cgcli.engine.model import Model
from tests.benchmarks.checkpoint import FOLDER
from tests.benchmarks.model import converted
from tests.benchmarks.report import EMBEDDED, ROOT, command_line, print_facts, publish, table

COMMAND = "make bench BENCH=divergence"
QUANTS = ("q4_0", "q4_k_m", "q5_k_m", "q6_k", "q8_0")
AIM = 1.05
TOKENS = 256  # of each text

LogProbs = list[NDArray[np.float32]]
"""Of each text: [tokens, vocabulary]."""


@dataclass(frozen=True)
class Divergence:
    """ours, theirs: means; error: the standard error of their difference."""

    model: str
    quant: str
    ours: float
    theirs: float
    error: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def texts(count: int) -> list[bytes]:
    """Pieces from the middle of files of the standard library."""
    sources = [path.read_bytes() for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))]
    middles = [source[source.index(b"\n", len(source) // 2) + 1 :][: 8 * TOKENS] for source in sources if source]
    return random.Random(0).sample([middle for middle in middles if len(middle) == 8 * TOKENS], count)


def log_probs(model: Model, texts: Sequence[bytes]) -> Iterator[NDArray[np.float32]]:
    with Context(model, n_ctx=2 * TOKENS) as context:
        for text in texts:
            ids = model.tokenize(text)[:TOKENS]
            context.clear()
            context.decode(ids, outputs=range(len(ids)))
            logits = np.stack([context.logits(index) for index in range(len(ids))])
            yield logits - np.logaddexp.reduce(logits.astype(np.float64), axis=1, keepdims=True).astype(np.float32)


def divergences(truth: LogProbs, path: Path, texts: Sequence[bytes], *, own_products: bool) -> NDArray[np.float64]:
    """KL(truth, the file's model), of every token."""
    with Model.load(path, gpu_layers=0, own_products=own_products) as model:
        pairs = zip(truth, log_probs(model, texts), strict=True)
        return np.concatenate([(np.exp(p) * (p - q)).sum(axis=1, dtype=np.float64) for p, q in pairs])


def compare(name: str, source: Path, quants: Sequence[str], texts: Sequence[bytes]) -> Iterator[Divergence]:
    whole = quantized(name, source, "f32")
    with Model.load(whole, gpu_layers=0, own_products=False) as model:
        truth = list(log_probs(model, texts))
    for quant in quants:
        path = quantized(name, whole, quant)
        ours, theirs = (divergences(truth, path, texts, own_products=own) for own in (True, False))
        error = float(np.std(ours - theirs) / len(ours) ** 0.5)
        found = Divergence(name, quant, float(ours.mean()), float(theirs.mean()), error)
        print(f"{name} {quant}: {found.ratio:.3f}", file=sys.stderr)
        yield found


def quantized(name: str, source: Path, quant: str) -> Path:
    """The file of a model in a format, made on first use."""
    target = FOLDER / "divergence" / f"{name}.{quant}.gguf"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".unfinished")
        with patch.dict(quantize.FTYPES, f32=0):  # which llama.cpp writes, and cgcli never stores
            quantize.quantize_here(source, unfinished, quant, threads=2, allow_requantize=True)
        unfinished.rename(target)
    return target


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--quants", nargs="+", choices=QUANTS, default=QUANTS)
    parser.add_argument("--texts", type=int, default=12)
    arguments = parser.parse_args()
    pieces = texts(arguments.texts)
    nano = FOLDER / "divergence" / "codegen-nano.f16.gguf"
    nano.parent.mkdir(parents=True, exist_ok=True)
    if not nano.exists():
        converted(ROOT / "models" / "codegen-nano" / "checkpoint", nano, "f16")
    found = [
        one
        for name, source in {"codegen-nano": nano, "SmolLM2-135M": EMBEDDED}.items()
        for one in compare(name, source, arguments.quants, pieces)
    ]
    head = ["model", "format", "cgcli", "llama.cpp", "cgcli / llama.cpp", "standard error of that"]
    lines = []
    for one in found:
        numbers = (f"{one.ours:.6f}", f"{one.theirs:.6f}", f"{one.ratio:.3f}", f"{one.error / one.theirs:.3f}")
        lines.append([one.model, one.quant.upper(), *numbers])
    conditions = f"nats a token, {arguments.texts} texts of {TOKENS} tokens"
    publish(COMMAND, table(head, lines), conditions, write=arguments.write)
    print_facts("divergence", aim=AIM, rows=[{**asdict(one), "ratio": one.ratio} for one in found])


if __name__ == "__main__":
    main()

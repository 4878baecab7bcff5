"""codegen-nano fine-tuned on most of a small package: bits per byte of the rest of it, before and after.

    python -m tests.benchmarks.finetune --data OUT/data [--package NAME] [--other NAME] [--steps N]

OUT is the folder of nano's training, whose held_out.jsonl has packages that it was not trained on. Of the package every
fifth file, in the order of their paths, is kept back; `cgcli train --init codegen-nano --data` is given the others, and
its own defaults but for the steps. The other package, which neither has seen, shows what was forgotten for it. The last
line is JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cgcli.core.config import Environment
from cgcli.engine.engine import LlamaEngine
from cgcli.hub.store import open_store
from cgcli.native.interrupt import Interrupt
from tests.benchmarks.bits import bits
from tests.benchmarks.report import command_line, print_facts, table

KEPT_BACK = 5


def files(held_out: Path, package: str) -> list[str]:
    """The texts of a package's files, in the order of their paths."""
    rows = [json.loads(line) for line in held_out.read_text("utf-8").splitlines()]
    own = sorted((row["path"], row["text"]) for row in rows if row["source"].split()[0] == package)
    if len(own) < KEPT_BACK:
        raise SystemExit(f"{held_out} has {len(own)} files of {package}")
    return [text for _, text in own]


def tuned(texts: list[str], steps: int, folder: Path) -> Path:
    """The GGUF of nano, trained on."""
    data, home = folder / "train.jsonl", folder / "home"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    words = ["train", "--init", "codegen-nano", "--data", str(data), "--steps", str(steps), "-o", str(folder / "run")]
    environment = {**Environment.from_process().variables, "CGCLI_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "cgcli", *words, "--export", "tuned"], env=environment, check=True)
    return open_store(Environment.from_process(environment)).find("tuned").path


def per_byte(model: Path, texts: list[str]) -> float:
    with LlamaEngine(model, interrupt=Interrupt()) as engine:
        return bits(engine, texts).per_byte


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--package", default="lark")
    parser.add_argument("--other", default="textblob")
    parser.add_argument("--steps", type=int, default=200)
    asked = parser.parse_args()
    own, other = (files(asked.data / "held_out.jsonl", name) for name in (asked.package, asked.other))
    kept_back = own[::KEPT_BACK]
    trained_on = [text for number, text in enumerate(own) if number % KEPT_BACK]
    before = open_store(Environment.from_process()).find("codegen-nano").path
    with tempfile.TemporaryDirectory() as folder:
        after = tuned(trained_on, asked.steps, Path(folder))
        found = {
            name: [per_byte(model, texts) for model in (before, after)]
            for name, texts in ((f"{asked.package}, files kept back", kept_back), (f"{asked.other}, all", other))
        }
    rows = [(name, *(f"{one:.3f}" for one in both)) for name, both in found.items()]
    print(table(("bits per byte", "codegen-nano", f"after {asked.steps} steps on {asked.package}"), rows))
    told = {name: {"before": first, "after": second} for name, (first, second) in found.items()}
    print_facts("finetune", steps=asked.steps, **told)


if __name__ == "__main__":
    main()

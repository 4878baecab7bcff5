"""What a server saves: first bytes of `cgcli gen` with one and without, and a program that is piped a second time.

    python -m tests.benchmarks.serve [--runs N] [--model NAME|FILE.gguf]

All sides run in turn: a `gen` that is refused for want of a prompt (the cost of a start), one whose server has the
model, and one that loads it. What `--json` tells of a served run, its prefill and one pass, is what no server can save;
`beyond` is what the served one takes more than all this. Then a program of about 1,500 tokens, new in every round, is
piped into a served `gen` for 20 more tokens, twice. At last the server is killed: `fallback` is what a `gen` that finds
its socket takes more than one that does not look. Without guards, which hold the first text back until a statement is
whole. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cgcli.serve import wire
from cgcli.serve.client import Connection
from cgcli.serve.places import places
from tests.benchmarks.first_token import seconds_to_first_byte
from tests.benchmarks.report import ROOT, command_line, measured, medians, print_facts, ratio

CGCLI = [sys.executable, "-m", "cgcli"]
PROMPT = "print the first ten square numbers"
PROGRAM_TOKENS = 1500


@contextmanager
def served(model: str, environment: dict[str, str]) -> Iterator[None]:
    """A server of the model while the block runs; it is killed at the end."""
    command = [*CGCLI, "serve", "-m", model]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as server:
        assert server.stderr
        if "is ready" not in (line := server.stderr.readline()):
            sys.exit(line)
        try:
            yield
        finally:
            server.kill()


class Sides:
    """The commands, with one model."""

    def __init__(self, model: str, environment: dict[str, str]) -> None:
        self.environment = environment
        self.gen = [*CGCLI, "gen", "-m", model, "--seed", "1", "--guard", "off"]
        self.unavoidable: list[float] = []  # prefill and one pass of served runs
        self._round = 0

    def refused(self) -> float:
        started = time.perf_counter()
        subprocess.run([*self.gen, "--no-stdin"], env=self.environment, capture_output=True, check=False)
        return time.perf_counter() - started

    def warm(self) -> float:
        return seconds_to_first_byte([*self.gen, PROMPT, "--no-stdin"], self.environment)

    def cold(self) -> float:
        return seconds_to_first_byte([*self.gen, PROMPT, "--no-stdin", "--no-serve"], self.environment)

    def facts(self) -> float:
        """Prefill and one pass of a served run, as it tells them."""
        command = [*self.gen, PROMPT, "--no-stdin", "--json", "--max-tokens", "16"]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=True)
        timings = json.loads(done.stdout)["timings"]
        self.unavoidable.append(timings["prefill_s"] + timings["decode_s"] / max(1, timings["passes"]))
        return self.unavoidable[-1]

    def _tokens(self, text: bytes) -> int:
        """How many the server's model has for it."""
        connection = Connection(places(Path(self.environment["CGCLI_HOME"]) / "run")[0])
        count = int(connection.call("count", text=wire.bytes_out(text))["value"])
        connection.close()
        return count

    def program(self) -> tuple[float, float]:
        """Seconds to add 20 tokens to a new program, and to the same one again."""
        files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        texts = [file.read_bytes() for file in files if file.stat().st_size > 4 * PROGRAM_TOKENS]
        self._round += 1
        text = f"# round {self._round}\n".encode() + texts[self._round % len(texts)]
        text = text[: PROGRAM_TOKENS * 1000 // self._tokens(text[:1000])].rpartition(b"\n")[0] + b"\n"
        found = []
        for _ in range(2):
            started = time.perf_counter()
            command = [*self.gen, PROMPT, "--max-tokens", "20", "-q"]
            subprocess.run(command, input=text, env=self.environment, capture_output=True, check=True)
            found.append(time.perf_counter() - started)
        return found[0], found[1]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--model", default="smollm2-135m")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:  # where no other server is
        (Path(home) / "store").symlink_to(ROOT / "build" / "test-home" / "store")
        environment = {**os.environ, "CGCLI_HOME": home}
        sides = Sides(arguments.model, environment)
        with served(arguments.model, environment):
            found = measured(
                {"refused": sides.refused, "warm": sides.warm, "cold": sides.cold, "facts": sides.facts}, arguments.runs
            )
            pairs = [sides.program() for _ in range(max(3, arguments.runs // 2))]
        lost = measured({"killed": sides.warm, "alone": sides.cold}, arguments.runs)
    found |= lost
    for name, values in found.items():
        print(f"{name:8} median {statistics.median(values):.3f} s  min {min(values):.3f}  max {max(values):.3f}")
    rounds = zip(found["warm"], found["refused"], found["facts"], strict=True)
    beyond = statistics.median(warm - refused - facts for warm, refused, facts in rounds)
    least = min(found["warm"]) - min(found["refused"]) - min(found["facts"])
    to_cold = ratio(found["warm"], found["cold"])
    first, again = ([pair[index] for pair in pairs] for index in (0, 1))
    second = ratio(again, first)
    print(f"beyond the start, prefill and a pass: median {1000 * beyond:.0f} ms, of the minima {1000 * least:.0f} ms")
    fallback = statistics.median(one - other for one, other in zip(lost["killed"], lost["alone"], strict=True))
    print(f"fallback from a killed server: median {1000 * fallback:.0f} ms")
    print(f"warm / cold, round by round: median {to_cold:.3f}")
    print(f"a program piped again / first time: median {second:.3f}")
    print_facts(
        "serve",
        seconds=medians(found | {"piped": first, "piped again": again}),
        beyond_ms=round(1000 * beyond, 1),
        beyond_least_ms=round(1000 * least, 1),
        fallback_ms=round(1000 * fallback, 1),
        warm_to_cold=round(to_cold, 3),
        again_to_first=round(second, 3),
        runs=arguments.runs,
        model=arguments.model,
    )


if __name__ == "__main__":
    main()

"""Tokens per second of 20 clients at once: `cgcli serve` beside llama-cpp-python's own server, on the same file.

    python -m tests.benchmarks.serve_throughput [--rounds N] [--clients N] [--model FILE.gguf]

Each client sends one request for a completion and waits for it; all prompts differ. Both servers run all the time, with
the same threads and context window, and are asked in turn; one round is not counted. llama-cpp-python's server gets a
virtual environment of its own in build/bench, made on first use. The last line is JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cgcli.core.machine import thread_count
from tests.benchmarks.report import EMBEDDED, ROOT, command_line, measured, medians, print_facts, ratio
from tests.support.patience import eventually

PEER = ROOT / "build" / "bench" / "llama_server"
TOKENS = 48


def peer() -> Path:
    """The Python of an environment with llama-cpp-python's server, made on first use."""
    python = PEER / "bin" / "python"
    made = PEER / "made"
    if not made.exists():
        print("installing llama-cpp-python[server] ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEER], check=True)
        build: list[str | Path] = [sys.executable, ROOT / "kernels" / "llama" / "build_wheel.py"]
        wheel = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[server]"], check=True)
        made.touch()
    return python


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, home: str) -> Iterator[None]:
    """A server's process while the block runs. home: where no other server of cgcli is."""

    def answers() -> bool:
        if process.poll() is not None:
            sys.exit(f"{' '.join(command)} ended with status {process.returncode}")
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", port)) == 0

    environment = {**os.environ, "GOMP_SPINCOUNT": "1000", "CGCLI_HOME": home}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            eventually(answers, "no server")
            yield
        finally:
            process.terminate()


def tokens_per_s(port: int, clients: int) -> float:
    """Of all clients together."""

    def ask(number: int) -> int:
        body = {
            "model": "any",
            "prompt": f'def task_{number}(items):\n    """Return the {number + 2} largest items."""\n',
            "max_tokens": TOKENS,
            "temperature": 0.2,
            "top_p": 0.95,
            "seed": number,
        }
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return int(answer["usage"]["completion_tokens"])

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        drawn = sum(pool.map(ask, range(clients)))
    return drawn / (time.perf_counter() - started)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    model, threads, ctx = str(arguments.model), str(thread_count()), "2048"
    ours, theirs = free_port(), free_port()
    own = [sys.executable, "-m", "cgcli", "serve", "-m", model, "--threads", threads, "--ctx", ctx, "--port", str(ours)]
    other = [str(peer()), "-m", "llama_cpp.server", "--model", model, "--n_threads", threads, "--n_ctx", ctx]
    other += ["--n_threads_batch", threads, "--port", str(theirs)]
    with tempfile.TemporaryDirectory() as home, running(own, ours, home), running(other, theirs, home):
        sides = {"cgcli": ours, "llama_cpp.server": theirs}
        found = measured(
            {name: partial(tokens_per_s, port, arguments.clients) for name, port in sides.items()}, arguments.rounds
        )
    for name, values in found.items():
        print(
            f"{name:16} median {statistics.median(values):.1f} tokens/s  min {min(values):.1f}  max {max(values):.1f}"
        )
    times = ratio(found["cgcli"], found["llama_cpp.server"])
    print(f"cgcli / llama_cpp.server, round by round: median {times:.2f}")
    print_facts(
        "serve_throughput",
        tokens_per_s=medians(found, 1),
        times=round(times, 2),
        clients=arguments.clients,
        rounds=arguments.rounds,
        model=arguments.model.name,
    )


if __name__ == "__main__":
    main()

"""Many clients of one server at once: is every text what it is alone, is memory flat, does the server stay there?

    python -m tests.benchmarks.soak_serve [--seconds N] [--clients N] [--seed N] [--model FILE.gguf]

The clients of an exact server, on its Unix socket and over HTTP, in turn: completions, streams that are read slowly or
not to the end, cancels, half-closed sockets, bodies of 100 MB, wrong JSON, idle connections. At the end every finished
text is drawn again by an engine alone. Meanwhile the health route is asked, and its slowest answer noted; memory and
descriptors are compared between the first third and the end. The last line is JSON; the exit status tells whether all
held.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.serve.client import Connection, RemoteEngine
from cgcli.serve.places import Place, places
from tests.benchmarks.report import ROOT, command_line, print_facts
from tests.benchmarks.soak import Texts
from tests.support.patience import PATIENCE_S
from tests.support.serving import ready_server

NANO = ROOT / "models" / "codegen-nano" / "q8_0.gguf"
SLACK_MB = 64.0  # that memory may grow by after the first third
_HEAD = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@dataclass
class Load:
    """The clients of a server, and what they saw."""

    port: int
    place: Place
    until: float
    done: Counter[str] = field(default_factory=Counter)
    texts: list[tuple[Request, str]] = field(default_factory=list)  # finished ones
    faults: list[str] = field(default_factory=list)

    def client(self, seed: int) -> None:
        """One client after the other, each doing something else, until the time is over."""
        draw = random.Random(seed)
        kinds = [self.unix, self.unix_cancel, self.http, self.http_leave, self.half_closed, self.large, self.wrong]
        while time.monotonic() < self.until:
            kind = draw.choice(kinds)
            try:
                kind(draw)
                self.done[kind.__name__] += 1
            except Exception as error:  # what a client must not see
                self.faults.append(f"{kind.__name__}: {type(error).__name__}: {error}")

    def request(self, draw: random.Random) -> Request:
        sampling = Sampling(draw.choice([0.0, 0.8]), seed=draw.randrange(99))
        return Request(Texts(draw).piece()[-960:], sampling, Stops, draw.randint(1, 40))  # a token has a byte at least

    def unix(self, draw: random.Random) -> None:
        engine = self._engine()
        wanted = [self.request(draw) for _ in range(draw.randint(1, 3))]
        for index, completion in engine.complete(wanted):
            self.texts.append((wanted[index], completion.text))
        engine.close()

    def unix_cancel(self, draw: random.Random) -> None:
        engine = self._engine()
        stream = engine.submit(self.request(draw))
        if draw.random() < 0.7:
            engine.wait([stream])
        if draw.random() < 0.5:
            engine.cancel([stream])
        engine.close()

    def http(self, draw: random.Random) -> None:
        wanted, slow = self.request(draw), draw.random() < 0.3
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("POST", "/v1/completions", _body(wanted, slow), {"content-type": "application/json"})
        answer = connection.getresponse()
        text = ""
        if slow:
            while line := answer.readline():
                time.sleep(0.01)
                if line.startswith(b"data: {"):
                    text += json.loads(line[6:])["choices"][0]["text"]
        else:
            text = json.loads(answer.read())["choices"][0]["text"]
        connection.close()
        self.texts.append((wanted, text))

    def http_leave(self, draw: random.Random) -> None:
        with self._sent(_body(self.request(draw), draw.random() < 0.5)) as sent:
            if draw.random() < 0.5:
                sent.recv(64)

    def half_closed(self, draw: random.Random) -> None:
        with self._sent(_body(self.request(draw), True)[: draw.randrange(40)]) as sent:
            sent.shutdown(socket.SHUT_WR)
            sent.recv(64)

    def large(self, draw: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as sent:
            sent.sendall(f"{_HEAD}Content-Length: {100 << 20}\r\n\r\n".encode())
            with suppress(ConnectionError):
                for _ in range(100):
                    sent.sendall(b" " * (1 << 20))
            with suppress(ConnectionError):
                assert b" 413 " in sent.recv(64)

    def wrong(self, draw: random.Random) -> None:
        with self._sent(draw.choice([b"{", b"[1]", b"\xff", b'{"prompt": 7}', b'{"prompt": "x", "n": -1}'])) as sent:
            assert b" 400 " in sent.recv(64)

    def _engine(self) -> RemoteEngine:
        def lost() -> LlamaEngine:
            raise RuntimeError("the server is gone")

        return RemoteEngine(Connection(self.place), Interrupt(), lost, lambda note: None)

    def _sent(self, body: bytes) -> socket.socket:
        sent = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        sent.sendall(f"{_HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return sent


def _body(wanted: Request, stream: bool) -> bytes:
    how = wanted.sampling
    asked = {"prompt": wanted.context.decode(), "temperature": how.temperature, "seed": how.seed, "stream": stream}
    return json.dumps(asked | {"max_tokens": wanted.max_tokens, "top_p": how.top_p}).encode()


@dataclass
class Watch:
    """What the server needs and how fast it answers, while it works."""

    port: int
    pid: int
    elsewhere: Executor  # another process: in this one the clients' threads would be timed, too
    slowest_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        self.slowest_s = max(self.slowest_s, self.elsewhere.submit(health_s, self.port).result())
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        self.memory_mb.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20))
        self.descriptors.append(sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir()))


def health_s(port: int) -> float:
    """Seconds that the health route takes."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/health")
    connection.getresponse().read()
    connection.close()
    return time.monotonic() - started


def soak(model: Path, seconds: float, clients: int, seed: int, idle: int) -> tuple[Load, Watch, list[str]]:
    """Load a server for so long; returns what happened and what was wrong."""
    elsewhere = ProcessPoolExecutor(1, get_context("spawn"))
    with tempfile.TemporaryDirectory() as home, elsewhere:
        arguments = ["-m", str(model), "--exact", "--port", "0", "--cache-mb", "64"]
        with ready_server(Path(home), Path(home) / "log", *arguments) as port:
            (place,) = places(Path(home) / "run")
            watched = Connection(place)
            watch = Watch(port, watched.call("status")["value"]["pid"], elsewhere)
            watch.look()
            load = Load(port, place, time.monotonic() + seconds)
            resting = [socket.create_connection(("127.0.0.1", port)) for _ in range(idle)]
            with ThreadPoolExecutor(clients) as pool:
                ends = [pool.submit(load.client, seed + index) for index in range(clients)]
                while not all(end.done() for end in ends):
                    watch.look()
                    time.sleep(0.2)
            for one in resting:
                one.close()
            until = time.monotonic() + PATIENCE_S
            while (status := watched.call("status")["value"])["streams"] and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(0.5)
            watch.look()
            wrong = list(load.faults)
            if status["streams"]:
                wrong.append(f"{status['streams']} streams are drawn for nobody")
            if watch.descriptors[-1] > watch.descriptors[0] + 4:
                wrong.append(f"descriptors: {watch.descriptors[0]} at first, {watch.descriptors[-1]} at last")
            third = max(1, len(watch.memory_mb) // 3)
            grown = watch.memory_mb[-1] - max(watch.memory_mb[:third])
            if grown > SLACK_MB + 64:  # what `--cache-mb` allows
                wrong.append(f"memory grew by {grown:.0f} MB")
            watched.close()
    return load, watch, wrong + different(model, load.texts)


def different(model: Path, texts: list[tuple[Request, str]]) -> list[str]:
    """The texts that an engine alone does not draw."""
    with LlamaEngine(model, EngineOptions(exact=True, sequences=1), interrupt=Interrupt()) as engine:
        alone = ((next(iter(engine.complete([request])))[1].text, text, request) for request, text in texts)
        return [
            f"{text!r:.60} is {own!r:.60} alone, after {r.context[-30:]!r}" for own, text, r in alone if own != text
        ]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--idle", type=int, default=1000, help="connections that say nothing")
    parser.add_argument("--model", type=Path, default=NANO)
    arguments = parser.parse_args()
    threading.stack_size(1 << 20)
    load, watch, wrong = soak(arguments.model, arguments.seconds, arguments.clients, arguments.seed, arguments.idle)
    for line in wrong[:20]:
        print(line)
    print_facts(
        "soak_serve",
        did=dict(load.done),
        texts=len(load.texts),
        wrong=len(wrong),
        slowest_health_ms=round(1000 * watch.slowest_s),
        memory_mb=[round(watch.memory_mb[0]), round(max(watch.memory_mb)), round(watch.memory_mb[-1])],
        descriptors=[watch.descriptors[0], max(watch.descriptors), watch.descriptors[-1]],
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

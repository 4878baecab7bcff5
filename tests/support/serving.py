"""Servers for tests: one in a process of its own, and one in a thread of the test."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.protocol import Engine
from cgcli.native.interrupt import Interrupt
from cgcli.serve.client import Connection, RemoteEngine
from cgcli.serve.completions import HttpOptions
from cgcli.serve.places import Place, make_private
from cgcli.serve.server import Server, ServerOptions
from tests.support.patience import PATIENCE_S, eventually
from tests.support.process import CGCLI


@contextmanager
def server_process(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`cgcli serve` with these arguments, ready."""
    environment = {**os.environ, "CGCLI_HOME": str(home)}
    process = subprocess.Popen([*CGCLI, "serve", *arguments], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr
        line = process.stderr.readline()
        assert " is ready for " in line, line
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        process.communicate(timeout=PATIENCE_S)


@contextmanager
def ready_server(home: Path, log: Path, *arguments: str) -> Iterator[int]:
    """`cgcli serve` with a port, which is yielded. log: the file with everything that it writes."""
    environment = {**os.environ, "CGCLI_HOME": str(home)}
    with log.open("wb") as written:
        process = subprocess.Popen([*CGCLI, "serve", *arguments], stdout=written, stderr=written, env=environment)
    try:
        eventually(lambda: process.poll() is not None or " is ready for " in log.read_text(), log.read_text)
        found = re.search(r"http://[\d.]+:(\d+)", log.read_text())
        assert found, log.read_text()
        yield int(found[1])
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()


@dataclass
class InThread:
    """A server in a thread of the test, on the tiny model."""

    server: Server
    place: Place
    opened: list[RemoteEngine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)  # what ended it; a test that expects one takes it out

    def client(self, own: Callable[[], Engine] | None = None) -> RemoteEngine:
        def no_engine() -> Engine:
            raise AssertionError("the server was lost")

        engine = RemoteEngine(Connection(self.place), Interrupt(), own or no_engine, self.notes.append)
        self.opened.append(engine)
        return engine


@contextmanager
def server_thread(model: Path, folder: Path, http: HttpOptions | None = None, **options: Any) -> Iterator[InThread]:
    place = Place(folder, "test")
    make_private(folder)
    ready = threading.Event()
    made: list[Server] = []
    faults: list[Exception] = []
    engine = LlamaEngine(model, EngineOptions(**{"threads": 1, "exact": True} | options), interrupt=Interrupt())

    async def main() -> None:
        made.append(Server(engine, ServerOptions("tiny", http=http)))
        await made[0].run(place, lambda port: ready.set())

    def run() -> None:
        try:
            asyncio.run(main())
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: ready.is_set() or faults, "the server does not start")
    there = InThread(made[0], place, faults=faults)
    try:
        yield there
    finally:
        for client in there.opened:
            client.close()
        with suppress(RuntimeError):  # it has ended
            made[0].stop()
        thread.join()
        Interrupt().clear()
        engine.close()
    assert faults == []

"""What `cgcli serve` does: keep a model ready for other commands; and how these find it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.native.interrupt import Interrupt
    from cgcli.serve.completions import HttpOptions
    from cgcli.serve.places import Place
    from cgcli.serve.wire import Message


@dataclass(frozen=True)
class ServeArguments:
    """The command line of `serve`, without the settings."""

    idle: str | None = None
    port: int | None = None
    host: str = "127.0.0.1"
    api_key_file: Path | None = None
    cache_mb: int | None = None  # of memory for the texts that the model has read; None: 1024, or an eighth of it all
    status: bool = False
    stop: bool = False
    json: bool = False

    def check(self) -> None:
        """Raises UsageError for options that contradict each other."""
        if self.status and self.stop:
            raise UsageError("--status and --stop exclude each other")
        if self.json and not self.status:
            raise UsageError("--json needs --status")

    @property
    def cache_bytes(self) -> int:
        from cgcli.core.machine import memory_bytes

        return min(1 << 30, memory_bytes() // 8) if self.cache_mb is None else self.cache_mb << 20

    @property
    def idle_s(self) -> float | None:
        """Raises UsageError."""
        from cgcli.core.durations import duration_s, is_duration

        if self.idle is None:
            return None
        if not is_duration(self.idle):
            raise UsageError(f"--idle is {self.idle!r:.80}, not a time such as 90s, 10m or 2h")
        return duration_s(self.idle)


def serve(run: Run, settings: Settings, arguments: ServeArguments) -> None:
    """Serve the chosen model until Ctrl-C, `--stop`, or the end of the idle time.

    Raises CgcliError if a server with this model and these settings runs already, and like `load_engine`.
    """
    from cgcli.app.model import choose_model, load_engine
    from cgcli.core.files import take_lock
    from cgcli.native.interrupt import interruptible
    from cgcli.serve.places import make_private
    from cgcli.serve.server import ServerOptions, serve_engine

    http = _http_options(run, settings, arguments)
    choice, idle = choose_model(run, settings), arguments.idle_s
    place = _place(run, settings, choice)
    make_private(place.folder)
    lock = take_lock(place.lock)
    if lock is None:
        raise CgcliError(
            f"a server with {choice.name} and these settings runs already", hint="to stop it: cgcli serve --stop"
        )
    try:
        with interruptible() as interrupt:
            engine = load_engine(run, settings, choice, interrupt)
        with engine:
            engine.remember(arguments.cache_bytes)
            until = f", or after {arguments.idle} without a client" if arguments.idle else ""
            name = f"{choice.name} {engine.quant}"

            def ready(port: int | None) -> None:
                also = f", and at http://{arguments.host}:{port}" if port else ""
                run.output.note(f"{name} is ready for other commands{also}; Ctrl-C ends it{until}")

            options = ServerOptions(choice.name if choice.stored else str(choice.path), idle, http)
            serve_engine(engine, options, place, ready)
    finally:
        lock.release()


def _http_options(run: Run, settings: Settings, arguments: ServeArguments) -> HttpOptions | None:
    """How to answer over HTTP; None without a port. Raises UsageError, CgcliError."""
    if arguments.port is None:
        if arguments.api_key_file or arguments.host != ServeArguments.host:
            raise UsageError("--host and --api-key-file are for HTTP, so they need --port N")
        return None
    if arguments.port >= 1 << 16:
        raise UsageError(f"--port {arguments.port} is too high: ports end at 65535")
    import importlib.util

    from cgcli.program.generation import Generation
    from cgcli.program.truncate import NONE
    from cgcli.serve.completions import Defaults, HttpOptions

    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        from cgcli.core.extras import packages

        raise CgcliError(
            "--port needs Starlette and uvicorn", hint=f"{sys.executable} -m pip install {packages('serve')}"
        )
    keys = tuple(run.variables.get("CGCLI_API_KEY", "").split())
    if arguments.api_key_file:
        from cgcli.core.reading import read_bytes, unreadable

        try:
            keys = tuple(read_bytes(arguments.api_key_file, 1 << 16).decode("utf-8", "replace").split())
        except OSError as error:
            raise unreadable(arguments.api_key_file, error) from error
        if not keys:
            raise UsageError(f"{arguments.api_key_file} has no key", hint="put one key on each line")
    how = Generation.of(settings, None, NONE)
    options = HttpOptions(arguments.host, arguments.port, Defaults(how.sampling, how.max_tokens), keys)
    if not options.loopback and not keys:
        raise UsageError(
            f"--host {arguments.host} lets other machines in, so it needs an API key",
            hint="set CGCLI_API_KEY, or use --api-key-file FILE",
        )
    return options


def _place(run: Run, settings: Settings, choice: Choice) -> Place:
    """Where a server with this model and these settings is, if there is one."""
    from cgcli.app.model import draft_model
    from cgcli.core.machine import thread_count
    from cgcli.serve.places import Place, server_key

    shaping = {
        "ctx": settings.ctx,
        "threads": settings.threads or thread_count(),
        "gpu_layers": settings.gpu_layers,
        "draft": draft_model(run, settings) or settings.draft,
        "exact": settings.exact,
        "kernels": settings.kernels,
    }
    return Place(run.environment.runtime, server_key(choice.path, shaping))


def served_engine(
    run: Run, settings: Settings, choice: Choice, interrupt: Interrupt, own: Callable[[], Engine]
) -> Engine | None:
    """The engine of a server with this model and these settings; None if there is none that can be used.

    own: opens an engine in this process, if the server stops meanwhile.
    """
    if not any(run.environment.runtime.glob("*.sock")):
        return None
    from cgcli.app.model import where
    from cgcli.serve.client import Connection, NoServer, RemoteEngine

    try:
        place = _place(run, settings, choice)
        if not place.socket.exists():
            return None
        connection = Connection(place)
    except (NoServer, OSError) as error:
        run.output.detail(f"no server is used: {error}")
        return None
    if connection.greeting.full:
        connection.close()
        run.output.note("the server has too many requests; loading the model in this process")
        return None
    unlike = "" if settings.exact else "; without --exact, a text may differ from one that is generated alone"
    run.output.detail(f"the server has the model loaded and generates the text (--no-serve loads it here){unlike}")
    run.output.detail(where(connection.greeting.placement))
    return RemoteEngine(connection, interrupt, own, run.output.note)


def server_statuses(run: Run) -> tuple[list[Message], list[CgcliError]]:
    """What each server of the user's says of itself, and an error for each that does not answer."""
    answers, silent = _ask_all(run, "status")
    return [status for status in answers if status], silent


def stop_servers(run: Run) -> tuple[int, list[CgcliError]]:
    """Stop all servers of the user's; returns how many, and an error for each that does not answer."""
    answers, silent = _ask_all(run, "stop")
    return len(answers), silent


def _ask_all(run: Run, call: str) -> tuple[list[Message], list[CgcliError]]:
    """What each server answers to a call, and an error for each that does not answer."""
    from cgcli.serve.client import Connection, NoServer, ServerGone, SilentServer
    from cgcli.serve.places import places

    answers: list[Message] = []
    silent: list[CgcliError] = []
    for place in places(run.environment.runtime):
        try:
            connection = Connection(place, any_version=True)
        except SilentServer as error:
            silent.append(error)
            continue
        except NoServer:
            continue
        try:
            answers.append(connection.call(call)["value"])
        except ServerGone:
            continue
        finally:
            connection.close()
    return answers, silent


def warm_up(run: Run, settings: Settings, choice: Choice) -> None:
    """Start a server in the background, as the `warm` setting asks for, unless there is one or this is CI."""
    import os

    from cgcli.core.files import take_lock
    from cgcli.serve.places import make_private

    if settings.warm == "off" or settings.serve == "off" or run.variables.get("CI"):
        return
    place = _place(run, settings, choice)
    try:
        make_private(place.folder)
        lock = take_lock(place.lock)
    except (CgcliError, OSError) as error:
        run.output.detail(f"no server was started: {error}")
        return
    if lock is None:  # there is one, or one that still loads
        return
    lock.release()
    command = [sys.executable, "-m", "cgcli", "serve", "--idle", settings.warm, "-m", _name(choice)]
    for name in ("ctx", "threads", "gpu_layers"):
        if (value := getattr(settings, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    command += ["--draft", settings.draft, *(["--exact"] if settings.exact else [])]
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    try:
        os.posix_spawn(command[0], command, dict(run.variables), file_actions=silent, setsid=True)
    except (OSError, NotImplementedError) as error:
        run.output.detail(f"no server was started: {error}")
        return
    run.output.detail(f"a server keeps the model ready for {settings.warm}")


def _name(choice: Choice) -> str:
    """The model as `-m` takes it."""
    if choice.stored:
        return f"{choice.name}:{choice.quant}" if choice.quant else choice.name
    return str(choice.path.resolve())

"""Draws samples on a Ray cluster: this process hands out the samples and collects the rows.

One worker per machine (per GPU, if GPUs are used) loads the model once. Each worker has a bounded number of samples in
flight and gets more as it returns rows, so that its engine never waits. If a worker dies, the others redo its samples
in flight. The code is the same for all benchmarks and writes no file. The only file that imports ray.
"""

from __future__ import annotations

import io
import logging
import re
import socket
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from cgcli.core.errors import CgcliError, NetworkError, UsageError
from cgcli.evals.samples import Key, Row
from cgcli.terminal.text import plural

ItemT = TypeVar("ItemT")
Draw = Callable[[Iterable[ItemT]], Iterator[Row]]
Start = Callable[[int], Draw[ItemT]]
"""Loads the model and returns the function that draws. Called once per worker with its number of CPUs; pickled."""

_MAX_IN_FLIGHT = 64  # samples per worker: those that an engine takes ahead, and as many again that wait for it
_ROWS_PER_CALL = 8
_CONNECT_S = 10.0
_START_S = 60.0  # after which a note says that no worker has started


def draw_on_cluster(
    address: str,
    start: Start[ItemT],
    items: Mapping[Key, ItemT],
    key_fields: Sequence[str],
    *,
    gpus: bool,
    note: Callable[[str], None],
) -> Generator[Row]:
    """Draw every item once and yield its row, whose key is in `key_fields`, when it arrives.

    `address` is `local` (a cluster of this machine alone, for the duration of the call), `auto` (the cluster running
    here), HOST:PORT or ray://HOST:PORT. With `gpus`, each GPU gets a worker. `note` receives messages about workers.
    Raises UsageError if ray is not installed, NetworkError if no cluster answers, whatever a worker raises, and
    CgcliError when all workers have died.
    """
    ray = _ray()
    with _connected(ray, address):
        yield from _Driver(ray, _start_workers(ray, start, gpus), deque(items.items()), tuple(key_fields), note).rows()


class _Worker(Generic[ItemT]):
    """Lives on the cluster. Between two calls its unfinished samples stay in the engine."""

    def __init__(self, start: Start[ItemT], cpus: int) -> None:
        self._start, self._cpus = start, cpus
        self._draw: Draw[ItemT] | None = None
        self._queue: deque[ItemT] = deque()
        self._rows: Iterator[Row] = iter(())

    def more(self, items: Iterable[ItemT]) -> list[Row]:
        """Queue these items and draw until some rows are done; returns no rows only if nothing is left to draw."""
        self._draw = self._draw or self._start(self._cpus)
        self._queue += items
        rows: list[Row] = []
        while len(rows) < _ROWS_PER_CALL:
            row = next(self._rows, None)
            if row is None and not self._queue:
                break
            if row is None:
                self._rows = self._draw(self._take())
            else:
                rows.append(row)
        return rows

    def _take(self) -> Iterator[ItemT]:
        while self._queue:
            yield self._queue.popleft()


@dataclass(eq=False)
class _Member(Generic[ItemT]):
    """A worker as the driver sees it."""

    actor: Any
    machine: str
    in_flight: dict[Key, ItemT] = field(default_factory=dict)  # handed out and not returned yet
    ready: bool = False  # it has loaded the model


@dataclass
class _Driver(Generic[ItemT]):
    """Hands out items to workers and collects their rows."""

    ray: Any
    members: list[_Member[ItemT]]
    waiting: deque[tuple[Key, ItemT]]
    key_fields: tuple[str, ...]
    note: Callable[[str], None]
    calls: dict[Any, _Member[ItemT]] = field(default_factory=dict)  # unanswered, one per worker

    def rows(self) -> Iterator[Row]:
        machines = ", ".join(sorted({member.machine for member in self.members}))
        count = len(self.members)
        self.note(f"Ray: {plural(count, 'worker')} on {machines}")
        for member in self.members:
            self.call(member)
        while self.waiting or any(member.in_flight for member in self.members):
            for member in self.members:
                if member.ready and member not in self.calls.values():
                    self.call(member)
            done, _ = self.ray.wait(list(self.calls), timeout=_START_S)
            if not done and not any(member.ready for member in self.members):
                self.note("Ray: no worker has started yet; other jobs may occupy the cluster's CPUs")
            for call in done:
                yield from self.receive(call)

    def call(self, member: _Member[ItemT]) -> None:
        """Let a worker continue, with more items if it has room. The last items are shared out among the workers."""
        share = -(-len(self.waiting) // (2 * len(self.members)))
        room = min(share, _MAX_IN_FLIGHT - len(member.in_flight)) if member.ready else 0
        given = [self.waiting.popleft() for _ in range(room)]
        member.in_flight.update(given)
        if member.in_flight or not member.ready:
            self.calls[member.actor.more.remote([item for _, item in given])] = member

    def receive(self, call: Any) -> Iterator[Row]:
        member = self.calls.pop(call)
        try:
            rows: list[Row] = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            raise _worker_error(error, member.machine) from error
        except self.ray.exceptions.RayError:
            self.lose(member)
            return
        if member.in_flight and not rows:
            raise RuntimeError("a worker returned no rows")
        member.ready = True
        for row in rows:
            del member.in_flight[tuple(row[name] for name in self.key_fields)]
            yield row

    def lose(self, member: _Member[ItemT]) -> None:
        """Drop a dead worker and hand its samples to others. Whatever it still returns is ignored."""
        self.ray.kill(member.actor)
        self.members.remove(member)
        if not self.members:
            raise CgcliError("Ray: all workers have died", hint="run the same command again to resume")
        self.waiting.extendleft(reversed(member.in_flight.items()))
        self.note(
            f"Ray: the worker on {member.machine} died; others redo its {len(member.in_flight)} unfinished samples"
        )


def _start_workers(ray: Any, start: Start[ItemT], gpus: bool) -> list[_Member[ItemT]]:
    """One worker per machine, or per GPU. A machine's workers claim all of its CPUs, which their threads use."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    members = []
    actor = ray.remote(_Worker)
    shared = ray.put(start)
    for node in ray.nodes():
        resources = node["Resources"]
        cpus, count = int(resources.get("CPU", 0)), int(resources.get("GPU", 0)) if gpus else 0
        if not node["Alive"] or not cpus:
            continue
        for _ in range(max(1, count)):
            own = max(1, cpus // max(1, count))
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = {"num_cpus": own, "num_gpus": int(count > 0), "scheduling_strategy": pinned}
            members.append(_Member[ItemT](actor.options(**options).remote(shared, own), node["NodeManagerAddress"]))
    if not members:
        raise CgcliError("Ray: the cluster has no machine with a CPU", hint="start a node with: ray start --num-cpus N")
    return members


def _worker_error(error: Any, machine: str) -> CgcliError:
    """The error that a worker raised, with the machine's name."""
    cause = error.cause
    if isinstance(cause, CgcliError):
        return type(cause)(f"{machine}: {cause.message}", hint=cause.hint)
    return CgcliError(f"{machine}: {cause!r}", hint="install this version of cgcli on every machine of the cluster")


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        from cgcli.core.extras import packages

        raise UsageError(
            "--ray needs the ray package", hint=f"{sys.executable} -m pip install {packages('ray')}"
        ) from None
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Join the cluster for the duration of the block. What Ray prints on stdout goes to our log."""
    _check_reachable(address)
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    with redirect_stdout(_LogStream()):  # including the shutdown, which prints the cluster's last errors
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreachable(address, error) from error
        try:
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises NetworkError if nothing listens at the address: Ray itself would wait for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if not found:
        return
    try:
        socket.create_connection((found[1], int(found[2])), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> NetworkError:
    reason = getattr(error, "strerror", None) or re.split(r"\n|\. ", str(error))[0]
    hint = "use local, auto, HOST:PORT or ray://HOST:PORT; set RAY_AUTH_MODE=token if the cluster requires a token"
    return NetworkError(f"no Ray cluster at {address}: {reason}", hint=hint)


class _LogStream(io.TextIOBase):
    """A text stream that writes to our log."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.getLogger("cgcli").debug("%s", text.rstrip())
        return len(text)

"""Samples drawn over a Ray cluster: this process gives out what is to be drawn, and takes the rows that come back.

A worker on each machine (on each GPU, where GPUs are used) loads the model once. Each has a bounded number of samples
in flight, and is given more as it returns some, so that its engine never waits. A worker that is lost costs what it had
in flight: the others draw that. It knows no benchmark, and writes no file. The only file that imports ray.
"""

from __future__ import annotations

import io
import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from cgcli.core.errors import CgcliError, NetworkError, UsageError
from cgcli.evals.samples import Key, Row

ItemT = TypeVar("ItemT")
Draw = Callable[[Iterable[ItemT]], Iterator[Row]]
Start = Callable[[int], Draw[ItemT]]
"""Called once on each worker, with the CPUs that it may use: loads the model. It is pickled."""

_IN_FLIGHT = 64
"""Samples that a worker has at most: what an engine takes ahead, and as many again that wait for it."""
_ROWS = 8
"""That a worker returns at a time."""
_CONNECT_S = 10.0
_PATIENCE_S = 60.0
"""Until it is said that no worker has begun."""


def draw_on_cluster(
    address: str,
    start: Start[ItemT],
    wanted: Mapping[Key, ItemT],
    fields: Sequence[str],
    *,
    gpus: bool,
    note: Callable[[str], None],
) -> Generator[Row]:
    """Draw all that is wanted, each once; yields its row, which says its key in `fields`, when it is there.

    address: `local` (a cluster of this machine alone, which ends with this), `auto` (the one that runs here),
    HOST:PORT, or ray://HOST:PORT. gpus: whether a worker takes a GPU where there are some. note: told of workers.
    Raises UsageError without ray, NetworkError where no cluster answers, what a worker raises, and CgcliError when all
    workers are lost.
    """
    ray = _ray()
    with _connected(ray, address):
        yield from _Driver(ray, _workers(ray, start, gpus), deque(wanted.items()), tuple(fields), note).rows()


class _Worker(Generic[ItemT]):
    """What lives on the cluster. Between two calls its streams stay where they are."""

    def __init__(self, start: Start[ItemT], cpus: int) -> None:
        self._start, self._cpus = start, cpus
        self._draw: Draw[ItemT] | None = None
        self._queue: deque[ItemT] = deque()
        self._rows: Iterator[Row] = iter(())

    def more(self, items: Iterable[ItemT]) -> list[Row]:
        """Take these as well, and draw on until some rows are done; none only where nothing is left to draw."""
        self._draw = self._draw or self._start(self._cpus)
        self._queue += items
        rows: list[Row] = []
        while len(rows) < _ROWS:
            row = next(self._rows, None)
            if row is None and not self._queue:
                break
            if row is None:
                self._rows = self._draw(self._taken())
            else:
                rows.append(row)
        return rows

    def _taken(self) -> Iterator[ItemT]:
        while self._queue:
            yield self._queue.popleft()


@dataclass(eq=False)
class _Member(Generic[ItemT]):
    """A worker as the driver sees it. held: what it was given and has not returned; ready: it has its model."""

    actor: Any
    place: str
    held: dict[Key, ItemT] = field(default_factory=dict)
    ready: bool = False


@dataclass
class _Driver(Generic[ItemT]):
    """Who has what. calls: those that are not answered, one a worker."""

    ray: Any
    members: list[_Member[ItemT]]
    waiting: deque[tuple[Key, ItemT]]
    fields: tuple[str, ...]
    note: Callable[[str], None]
    calls: dict[Any, _Member[ItemT]] = field(default_factory=dict)

    def rows(self) -> Iterator[Row]:
        places = ", ".join(sorted({member.place for member in self.members}))
        self.note(f"Ray: workers: {len(self.members)}, on {places}")
        for member in self.members:
            self.call(member)
        while self.waiting or any(member.held for member in self.members):
            for member in self.members:
                if member.ready and member not in self.calls.values():
                    self.call(member)
            done, _ = self.ray.wait(list(self.calls), timeout=_PATIENCE_S)
            if not done and not any(member.ready for member in self.members):
                self.note("Ray: no worker has begun; are the cluster's CPUs taken?")
            for call in done:
                yield from self.answered(call)

    def call(self, member: _Member[ItemT]) -> None:
        """Have a worker go on, with more where it has room; no worker takes all of the last ones."""
        share = -(-len(self.waiting) // (2 * len(self.members)))
        room = min(share, _IN_FLIGHT - len(member.held)) if member.ready else 0
        given = [self.waiting.popleft() for _ in range(room)]
        member.held.update(given)
        if member.held or not member.ready:
            self.calls[member.actor.more.remote([item for _, item in given])] = member

    def answered(self, call: Any) -> Iterator[Row]:
        member = self.calls.pop(call)
        try:
            rows: list[Row] = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            raise _told(error, member.place) from error
        except self.ray.exceptions.RayError:
            self.lose(member)
            return
        if member.held and not rows:
            raise RuntimeError("a worker drew nothing")
        member.ready = True
        for row in rows:
            del member.held[tuple(row[name] for name in self.fields)]
            yield row

    def lose(self, member: _Member[ItemT]) -> None:
        """Without it: its samples are given to others. What it may still do is not heard."""
        self.ray.kill(member.actor)
        self.members.remove(member)
        if not self.members:
            raise CgcliError("Ray: all workers are lost", hint="the same command goes on where it was")
        self.waiting.extendleft(reversed(member.held.items()))
        self.note(f"Ray: the worker on {member.place} is lost, its {len(member.held)} samples are given to others")


def _workers(ray: Any, start: Start[ItemT], gpus: bool) -> list[_Member[ItemT]]:
    """One for each machine, or each of its GPUs; it claims all CPUs there, as its threads take them."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    members = []
    actor = ray.remote(_Worker)
    shared = ray.put(start)
    for node in ray.nodes():
        there = node["Resources"]
        cpus, count = int(there.get("CPU", 0)), int(there.get("GPU", 0)) if gpus else 0
        if not node["Alive"] or not cpus:
            continue
        for _ in range(max(1, count)):
            own = max(1, cpus // max(1, count))
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = {"num_cpus": own, "num_gpus": int(count > 0), "scheduling_strategy": pinned}
            members.append(_Member[ItemT](actor.options(**options).remote(shared, own), node["NodeManagerAddress"]))
    if not members:
        raise CgcliError("Ray: no machine of the cluster has a CPU to give")
    return members


def _told(error: Any, place: str) -> CgcliError:
    """What a worker raised, with the machine's name."""
    cause = error.cause
    if isinstance(cause, CgcliError):
        told = type(cause)(f"{place}: {cause.message}", hint=cause.hint)
    else:
        told = CgcliError(f"{place}: {cause!r}", hint="every machine of the cluster needs this version of cgcli")
    return told


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs the package ray", hint="pip install 'cgcli[ray]'") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """While the block runs this process belongs to the cluster. What Ray prints on stdout goes to our log."""
    _reach(address)
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    with redirect_stdout(_Logged()):  # to the end of the shutdown, which prints what of the cluster's errors is left
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreached(address, error) from error
        try:
            yield
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raises NetworkError where nobody listens: Ray itself would wait for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if not found:
        return
    try:
        socket.create_connection((found[1], int(found[2])), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreached(address, error) from error


def _unreached(address: str, error: Exception) -> NetworkError:
    why = getattr(error, "strerror", None) or re.split(r"\n|\. ", str(error))[0]
    hint = "--ray local, auto, HOST:PORT or ray://HOST:PORT, and RAY_AUTH_MODE=token where it asks for a token"
    return NetworkError(f"no Ray cluster at {address}: {why}", hint=hint)


class _Logged(io.TextIOBase):
    """A stream into our log."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.getLogger("cgcli").debug("%s", text.rstrip())
        return len(text)

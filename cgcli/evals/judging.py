"""Many programs run in sandboxes side by side: threads that wait for processes.

What a program is to do, and what counts as passing, is others' matter.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from cgcli.core.errors import Interrupted
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.verdict import Verdict

KeyT = TypeVar("KeyT", bound=Hashable)

WALL = 5
"""Seconds on the clock for each of processor time: a backstop, which a busy machine does not reach."""
_AHEAD = 4  # programs taken from the source for each worker, so that none waits for the next


@dataclass(frozen=True)
class Job(Generic[KeyT]):
    """A program to run, known by `key`."""

    key: KeyT
    source: bytes
    policy: Policy


def timed(cpu_s: float, *, unsafe: bool = False) -> Policy:
    """The safe policy with so many seconds of processor time, and WALL times that on the clock.

    A program is judged when it reaches its end, whatever of it would go on.
    """
    return Policy(unsafe=unsafe, cpu_s=cpu_s, wall_s=WALL * cpu_s, lingers=False)


def worker_count() -> int:
    """As many as there are processors for this process: each program has a process of its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def judge_all(jobs: Iterable[Job[KeyT]], workers: int) -> Iterator[tuple[KeyT, Verdict]]:
    """Run all programs, `workers` of them at a time; yields each verdict soon after it is known, in no order.

    Jobs are taken as there is room, so that they may come of something slow, or be many. When this ends, however it
    does (Ctrl-C, an error, the caller's leaving), no program is left running, and none that was ended so has a verdict.
    Raises SandboxError where one cannot be run: that is no verdict on it.
    """
    stopped = threading.Event()
    pending: dict[Future[Verdict], KeyT] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="judging") as pool:
        try:
            for job in jobs:
                one = partial(run, job.source, policy=job.policy, interrupted=stopped.is_set)
                pending[pool.submit(one)] = job.key
                yield from _done(pending, at_most=_AHEAD * workers)
            while pending:
                yield from _done(pending, at_most=len(pending) - 1)
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _done(pending: dict[Future[Verdict], KeyT], at_most: int) -> Iterator[tuple[KeyT, Verdict]]:
    """Take out of `pending` what is done; wait until it holds no more than `at_most`."""
    while True:
        for future in [future for future in pending if future.done()]:
            key, verdict = pending.pop(future), future.result()
            if verdict.outcome == "interrupted":
                raise Interrupted
            yield key, verdict
        if len(pending) <= at_most:
            return
        wait(pending, return_when=FIRST_COMPLETED)

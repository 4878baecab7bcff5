"""Several processes, on one machine or many, that train as one: each reads its share of every batch.

JAX does the work; this says who they are, and what only the first of them does.
"""

from __future__ import annotations

from dataclasses import dataclass

from cgcli.core.errors import CgcliError, UsageError


@dataclass(frozen=True)
class Processes:
    """coordinator: HOST:PORT that the first of them listens on, "" where there is one process; index: from 0."""

    coordinator: str = ""
    count: int = 1
    index: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(f"--process {self.index} of --processes {self.count}: they count from 0")
        if (self.count > 1) != bool(self.coordinator):
            raise UsageError(
                f"--coordinator {self.coordinator or '(none)'} with --processes {self.count}: several need one",
                hint="--coordinator HOST:PORT --processes N --process I",
            )

    @property
    def first(self) -> bool:
        """Whether this one writes what there is to write once: metrics, recipe, data, export."""
        return self.index == 0


ALONE = Processes()


def join(processes: Processes) -> None:
    """Meet the others; before anything else is asked of JAX. Raises CgcliError where they do not come together."""
    if processes.count == 1:
        return
    import jax

    try:
        jax.distributed.initialize(processes.coordinator, processes.count, processes.index)
    except RuntimeError as error:
        raise CgcliError(
            f"process {processes.index} of {processes.count} did not meet the others at {processes.coordinator}: "
            f"{str(error).splitlines()[0]}",
            hint="the same command on each machine, with its own --process",
        ) from error


def wait_for_all(processes: Processes, where: str) -> None:
    """Until every process has come as far as this."""
    if processes.count > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(where)

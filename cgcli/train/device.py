"""The devices of a run, their speed and memory, and the processes that share its work.

JAX is imported by the functions: processes must have joined before JAX is asked for devices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.machine import available_bytes

if TYPE_CHECKING:
    from jax.typing import DTypeLike

SIDE = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # rows and columns of the multiplied matrices
TRIALS = 8


@dataclass(frozen=True)
class ProcessGroup:
    """Processes on one or several machines that train as one: each reads its share of every batch.

    Raises UsageError for values that do not fit together.
    """

    coordinator: str = ""  # HOST:PORT where process 0 listens; "" for a single process
    count: int = 1
    index: int = 0  # of this process, from 0

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(
                f"--process {self.index} of --processes {self.count}: processes are numbered from 0 to {self.count - 1}"
            )
        if (self.count > 1) != bool(self.coordinator):
            raise UsageError(
                "--processes needs --coordinator" if self.count > 1 else "--coordinator needs --processes",
                hint="--coordinator HOST:PORT --processes N --process I",
            )

    @property
    def first(self) -> bool:
        """Whether this process writes the files that a run has once: metrics, recipe, data, export."""
        return self.index == 0


SINGLE = ProcessGroup()


def join(group: ProcessGroup) -> None:
    """Connect to the other processes; call it before anything else uses JAX. Raises CgcliError if that fails."""
    if group.count == 1:
        return
    import jax

    try:
        jax.distributed.initialize(group.coordinator, group.count, group.index)
    except RuntimeError as error:
        raise CgcliError(
            f"process {group.index} of {group.count} could not connect to {group.coordinator}: "
            f"{str(error).splitlines()[0]}",
            hint="start the same command on each machine, each with its own --process",
        ) from error


def wait_for_all(group: ProcessGroup, where: str) -> None:
    """Wait until every process has reached this point."""
    if group.count > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(where)


def matmul_flops(dtype: DTypeLike) -> float:
    """Floating-point operations per second of square matrix products, on all devices of all processes: the peak that a
    step's speed is compared with. The best of TRIALS, after one that compiles."""
    import jax
    import jax.numpy as jnp

    device = jax.local_devices()[0]
    side = SIDE.get(device.platform, SIDE["cpu"])
    left = jax.device_put(jnp.full((side, side), 0.5, dtype), device)
    product = jax.jit(jnp.matmul)
    product(left, left).block_until_ready()
    seconds = []
    for _ in range(TRIALS):
        started = time.perf_counter()
        product(left, left).block_until_ready()
        seconds.append(time.perf_counter() - started)
    # Simulated devices of a CPU share its cores.
    devices = jax.process_count() if device.platform == "cpu" else jax.device_count()
    return devices * 2 * side**3 / min(seconds)


def memory() -> int:
    """Bytes of memory of one device; on a CPU, its share of what this process can have without swapping."""
    import jax

    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return int(limit) if limit else available_bytes() // jax.local_device_count()


def platform() -> str:
    """ "cpu", "gpu" or "tpu"."""
    import jax

    return jax.default_backend()


def total() -> int:
    """Devices of all processes."""
    import jax

    return jax.device_count()


def name() -> str:
    """Number and kind of the devices: '1 cpu', '8 NVIDIA H100'."""
    import jax

    devices = jax.devices()
    return f"{len(devices)} {devices[0].device_kind}"

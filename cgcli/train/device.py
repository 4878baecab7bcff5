"""What this process computes on: how fast it multiplies matrices, and how much memory there is."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cgcli.core.machine import available_bytes

SIDE = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # rows and columns of what is multiplied
TRIALS = 8


def matmul_flops(dtype: DTypeLike) -> float:
    """Floating-point operations a second of a product of square matrices, all devices of all processes together: what
    a step's speed is a share of. The best of TRIALS, after one that compiles."""
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


def memory_bytes() -> int:
    """What one device can give: on a CPU, where devices share it, what this process can have without swapping."""
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return int(limit) if limit else available_bytes() // jax.local_device_count()


def platform() -> str:
    """ "cpu", "gpu" or "tpu"."""
    return jax.default_backend()


def count() -> int:
    """Devices of all processes together."""
    return jax.device_count()


def name() -> str:
    """The kind of device, and how many: '1 cpu', '8 NVIDIA H100'."""
    devices = jax.devices()
    return f"{len(devices)} {devices[0].device_kind}"

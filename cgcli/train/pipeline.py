"""Batches of records without end, every epoch in another order, and where they stand.

The order follows from the seed alone: not from how many processes read, each of which gets its own rows of the same
batches. The shuffling and the position are Grain's.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Self

import grain

from cgcli.core.errors import CgcliError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cgcli.train.records import Records

_AHEAD = 2  # batches read before they are asked for


class Batches:
    """An iterator of int32 [sequences / processes, context].

    sequences: records of a batch over all processes; process: which of `processes` this one is, from 0.
    """

    def __init__(self, records: Records, sequences: int, seed: int, *, process: int = 0, processes: int = 1) -> None:
        """Raises CgcliError where there are no records, or `sequences` cannot be shared out evenly."""
        if not len(records):
            raise CgcliError("there are no records to train on")
        share, rest = divmod(sequences, processes)
        if rest or not share:
            raise CgcliError(f"[batch] sequences {sequences} cannot be shared out to {processes} processes")
        own = slice(process * share, (process + 1) * share)
        order = grain.MapDataset.range(len(records)).seed(seed).shuffle().repeat().batch(sequences)
        batches = order.map(lambda indices: records.gather(indices[own]))
        self._iterator = iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)))
        self._of = {"records": _digest(records), "sequences": sequences, "seed": seed}

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> NDArray[np.int32]:
        batch: NDArray[np.int32] = next(self._iterator)
        return batch

    def state(self) -> bytes:
        """Where it stands: before the batch that comes next."""
        return json.dumps(self._of | {"position": self._iterator.get_state()}).encode()

    def restore(self, state: bytes) -> None:
        """Go on where `state` was taken, on however many processes. Raises CgcliError where it was taken of other
        records, another batch size or another seed: what came next then is not here."""
        told = json.loads(state)
        for name, value in self._of.items():
            if told[name] != value:
                raise CgcliError(
                    f"the checkpoint was made of other data: {name} {told[name]}, now {value}",
                    hint="train into another folder, or give the data as they were",
                )
        self._iterator.set_state(told["position"])


def _digest(records: Records) -> str:
    """What the records are: their number, size and the bytes of some hundreds of them, spread evenly."""
    step = max(1, len(records) // 256)
    digest = hashlib.sha256(f"{records.rows.shape} {records.rows.dtype}".encode())
    for index in range(0, len(records), step):
        digest.update(records.rows[index].tobytes())
    return digest.hexdigest()[:16]

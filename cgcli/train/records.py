"""Records: rows of token ids in a NumPy file of [records, context], and the endless shuffled batches made of them.

Texts are packed as jaxformer packs them (salesforce/jaxformer preprocess, steps 4 and 5): each text ends with
end-of-text and is cut every `context` tokens; remainders that are not too short are joined into further records. The
file is never in memory as a whole. Grain shuffles and keeps the position; the order depends on the seed alone, not on
the number of processes, each of which reads its own rows of the same batches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cgcli.core.errors import CgcliError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST = 64  # tokens of a remainder; shorter ones are dropped
_AHEAD = 2  # batches to read ahead


class Records:
    """The records in the file `path`, read on demand. Raises CgcliError if it is not a file of records."""

    def __init__(self, path: Path) -> None:
        try:
            self.rows: NDArray[np.unsignedinteger[Any]] = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CgcliError(f"{path} is not a file of records: {error}") from error
        if self.rows.ndim != 2 or self.rows.dtype not in (np.uint16, np.uint32):
            raise CgcliError(f"{path} is not a file of records: {self.rows.dtype} {self.rows.shape}")

    @property
    def context(self) -> int:
        return int(self.rows.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """int32 [context]"""
        record: NDArray[np.int32] = self.rows[index].astype(np.int32)
        return record

    def gather(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int32]:
        """int32 [indices, context]"""
        gathered: NDArray[np.int32] = self.rows[indices].astype(np.int32)
        return gathered


class RecordWriter:
    """Packs the ids of texts into the file `path`. A context manager; the file is complete when it exits."""

    def __init__(self, path: Path, context: int, rows: int, end_of_text: int) -> None:
        """rows: of the embedding, which decides the type of the ids."""
        self.context = context
        self.end_of_text = end_of_text
        self.dtype = np.dtype(np.uint16 if rows <= 1 << 16 else np.uint32)
        self.records = 0  # written so far
        self.dropped = 0  # tokens of remainders that were too short, or left over at the end
        self._pool: list[int] = []
        self._file = path.open("w+b")
        self._write_header()

    @property
    def tokens(self) -> int:
        return self.records * self.context

    def add(self, ids: list[int]) -> None:
        """Pack one text."""
        ids = [*ids, self.end_of_text]
        whole = len(ids) // self.context * self.context
        self._write(ids[:whole])
        rest = ids[whole:]
        if len(rest) < SHORTEST:
            self.dropped += len(rest)
            return
        self._pool += rest
        if len(self._pool) >= self.context:
            self._write(self._pool[: self.context])
            del self._pool[: self.context]

    def _write(self, ids: list[int]) -> None:
        self._file.write(np.array(ids, self.dtype).tobytes())
        self.records += len(ids) // self.context

    def _write_header(self) -> None:
        """NumPy pads a header so that the first dimension can grow: a later header fits in place of this one."""
        shape = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**shape, "shape": (self.records, self.context)})

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.dropped += len(self._pool)
        self._pool.clear()
        self._file.seek(0)
        self._write_header()
        self._file.close()


class Batches:
    """An endless iterator of int32 [sequences / processes, context]."""

    def __init__(self, records: Records, sequences: int, seed: int, *, process: int = 0, processes: int = 1) -> None:
        """sequences: records per batch, over all processes; process: index of this one.

        Raises CgcliError if there are no records, or if `sequences` cannot be divided among the processes.
        """
        import grain

        if not len(records):
            raise CgcliError("no records to train on")
        share, rest = divmod(sequences, processes)
        if rest or not share:
            raise CgcliError(
                f"[batch] sequences {sequences} cannot be divided among {processes} processes",
                hint=f"set [batch] sequences to a multiple of {processes}",
            )
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
        """The position, before the next batch."""
        return json.dumps(self._of | {"position": self._iterator.get_state()}).encode()

    def restore(self, state: bytes) -> None:
        """Continue from `state`, with any number of processes. Raises CgcliError if it belongs to other records, batch
        size or seed."""
        saved = json.loads(state)
        for name, value in self._of.items():
            if saved[name] != value:
                raise CgcliError(
                    f"the checkpoint belongs to other data: {name} was {saved[name]}, now {value}",
                    hint="restore the data, or train into another folder with -o",
                )
        self._iterator.set_state(saved["position"])


def _digest(records: Records) -> str:
    """Identifies the records by their number, size and some hundreds of them, evenly spaced."""
    step = max(1, len(records) // 256)
    digest = hashlib.sha256(f"{records.rows.shape} {records.rows.dtype}".encode())
    for index in range(0, len(records), step):
        digest.update(records.rows[index].tobytes())
    return digest.hexdigest()[:16]

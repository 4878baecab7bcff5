"""Records: the rows of ids that training reads, in a NumPy file of [records, context], never whole in memory.

They are packed as jaxformer packs them (salesforce/jaxformer preprocess, steps 4 and 5): each text ends with
end-of-text and is cut at `context`; what is left of it, where it is not too short, is joined with what is left of
others into further records. It knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgcli.core.errors import CgcliError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST = 64  # tokens of a remainder that is kept; less says little


class Records:
    """The records of the file `path`, as they are read. Raises CgcliError where the file is not one of records."""

    def __init__(self, path: Path) -> None:
        try:
            self.rows: NDArray[np.unsignedinteger[Any]] = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CgcliError(f"{path} is no file of records: {error}") from error
        if self.rows.ndim != 2 or self.rows.dtype not in (np.uint16, np.uint32):
            raise CgcliError(f"{path} is no file of records: {self.rows.dtype} {self.rows.shape}")

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
    """Packs the ids of texts into the file `path`, as they come. A context manager; the file is whole when it ends.

    records, tokens: written so far; dropped: tokens in remainders that were too short, or too few at the end.
    """

    def __init__(self, path: Path, context: int, rows: int, end_of_text: int) -> None:
        self.context = context
        self.end_of_text = end_of_text
        self.dtype = np.dtype(np.uint16 if rows <= 1 << 16 else np.uint32)
        self.records = 0
        self.dropped = 0
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
        """NumPy leaves room in a header for the first dimension to grow, so the last one fits where the first stood."""
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

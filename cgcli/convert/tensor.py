"""Where a checkpoint's tensor lies on disk, and how to read it: memory-mapped, one at a time.

Knows number types and strides, not file formats: `checkpoint` and `torch_file` make the entries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.core.errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Bytes of each number type. Only the float types can be weights; the others occur as attention masks, which are
# dropped. A tensor of any other type keeps its type's name in the file, so that an error can name it.
ITEM_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "u8": 1, "i8": 1, "bool": 1, "i16": 2, "i32": 4, "i64": 8}
WEIGHT_TYPES = ("f16", "bf16", "f32", "f64")
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    path: Path
    start: int  # bytes from the beginning of the file

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def check_weight(self, shape: tuple[int, ...]) -> None:
        """Raise ModelFileError if this cannot be a weight of that shape."""
        if self.shape != shape:
            raise ModelFileError(f"{self.path}: {self.name} has shape {list(self.shape)[:8]}, expected {list(shape)}")
        if self.dtype not in WEIGHT_TYPES:
            raise ModelFileError(
                f"{self.path}: {self.name} is {self.dtype}; weights must be one of {', '.join(WEIGHT_TYPES)}",
                hint="save the model in one of these types, not quantized",
            )

    def read(self, dtype: type[np.float16 | np.float32]) -> NDArray[np.float16 | np.float32]:
        """The values as float16 or float32: a mapped view if the file has that type, otherwise a copy.

        Raises ModelFileError if a value is not finite, or too large for float16.
        """
        import numpy as np

        mapped = self._map()
        if self.dtype == "bf16":
            bits = mapped.astype(np.uint32)  # bf16 is the upper half of a float32
            bits <<= 16
            mapped = bits.view(np.float32)
        values: NDArray[np.float16 | np.float32] = mapped
        if mapped.dtype != dtype:
            with np.errstate(over="ignore"):
                values = mapped.astype(dtype)
        if not _all_finite(values):
            raise ModelFileError(f"{self.path}: {self.name} has a value that is not finite in {np.dtype(dtype)}")
        return values

    def equals(self, other: StoredTensor) -> bool:
        """Whether both are weights of the same shape and values, whatever their types."""
        import numpy as np

        if self.shape != other.shape or not self.shape:
            return False
        self.check_weight(other.shape)
        other.check_weight(self.shape)
        if (self.path, self.start, self.strides, self.dtype) == (other.path, other.start, other.strides, other.dtype):
            return True
        step = max(1, (1 << 20) // max(1, self.size // max(1, self.shape[0])))
        pieces = ((first, min(first + step, self.shape[0])) for first in range(0, self.shape[0], step))
        return all(
            np.array_equal(self.rows(*piece).read(np.float32), other.rows(*piece).read(np.float32)) for piece in pieces
        )

    def rows(self, first: int, last: int) -> StoredTensor:
        """Rows `first` to `last` - 1."""
        step = self.strides[0] * ITEM_BYTES[self.dtype]
        shape = (last - first, *self.shape[1:])
        return StoredTensor(self.name, self.dtype, shape, self.strides, self.path, self.start + first * step)

    def _map(self) -> NDArray[Any]:
        import numpy as np

        kinds = {"f16": np.float16, "bf16": np.uint16, "f32": np.float32, "f64": np.float64}
        extent = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        try:
            flat = np.memmap(self.path, kinds[self.dtype], "r", self.start, (extent,))
        except (OSError, ValueError) as error:
            raise ModelFileError(f"cannot read {self.name} in {self.path}: {error}") from None
        strides = tuple(stride * flat.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(flat.view(np.ndarray), self.shape, strides, writeable=False)


def whole_numbers(values: Sequence[object]) -> bool:
    """Whether all are integers that a size or a place in a file can have."""
    return all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a C-ordered array."""
    strides, step = [], 1
    for dimension in reversed(shape):
        strides.append(step)
        step *= dimension
    return tuple(reversed(strides))


def _all_finite(values: NDArray[np.float16 | np.float32]) -> bool:
    """Whether all are finite; checked in pieces, to need no mask of the whole."""
    import numpy as np

    rows = max(1, (1 << 20) // max(1, values[0].size)) if values.ndim > 1 else 1 << 20
    return all(bool(np.isfinite(values[at : at + rows]).all()) for at in range(0, len(values), rows))

"""Where a checkpoint's tensor lies on disk, and reading it: mapped, one at a time, never all of them.

It knows number types and strides, not file formats: `safetensors_file` and `torch_file` make the entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.core.errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Bytes of each number type that can be checked against a file. The float types can be weights; the rest occur as
# attention masks, which are dropped. A tensor of any other type is kept by its name in the file, for an error to tell.
ITEM_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "u8": 1, "i8": 1, "bool": 1, "i16": 2, "i32": 4, "i64": 8}
WEIGHT_TYPES = ("f16", "bf16", "f32", "f64")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint; strides in elements, start in bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    path: Path
    start: int

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for dimension in self.shape:
            size *= dimension
        return size

    def check_weight(self, shape: tuple[int, ...]) -> None:
        """Raises ModelFileError where this cannot be a weight of that shape."""
        if self.shape != shape:
            raise ModelFileError(f"{self.path}: {self.name} has shape {list(self.shape)[:8]}, not {list(shape)}")
        if self.dtype not in WEIGHT_TYPES:
            raise ModelFileError(
                f"{self.path}: {self.name} is {self.dtype}; weights are {', '.join(WEIGHT_TYPES)}",
                hint="save the model in one of these, not quantized",
            )

    def read(self, dtype: type[np.float16 | np.float32]) -> NDArray[np.float16 | np.float32]:
        """The values, as float16 or float32: a mapped view where that is what the file has, else a copy.

        Raises ModelFileError where a value is not finite, or too large for float16.
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
            raise ModelFileError(f"{self.path}: {self.name} has a value that is not finite as {np.dtype(dtype)}")
        return values

    def equals(self, other: StoredTensor) -> bool:
        """Whether the other has the same shape and values, whatever their types; both are weights."""
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
        """The part from row `first` to before row `last`."""
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


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a C-ordered array."""
    strides, step = [], 1
    for dimension in reversed(shape):
        strides.append(step)
        step *= dimension
    return tuple(reversed(strides))


def _all_finite(values: NDArray[np.float16 | np.float32]) -> bool:
    """Whether all are finite, looked at in pieces so that no mask of the whole is made."""
    import numpy as np

    rows = max(1, (1 << 20) // max(1, values[0].size)) if values.ndim > 1 else 1 << 20
    return all(bool(np.isfinite(values[at : at + rows]).all()) for at in range(0, len(values), rows))

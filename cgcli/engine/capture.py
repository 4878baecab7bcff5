"""Values from inside a pass: an eval callback for ggml's scheduler that copies named tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

from cgcli.engine.binding import ggml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Capture = Callable[[str, "NDArray[np.float32]"], None]
"""Called with a tensor's name and a copy of its values, float32 [rows, columns], during a pass."""


def capturing(capture: Capture, names: frozenset[str]) -> Callable[[int, bool, object], bool]:
    """An eval callback that passes float32 copies of the named tensors to `capture`."""
    import numpy as np

    class Tensor(ctypes.Structure):  # the head of struct ggml_tensor, as far as `nb`
        _fields_ = (
            ("type", ctypes.c_int),
            ("buffer", ctypes.c_void_p),
            ("ne", ctypes.c_int64 * 4),
            ("nb", ctypes.c_size_t * 4),
        )

    api = ggml()
    api.ggml_get_name.restype = ctypes.c_char_p
    api.ggml_get_name.argtypes = [ctypes.c_void_p]
    api.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]

    def on_tensor(address: int, ask: bool, _data: object) -> bool:
        name = api.ggml_get_name(address).decode()
        if name not in names:
            return not ask  # when asked, False means "skip this one"; afterwards True means "continue"
        if not ask:
            tensor = Tensor.from_address(address)
            values = np.empty((tensor.ne[1], tensor.ne[0]), np.float32)
            api.ggml_backend_tensor_get(address, values.ctypes.data, 0, values.nbytes)
            capture(name, values)
        return True

    return on_tensor

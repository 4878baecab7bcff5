"""Values from inside a pass: an eval callback for ggml's scheduler that copies named tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgcli.engine.binding import ggml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Capture:
    """Tensors to copy during a pass."""

    names: frozenset[str]  # `l_out-3` is the output of layer 3
    receive: Callable[[str, NDArray[np.float32]], None]  # called with a name and a copy, float32 [rows, columns]

    def callback(self) -> Callable[[int, bool, object], bool]:
        """An eval callback for ggml's scheduler."""
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
            if name not in self.names:
                return not ask  # when asked, False means "skip this one"; afterwards True means "continue"
            if not ask:
                tensor = Tensor.from_address(address)
                values = np.empty((tensor.ne[1], tensor.ne[0]), np.float32)
                api.ggml_backend_tensor_get(address, values.ctypes.data, 0, values.nbytes)
                self.receive(name, values)
            return True

        return on_tensor

"""Attention alone: cgcli's beside llama.cpp's two, with flash attention and without.

    python -m tests.benchmarks.attention [--rounds N] [--threads N]

All three are nodes of ggml's graphs in one process: 20 layers of 16 heads of 64, as in the 350M shape, with random
values. A sink of -infinity, which changes nothing, keeps a node from cgcli's attention. The last line is JSON.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cgcli.engine.binding import ggml, llama
from tests.benchmarks.report import command_line, measured, medians, print_facts, ratio, seconds, table

LAYERS, HEADS, SIZE = 20, 16, 64
# Rows, cells, texts: each row sees the cells before it, or those of its own text, which lie between the others'.
CASES = ((1, 128, 1), (1, 512, 1), (4, 512, 1), (16, 128, 1), (16, 400, 1), (4, 1120, 4), (16, 4480, 16), (512, 512, 1))
SIDES = ("cgcli", "flash", "plain")
F32, F16 = 0, 1  # of ggml.h's enum ggml_type


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


class Graphs:
    """ggml's functions for graphs, by the names that they have in ggml.h without their prefix."""

    def __init__(self, threads: int) -> None:
        self._api = ggml()
        self.context = self.call("init", _InitParams(1 << 24, None, True))
        self._processor = self.call("backend_init_by_type", 0, None)
        back_end = self.call("backend_dev_backend_reg", self.call("backend_dev_by_type", 0))
        address = self.call("backend_reg_get_proc_address", back_end, b"ggml_backend_set_n_threads")
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(address)(self._processor, threads)

    def call(self, name: str, *arguments: Any) -> Any:
        """Integers that are not ctypes' own are pointers or 64 bits wide."""
        function = getattr(self._api, f"ggml_{name}")
        function.restype = ctypes.c_void_p
        return function(*(ctypes.c_void_p(one) if isinstance(one, int) else one for one in arguments))

    def tensor(self, kind: int, *shape: int) -> int:
        sizes = map(ctypes.c_int64, (*shape, 1, 1, 1)[:4])
        return int(self.call("new_tensor_4d", self.context, ctypes.c_int(kind), *sizes))

    def node(self, name: str, *arguments: Any) -> int:
        return int(self.call(name, self.context, *arguments))

    def heads_first(self, tensor: int) -> int:
        return self.node("permute", tensor, *map(ctypes.c_int, (0, 2, 1, 3)))

    def graph(self, nodes: list[int]) -> int:
        graph = int(self.call("new_graph", self.context))
        for node in nodes:
            self.call("build_forward_expand", graph, node)
        return graph

    def allocate(self) -> None:
        self.call("backend_alloc_ctx_tensors", self.context, self._processor)

    def fill(self, tensor: int, values: np.ndarray[Any, Any]) -> None:
        contiguous = np.ascontiguousarray(values)
        ctypes.memmove(self.call("get_data", tensor), contiguous.ctypes.data, values.nbytes)

    def compute(self, graph: int) -> None:
        self.call("backend_graph_compute", self._processor, graph)


def case(rows: int, cells: int, texts: int, threads: int) -> dict[str, Callable[[], None]]:
    """What computes the attention of all layers, by side."""
    api, draw, zero = Graphs(threads), np.random.default_rng(0), ctypes.c_float(0)
    scale = ctypes.c_float(SIZE**-0.5)
    mask, mask16 = api.tensor(F32, cells, rows), api.tensor(F16, cells, rows)
    sink = api.tensor(F32, HEADS)
    nodes: dict[str, list[int]] = {side: [] for side in SIDES}
    filled = []
    for _ in range(LAYERS):
        q, k = api.tensor(F32, SIZE, HEADS, rows), api.tensor(F16, SIZE, HEADS, cells)
        v, columns = api.tensor(F16, SIZE, HEADS, cells), api.tensor(F16, cells, SIZE, HEADS)
        filled.append((q, k, v, columns))
        q, k, v = map(api.heads_first, (q, k, v))
        for side in ("cgcli", "flash"):
            nodes[side].append(api.node("flash_attn_ext", q, k, v, mask16, scale, zero, zero))
        api.call("flash_attn_ext_add_sinks", nodes["flash"][-1], sink)
        weights = api.node("soft_max_ext", api.node("mul_mat", k, q), mask, scale, zero)
        nodes["plain"].append(api.node("cont", api.heads_first(api.node("mul_mat", columns, weights))))
    graphs = {side: api.graph(some) for side, some in nodes.items()}
    api.allocate()
    row, cell = np.arange(rows)[:, None], np.arange(cells)
    hidden = np.where((cell > cells - rows + row) | ((cell - row) % texts != 0), -np.inf, 0)
    api.fill(mask, hidden.astype(np.float32))
    api.fill(mask16, hidden.astype(np.float16))
    api.fill(sink, np.full(HEADS, -np.inf, np.float32))
    for q, k, v, columns in filled:
        keys, values = (draw.standard_normal((cells, HEADS, SIZE)).astype(np.float16) for _ in range(2))
        api.fill(q, draw.standard_normal((rows, HEADS, SIZE)).astype(np.float32))
        api.fill(k, keys)
        api.fill(v, values)
        api.fill(columns, values.transpose(1, 2, 0))
    return {side: partial(api.compute, graph) for side, graph in graphs.items()}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if reason := llama().without_own_products:
        raise SystemExit(f"cgcli's attention does not run here: {reason}")
    lines, facts = [], {}
    for rows, cells, texts in CASES:
        calls = case(rows, cells, texts, arguments.threads)
        times = measured({side: partial(seconds, call) for side, call in calls.items()}, arguments.rounds)
        found = medians({side: [1000 * time for time in some] for side, some in times.items()}, 2)
        beside = [f"{ratio(times[side], times['cgcli']):.1f}" for side in SIDES[1:]]
        lines.append([str(rows), str(cells), str(texts), *(f"{found[side]:.2f}" for side in SIDES), *beside])
        facts[f"{rows} rows, {cells} cells, {texts} texts"] = found
    sides = (*(f"{side}, ms" for side in SIDES), "flash / cgcli", "plain / cgcli")
    print(table(["rows", "cells", "texts", *sides], lines), end="")
    print_facts("attention", ms=facts)


if __name__ == "__main__":
    main()

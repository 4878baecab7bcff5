"""The attention that runs inside llama.cpp, over ggml's tensors and in its threads, against NumPy."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from cgcli.engine.binding import llama
from cgcli.native.products import product_tier
from tests.benchmarks.attention import F16, F32, Graphs

SIZE = 16
Floats = NDArray[np.float64]


def softmax_over_seen(q: Floats, k: Floats, v: Floats, hidden: Floats) -> Floats:
    """Of q [rows, heads, size] and k, v [cells, kv heads, size]; hidden [rows, cells] is 0 or -infinity."""
    shared = q.shape[1] // k.shape[1]
    scores = np.einsum("rhs,chs->hrc", q, k.repeat(shared, axis=1)) * SIZE**-0.5 + hidden
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return np.asarray(np.einsum("hrc,chs->rhs", weights, v.repeat(shared, axis=1)))


@pytest.mark.parametrize(
    ("rows", "heads", "kv_heads", "texts"),
    [
        pytest.param(1, 16, 16, 1, id="a token"),
        pytest.param(2, 8, 4, 1, id="two tokens, heads that share"),
        pytest.param(16, 9, 3, 1, id="several chunks of rows, heads together that share"),
        pytest.param(16, 16, 16, 16, id="as many texts as rows"),
        pytest.param(12, 32, 32, 3, id="texts of several rows"),
        pytest.param(65, 4, 2, 1, id="a prompt"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_it_is_what_numpy_computes(rows: int, heads: int, kv_heads: int, texts: int, threads: int) -> None:
    if product_tier() == "ref":
        pytest.skip("our products have no tier for this processor: no avx2")
    assert llama().without_own_products is None
    cells, draw, none = 100, np.random.default_rng(rows), ctypes.c_float(0)
    api = Graphs(threads)
    q, mask = api.tensor(F32, SIZE, heads, rows), api.tensor(F16, cells, rows)
    k, v = (api.tensor(F16, SIZE, kv_heads, cells) for _ in range(2))
    permuted = map(api.heads_first, (q, k, v))
    result = api.node("flash_attn_ext", *permuted, mask, ctypes.c_float(SIZE**-0.5), none, none)
    graph = api.graph([result])
    api.allocate()
    row, cell = np.arange(rows)[:, None], np.arange(cells)
    hidden = np.where((cell > cells - rows + row) | ((cell - row) % texts != 0), -np.inf, 0)
    queries = draw.standard_normal((rows, heads, SIZE)).astype(np.float32)
    keys, values = (draw.standard_normal((cells, kv_heads, SIZE)).astype(np.float16) for _ in range(2))
    for tensor, numbers in ((q, queries), (k, keys), (v, values), (mask, hidden.astype(np.float16))):
        api.fill(tensor, numbers)
    api.compute(graph)
    got = np.empty((rows, heads, SIZE), np.float32)
    ctypes.memmove(got.ctypes.data, api.call("get_data", result), got.nbytes)
    wanted = softmax_over_seen(queries.astype(float), keys.astype(float), values.astype(float), hidden)
    np.testing.assert_allclose(got, wanted, atol=2e-5)

"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def quick_compiler() -> Iterator[None]:
    """JAX without most of its optimizations: of tiny models nearly all the time is the compiler's."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """JAX without most of its optimizations, layers scanned: of tiny models nearly all the time is the compiler's."""
    import jax

    from cgcli.train import model

    monkeypatch.setattr(model, "WRITTEN_OUT", 0)

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

"""Engines on the tiny model."""

from __future__ import annotations

import functools

import pytest

from tests.support.engines import MakeEngine


@pytest.fixture
def make(make_engine: MakeEngine) -> MakeEngine:
    """Engines whose texts do not depend on each other, unless the test says otherwise."""
    return functools.partial(make_engine, exact=True)

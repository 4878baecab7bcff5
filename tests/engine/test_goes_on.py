"""Code that goes on behind a line end: the first tokens may spell that anew, merged with the indentation behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampling

BEGUN = b'def total(a, b):\n    """Add."""\n    total = a + b\n'


def test_the_first_tokens_spell_the_line_ends(tiny_model: Path) -> None:
    with interruptible() as interrupt, LlamaEngine(tiny_model, interrupt=interrupt, threads=1) as engine:
        text = "".join(engine.stream(Request(b"abc\r\n\n", Sampling(), Stops, 20, continues_code=True)))
        # One token a byte: three of the twenty are the line ends.
        assert len(text.encode()) == 17


@pytest.mark.parametrize("context", [b"\n", b""])
def test_nothing_but_line_ends_is_a_context_too(tiny_model: Path, context: bytes) -> None:
    with interruptible() as interrupt, LlamaEngine(tiny_model, interrupt=interrupt, threads=1) as engine:
        assert "".join(engine.stream(Request(context, Sampling(), Stops, 5, continues_code=True)))


def test_a_model_whose_tokens_merge_them_keeps_the_indentation(embedded_model: Path) -> None:
    with interruptible() as interrupt, LlamaEngine(embedded_model, interrupt=interrupt) as engine:
        continues_code, starts_anew = (
            "".join(engine.stream(Request(BEGUN, Sampling(temperature=0), Stops, 8, continues_code=on)))
            for on in (True, False)
        )
    assert continues_code.startswith("    return total")
    assert not starts_anew.startswith(" ")

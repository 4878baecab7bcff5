"""What a context owes: read as the first tokens drawn spell it, and no part of the completion."""

from __future__ import annotations

from pathlib import Path

from cgcli.engine.engine import Engine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampling


def test_the_first_tokens_spell_it(tiny_model: Path) -> None:
    with interruptible() as interrupt, Engine(tiny_model, interrupt=interrupt, threads=1) as engine:
        text = "".join(engine.stream(Request(b"def f():", Sampling(), Stops, 20, owed=b"QX\n")))
        # One token a byte: three of the twenty are what is owed.
        assert len(text.encode()) == 17 and "QX" not in text

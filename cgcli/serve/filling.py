"""Holes in requests: editors send the text behind the cursor, too. They are filled as `cgcli fill` does it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from cgcli.core.config import OTHER_TEMPERATURE
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.program.generation import Generation
from cgcli.program.hole import at_cursor
from cgcli.program.infill import HolePlan
from cgcli.serve.decoder import Decoder


class ServedHole:
    """A hole of a request, with what is drawn for it."""

    def __init__(
        self,
        before: bytes,
        after: str,
        request: Request,
        stops: Sequence[str],
        engine: LlamaEngine,
        count: int,
        reranked: int,
    ) -> None:
        """request: how its candidates are drawn; count: how many; reranked: how many if they are reranked.

        The first candidate is drawn as asked. Where candidates are reranked, the others are drawn hotter, to differ.
        """
        sampling = request.sampling
        others = None if engine.infill else max(sampling.temperature, OTHER_TEMPERATURE)
        drawn = count if engine.infill else reranked
        how = Generation(sampling, request.max_tokens, stops=tuple(stops), candidates=drawn, others=others)
        hole = at_cursor(before.decode("utf-8", "surrogateescape"), after)
        self.plan = HolePlan(hole, how, engine.infill, engine.window, engine.tokens)
        self.requests = tuple(
            replace(one, owner=request.owner, alternatives=request.alternatives) for one in self.plan.requests
        )

    @property
    def streams(self) -> bool:
        """Whether the text is known while it is drawn: nothing is chosen."""
        return self.plan.kind != "reranked"

    async def choose(self, decoder: Decoder, drawn: Sequence[Completion], seconds: float) -> list[Completion]:
        """The completions from the best to the worst; the first ones that were drawn, if there is no time to score."""
        cut = any(one.finish_reason == "interrupted" for one in drawn)
        filling = self.plan.choose(drawn, None)
        if seconds > 0 and not cut:
            owner = self.requests[0].owner
            scored = decoder.call(lambda engine: self.plan.choose(drawn, partial(engine.surprise_all, owner=owner)))
            with suppress(TimeoutError):
                filling, _ = await asyncio.wait_for(asyncio.wrap_future(scored), seconds)
        rest = [index for index in range(len(drawn)) if index not in filling.ranking]
        return [replace(drawn[index], text=filling.candidates[index].text) for index in (*filling.ranking, *rest)]

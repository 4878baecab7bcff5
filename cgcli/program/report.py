"""The output of `gen --json` and `fill --json`: contracts that gen.schema.json and fill.schema.json beside this file
specify."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cgcli.engine.protocol import Engine
from cgcli.engine.request import Timings
from cgcli.program.generation import Generation
from cgcli.program.program import Candidate, GuardFacts, Picked, Turn
from cgcli.terminal.text import json_safe

if TYPE_CHECKING:
    from cgcli.program.hole import Hole
    from cgcli.program.infill import Filling


def report(engine: Engine, generation: Generation, turns: Iterable[Turn]) -> dict[str, Any]:
    """The run as plain JSON values, without the model's name; log-probabilities in nats, times in seconds."""
    return _how(engine, generation) | {
        "turns": [turn_values(turn) for turn in turns],
        "timings": _timings(engine.timings),
    }


def fill_report(engine: Engine, generation: Generation, hole: Hole, filling: Filling) -> dict[str, Any]:
    """A filled hole as plain JSON values, without the names of the model and the file; units as in `report`."""
    return _how(engine, generation) | {
        "infill": filling.kind,
        "line": hole.line,
        "extent": hole.extent,
        "indent": hole.indent,
        "text": filling.text,
        "accepted": filling.accepted,
        "candidates": [{**asdict(one), "logprob": json_safe(one.logprob)} for one in filling.candidates],
        "unread": filling.unread,
        "timings": _timings(engine.timings),
    }


def _how(engine: Engine, generation: Generation) -> dict[str, Any]:
    sampling = asdict(generation.sampling)
    return {
        "seed": sampling.pop("seed"),
        "sampler": {**sampling, "max_tokens": generation.max_tokens, "stop": list(generation.stops)},
        "ran_on": asdict(engine.placement),
    }


def _timings(timings: Timings) -> dict[str, Any]:
    return {
        "load_s": round(timings.load_s, 4),
        "prefill_s": round(timings.prefill_s, 4),
        "decode_s": round(timings.decode_s, 4),
        "tokens_per_s": round(timings.tokens_per_s, 2),
        "passes": timings.passes,
        "drafted": timings.drafted,
        "kept": timings.kept,
        "acceptance": timings.acceptance,
        "speedup": timings.speedup,
    }


def turn_values(turn: Turn) -> dict[str, Any]:
    """A turn as plain JSON values; null for the facts of one that was written by hand."""
    facts = turn.facts
    return {
        "prompt": turn.prompt,
        "completion": turn.completion,
        "start": turn.start,
        "prompt_tokens": facts and facts.prompt_tokens,
        "prompt_perplexity": json_safe(facts and facts.prompt_perplexity),
        "folded_tokens": facts and facts.folded,
        "accepted": turn.accepted,
        "picked": _picked(turn.picked) if turn.picked else None,
        "candidates": [_candidate(candidate) for candidate in turn.candidates],
    }


def _picked(picked: Picked) -> dict[str, Any]:
    return {
        "rule": picked.rule,
        "function": picked.function or None,
        "calls": picked.calls,
        "groups": [{"candidates": list(one.candidates), "example": one.example} for one in picked.groups],
        "interrupted": picked.interrupted,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "text": candidate.text,
        "tokens": candidate.tokens,
        "mean_logprob": candidate.mean_logprob,
        "finish_reason": candidate.finish_reason,
        "kept": candidate.kept,
        "temperature": candidate.temperature,
        "ran": candidate.ran or None,
        "guard": guard_report(candidate.guard or GuardFacts()),
    }


def guard_report(facts: GuardFacts) -> dict[str, Any]:
    """What the guards did to a completion, as plain JSON values."""
    return {
        "cuts": [asdict(cut) for cut in facts.cuts],
        "imports": list(facts.imports),
        "standing": facts.standing or None,
    }

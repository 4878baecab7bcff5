"""What `gen --json` prints: a contract, written down as a JSON Schema in gen.schema.json beside this file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from cgcli.engine.engine import Engine
from cgcli.program.session import Candidate, Generation, Result


def report(engine: Engine, generation: Generation, results: Iterable[Result]) -> dict[str, Any]:
    """The run as plain JSON values, all but what names the model; log-probabilities in nats, times in seconds."""
    sampling = asdict(generation.sampling)
    timings = engine.timings
    return {
        "seed": sampling.pop("seed"),
        "sampler": {**sampling, "max_tokens": generation.max_tokens, "stop": list(generation.stops)},
        "turns": [_turn(result) for result in results],
        "timings": {
            "load_s": round(timings.load_s, 4),
            "prefill_s": round(timings.prefill_s, 4),
            "decode_s": round(timings.decode_s, 4),
            "tokens_per_s": round(timings.tokens_per_s, 2),
            "passes": timings.passes,
            "drafted": timings.drafted,
            "kept": timings.kept,
            "acceptance": timings.acceptance,
            "speedup": timings.speedup,
        },
    }


def _turn(result: Result) -> dict[str, Any]:
    return {
        "prompt": result.turn.prompt,
        "completion": result.turn.completion,
        "prompt_tokens": result.prompt_tokens,
        "prompt_perplexity": result.prompt_perplexity,
        "accepted": result.accepted,
        "candidates": [_candidate(candidate) for candidate in result.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "text": candidate.text,
        "tokens": candidate.completion.tokens,
        "mean_logprob": candidate.completion.mean_logprob,
        "finish_reason": candidate.finish_reason,
    }

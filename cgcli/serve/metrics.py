"""Counts of a server in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping

from cgcli.serve.decoder import Decoder


def metrics_text(decoder: Decoder, answers: Mapping[tuple[str, int], int]) -> str:
    """answers: by route and status."""
    engine = decoder.engine
    memory, spent = engine.cache.memory, engine.timings
    lines = [
        "# HELP cgcli_http_requests_total HTTP requests, by route and status.",
        "# TYPE cgcli_http_requests_total counter",
    ]
    for (route, status), count in sorted(answers.items()):
        lines.append(f'cgcli_http_requests_total{{route="{route}",status="{status}"}} {count}')
    numbers = (
        ("cgcli_completions_total", "counter", "Completions asked for, over HTTP or not.", decoder.requests),
        ("cgcli_drawn_tokens_total", "counter", "Tokens generated.", spent.decode_tokens),
        ("cgcli_read_tokens_total", "counter", "Tokens read of prompts.", spent.prefill_tokens),
        ("cgcli_passes_total", "counter", "Decoding passes.", spent.passes),
        ("cgcli_queue_streams", "gauge", "Completions that are generated or wait.", decoder.going),
        ("cgcli_cache_cells", "gauge", "Tokens that the cache has room for.", engine.cache.size),
        ("cgcli_kept_texts", "gauge", "Texts kept in memory beside the cache.", memory.texts if memory else 0),
        ("cgcli_kept_bytes", "gauge", "Bytes of these.", memory.size if memory else 0),
    )
    for name, kind, what, value in numbers:
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}", f"{name} {value}"]
    return "\n".join(lines) + "\n"

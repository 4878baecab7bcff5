"""The options that say how tokens are drawn, for the commands that draw them."""

from __future__ import annotations

from typing import Annotated

import typer

SAMPLING_PANEL = "Sampling"

TemperatureOption = Annotated[
    float | None,
    typer.Option("-t", "--temperature", metavar="T", help="0 is greedy; default 0.2.", rich_help_panel=SAMPLING_PANEL),
]
TopPOption = Annotated[
    float | None, typer.Option("--top-p", metavar="P", help="Nucleus; default 0.95.", rich_help_panel=SAMPLING_PANEL)
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", metavar="K", help="0, the default, is off.", rich_help_panel=SAMPLING_PANEL)
]
MinPOption = Annotated[
    float | None, typer.Option("--min-p", metavar="P", help="0, the default, is off.", rich_help_panel=SAMPLING_PANEL)
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option("--max-tokens", metavar="N", help="Of one completion; default 256.", rich_help_panel=SAMPLING_PANEL),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Fixes the draws; else drawn and shown.", rich_help_panel=SAMPLING_PANEL),
]

"""`cgcli gen`: prompts in, program out. Only words are turned into values here; `generate` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.command import run_of, settings_of
from cgcli.cli.options import (
    MODEL_PANEL,
    SAMPLING_PANEL,
    DraftOption,
    ExactOption,
    FoldOption,
    GpuLayersOption,
    MaxTokensOption,
    MinPOption,
    ModelOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    WindowOption,
)

_PROGRAM = "The program"
_RUNNING = "Running it"


def gen(
    ctx: typer.Context,
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to write next; each argument is a turn.")
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="More prompts, one a line, after the others; - is stdin.",
            rich_help_panel=_PROGRAM,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FILE",
            help="The program so far is FILE (and stdin is not read); the new turns are added to it.",
            rich_help_panel=_PROGRAM,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to FILE, not to stdout (a terminal still shows it).",
            rich_help_panel=_PROGRAM,
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Print the program so far too.", rich_help_panel=_PROGRAM)
    ] = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Continue the bytes as they are: no comment, no truncation.", rich_help_panel=_PROGRAM
        ),
    ] = False,
    no_comment: Annotated[
        bool,
        typer.Option(
            "--no-comment", help="Leave the prompts' comments out of what is printed.", rich_help_panel=_PROGRAM
        ),
    ] = False,
    no_stdin: Annotated[
        bool,
        typer.Option("--no-stdin", help="Do not read stdin (in loops, over ssh, from cron).", rich_help_panel=_PROGRAM),
    ] = False,
    lang: Annotated[
        str | None,
        typer.Option(
            "--lang",
            metavar="NAME",
            help="Language, if not Python or told by a file's suffix.",
            rich_help_panel=_PROGRAM,
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="TEXT", help="What a new program starts with.", rich_help_panel=_PROGRAM),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was drawn, and how, as JSON.", rich_help_panel=_PROGRAM)
    ] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    fold: FoldOption = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Never touch the network (generation never does).", rich_help_panel=MODEL_PANEL),
    ] = False,
    n: Annotated[
        int,
        typer.Option(
            "-n",
            "--candidates",
            metavar="N",
            min=1,
            help="Draw N completions a turn, keep the most probable (or --pick run).",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = 1,
    pick: Annotated[
        str,
        typer.Option(
            "--pick",
            metavar="probable|run",
            help="Which candidate to keep: the likeliest, or one that does what most do.",
            rich_help_panel=_RUNNING,
        ),
    ] = "probable",
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            metavar="EXPR",
            help="Must hold at the program's end, as 'f(2) == 4'; may be repeated; picks by running.",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    run_it: Annotated[
        bool,
        typer.Option("--run", help="Run the program in the sandbox; its output on stderr.", rich_help_panel=_RUNNING),
    ] = False,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe", help="Run on this machine as it is, without a sandbox.", rich_help_panel=_RUNNING),
    ] = False,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    min_p: MinPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            "--stop",
            metavar="TEXT",
            help="End a completion before TEXT; may be repeated.",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
) -> None:
    """Write a program from prompts, or continue one.

    [dim]cgcli gen "read a CSV and print the mean of each column" > mean.py
    cat prog.py | cgcli gen "now plot it" >> prog.py
    cgcli gen --into prog.py "add a main function"[/dim]
    """
    from cgcli.app.generate import Wish, generate

    run = run_of(ctx)
    settings = settings_of(ctx)
    wish = Wish(
        prompts=tuple(prompts or ()),
        files=tuple(file or ()),
        into=into,
        output=out,
        whole=whole,
        raw=raw,
        comments=not no_comment,
        read_stdin=not no_stdin,
        language=lang,
        json=as_json,
        candidates=n,
        stops=tuple(stop or ()),
        pick="run" if check else pick,
        checks=tuple(check or ()),
        run=run_it,
        unsafe=unsafe,
    )
    generate(run, settings, wish)

"""`cgcli gen`: prompts in, program out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cgcli.cli.command import Command, arguments_of, run_of, settings_of
from cgcli.cli.options import (
    SAMPLING_PANEL,
    DraftFromOption,
    DraftOption,
    ExactOption,
    FoldOption,
    GpuLayersOption,
    GuardOption,
    MaxTokensOption,
    MinPOption,
    ModelOption,
    SeedOption,
    ServeOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    WindowOption,
    languages,
    templates,
)

_program = partial(typer.Option, rich_help_panel="Program")
_running = partial(typer.Option, rich_help_panel="Running it")
_sampling = partial(typer.Option, rich_help_panel=SAMPLING_PANEL)


_MOST_USED = ("files", "into", "output", "candidates", "run", "checks", "until", "model", "temperature", "seed")


class GenCommand(Command):
    """`gen`, whose help leads with the options that are used most."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **rest)
        for param in self.params:
            if param.name in _MOST_USED:
                param.rich_help_panel = "Most used"  # type: ignore[attr-defined]
        order = {name: place for place, name in enumerate(("prompts", *_MOST_USED))}
        self.params.sort(key=lambda param: order.get(param.name or "", len(order)))


COMMAND = GenCommand


def gen(
    ctx: typer.Context,
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to write next. Each prompt adds a turn.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        _program("-f", "--file", metavar="FILE", help="Read more prompts from FILE, one per line; - is stdin."),
    ] = None,
    into: Annotated[
        Path | None,
        _program("--into", metavar="FILE", help="Add to the program in FILE. Does not read stdin."),
    ] = None,
    output: Annotated[
        Path | None,
        _program("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout."),
    ] = None,
    go_on: Annotated[
        bool,
        _program("-c", "--continue", help="Continue the last program written in this folder. Does not read stdin."),
    ] = False,
    if_changed: Annotated[
        bool,
        _program("--if-changed", help="With -o, write only from the first changed prompt on. Does not read stdin."),
    ] = False,
    whole: Annotated[bool, _program("--whole", help="Also print the program so far.")] = False,
    raw: Annotated[bool, _program("--raw", help="Continue the bytes as they are: no comment, no truncation.")] = False,
    no_comment: Annotated[bool, _program("--no-comment", help="Do not print prompts as comments.")] = False,
    no_stdin: Annotated[bool, _program("--no-stdin", help="Do not read stdin. For loops, ssh and cron jobs.")] = False,
    lang: Annotated[
        str | None,
        _program(
            "--lang",
            metavar="NAME",
            help="Programming language (default: from the file suffix, else Python).",
            autocompletion=languages,
        ),
    ] = None,
    template: Annotated[
        str | None,
        _program(
            "-T",
            "--template",
            metavar="NAME",
            help="Start from a template in config.toml: its prefix, settings and checks.",
            autocompletion=templates,
        ),
    ] = None,
    prefix: Annotated[str | None, _program("--prefix", metavar="TEXT", help="Start a new program with TEXT.")] = None,
    stamp: Annotated[
        bool, _program("--stamp", help="End with a comment line that lets `cgcli replay` write the text again.")
    ] = False,
    copy: Annotated[bool, _program("--copy", help="Copy the text to the clipboard, too.")] = False,
    no_log: Annotated[bool, _program("--no-log", help="Leave this run out of `cgcli log`.")] = False,
    start: Annotated[
        str | None, _program("--start", metavar="TEXT", help="Begin the code with TEXT, e.g. 'def fib(n):'.")
    ] = None,
    json: Annotated[bool, _program("--json", help="Print candidates, log-probabilities and timings as JSON.")] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    draft_from: DraftFromOption = None,
    exact: ExactOption = None,
    serve: ServeOption = None,
    fold: FoldOption = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", hidden=True, help="Has no effect: gen never uses the network."),
    ] = False,
    candidates: Annotated[
        int,
        _sampling(
            "-n",
            "--candidates",
            metavar="N",
            min=1,
            show_default=False,
            help="Generate N candidates per prompt and keep the best.",
        ),
    ] = 1,
    pick: Annotated[
        Literal["auto", "tests", "run", "reviewer", "probable"] | None,
        _running(
            "--pick",
            metavar="auto|tests|run|…",
            help="How to pick one of N candidates: by what its function returns (tests), by what it prints (run), by "
            "how well it explains the prompt (reviewer), by its own likelihood (probable), or by tests, run or "
            "probable, whichever applies first (auto, the default).",
        ),
    ] = None,
    checks: Annotated[
        list[str] | None,
        _running(
            "--check",
            metavar="EXPR",
            help="Python expression that must be true after the program runs, e.g. 'f(2) == 4'. "
            "Repeatable; of several candidates, those that pass most are kept.",
        ),
    ] = None,
    run: Annotated[bool, _running("--run", help="Run the program in the sandbox; print its output on stderr.")] = False,
    until: Annotated[
        Literal["runs", "checks"] | None,
        _running(
            "--until",
            metavar="runs|checks",
            help="Regenerate each turn until the program runs or passes the checks; keep the best draft.",
        ),
    ] = None,
    tries: Annotated[
        int | None,
        _running("--tries", metavar="N", help="With --until, regenerate a turn at most N times (default: 4)."),
    ] = None,
    try_time: Annotated[
        float | None,
        _running("--try-time", metavar="SECONDS", help="With --until, begin no new try after SECONDS (default: 20)."),
    ] = None,
    read: Annotated[
        list[Path] | None, _running("--read", metavar="PATH", help="Let programs read a file or folder; repeatable.")
    ] = None,
    write: Annotated[
        list[Path] | None, _running("--write", metavar="PATH", help="Let programs change a file or folder; repeatable.")
    ] = None,
    unsafe: Annotated[bool, _running("--unsafe", help="Run programs without a sandbox.")] = False,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    min_p: MinPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    guard: GuardOption = None,
    stops: Annotated[
        list[str] | None, _sampling("--stop", metavar="TEXT", help="End a completion before TEXT. Repeatable.")
    ] = None,
) -> None:
    """Write a program from prompts, or continue one.

    [dim]cgcli gen "read a CSV and print the mean of each column" > mean.py
    cat prog.py | cgcli gen "now plot it" >> prog.py
    cgcli gen --into prog.py "add a main function"[/dim]
    """
    from cgcli.app.gen_arguments import GenArguments
    from cgcli.app.generate import generate

    generate(run_of(ctx), settings_of(ctx), arguments_of(ctx, GenArguments))

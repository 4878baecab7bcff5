"""`cgcli score`: the perplexity of a program, per turn or per token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import arguments_of, run_of, settings_of
from cgcli.cli.options import GpuLayersOption, LanguageOption, ModelOption, ServeOption, ThreadsOption, WindowOption

if TYPE_CHECKING:
    from cgcli.program.score import Measure, ProgramScore
    from cgcli.terminal.output import Output

_PROMPT_WIDTH = 40  # characters of a prompt in the table


def score(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Program to score; - is stdin.")],
    tokens: Annotated[
        bool,
        typer.Option("--tokens", help="Show every token: colored by surprise on a terminal, otherwise as a table."),
    ] = False,
    lang: LanguageOption = None,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            metavar="N",
            min=1,
            help="Score a text longer than the context window in overlapping windows, N tokens apart.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; with --tokens, every token too.")] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    serve: ServeOption = None,
) -> None:
    """Show a program's perplexity, turn by turn.

    A comment line after a blank line is a prompt; the code below it completes the turn. The lower a prompt's
    perplexity, the better the model understands it; 1 is the minimum.

    [dim]cgcli score prog.py
    echo "# sort a list of words by length" | cgcli score -[/dim]
    """
    from cgcli.app.score import ScoreArguments, score_file

    run = run_of(ctx)
    arguments = arguments_of(ctx, ScoreArguments)
    found = score_file(run, settings_of(ctx), arguments)
    scored = found.program
    if json:
        run.output.json(found.report(run, arguments))
    elif not tokens:
        _print_turns(run.output, scored)
    elif run.output.stdout_color:
        _print_heated(run.output, scored)
    else:
        _print_tokens(run.output, scored)
    perplexity = _number(scored.whole).strip()
    of = f"{scored.whole.tokens} of {len(scored.pieces)} tokens"  # nothing predicts the first one
    gauge = f" · {found.clarity}" if found.clarity else ""
    after = ", read after the prefix, as in gen" if found.prefixed else ""
    run.output.note(f"{found.model}, perplexity {perplexity}{gauge} over {of}{after}")


def _print_turns(output: Output, scored: ProgramScore) -> None:
    rows = []
    if scored.prefix.tokens:
        rows.append(("prefix", f"{1:4}", *_cells(scored.prefix), "", "", ""))
    for number, turn in enumerate(scored.turns, 1):
        of = (_number(turn.prompt), _number(turn.code))
        rows.append((str(number), f"{turn.part.line:4}", *_cells(turn.whole), *of, _brief(turn.part.prompt)))
    rows.append(("all", "", *_cells(scored.whole), _number(scored.prompts), _number(scored.code), ""))
    output.table(("TURN", "LINE", "TOKENS", "PERPLEXITY", "OF PROMPT", "OF CODE", "PROMPT"), rows)


def _cells(measure: Measure) -> tuple[str, str]:
    return f"{measure.tokens:6}", _number(measure)


def _number(measure: Measure) -> str:
    return f"{'-' if measure.perplexity is None else format(measure.perplexity, '.2f'):>9}"


def _brief(prompt: str) -> str:
    from cgcli.terminal.text import one_line

    line = one_line(prompt)
    return line if len(line) <= _PROMPT_WIDTH else f"{line[: _PROMPT_WIDTH - 1]}…"


def _print_tokens(output: Output, scored: ProgramScore) -> None:
    rows = [("-", "-", "-", _spelt(scored.first))] if scored.first else []
    rows += [(f"{t.logprob:7.3f}", f"{t.rank:5}", f"{t.entropy:7.3f}", _spelt(t.piece)) for t in scored.tokens]
    output.table(("LOGPROB", "RANK", "ENTROPY", "TOKEN"), rows)


def _spelt(piece: bytes) -> str:
    """A token's text in quotes, white space visible; its bytes where it ends inside a character."""
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)


def _print_heated(output: Output, scored: ProgramScore) -> None:
    from cgcli.terminal.color import colored_by_probability, probability_legend

    shown = "".join(colored_by_probability(scored.pieces))
    output.write(shown.encode())
    output.styled(("" if shown.endswith("\n") else "\n") + "\n" + probability_legend())

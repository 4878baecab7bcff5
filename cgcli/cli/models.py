"""`cgcli models`: list, show, verify, add and remove models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.app.run import Run
from cgcli.cli.command import Command, Group, run_of
from cgcli.cli.options import JsonOption, catalogued, pulled

if TYPE_CHECKING:
    from cgcli.app.stores import LinkedFile
    from cgcli.core.errors import ExitStatus
    from cgcli.hub.choose import ListedModel
    from cgcli.hub.store import Stored

Name = Annotated[str, typer.Argument(metavar="NAME[:QUANT]", help="A pulled model.", autocompletion=pulled)]


def build() -> typer.Typer:
    """The command group."""
    app = typer.Typer(cls=Group, invoke_without_command=True, help="List models and manage the pulled ones.")
    app.callback()(models)
    for command in (show, path, verify, rm, add):
        app.command(cls=Command)(command)
    return app


def models(ctx: typer.Context, json: JsonOption = False) -> int:
    """List models and manage the pulled ones."""
    from cgcli.core.errors import ExitStatus

    if ctx.invoked_subcommand is not None:
        return ExitStatus.OK
    from cgcli.app.stores import listed_models

    run = run_of(ctx)
    run.begin()
    rows = listed_models(run)
    if json:
        run.output.json([_listed(row) for row in rows])
    else:
        header = ("MODEL", "PARAMETERS", "DOWNLOAD", "MEMORY", "FITS", "PASS@1", "PULLED")
        run.output.table(header, [_row(row) for row in rows])
    return _report_broken(run)


def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A pulled model, or one that can be pulled.", autocompletion=catalogued),
    ],
    json: JsonOption = False,
) -> None:
    """Show everything about a model."""
    from cgcli.app.stores import listed_model

    run = run_of(ctx)
    row = listed_model(run, name)
    if json:
        run.output.json(_listed(row))
        return
    for key, value in _facts(row):
        run.output.text(f"{key:12} {value}")


def path(ctx: typer.Context, name: Name, json: JsonOption = False) -> None:
    """Print the path of a model's GGUF file."""
    from cgcli.app.stores import find_model

    run = run_of(ctx)
    found = find_model(run, name)
    if json:
        run.output.json({"model": found.name, "quant": found.quant, "path": str(found.path)})
    else:
        run.output.styled(str(found.path))  # for scripts: the path as it is


def verify(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME[:QUANT]]...", help="Pulled models (default: all).", autocompletion=pulled),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Check pulled files against their recorded hashes."""
    from cgcli.app.stores import require_intact, verify_models
    from cgcli.core.errors import ExitStatus

    run = run_of(ctx)
    verified = verify_models(run, names or ())
    if json:
        run.output.json([{"model": one.name, "quant": one.quant, "problem": problem} for one, problem in verified])
    for one, problem in verified:
        run.output.note(problem or f"{one.spec}: OK")
    status = ExitStatus.OK if names else _report_broken(run)
    require_intact(verified)
    return status


def rm(ctx: typer.Context, name: Name, json: JsonOption = False) -> None:
    """Remove a pulled model, or one of its quants. Linked files are kept."""
    from cgcli.app.stores import remove_model
    from cgcli.terminal.text import size

    run = run_of(ctx)
    removed = remove_model(run, name)
    if json:
        kept = [str(one.path) for one in removed.linked]
        facts = {"model": removed.model, "quant": removed.quant, "freed_bytes": removed.freed_bytes, "kept": kept}
        run.output.json(facts)
    run.output.note(f"removed {name}: {size(removed.freed_bytes)} freed")
    for linked in removed.linked:
        run.output.note(_still_there(linked))
    if removed.checkpoint:
        remedy = f"remove it: cgcli models rm {removed.model}"
        run.output.note(f"kept the original checkpoint in {removed.checkpoint}; {remedy}")


def _still_there(linked: LinkedFile) -> str:
    """A line about the file of a removed model, or about the training run that made it."""
    import shlex

    from cgcli.terminal.text import size

    folder = shlex.quote(str(linked.path.parent))
    if linked.run_bytes:
        resume = f"rm -r {folder}, or resume it: cgcli train -o {folder}"
        return f"its training run still takes {size(linked.run_bytes)}: {resume}"
    return f"kept {linked.path}, {size(linked.size)}"


def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="GGUF file to link; it is not copied.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the model.")],
    json: JsonOption = False,
) -> None:
    """Add a GGUF file that is already on this machine."""
    from cgcli.app.stores import model_store

    run = run_of(ctx)
    added = model_store(run).link(name, file, run.output.progress())
    if json:
        run.output.json(_stored(added))
    run.output.note(f'added {added.spec}: cgcli gen -m {added.name} "..."')


def _report_broken(run: Run) -> ExitStatus:
    """Print an error for each unreadable manifest and return the exit status."""
    from cgcli.app.stores import model_store
    from cgcli.core.errors import ExitStatus

    broken = model_store(run).broken()
    for error in broken:
        run.output.error(error)
    return ExitStatus.MODEL_FILE if broken else ExitStatus.OK


def _row(row: ListedModel) -> tuple[str, ...]:
    from cgcli.terminal.text import compact, size

    card = row.card
    return (
        row.name,
        compact(card.parameters) if card and card.parameters else "",
        size(card.download_bytes) if card and card.download_bytes else "",
        size(row.memory_bytes) if row.memory_bytes else "?",
        {True: "yes", False: "no", None: "?"}[row.fits],
        f"{card.human_eval.pass_at_1:.1f}" if card and card.human_eval else "",
        ", ".join(one.quant for one in row.pulled),
    )


def _stored(one: Stored) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(one.manifest), "path": str(one.path)}


def _listed(row: ListedModel) -> dict[str, object]:
    """A row as JSON; null if unknown."""
    card = row.card
    return {
        "name": row.name,
        "summary": card.summary if card else None,
        "source": card.source if card else None,
        "licence": card.licence if card else None,
        "parameters": card.parameters if card else None,
        "context": card.shape.context if card and card.shape else None,
        "tokenizer": card.tokenizer if card else None,
        "languages": list(card.languages) if card else [],
        "download_bytes": card.download_bytes if card else None,
        "memory_bytes": card.memory_bytes if card else {},
        "human_eval": {"pass_at_1": card.human_eval.pass_at_1, "source": card.human_eval.source}
        if card and card.human_eval
        else None,
        "default_quant": card.default_quant if card else None,
        "fits": row.fits,
        "pulled": [_stored(one) for one in row.pulled],
    }


def _facts(row: ListedModel) -> list[tuple[str, str]]:
    """A row as lines of text; leaves out what is unknown."""
    from cgcli.terminal.text import compact, size

    facts: list[tuple[str, str]] = [("model", row.name)]
    if card := row.card:
        facts += [("about", card.summary), ("source", card.source), ("license", card.licence)]
        facts += [("parameters", compact(card.parameters))] if card.parameters else []
        facts += [("context", f"{card.shape.context} tokens")] if card.shape else []
        facts += [("tokenizer", card.tokenizer)]
        facts += [("languages", ", ".join(card.languages))] if card.languages else []
        facts += [("download", size(card.download_bytes))] if card.download_bytes else []
        facts += [("memory", ", ".join(f"{quant} {size(need)}" for quant, need in card.memory_bytes.items()))]
        if score := card.human_eval:
            facts.append(("HumanEval", f"pass@1 {score.pass_at_1} % ({score.source})"))
    facts += [("fits", "yes" if row.fits else "no, needs more memory")] if row.fits is not None else []
    for one in row.pulled:
        facts.append(("pulled", f"{one.quant}, {size(one.manifest.size)}, {one.path}"))
    if row.card and not row.pulled:
        facts.append(("pulled", f"no; cgcli pull {row.name}"))
    return facts

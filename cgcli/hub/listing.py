"""What `cgcli models` shows: every card of the catalog, every model of the store, and which of them can run here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cgcli.hub.catalog import Card, Catalog
from cgcli.hub.store import Stored


@dataclass(frozen=True)
class Listed:
    """One model. `card` is None for one that the catalog does not know.

    memory_bytes: to run the quant that `cgcli pull` gives, or the smallest one pulled; None where nobody knows.
    """

    name: str
    card: Card | None
    pulled: tuple[Stored, ...]
    memory_bytes: int | None
    fits: bool | None


def listing(catalog: Catalog, stored: Iterable[Stored], machine_bytes: int) -> list[Listed]:
    """Cards in the catalog's order, then the models that are only in the store, by name."""
    by_name: dict[str, list[Stored]] = {}
    for one in stored:
        by_name.setdefault(one.name, []).append(one)
    names = [*catalog.cards, *sorted(by_name.keys() - catalog.cards.keys())]
    return [listed(name, catalog.get(name), by_name.get(name, ()), machine_bytes) for name in names]


def listed(name: str, card: Card | None, stored: Iterable[Stored], machine_bytes: int) -> Listed:
    """One row: a model's card and what is stored of it."""
    pulled = tuple(stored)
    needed = card.memory_bytes.get(card.default_quant) if card else None
    if needed is None and pulled:
        # The file is the most of it; the cache of an unknown shape is not guessed.
        needed = min(one.manifest.size for one in pulled)
    return Listed(name, card, pulled, needed, None if needed is None else needed <= machine_bytes)

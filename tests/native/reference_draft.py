"""Reference of cgk_draft: scans the whole sequence for every proposal, as plainly as possible.

`cgcli.native.draft` must propose the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cgcli.native.draft import MATCH_MAX, Draft

PLACES = 16


def propose(
    sequence: Sequence[int], k: int, end: Sequence[int] | None = None, *, shortest: int = 2, longest: int = 4
) -> Draft:
    """What `NgramIndex.propose` returns when it holds `sequence`; with `end`, of a sequence that ends so."""
    known, places, n = sequence if end is None else end, list[int](), longest
    while n >= shortest and not places:
        places = [at for at in range(len(sequence) - 1, n - 1, -1) if _agreement(sequence, at, known) >= n][:PLACES]
        n -= 1
    matched = max((_agreement(sequence, at, known) for at in places), default=0)
    places = [at for at in places if _agreement(sequence, at, known) == matched]
    found: list[tuple[int, int, int, int]] = []
    grown = list(sequence)
    while len(found) < k:
        places = [at for at in places if at + len(found) < len(grown)]
        if not places:
            break
        following = Counter(grown[at + len(found)] for at in places)
        token, agree = following.most_common(1)[0]  # the first of equals: after the latest place
        found.append((token, min(matched + len(found), MATCH_MAX), agree, len(places)))
        places = [at for at in places if grown[at + len(found) - 1] == token]
        if end is None:
            grown.append(token)
    fields = [list(field) for field in zip(*found, strict=True)] or [[], [], [], []]
    return Draft(*fields)


def _agreement(sequence: Sequence[int], place: int, end: Sequence[int]) -> int:
    """Over how many tokens the sequence up to `place` ends as `end` does."""
    matched = 0
    while matched < min(place, len(end), MATCH_MAX) and sequence[place - 1 - matched] == end[-1 - matched]:
        matched += 1
    return matched

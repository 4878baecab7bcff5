"""Reference of cgk_draft: scans the whole sequence for every proposal, as plainly as possible.

`cgcli.native.draft` must propose the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from cgcli.native.draft import MATCH_MAX, Draft


def propose(sequence: Sequence[int], k: int, *, shortest: int = 2, longest: int = 4) -> Draft:
    """What `NgramIndex.propose` returns when it holds `sequence`."""
    for n in range(longest, shortest - 1, -1):
        for place in range(len(sequence) - 1, n - 1, -1):
            matched = _agreement(sequence, place)
            if matched >= n:
                grown = list(sequence)
                for i in range(k):
                    grown.append(grown[place + i])
                return Draft(grown[len(sequence) :], matched)
    return Draft([], 0)


def _agreement(sequence: Sequence[int], place: int) -> int:
    """Over how many tokens the sequence up to `place` ends as the whole one does."""
    matched = 0
    while matched < min(place, MATCH_MAX) and sequence[place - 1 - matched] == sequence[-1 - matched]:
        matched += 1
    return matched

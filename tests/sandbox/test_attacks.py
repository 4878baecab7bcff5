"""Every attack is stopped, in root's sandbox and in an ordinary user's; without its protection it gets through."""

from __future__ import annotations

import os
import platform

import pytest

from tests.sandbox.attacks import ATTACKS, INTEL, Attack
from tests.sandbox.conftest import Attempt


def _name(attack: Attack) -> str:
    return attack.name.replace(" ", "-")


def _possible(attack: Attack, outside: dict[str, str]) -> None:
    if attack is INTEL and platform.machine() != "x86_64":
        pytest.skip("this processor has no calls of 32 bits")
    if "@PORT6@" in attack.source and outside["PORT6"] == "0":
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize("attack", ATTACKS, ids=_name)
def test_an_attack_is_stopped(attack: Attack, outside: dict[str, str], trying: Attempt) -> None:
    _possible(attack, outside)
    held, seen = trying(attack)
    assert held, seen


@pytest.mark.parametrize("attack", ATTACKS, ids=_name)
def test_without_its_protection_it_gets_through(
    attack: Attack, outside: dict[str, str], caller: str, trying: Attempt
) -> None:
    _possible(attack, outside)
    if attack.bites not in ("any", caller):
        pytest.skip("a second protection stands behind it")
    if attack.bites == "any" and caller == "user" and os.geteuid() == 0:
        pytest.skip("seen in root's sandbox")
    held, seen = trying(attack, weak=True)
    assert not held, seen


def test_there_are_forty_and_each_has_a_protection() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 40
    assert all(attack.weaker or attack.lax for attack in ATTACKS)

"""SIGTERM and SIGHUP are raised or answered, and only once if several arrive together."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from cgcli.core import signals
from cgcli.core.signals import Terminated, handled_signals, on_signal
from cgcli.native.interrupt import Interrupt, interruptible


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_it_is_raised(number: int, status: int) -> None:
    with pytest.raises(Terminated) as raised, handled_signals() as end:
        send(number)
    assert (raised.value.code, end.status) == (status, status)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_unwinds_is_not_ended_by_another_at_once() -> None:
    unwound = False
    with pytest.raises(Terminated), handled_signals():
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGHUP)  # as a closing terminal and a service manager do
            unwound = True
    assert unwound


def test_where_ctrl_c_sets_a_flag_it_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with handled_signals() as end, interruptible():
        send()
        assert Interrupt().requested
        assert end.status == 143
        monkeypatch.setattr(signals, "_ONCE_S", 0.0)
        with pytest.raises(Terminated):
            send()  # a second one does not wait


def test_a_patient_block_raises_for_a_signal() -> None:
    """The REPL's turns, and whatever they do inside."""
    with pytest.raises(Terminated), ExitStack() as stack:
        for block in (handled_signals(), interruptible(patient=True), interruptible()):
            stack.enter_context(block)
        send()
    assert not Interrupt().requested


def test_answers_end_with_their_block() -> None:
    asked: list[int] = []
    with pytest.raises(Terminated), handled_signals():
        with on_signal(lambda: asked.append(1)):
            pass
        send()
    assert asked == []

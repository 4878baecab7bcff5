"""Ctrl-C as a flag, with real signals: in this process, and in child processes that may die of them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from cgcli.native.interrupt import interruptible
from tests.support.patience import PATIENCE_S


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def run(code: str, *wrapper: str) -> subprocess.CompletedProcess[str]:
    before = "import os, signal, sys\nfrom cgcli.native.interrupt import interruptible\n"
    before += "press = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
    command = [*wrapper, sys.executable, "-c", before + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_the_first_interrupt_sets_the_flag_and_raises_nothing() -> None:
    with interruptible() as interrupt:
        assert not interrupt.requested
        press()
        assert interrupt.requested
        interrupt.clear()
        assert not interrupt.requested
        press()
        assert interrupt.requested


def test_a_patient_block_outlives_many() -> None:
    code = "with interruptible(patient=True) as one:\n    press(); press(); press()\n    print(one.requested)\n"
    assert run(code).stdout == "True\n"
    assert run(code.replace("patient=True", "")).returncode == -signal.SIGINT


def test_the_flag_is_clear_at_the_start_of_a_block() -> None:
    with interruptible() as interrupt:
        interrupt.set()
    assert interrupt.requested
    with interruptible() as interrupt:
        assert not interrupt.requested


def test_after_the_block_the_former_handler_is_back() -> None:
    with interruptible(), interruptible():
        press()
    with pytest.raises(KeyboardInterrupt):
        press()
        time.sleep(5)


def test_blocks_nest() -> None:
    with interruptible() as outer:
        with interruptible() as inner:
            press()
            assert inner.requested
        outer.clear()
        press()
        assert outer.requested


def test_the_callback_is_c_code_that_returns_the_flag() -> None:
    with interruptible() as interrupt:
        callback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(interrupt.callback_address)
        assert callback(None) is False
        press()
        assert callback(None) is True


def test_a_second_interrupt_ends_a_process_that_hangs() -> None:
    done = run("with interruptible():\n    press()\n    print('first', flush=True)\n    press()\n    print('second')")
    assert done.returncode == -signal.SIGINT
    assert done.stdout == "first\n"


def test_a_second_interrupt_ends_a_process_that_hangs_in_c() -> None:
    code = "import ctypes, subprocess\n"
    code += "with interruptible():\n"
    asleep = "sleep 0.2; until grep -q State:.S /proc/$0/status; do sleep 0.1; done; "
    press = f"{asleep} kill -INT $0; " * 2
    code += f"    subprocess.Popen(['sh', '-c', {press!r}, str(os.getpid())])\n"
    code += "    ctypes.PyDLL(None).sleep(20); print('once', flush=True)\n"  # PyDLL keeps the interpreter locked
    code += "    ctypes.PyDLL(None).sleep(20); print('twice', flush=True)\n"
    done = run(code)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "once\n")


def test_an_ignored_interrupt_stays_ignored() -> None:
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "with interruptible() as i:\n    press(); press()\n    print(i.requested)\n"
    done = run(code + "press()\nprint(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    assert (done.returncode, done.stdout) == (0, "False\nTrue\n")

"""What loading a model needs in C: strings are walked as in Python, a load ends, an error is kept."""

from __future__ import annotations

import ctypes
import mmap
import random
import struct
from collections.abc import Sequence

import pytest

from cgcli.native import load


def walked(texts: Sequence[bytes], *, before: int = 3, cut: int = 0, repeated: bool = True) -> dict[str, int]:
    """What is found in a header that has these strings behind other bytes, and lacks its last `cut` bytes."""
    data = bytes(before) + b"".join(struct.pack("<Q", len(text)) + text for text in texts)
    header = mmap.mmap(-1, len(data) - cut)
    header.write(data[: len(data) - cut])
    with header:
        found = load.walk_strings(header, before, len(texts), repeated=repeated)
        return {name: getattr(found, name) for name, _ in found._fields_}


def counted(texts: Sequence[bytes]) -> dict[str, int]:
    full = [text for text in texts if text]
    return {
        "bytes": sum(8 + len(text) for text in texts),
        "with_nul": sum(b"\0" in text for text in texts),
        "empty": len(texts) - len(full),
        "repeated": len(full) - len(set(full)),
    }


@pytest.mark.parametrize("alphabet", [b"a", b"ab", b"\0ab", bytes(range(256))], ids=repr)
def test_strings_are_counted(alphabet: bytes) -> None:
    draw = random.Random(1)
    for count in (1, 2, 3, 7, 8, 300):
        texts = [bytes(draw.choices(alphabet, k=draw.randrange(5))) for _ in range(count)]
        assert walked(texts) == counted(texts)
        assert walked(texts, repeated=False) == counted(texts) | {"empty": 0, "repeated": 0}


def test_long_strings_that_share_their_beginning_are_different() -> None:
    texts = [b"x" * 300, b"x" * 301, b"x" * 300 + b"y", b"x" * 300]
    assert walked(texts)["repeated"] == 1


@pytest.mark.parametrize("cut", range(1, 21))
def test_strings_that_exceed_the_header_are_noticed(cut: int) -> None:
    texts = [b"one", b"two", b"three"]
    whole = sum(8 + len(text) for text in texts)
    assert walked(texts, cut=cut)["bytes"] == whole - cut + 1


def test_a_length_that_wraps_exceeds_the_header() -> None:
    header = mmap.mmap(-1, 64)
    for length in (2**64 - 1, 2**64 - 8, 2**63, 57):
        header[:8] = struct.pack("<Q", length)
        assert load.walk_strings(header, 0, 2, repeated=True).bytes > 64


def test_a_load_continues_until_it_is_cancelled() -> None:
    call = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_float, ctypes.c_void_p)(load.continues_address())
    cancelled = ctypes.c_bool()
    assert call(0.5, ctypes.addressof(cancelled))
    cancelled.value = True
    assert not call(0.5, ctypes.addressof(cancelled))


def test_the_last_error_is_kept_and_cut() -> None:
    call = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(load.log_address())
    error = ctypes.create_string_buffer(load.ERROR_BYTES)
    for level, text in ((4, b"first\n"), (4, b"second\n"), (3, b"a warning\n"), (2, b"words\n")):
        call(level, text, ctypes.addressof(error))
    assert error.value == b"second\n"
    call(4, b"x" * 5000, ctypes.addressof(error))
    assert error.value == b"x" * (load.ERROR_BYTES - 1)

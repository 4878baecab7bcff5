"""Damaged or hostile PyTorch files: pickles that call functions or play tricks, views beyond their storage, zips.

Each is refused in one line with status 5, nothing is executed, and nothing is left behind.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.convert.torch_file import PickledTensor, read_state_dict
from cgcli.core.errors import ModelFileError
from tests.convert import checkpoints as make
from tests.convert.refusal import match, refused

DEEP = 100_000
NAME = "transformer.wte.weight"

STATE = b"\x80\x02}q\x00(X\x01\x00\x00\x00a"  # a table whose entry "a" comes next


class Reduce:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def calls(canary: Path) -> dict[str, bytes]:
    """Pickles that would touch the canary, or ask for something else, where they are run."""
    touch = f"touch {canary}"
    write = f"open({str(canary)!r}, 'w')"
    return {
        "os.system": pickle.dumps({"a": Reduce(os.system, touch)}, 2),
        "os.system, protocol 0": pickle.dumps({"a": Reduce(os.system, touch)}, 0),
        "os.system, protocol 5": pickle.dumps({"a": Reduce(os.system, touch)}, 5),
        "eval": pickle.dumps({"a": Reduce(eval, write)}, 2),
        "exec": pickle.dumps({"a": Reduce(exec, write)}, 4),
        "getattr chain": pickle.dumps({"a": Reduce(getattr, Reduce(__import__, "os"), "system")}, 2),
        "getattr by its old name": STATE
        + b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n)RX\x01\x00\x00\x00a\x86Rs.",
        "posix.system": STATE + b"cposix\nsystem\nX\x02\x00\x00\x00id\x85Rs.",
        "runpy": STATE + b"crunpy\n_run_code\n)Rs.",
        "torch.load itself": STATE + b"ctorch\nload\n)Rs.",
        "torch.hub.load": STATE + b"ctorch.hub\nload\n)Rs.",
        "torch._utils by another door": STATE + b"ctorch\n_utils._rebuild_tensor_v2\n)Rs.",
        "a storage class, dotted": STATE + b"ctorch.storage\n_load_from_bytes\n)Rs.",
        "numpy": STATE + b"cnumpy.core.multiarray\n_reconstruct\n)Rs.",
        "OrderedDict with arguments": STATE + b"ccollections\nOrderedDict\n]\x85Rs.",
        "OrderedDict's own parts": STATE + b"ccollections\nOrderedDict.__init__.__globals__\n)Rs.",
        "INST": STATE + b"(S'id'\nios\nsystem\ns.",
        "OBJ": STATE + b"(cos\nsystem\nX\x02\x00\x00\x00ido s.",
        "NEWOBJ": STATE + b"ccollections\nOrderedDict\n)\x81s.",
        "NEWOBJ_EX": STATE + b"ccollections\nOrderedDict\n)}\x92s.",
        "EXT1": STATE + b"\x82\x01s.",
        "EXT4": STATE + b"\x84\x01\x00\x00\x00s.",
        "STACK_GLOBAL of os.system": b"\x80\x04}\x8c\x01a\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85Rs.",
        "STACK_GLOBAL of numbers": b"\x80\x04}\x8c\x01aK\x01K\x02\x93s.",
        "STACK_GLOBAL out of the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.",
        "BUILD on a class": b"\x80\x02ctorch\nHalfStorage\n}X\x01\x00\x00\x00aK\x01sb.",
        "BUILD with other state": b"\x80\x02ccollections\nOrderedDict\n)R}X\x08\x00\x00\x00__dict__}sb.",
        "PERSID in text": STATE + b"Pos.system\ns.",
        "a persistent id of another kind": STATE + b"X\x02\x00\x00\x00idQs.",
        "a storage of no known type": STATE
        + b"(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQs.",
        "bytes": STATE + b"C\x01as.",
        "a set": b"\x80\x04}\x8c\x01a\x8fs.",
        "a list": b"\x80\x02]q\x00.",
    }  # fmt: skip


TRICKS: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello, world",
    "no STOP": b"\x80\x02}",
    "STOP at once": b".",
    "a number": b"\x80\x02K\x01.",
    "nothing on the stack": b"\x80\x020.",
    "a mark as the result": b"\x80\x02(.",
    "a mark as a key": b"\x80\x02}(K\x01s.",
    "a mark in a tuple": b"\x80\x02(\x85.",
    "a call of a mark": b"\x80\x02((R.",
    "a name that is a mark": b"\x80\x04((\x93.",
    "entries into a number": b"\x80\x02K\x01X\x01\x00\x00\x00aK\x01s.",
    "a number as a key": b"\x80\x02}K\x01K\x02s.",
    "a table as a key": b"\x80\x02}}K\x02s.",
    "an odd number of entries": b"\x80\x02}(X\x01\x00\x00\x00au.",
    "a table within itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "a memo that is empty": b"\x80\x02h\x05.",
    "a memo of 4 billion": b"\x80\x02}r\xff\xff\xff\xff.",
    "a memo of a mark": b"\x80\x02(q\x00h\x00h\x00\x86.",
    "text of 4 billion bytes": b"\x80\x02X\xff\xff\xff\xff.",
    "text of 2**63 bytes": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.",
    "a long of 2 billion bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a long of -1 bytes": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "a decimal of a million digits": b"\x80\x02L" + b"9" * 10**6 + b"L\n.",
    "a frame beyond the end": b"\x80\x04\x95" + b"\xff" * 8 + b"}.",
    "protocol 200": b"\x80\xc8}.",
    "bytearray of 2**60 bytes": b"\x80\x05\x96" + b"\0" * 7 + b"\x10.",
    "text that is not UTF-8": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
    "tuples nested 100,000 deep": b"\x80\x02)" + b"\x85" * DEEP + b".",
    "marks a million deep": b"\x80\x02" + b"(" * 10**6 + b"t" * 10**6 + b".",
    "tables nested 100,000 deep": b"\x80\x02" + b"}X\x01\x00\x00\x00a" * DEEP + b"}" + b"s" * DEEP + b".",
    "doubling a million times": b"\x80\x02)" + b"q\x00h\x00\x86" * 10**5 + b".",
    "a name without an end": b"\x80\x02cos",
    "a name of one part": b"\x80\x02cos\n\n.",
}


def write_pickle(folder: Path, table: bytes) -> None:
    make.write_torch_zip(folder / "pytorch_model.bin", table, {"0": bytes(64)})


@pytest.mark.parametrize("name", calls(Path("canary")))
def test_a_pickle_that_calls_is_refused_by_name_and_not_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    table = calls(canary)[name]
    folder = make.copy_texts(tmp_path / "source")
    write_pickle(folder, table)
    message = refused(folder, tmp_path / "out.gguf")
    assert not canary.exists()
    if name.endswith("protocol 0"):
        assert "DICT" in message  # what comes first in it
        return
    if name.startswith("BUILD"):
        assert "sets the state of" in message
    for asked in ("system", "eval", "exec", "getattr", "_run_code", "torch.load", "_load_from_bytes", "_reconstruct"):
        if name.startswith((asked, f"os.{asked}")):
            assert asked in message


def test_the_canaries_would_die_in_pythons_own_unpickler(tmp_path: Path) -> None:
    """The proof that the test above could fail."""
    canary = tmp_path / "canary"
    pickle.loads(calls(canary)["os.system"])
    assert canary.exists()


@pytest.mark.parametrize("name", TRICKS)
def test_a_pickle_with_a_trick(name: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    write_pickle(folder, TRICKS[name])
    refused(folder, tmp_path / "out.gguf")


OPCODES = [bytes([code]) for code in b"()0.}]\x85\x86\x87NQRbsutq\x88\x89\x93\x94\x81\x8f2hK"]


@given(st.lists(st.sampled_from([*OPCODES, b"K\x01", b"X\x01\x00\x00\x00a", b"ccollections\nOrderedDict\n"])))
def test_any_sequence_of_opcodes_is_a_table_or_one_error(opcodes: list[bytes]) -> None:
    try:
        table = read_state_dict(b"\x80\x04" + b"".join(opcodes) + b".", "file")
        assert all(isinstance(entry, PickledTensor) for entry in table.values())
    except ModelFileError as error:
        assert error.message.isprintable()


def view(storage: tuple[str, str, int], *view: Any) -> bytes:
    """A state dict of one tensor, NAME: a view (offset, shape, strides) of a storage (type, key, size)."""
    return make.state_pickle({NAME: make.tensor_call(make._StorageRef(*storage), *view)})


HALF = ("HalfStorage", "0", 32)  # of 64 bytes
VIEWS: dict[str, tuple[bytes, str]] = {
    "beyond its storage": (view(HALF, 0, (33,), (1,)), "exceeds its storage"),
    "begins beyond its storage": (view(HALF, 32, (1,), (1,)), "exceeds its storage"),
    "ends beyond its storage": (view(HALF, 1, (32,), (1,)), "exceeds its storage"),
    "negative offset": (view(HALF, -1, (1,), (1,)), "arguments that make no tensor"),
    "negative shape": (view(HALF, 0, (-1,), (1,)), "arguments that make no tensor"),
    "negative stride": (view(HALF, 31, (4,), (-1,)), "arguments that make no tensor"),
    "strides beyond 64 bits": (view(HALF, 0, (2,), (1 << 63,)), "arguments that make no tensor"),
    "a stride too long": (view(HALF, 0, (2,), (40,)), "exceeds its storage"),
    "repeats itself without end": (view(HALF, 0, (1 << 40, 1 << 20), (0, 0)), "exceeds its storage"),
    "overlaps itself": (view(HALF, 0, (20, 12), (1, 1)), "exceeds its storage"),
    "fewer strides than dimensions": (view(HALF, 0, (2, 2), (1,)), "arguments that make no tensor"),
    "shape as text": (view(HALF, 0, ("2",), (1,)), "arguments that make no tensor"),
    "shape as a truth": (view(HALF, 0, (True,), (1,)), "arguments that make no tensor"),
    "9 dimensions": (view(HALF, 0, (1,) * 9, (1,) * 9), "9 dimensions"),
    "a storage of another size": (view(("HalfStorage", "0", 31), 0, (1,), (1,)), "has 64 bytes"),
    "a storage of another type": (view(("FloatStorage", "0", 32), 0, (1,), (1,)), "has 64 bytes"),
    "a storage that is not there": (view(("HalfStorage", "1", 32), 0, (1,), (1,)), "'archive/data/1' is missing"),
    "a storage up a folder": (view(("HalfStorage", "../data.pkl", 32), 0, (1,), (1,)), "not a storage"),
    "a storage of negative size": (view(("HalfStorage", "0", -1), 0, (1,), (1,)), "not a storage"),
    "a storage on a complex type": (
        view(("ComplexFloatStorage", "0", 8), 0, (384, 64), (0, 0)), "exceeds its storage of 8"),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_a_tensor_must_lie_within_its_storage(name: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    table, message = VIEWS[name]
    write_pickle(folder, table)
    match(message, refused(folder, tmp_path / "out.gguf"))


def test_an_honest_view_is_only_of_the_wrong_shape(tmp_path: Path) -> None:
    """The proof that what the cases above change is what they are refused for."""
    folder = make.copy_texts(tmp_path / "source")
    write_pickle(folder, view(HALF, 0, (4, 8), (8, 1)))
    match(r"has shape \[4, 8\], expected \[384, 64\]", refused(folder, tmp_path / "out.gguf"))


def zip_of(entries: dict[str, bytes]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)

    return write


def legacy(path: Path) -> None:
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))


def patched(old: bytes, new: bytes) -> Callable[[Path], None]:
    """The golden file with the first `old` behind its first half replaced: the zip's directory."""

    def write(path: Path) -> None:
        data = (make.GOLDEN / "pytorch_model.bin").read_bytes()
        at = data.index(old, len(data) // 2)
        path.write_bytes(data[:at] + new + data[at + len(old) :])

    return write


TABLE = view(HALF, 0, (4, 8), (8, 1))
ZIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a zip": (lambda path: path.write_bytes(b"hello, world"), "is a text file beginning with 'hello, world'"),
    "binary": (lambda path: path.write_bytes(bytes(64)), "not a PyTorch file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "a git LFS pointer": (
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "is a git-lfs pointer"),
    "written by an old PyTorch": (legacy, "before 1.6"),
    "a bare pickle": (lambda path: path.write_bytes(pickle.dumps({}, 2)), "before 1.6"),
    "only the beginning of a zip": (lambda path: path.write_bytes(b"PK\3\4" + bytes(100)), "damaged zip"),
    "no pickle": (zip_of({"a/data/0": b""}), "0 data.pkl"),
    "two pickles": (
        zip_of({"a/data.pkl": TABLE, "b/data.pkl": TABLE}), "2 data.pkl"),
    "compressed": (
        lambda path: make.write_torch_zip(path, TABLE, {"0": bytes(64)}, zipfile.ZIP_DEFLATED), "compressed"),
    "big-endian": (
        zip_of({"a/data.pkl": TABLE, "a/byteorder": b"big"}), "big-endian"),
    "a pickle of 17 MB": (zip_of({"a/data.pkl": bytes(17 << 20)}), "limit"),
    "an entry beyond the file": (patched(b"PK\1\2", b"PK\1\3"), "damaged zip"),
    "a directory that is not there": (patched(b"PK\5\6", b"PK\5\7"), "damaged zip"),
}  # fmt: skip


@pytest.mark.parametrize("name", ZIPS)
def test_zip(name: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    write, message = ZIPS[name]
    write(folder / "pytorch_model.bin")
    match(message, refused(folder, tmp_path / "out.gguf"))


def test_the_same_entry_twice(tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(folder / "pytorch_model.bin", "w") as file:
        for _ in range(2):
            file.writestr("a/data.pkl", TABLE)
    match("twice", refused(folder, tmp_path / "out.gguf"))

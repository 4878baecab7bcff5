"""N-grams of other texts: kept in a file, mapped, built again when the texts change, and without effect on a draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.kept_ngrams import MAX_BYTES, DraftText, kept_ngrams
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.draft import NgramIndex
from cgcli.native.sample import Sampling
from tests.engine.drawing import Make, finish

TEXTS = {f"{letter}.py": bytes(range(ord(letter), ord(letter) + 10)) for letter in "AKUaku"}


class Read:
    """Texts to guess from, and which of them were read."""

    def __init__(self, texts: dict[str, bytes], changed: int = 1) -> None:
        self.names: list[str] = []
        self.texts = [DraftText(name, len(text), changed, self._reader(name, text)) for name, text in texts.items()]

    def _reader(self, name: str, text: bytes) -> Callable[[], bytes]:
        def read() -> bytes:
            self.names.append(name)
            return text

        return read


def guesses(kept: object, end: bytes) -> bytes:
    index = NgramIndex(8)
    index.append(list(end))
    return bytes(kept.propose(index, 4).tokens)  # type: ignore[attr-defined]


def test_texts_are_read_once_and_mapped_after_that(tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.ngrams"
    first, second = Read(TEXTS), Read(TEXTS)
    for read in (first, second):
        assert guesses(kept_ngrams(read.texts, file, "m", list), b"KL") == b"MNOP"
    assert first.names == list(TEXTS) and second.names == []
    assert file.stat().st_mode & 0o777 == 0o600 and list(file.parent.iterdir()) == [file]


def test_a_tenth_may_change_before_all_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "x.ngrams"
    many = {f"{number}.py": b"abcde" for number in range(20)}
    kept_ngrams(Read(many).texts, file, "m", list)
    little, much, gone = Read(many), Read(many), Read(dict(list(many.items())[:15]))
    little.texts[3] = replace(little.texts[3], changed=2)
    much.texts[:3] = [replace(text, changed=2) for text in much.texts[:3]]
    for read, again in ((little, False), (much, True), (gone, True)):
        kept_ngrams(read.texts, file, "m", list)
        assert bool(read.names) is again
    other = Read(dict(list(many.items())[:15]))
    kept_ngrams(other.texts, file, "another model", list)
    assert other.names


@pytest.mark.parametrize("damage", [b"", b"cgcli n-grams 1\n", b"cgcli n-grams 1\n{}\n", b"cgcli n-grams 1\n[]\n1234"])
def test_a_damaged_file_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    file, read = tmp_path / "x.ngrams", Read(TEXTS)
    file.write_bytes(damage)
    assert guesses(kept_ngrams(read.texts, file, "m", list), b"AB") == b"CDEF" and read.names
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    assert guesses(kept_ngrams(read.texts, file, "m", list), b"AB") == b"CDEF"
    assert file.read_bytes() == whole


def test_texts_are_taken_up_to_a_limit_and_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    read = Read(TEXTS)
    read.texts[1] = replace(read.texts[1], size=MAX_BYTES)
    gone = DraftText("gone", 10, 1, (tmp_path / "gone").read_bytes)
    kept = kept_ngrams([gone, *read.texts], tmp_path / "x.ngrams", "m", list)
    assert read.names == [name for name in TEXTS if name != "K.py"] and guesses(kept, b"UV") == b"WXYZ"
    assert kept_ngrams([], tmp_path / "y.ngrams", "m", list) is None


def test_only_some_files_are_kept(tmp_path: Path) -> None:
    for number in range(25):
        kept_ngrams(Read(TEXTS).texts, tmp_path / f"{number}.ngrams", "m", list)
    assert len(list(tmp_path.iterdir())) == 20


def test_a_folder_that_cannot_be_written_costs_only_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert guesses(kept_ngrams(Read(TEXTS).texts, tmp_path / "file" / "x.ngrams", "m", list), b"AB") == b"CDEF"


def drawn_with(engine: LlamaEngine, tmp_path: Path, texts: dict[str, bytes]) -> object:
    engine.guess_from(Read(texts).texts, tmp_path / "x.ngrams", model="tiny")
    return finish(engine, [REQUEST])


REQUEST = Request(b"def abc", Sampling(temperature=0.8, seed=3), Stops, max_tokens=40)


def test_guesses_from_other_texts_change_no_draw(make: Make, tmp_path: Path) -> None:
    """From the very text that is drawn, and from another one."""
    (expected,) = finish(make(speculate=False), [REQUEST])
    engine = make()
    whole = b"def abc" + expected.text.encode()
    assert drawn_with(engine, tmp_path, {"same.py": whole}) == [expected]
    passes = engine.timings.passes
    assert engine.timings.kept > 20 and passes < 20
    assert drawn_with(make(), tmp_path / "other", {"other.py": whole[::-1] * 4}) == [expected]

"""From sources to records, on small folders: counts, held-out texts, repeated work, errors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.convert.config import Shape
from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.progress import Silent
from cgcli.train.prepare import Prepared, prepare, prepared
from cgcli.train.recipe import DataPart, Recipe
from cgcli.train.records import Records
from cgcli.train.sources import Source
from cgcli.train.tokenizer import Tokenizer
from tests.convert.checkpoints import GOLDEN
from tests.hub.tiny import write_wheel

CONTEXT = 128
RECIPE = Recipe(
    model=Shape(layers=1, width=16, heads=4, rotary=2, vocabulary=384, context=CONTEXT),
    data=DataPart(paths=("src",), tokenizer="train"),
)


def module(number: int) -> str:
    return f'"""Module {number}."""\n\n\ndef function_{number}(value):\n    return value + {number}\n' * (
        5 + number % 7
    )


def write_sources(base: Path, count: int = 12) -> None:
    (base / "src").mkdir(exist_ok=True)
    for number in range(count):
        (base / "src" / f"m{number}.py").write_text(module(number))


def prepare_in(base: Path, recipe: Recipe = RECIPE, tokenizer: Path | None = None) -> Prepared:
    return prepare(recipe, base, base / "out", tokenizer, Silent())


def with_data(**changes: object) -> Recipe:
    return replace(RECIPE, data=replace(RECIPE.data, **changes))  # type: ignore[arg-type]


def texts(path: Path) -> dict[str, str]:
    return {line["path"]: line["text"] for line in map(json.loads, path.read_text().splitlines())}


def ids_of(path: Path) -> list[list[int]]:
    records = Records(path)
    return [records[index].tolist() for index in range(len(records))]


def test_every_text_comes_out_of_the_records(tmp_path: Path) -> None:
    write_sources(tmp_path)
    done = prepare_in(tmp_path)
    assert texts(done.texts) == {f"src/m{number}.py": module(number) for number in range(12)}
    assert done.held_out.read_text() == ""
    tokenizer = Tokenizer(done.tokenizer, 384)
    expected = [[*ids, tokenizer.end_of_text] for ids in tokenizer.encode(list(texts(done.texts).values()))]
    records = [tuple(record) for record in ids_of(done.records)]
    whole = {tuple(ids[at : at + CONTEXT]) for ids in expected for at in range(0, len(ids) - CONTEXT + 1, CONTEXT)}
    assert whole and whole <= set(records)
    facts = done.counts["records"]
    assert (facts["records"], facts["tokens"]) == (len(records), len(records) * CONTEXT)
    assert facts["tokens"] + facts["tokens_dropped"] == sum(map(len, expected))
    assert done.counts["trained_on"] == {"files": 12, "bytes": sum(len(module(number)) for number in range(12))}
    assert done.counts["licences"] == {"unknown": done.counts["trained_on"]}
    assert json.loads((tmp_path / "out/data/data.json").read_text()) == done.counts


def test_dropped_files_are_counted(tmp_path: Path) -> None:
    write_sources(tmp_path)
    for name, data in {
        "copy.py": module(3).encode(),
        "wide.py": b"x = '" + b"y" * 200 + b"'\n",
        "hex.py": b"00ff" * 20,
        "empty.py": b"\n",
        "latin.py": b"'\xe9'\n",
    }.items():
        (tmp_path / "src" / name).write_bytes(data)
    done = prepare_in(tmp_path)
    assert {reason: facts["files"] for reason, facts in done.counts["dropped"].items()} == {
        "duplicate": 1,
        "mean line of 100 characters or more": 1,
        "over 90% digits": 1,
        "empty": 1,
        "not UTF-8": 1,
    }
    assert done.counts["trained_on"]["files"] == 12
    assert done.counts["read"]["files"] == 16


def test_licences_and_sources_of_what_is_given(tmp_path: Path) -> None:
    sources = [
        Source(f"{name}/m{number}.py", name, module(number), licence)
        for number, (name, licence) in enumerate(
            [("one 1.0", "MIT"), ("two 2.0", "BSD-3-Clause"), ("one 1.0", "MIT")] * 6
        )
    ]
    done = prepare(with_data(paths=()), tmp_path, tmp_path / "out", None, Silent(), sources=iter(sources))
    assert {name: facts["files"] for name, facts in done.counts["licences"].items()} == {"MIT": 12, "BSD-3-Clause": 6}
    # Nobody can tell whether what was given would be given again.
    assert (
        prepare(with_data(paths=()), tmp_path, tmp_path / "out", None, Silent(), sources=sources[:12]).counts
        != done.counts
    )


def test_a_share_is_kept_out_by_source(tmp_path: Path) -> None:
    sources = [Source(f"p{number % 20}/m{number}.py", f"p{number % 20} 1.0", module(number)) for number in range(100)]
    recipe = with_data(held_out=0.3)
    done = prepare(recipe, tmp_path, tmp_path / "out", None, Silent(), sources=sources)
    kept = {path.partition("/")[0] for path in texts(done.held_out)}
    trained = {path.partition("/")[0] for path in texts(done.texts)}
    assert kept and trained and not kept & trained
    assert done.counts["held_out_sources"] == len(kept)
    # The same ones where there is more.
    more = [*sources, *(Source(f"q{number}/m.py", f"q{number} 1.0", module(200 + number)) for number in range(20))]
    again = prepare(recipe, tmp_path, tmp_path / "more", None, Silent(), sources=more)
    assert {path for path in texts(again.held_out) if path.startswith("p")} == set(texts(done.held_out))


def test_a_text_kept_out_is_not_trained_on_under_another_name(tmp_path: Path) -> None:
    names = "abcdefgh"
    sources = [
        Source(f"{name}/m{number}.py", name, module(number))
        for number in range(20)
        for name in names[number % 8 :] + names[: number % 8]  # each has some texts before the others
    ]
    done = prepare(with_data(held_out=0.5), tmp_path, tmp_path / "out", None, Silent(), sources=sources)
    assert texts(done.held_out) and not set(texts(done.held_out).values()) & set(texts(done.texts).values())


def test_made_again_only_where_something_changed(tmp_path: Path) -> None:
    write_sources(tmp_path)
    first = prepare_in(tmp_path)
    stamp = first.records.stat().st_mtime_ns
    assert prepare_in(tmp_path).records.stat().st_mtime_ns == stamp
    assert prepare_in(tmp_path).counts == first.counts
    content = first.records.read_bytes()
    (tmp_path / "src" / "m0.py").touch()  # looks changed, is not: the same records
    again = prepare_in(tmp_path)
    assert again.records.stat().st_mtime_ns != stamp
    assert again.records.read_bytes() == content
    (tmp_path / "src" / "new.py").write_text(module(99))
    assert prepare_in(tmp_path).counts["trained_on"]["files"] == 13
    for recipe in with_data(seed=1), replace(RECIPE, model=replace(RECIPE.model, context=64)):
        before = prepared(tmp_path / "out")
        assert before and prepare_in(tmp_path, recipe).counts["fingerprint"] != before.counts["fingerprint"]


def test_what_was_prepared_is_there_until_it_is_made_again(tmp_path: Path) -> None:
    write_sources(tmp_path)
    assert prepared(tmp_path / "out") is None
    done = prepare_in(tmp_path)
    (tmp_path / "src" / "m0.py").unlink()
    assert prepared(tmp_path / "out") == done
    (tmp_path / "src" / "m1.py").write_text("\0")
    with pytest.raises(CgcliError):  # too few are left: the folder is no longer whole
        prepare_in(tmp_path, with_data(extensions=(".pyx",)))
    assert prepared(tmp_path / "out") is None


def test_a_folder_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    write_sources(tmp_path)
    done = prepare_in(tmp_path)
    done.records.unlink()
    assert prepare_in(tmp_path).records.is_file()


def test_the_order_follows_the_seed(tmp_path: Path) -> None:
    write_sources(tmp_path)
    given = with_data(tokenizer=str(GOLDEN))
    orders = [
        ids_of(prepare(with_seed, tmp_path, tmp_path / str(index), None, Silent()).records)
        for index, with_seed in enumerate((given, given, with_data(tokenizer=str(GOLDEN), seed=1)))
    ]
    assert orders[0] == orders[1] != orders[2]


def test_a_tokenizer_can_be_given_in_three_ways(tmp_path: Path) -> None:
    write_sources(tmp_path)
    named = prepare_in(tmp_path, with_data(tokenizer=str(GOLDEN)))
    assert (named.tokenizer / "vocab.json").read_bytes() == (GOLDEN / "vocab.json").read_bytes()
    given = prepare(with_data(tokenizer="codegen"), tmp_path, tmp_path / "given", GOLDEN, Silent())
    assert given.records.read_bytes() == named.records.read_bytes()
    with pytest.raises(UsageError, match="the recipe needs CodeGen's tokenizer"):
        prepare_in(tmp_path, with_data(tokenizer="codegen"))
    with pytest.raises(CgcliError, match="src has no tokenizer"):
        prepare_in(tmp_path, with_data(tokenizer="src"))


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither \[data\] paths nor packages"):
        prepare_in(tmp_path, with_data(paths=()))
    with pytest.raises(CgcliError, match="no such file or folder"):
        prepare_in(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_bytes(b"\0")
    with pytest.raises(CgcliError, match="no usable text in 1 file: 1 binary"):
        prepare_in(tmp_path)
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    with pytest.raises(CgcliError, match="the data come to 7 tokens, less than one record of 128"):
        prepare_in(tmp_path)


def test_a_full_disk_is_one_line(tmp_path: Path, mount: object) -> None:
    write_sources(tmp_path)
    disk = mount("size=4k")  # type: ignore[operator]
    with pytest.raises(CgcliError, match="no space left while writing"):
        prepare(RECIPE, tmp_path, disk / "out", None, Silent())
    assert prepared(disk / "out") is None


def test_turns_of_a_share_of_what_is_trained_on(tmp_path: Path) -> None:
    source = 'def double(number):\n    """Return twice the number."""\n    return 2 * number\n\n\n'
    sources = [Source(f"m{number}.py", f"m{number}.py", source * 8 + module(number)) for number in range(40)]
    none = prepare(RECIPE, tmp_path, tmp_path / "none", None, Silent(), sources=sources)
    assert "turns" not in none.counts
    done = prepare(with_data(turns=0.5, held_out=0.2), tmp_path, tmp_path / "out", None, Silent(), sources=sources)
    trained = texts(done.texts)
    turned = {path for path in trained if path.endswith(" (turns)")}
    assert done.counts["turns"]["files"] == len(turned)
    assert 0 < len(turned) < done.counts["trained_on"]["files"]
    assert all(path.removesuffix(" (turns)") in trained for path in turned)  # none of what is kept out
    assert "# Return twice the number" in trained[min(turned)]
    assert done.counts["trained_on"]["files"] + len(turned) == len(trained)


def test_packages_and_what_their_list_keeps_out(tmp_path: Path) -> None:
    write_sources(tmp_path)
    cache, entries = tmp_path / "cache", []
    for number, name in enumerate(("kept", "seen"), 100):
        wheel = write_wheel(cache, name, "1.0", f"{name}/m.py", module(number).encode())
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines = [
            f'name = "{name}"',
            'version = "1.0"',
            'licence = "MIT"',
            f'wheel = "{wheel.name}"',
            f'sha256 = "{digest}"',
        ]
        entries.append("\n".join(["[[package]]", *lines, f"held_out = {str(name == 'kept').lower()}"]))
    (tmp_path / "packages.toml").write_text("\n".join(entries))
    recipe = with_data(packages="packages.toml")
    done = prepare(recipe, tmp_path, tmp_path / "out", None, Silent(), cache=cache)
    assert texts(done.held_out) == {"kept/m.py": module(100)}
    assert done.counts["licences"]["MIT"]["files"] == 1
    assert texts(done.texts)["seen/m.py"] == module(101) and len(texts(done.texts)) == 13
    (tmp_path / "packages.toml").write_text("\n".join(reversed(entries)))
    assert prepare(recipe, tmp_path, tmp_path / "out", None, Silent(), cache=cache) != done

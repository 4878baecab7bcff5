"""Whatever stands in a file, whoever reads it ends well: with a value, or with an error that names what is wrong.

Every reader by name is given random values in the place of right ones, valid files with one thing changed, and bytes
that are neither. What else than CgcliError comes out would be an "internal error" to the user.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgcli.convert.checkpoint import read_safetensors
from cgcli.convert.config import read_config
from cgcli.convert.vocabulary import read_vocabulary
from cgcli.core.config import Environment, Settings
from cgcli.core.errors import CgcliError
from cgcli.engine import pass_costs
from cgcli.engine.gguf_check import read_header
from cgcli.evals import humaneval, mtpb, samples
from cgcli.evals.report.numbers import as_csv, as_json, numbers
from cgcli.evals.report.page import page
from cgcli.evals.report.runs import read_runs
from cgcli.evals.report.sections import sections, training_section
from cgcli.hub import catalog
from cgcli.hub.store import Manifest, Store
from cgcli.program.program_store import ProgramStore
from cgcli.train import metrics, prepare
from cgcli.train.packages import read_list
from cgcli.train.recipe import read_recipe
from tests.benchmarks import bits
from tests.convert import checkpoints
from tests.convert.checkpoints import GOLDEN
from tests.engine.gguf_builder import STRING, Array, File, string, tiny
from tests.evals import run_files, tiny_humaneval
from tests.support.cli import run

MODELS = Path(__file__).parents[1] / "models"

# What is a value to JSON or TOML, and seldom thought of.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**18, 10**400, 1e300, -1e300, 5e-324, float("nan"), float("inf"), float("-inf"),
    "", "\0", "a\0b", "../x", "/", ".", "x" * 100_000, "\ud800", "\udc80", "\u202egpj", "\x1b[2J", "\x9b1m",
    "{", "%s {0}",    [], [[]], [None], ["x"], {}, {"": {}}, {"a": [1, {"b": "c"}]}, [1] * 2000,
)  # fmt: skip
VALUES = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
JUNK = st.binary(max_size=60) | st.sampled_from(
    (b"", b"\n", b"\0" * 64, b"[" * 50_000, b"[" * 50_000 + b"]" * 50_000, b"1" * 5000, b"\xef\xbb\xbf", b"\xff\xfe{\0")
)


@st.composite
def changed(draw: st.DrawFn, valid: Any) -> Any:
    """`valid` with one or two places changed: another value, a key less, a key more."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 2))):
        inner = value
        places: list[Any] = []
        while isinstance(inner, dict | list) and inner and (not places or draw(st.booleans())):
            key = draw(st.sampled_from(list(inner) if isinstance(inner, dict) else range(len(inner))))
            places.append((inner, key))
            inner = inner[key]
        if not places:
            return draw(VALUES)
        holder, key = places[-1]
        match draw(st.sampled_from(("put", "put", "put", "drop", "add"))):
            case "drop":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = copy.deepcopy(draw(VALUES))
            case _:
                holder[key] = copy.deepcopy(draw(VALUES))  # a second change must not reach the original
    return value


def as_toml(table: Any) -> bytes:
    """Values as TOML, as far as it has them; what it has not is left for the reader to refuse."""
    if not isinstance(table, dict):
        return json.dumps(table).encode()
    return "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in table.items()).encode()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=True)


def as_json_lines(rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in (rows if isinstance(rows, list) else [rows]))


def as_json_text(value: Any) -> bytes:
    return json.dumps(value).encode()


def _config(folder: Path, data: bytes) -> None:
    (folder / "config.toml").write_bytes(data)
    Settings.load(Environment.from_process({"CGCLI_HOME": str(folder)}))


def _manifest(folder: Path, data: bytes) -> None:
    (folder / "m").mkdir()
    (folder / "m" / "f16.gguf").write_bytes(b"abc")
    (folder / "m" / "f16.json").write_bytes(data)
    store = Store(folder)
    for one in store.all():
        one.fault()
    [error.line for error in store.broken()]
    store.find("m")


def _journal(folder: Path, data: bytes) -> None:
    (folder / "one.jsonl").write_bytes(data)
    programs = ProgramStore(folder)
    programs.list()
    programs.read("one").history.program.source()
    programs.open("one").close()


def _metrics(folder: Path, data: bytes) -> None:
    (folder / "metrics.jsonl").write_bytes(data)
    if rows := list(metrics.read_metrics(folder / "metrics.jsonl")):
        page([training_section(rows, "t")], "t")


def _samples(folder: Path, data: bytes) -> None:
    file = folder / "s.jsonl"
    file.write_bytes(data)
    samples.check_once(file, ("task_id", "index"))
    samples.check_same(file, {"seed": 0})
    with samples.Samples(file, ("task_id", "index")) as opened:
        for number, row in enumerate(list(samples.read_rows(file))):
            opened.append({**row, "task_id": f"new {number}", "index": -1})


def _results(folder: Path, data: bytes) -> None:
    file = run_files.write(folder / "s.jsonl", TWO)
    (folder / "s.jsonl_results.jsonl").write_bytes(data)
    _report(file)


def _reported(folder: Path, data: bytes) -> None:
    file = run_files.write(folder / "s.jsonl", TWO)
    file.write_bytes(data)
    _report(file)


def _report(file: Path) -> None:
    found = read_runs([file], {})
    page(sections(found, []), "t")
    as_csv(numbers(found, []))
    json.dumps(as_json(found, numbers(found, [])))


def _with_reader(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], None]:
    def write_and_read(folder: Path, data: bytes) -> None:
        (folder / name).write_bytes(data)
        read(folder / name)

    return write_and_read


def _catalog(folder: Path, data: bytes) -> None:
    with contextlib.suppress(ValueError):  # told as a damaged installation
        for card in catalog.parse_catalog(data.decode("utf-8", "replace")).cards.values():
            assert card.source and card.default_quant and card.memory_bytes is not None and card.parameters != 0


def _checkpoint_file(name: str) -> Callable[[Path, bytes], None]:
    def write_and_read(folder: Path, data: bytes) -> None:
        checkpoints.copy_texts(folder)
        if name == "tokenizer.json":
            (folder / "vocab.json").unlink()
        (folder / name).write_bytes(data)
        read_vocabulary(folder, read_config(folder).shape.vocabulary)

    return write_and_read


def _safetensors(folder: Path, data: bytes) -> None:
    checkpoints.write_raw_safetensors(folder / "x", data, bytes(64))
    read_safetensors(folder / "x")


SMALL_VOCABULARY = {"vocab": {chr(n): n for n in range(40)}, "merges": ["a b"], "type": "BPE"}
MANIFEST = asdict(Manifest("m", "f16", "f16.gguf", 3, "ab", "hf:a/b"))
TURN = {"prompt": "read", "completion": "x = 1\n"}
JOURNAL = [
    {"format": 1, "id": "one", "created": "2026-11-23T04:15:02+00:00", "language": "python", "cgcli": "0", "prefix": "",
     "layout": {"mark": "#", "whole_prompt": True, "after": None}, "turns": []},
    {"time": "t", "event": "commit", "parent": 0, "operation": {"op": "add", "turn": TURN}},
    {"time": "t", "event": "point", "branch": "main", "version": 0},
    {"time": "t", "event": "saved", "path": "/x", "text": "16"},
]  # fmt: skip
STEP = {"step": 1, "loss": 2.5, "nll": 2.5, "grad_norm": None, "lr": 1e-4, "tokens": 5, "seconds": 1.0,
        "tokens_per_s": 5.0, "peak_share": 0.1}  # fmt: skip
TWO = [run_files.task(0, index, "passed") for index in range(2)]
SAMPLE, OUTCOME = TWO[0]
RESULT = {**SAMPLE, "passed": True, "result": OUTCOME, "outcome": OUTCOME, "cpu_s": 0.05, "sample": 0}
ONE = tiny_humaneval.ONE
TASK = {"task_id": ONE.id, "prompt": ONE.prompt, "entry_point": ONE.entry_point, "test": ONE.test}
PROBLEM = {"id": "1", "category": "c", "prompts": ["p {a}"], "inputs": [{"a": 1}], "outputs": [1]}
RECIPE = {
    "name": "x",
    "model": {"layers": 2, "width": 64, "heads": 4, "rotary": 16},
    "data": {"paths": ["a"]},
    "optimizer": {"lr": 1e-3},
}
PACKAGES = {"exclude": ["*"], "package": [{"name": "a", "version": "1", "licence": "MIT",
            "wheel": "a-1-py3-none-any.whl", "sha256": "ab", "held_out": True}]}  # fmt: skip
CATALOG = {
    "default": "a", "sources": {"s": "x"},
    "shapes": {"t": {"layers": 2, "width": 64, "heads": 4, "rotary": 8, "vocabulary": 512, "context": 128}},
    "models": [{"name": "a", "summary": "s", "licence": "MIT", "tokenizer": "t", "repo": "a/b", "shape": "t",
                "human_eval": {"pass_at_1": 1.0, "source": "s"}}],
}  # fmt: skip
HEADER = {"a": {"dtype": "F16", "shape": [4, 8], "data_offsets": [0, 64]}, "__metadata__": {"format": "pt"}}
COSTS = {"here": {"1": 1.0, "2": 1.5, "4": 2.0}}

Form = Callable[[Any], bytes]
READERS: dict[str, tuple[Callable[[Path, bytes], None], Form, Any]] = {
    "config": (_config, as_toml, {"top_p": 0.9, "seed": 1, "model": "m", "exact": True}),
    "manifest": (_manifest, as_json_text, MANIFEST),
    "journal": (_journal, as_json_lines, JOURNAL),
    "metrics": (_metrics, as_json_lines, [STEP, STEP | {"step": 2}]),
    "samples": (_samples, as_json_lines, [SAMPLE, TWO[1][0]]),
    "samples of a report": (_reported, as_json_lines, [SAMPLE, TWO[1][0]]),
    "results": (_results, as_json_lines, [RESULT, RESULT | TWO[1][0] | {"sample": 1}]),
    "HumanEval": (_with_reader("d.jsonl", humaneval.load_tasks), as_json_lines, [TASK]),
    "MTPB": (_with_reader("d.jsonl", mtpb.load_problems), as_json_lines, [PROBLEM]),
    "texts": (_with_reader("t.jsonl", bits.read_texts), as_json_lines, [{"text": "x"}]),
    "recipe": (_with_reader("r.toml", read_recipe), as_toml, RECIPE),
    "packages": (_with_reader("p.toml", read_list), as_toml, PACKAGES),
    "data.json": (_with_reader("data.json", lambda path: prepare.prepared(path.parent.parent)), as_json_text, {"a": 1}),
    "catalog": (_catalog, as_toml, CATALOG),
    "passes": (_with_reader("m.passes", lambda path: pass_costs.load_costs(path, "here")), as_json_text, COSTS),
    "config.json": (_checkpoint_file("config.json"), as_json_text, json.loads((GOLDEN / "config.json").read_bytes())),
    "vocab.json": (_checkpoint_file("vocab.json"), as_json_text, {chr(n): n for n in range(40)}),
    "added_tokens.json": (_checkpoint_file("added_tokens.json"), as_json_text, {"  ": 300, "   ": 301}),
    "tokenizer.json": (
        _checkpoint_file("tokenizer.json"), as_json_text,
        {"model": SMALL_VOCABULARY, "added_tokens": [{"id": 50, "content": "  "}]},
    ),
    "safetensors": (_safetensors, as_json_text, HEADER),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_the_valid_file_is_read(name: str, tmp_path: Path) -> None:
    read, form, valid = READERS[name]
    if name in ("vocab.json", "tokenizer.json"):  # shortened
        with pytest.raises(CgcliError):
            read(tmp_path, form(valid))
    else:
        read(tmp_path, form(valid))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_whatever_it_holds_a_reader_ends_well(name: str, data: st.DataObject) -> None:
    read, form, valid = READERS[name]
    content = data.draw(st.one_of(changed(valid).map(form), changed(valid).map(form), VALUES.map(form), JUNK))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(CgcliError):
        read(Path(folder), content)


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_a_gguf_says_of_itself_is_read_or_refused(data: st.DataObject) -> None:
    file: File = tiny("phi2")
    at = data.draw(st.integers(0, len(file.keys) - 1))
    key, kind, value = file.keys[at]
    if isinstance(value, Array) and value.kind == STRING:
        texts = list(value.values)
        texts[data.draw(st.integers(0, len(texts) - 1))] = data.draw(st.text(max_size=5) | st.just("\0"))
        file.keys[at] = (key, kind, Array(STRING, texts))
    else:
        file.keys[at] = (key, STRING, string(data.draw(st.binary(max_size=8))))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(CgcliError):
        path = Path(folder, "m.gguf")
        path.write_bytes(
            file.encode() if data.draw(st.booleans()) else file.encode()[: data.draw(st.integers(0, 4096))]
        )
        read_header(path)


def _places(home: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Files that the tool reads by itself, and a command that reads each."""
    yield home / "config.toml", ("models",)
    yield home / "store" / "m" / "f16.json", ("models",)
    yield home / "store" / "m" / "f16.json", ("models", "path", "m")
    yield home / "data" / "programs" / "one.jsonl", ("sessions", "show", "one")
    yield home / "data" / "programs" / "one.jsonl", ("sessions",)


@pytest.mark.parametrize(
    "content", [b"1" * 5000, b"a = 0x" + b"f" * 5000, b"[" * 50_000, b"a = " + b"[" * 50_000, b"\xff", b'{"a":' * 900]
)
def test_no_command_ends_in_an_internal_error(content: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for file, command in _places(home):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        done = run(*command)
        assert "internal error" not in done.err and "Traceback" not in done.err
        assert done.err.count("\n") <= 2
        file.unlink()


def test_no_command_waits_for_what_a_pipe_may_bring(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for file, command in _places(home):
        file.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(file)
        assert "it is a pipe, not a regular file" in run(*command).err
        file.unlink()
    pipe = tmp_path / "p.gguf"
    os.mkfifo(pipe)
    for command in (
        ("models", "add", str(pipe), "--name", "a"),
        ("gen", "-m", str(pipe), "x"),
        ("gen", "-m", "codegen-nano", "--into", str(pipe), "x"),
        ("eval", "report", str(pipe)),
    ):
        done = run(*command)
        assert done.status in (1, 5) and "it is a pipe, not a regular file" in done.err

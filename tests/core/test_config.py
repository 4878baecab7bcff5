"""Settings: precedence, validation, and errors that name the source of a value."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.config import RULES, Environment, Settings, nearest, unknown_variables, variable
from cgcli.core.errors import CgcliError, UsageError
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.truncate import NONE


def load(home: Path, toml: str | None = None, flags: dict[str, object] | None = None, **variables: Any) -> Settings:
    if toml is not None:
        (home / "config.toml").write_text(toml)
    return Settings.load(Environment.from_process({"CGCLI_HOME": str(home), **variables}), flags)


def with_variable(name: str, text: str) -> dict[str, Any]:
    return {variable(name): text}


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    file = "temperature = 0.6\ntop_p = 0.5\nmin_p = 0.1\n"
    settings = load(tmp_path, file, {"temperature": 0.0, "top_k": None}, CGCLI_TEMPERATURE="0.8", CGCLI_TOP_P="0.7")
    assert (settings.temperature, settings.top_p, settings.min_p, settings.top_k) == (0.0, 0.7, 0.1, 0)


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings == Settings()
    assert Generation.of(settings, None, NONE).sampling == Sampling(0.2, 0.95, 0, 0.0)
    assert (settings.max_tokens, settings.seed, settings.gpu_layers, settings.color) == (256, None, None, "auto")


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_can_come_from_every_place(tmp_path: Path, name: str) -> None:
    value, text, toml = {
        "model": ("a", "a", '"a"'),
        "prefix": ("#\n", "#\n", '"#\\n"'),
        "color": ("never", "never", '"never"'),
        "draft": ("off", "off", '"off"'),
        "draft_from": ("off", "off", '"off"'),
        "exact": (True, "on", "true"),
        "fold": ("off", "off", '"off"'),
        "guard": ("off", "off", '"off"'),
        "kernels": ("off", "off", '"off"'),
        "log": ("off", "off", '"off"'),
        "serve": ("off", "off", '"off"'),
        "warm": ("10m", "10m", '"10m"'),
        "temperature": (1.0, "1", "1"),
        "top_p": (1.0, "1", "1"),
        "min_p": (1.0, "1", "1"),
    }.get(name, (7, "7", "7"))
    assert getattr(load(tmp_path, flags={name: value}), name) == value
    assert getattr(load(tmp_path, **with_variable(name, text)), name) == value
    assert getattr(load(tmp_path, f"{name} = {toml}\n"), name) == value


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("temperature", "-0.1"),
        ("temperature", "nan"),
        ("temperature", "inf"),
        ("top_p", "1.01"),
        ("min_p", "-1"),
        ("top_k", "-1"),
        ("max_tokens", "0"),
        ("max_tokens", str(2**30 + 1)),
        ("seed", str(2**64)),
        ("ctx", "0"),
        ("ctx", "5000000000"),
        ("threads", "0"),
        ("threads", "513"),
        ("gpu_layers", "-1"),
    ],
)
def test_a_value_out_of_range_is_refused_wherever_it_comes_from(tmp_path: Path, name: str, wrong: str) -> None:
    value = float(wrong) if name in {"temperature", "top_p", "min_p"} else int(wrong)
    with pytest.raises(UsageError, match="^--" + name.replace("_", "-")):
        load(tmp_path, flags={name: value})
    with pytest.raises(UsageError, match=f"^CGCLI_{name.upper()} is"):
        load(tmp_path, **with_variable(name, wrong))
    with pytest.raises(UsageError, match=f"config.toml: {name} is"):
        # TOML's integers end at 64 bits, signed; one more is too large for a seed, whatever the parser does with it.
        load(tmp_path, f"{name} = {wrong}\n")


@pytest.mark.parametrize(
    "toml",
    [
        "top_k = true",
        "top_k = 1.5",
        'top_k = "1"',
        "model = 1",
        'color = "blue"',
        'model = ""',
        r'model = "a\u0000"',
        r'draft = "a\u0000"',
        r'draft_from = "a\u0000"',
        "exact = 1",
        "fold = true",
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, toml: str) -> None:
    with pytest.raises(UsageError, match=r"config\.toml: "):
        load(tmp_path, toml)


def test_an_unknown_setting_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"config\.toml: unknown setting 'temprature', did you mean temperature\?"
    ) as caught:
        load(tmp_path, "temprature = 1\n")
    assert "\n" not in caught.value.message and caught.value.hint is not None


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.toml: not TOML: .*line 2"):
        load(tmp_path, "top_k = 1\ntop_k 2\n")
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not TOML"):
        load(tmp_path)
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(CgcliError, match="cannot read"):
        load(tmp_path)


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_text_in_a_variable_is_a_number_or_a_usage_error(text: str) -> None:
    home = {"CGCLI_HOME": "/nonexistent", "CGCLI_TOP_K": text}
    try:
        assert Settings.load(Environment.from_process(home)).top_k == int(text)
    except UsageError as error:
        assert error.message.startswith("CGCLI_TOP_K is")


def test_a_variable_without_effect_is_named_with_the_nearest_one() -> None:
    given = {
        "CGCLI_TEMPRATURE": "1",
        "CGCLI_TOP_K": "1",
        "CGCLI_ZQQ_ZQQ": "1",
        "CGCLI_HOME": "/tmp",
        "X": "",
    }
    assert unknown_variables(Environment.from_process(given)) == [
        "CGCLI_TEMPRATURE is not a setting, did you mean CGCLI_TEMPERATURE?",
        "CGCLI_ZQQ_ZQQ is not a setting",
    ]


def test_nearest() -> None:
    assert nearest("--temprature", ["--top-p", "--temperature", "-t"]) == ", did you mean --temperature?"
    assert nearest("zzz", ["gen", "pull"]) == ""


def test_a_switch_is_a_word(tmp_path: Path) -> None:
    assert [load(tmp_path, **with_variable("exact", word)).exact for word in ("1", "True", "0", "off")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(UsageError, match="CGCLI_EXACT is 'maybe', not true or false"):
        load(tmp_path, **with_variable("exact", "maybe"))


def test_each_setting_has_a_rule() -> None:
    assert list(RULES) == [field.name for field in fields(Settings)]


def test_a_user_without_a_runtime_folder_sees_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Environment.from_process({}).runtime.name == "cgcli"

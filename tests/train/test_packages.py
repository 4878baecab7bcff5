"""Lists of packages, and texts from their wheels, which the real pip downloads from a folder."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, NetworkError, UsageError
from cgcli.core.progress import Silent
from cgcli.train.packages import fetch_wheels, held_out, read_list, sources
from tests.conftest import REPOSITORY

NANO = REPOSITORY / "models" / "recipes" / "nano-packages.toml"
PURE = "little-1.0-py3-none-any.whl"
BUILT = "little-1.0-cp39-cp39-win_amd64.whl"  # for another machine and another Python than any that runs this
TEXTS = {
    "little/plain.py": b"x = 1\r\ny = 2\n",
    "little/latin.py": "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1"),
    "little/broken.py": b"name = '\xff'\n",
    "little/tests/test_it.py": b"assert True\n",
    "little/deep/table.py": b"TABLE = 1\n",
    "little/data.txt": b"no program",
}
PERMISSIVE = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "ISC"}


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two wheels of one version, which is all that pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in (PURE, BUILT):
        with zipfile.ZipFile(folder / name, "w") as wheel:
            for path, data in {**TEXTS, "little/which.py": f"which = {name!r}\n".encode()}.items():
                wheel.writestr(path, data)
            wheel.writestr("little-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
            wheel.writestr("little-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr("little-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def written(folder: Path, index: Path, wheel: str = PURE, **changes: str) -> Path:
    sha256 = hashlib.sha256((index / wheel).read_bytes()).hexdigest()
    values = {"name": "little", "version": "1.0", "licence": "MIT", "wheel": wheel, "sha256": sha256, **changes}
    lines = [f'{key} = "{value}"' for key, value in values.items()]
    path = folder / "list.toml"
    text = ['exclude = ["*/tests/*"]', "[[package]]", *lines, "held_out = true", 'exclude = ["/little/deep/*"]']
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.mark.parametrize("wheel", [PURE, BUILT])
def test_text_comes_out_of_the_very_wheel(tmp_path: Path, index: Path, wheel: str) -> None:
    notes = Notes()
    found = list(sources(written(tmp_path, index, wheel), tmp_path / "cache", notes))
    assert {one.path: one.text for one in found} == {
        "little/latin.py": "# -*- coding: latin-1 -*-\nname = 'é'\n",
        "little/plain.py": "x = 1\ny = 2\n",
        "little/which.py": f"which = {wheel!r}\n",
    }
    assert {(one.source, one.licence) for one in found} == {("little 1.0", "MIT")}
    assert notes.notes == ["little 1.0: skipped little/broken.py, which is not in its declared encoding"]


def test_a_cached_wheel_is_not_fetched_again(tmp_path: Path, index: Path) -> None:
    path, cache = written(tmp_path, index), tmp_path / "cache"
    fetch_wheels(read_list(path), cache, Silent())
    (index / PURE).unlink()
    assert fetch_wheels(read_list(path), cache, Silent()) == {PURE: cache / PURE}
    (cache / PURE).write_bytes(b"something else")
    with pytest.raises(CgcliError, match=r"has sha256 [0-9a-f]+, not"):
        fetch_wheels(read_list(path), cache, Silent())


def test_another_wheel_than_the_list_means_is_not_taken(tmp_path: Path, index: Path) -> None:
    with pytest.raises(NetworkError, match=f"pip could not download {PURE}: "):
        list(sources(written(tmp_path, index, sha256="0" * 64), tmp_path / "cache", Silent()))
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_list_names_its_held_out_packages(tmp_path: Path, index: Path) -> None:
    assert held_out(written(tmp_path, index)) == {"little 1.0"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": ""}, "licence is missing"),
        ({"sha256": ""}, "sha256 is missing"),
        ({"licens": "MIT"}, "did you mean licence"),
    ],
)
def test_a_list_that_says_too_little_is_refused(
    tmp_path: Path, index: Path, change: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_list(written(tmp_path, index, **change))


def test_the_standard_library_needs_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text('exclude = ["*/test/*"]\n[[package]]\nname = "python"\nversion = "1.5"\nlicence = "PSF-2.0"\n')
    notes = Notes()
    paths = {one.path for one in sources(path, tmp_path, notes)}
    assert {"bisect.py", "json/decoder.py"} < paths
    assert not any(name.startswith(("test/", "site-packages/")) for name in paths)
    assert "the list was made with 1.5" in notes.notes[0]


def test_nanos_list_is_permissive_and_keeps_packages_out() -> None:
    packages = read_list(NANO)
    assert all(set(package.licence.replace(" OR ", " AND ").split(" AND ")) <= PERMISSIVE for package in packages)
    assert len({package.name for package in packages}) == len(packages)
    assert sum(package.held_out for package in packages) >= 5


def test_files_of_a_killed_download_are_removed(tmp_path: Path, index: Path) -> None:
    (tmp_path / "cache" / ".pip-12345678" / "unpacked").mkdir(parents=True)
    fetch_wheels(read_list(written(tmp_path, index)), tmp_path / "cache", Silent())
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [PURE]


def test_pip_keeps_its_temporary_files_beside_what_it_fetches(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go with that folder where pip is killed."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text("import sys, tempfile; sys.exit('ERROR: ' + tempfile.gettempdir())")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(NetworkError, match=f"{tmp_path}/cache/.pip-"):
        fetch_wheels(read_list(written(tmp_path, index)), tmp_path / "cache", Silent())

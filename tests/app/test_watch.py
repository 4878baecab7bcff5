"""`watch`: saves of several editors while it writes into their files.

The tiny model writes letters: what counts is everything else.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import pytest

from cgcli.app.log import opened_log
from cgcli.app.run import Run
from cgcli.app.watch import WatchArguments, watch_files
from cgcli.core.files import locked
from cgcli.native.interrupt import Interrupt
from cgcli.program.log_reader import LoggedRun
from tests.support.cli import run as run_cli
from tests.support.patience import eventually
from tests.support.tiny_model import write_tiny_model

# --- editors


def vim(file: Path, text: bytes) -> None:
    """Vim with `backupcopy` at its default: the file becomes the backup, and a new one takes its name."""
    file = file.resolve()
    backup, mode = file.with_name(f"{file.name}~"), file.stat().st_mode
    file.rename(backup)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(descriptor, text)
    os.fsync(descriptor)
    os.close(descriptor)
    backup.unlink()


def code(file: Path, text: bytes) -> None:
    """VS Code: the file is emptied, then written; here in two pieces."""
    with file.open("r+b", buffering=0) as opened:
        opened.truncate(0)
        opened.write(text[: len(text) // 2])
        opened.write(text[len(text) // 2 :])


def sed(file: Path, text: bytes) -> None:
    """`sed -i`: a new file beside it, which is renamed. This one has all its lines from another file."""
    put = file.resolve().with_name("put")
    put.write_bytes(text)
    subprocess.run(["sed", "-i", "--follow-symlinks", "-e", f"$r {put}", "-e", "d", str(file)], check=True)
    put.unlink()


def real_vim(file: Path, text: bytes) -> None:
    put = file.with_name("put")
    put.write_bytes(text)
    command = ["vim", "-N", "-u", "NONE", "-n", "-es", "-b", str(put), "-c", f"w! {file}", "-c", "q!"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    put.unlink()


EDITORS = [vim, code, sed, *([real_vim] if shutil.which("vim") else [])]


# --- a watch in a thread


@dataclass
class Watched:
    file: Path
    errors: io.StringIO

    def wait(self) -> bytes:
        """The file without marks."""
        eventually(lambda: self.file.exists() and not is_marked(self.file.read_bytes()), self.errors.getvalue)
        return self.file.read_bytes()

    def wait_for(self, words: str, times: int = 1) -> None:
        eventually(lambda: self.errors.getvalue().count(words) >= times, self.errors.getvalue)


def is_marked(text: bytes) -> bool:
    return not text or any(line.rstrip().endswith((b" !", b"# ?")) for line in text.split(b"\n"))


@contextmanager
def watching(file: Path, model: Path, *more: Path, **options: Any) -> Iterator[Watched]:
    """`cgcli watch` with a turn of a few letters, until the end of the block."""
    own, failures = Run(io.BytesIO(), io.StringIO(), os.environ), list[BaseException]()
    chosen = {"model": str(model), "threads": 1, "max_tokens": 8, "temperature": 1.0, "guard": "off", "seed": 1}
    settings = own.settings(chosen | {name: value for name, value in options.items() if name in chosen})
    own_options = {name: value for name, value in options.items() if name not in chosen}

    def work() -> None:
        try:
            watch_files(own, settings, WatchArguments((file, *more), **own_options))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    errors = own.output.stderr
    assert isinstance(errors, io.StringIO)
    try:
        yield Watched(file, errors)
    finally:
        while thread.is_alive():  # the first one may stop a draw
            Interrupt().set()
            thread.join(0.05)
    assert failures == [], errors.getvalue()
    assert isinstance(own.output.stdout, io.BytesIO) and own.output.stdout.getvalue() == b""


def rows() -> list[LoggedRun]:
    with opened_log(Run(io.BytesIO(), io.StringIO(), os.environ)) as log:
        return log.last(1000)


# --- tests

USERS = "x = 1  \n\ty = '\u00e9\u20ac'\r\n\x0c\n\n# not this!\n\nz = 3\n".encode()


@pytest.mark.parametrize("edits", [4, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("save", EDITORS)
def test_each_edit_is_one_turn_and_the_rest_stays(
    save: Callable[[Path, bytes], None], edits: int, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(USERS)
    file.chmod(0o754)
    with watching(file, tiny_model) as watched:
        for number in range(edits):
            now = file.read_bytes()
            at = now.index(b"z = 3") if number % 2 else len(now)
            head, below = now[:at] + b"# edit %d" % number, now[at:]
            save(file, head + b" !\n" + below)
            whole = watched.wait()
            assert whole.startswith(head + b"\n") and whole.endswith(below)
            assert len(whole) > len(head) + 1 + len(below), watched.errors.getvalue()
    assert len(rows()) == edits
    assert [row.title for row in reversed(rows())] == [f"edit {number}" for number in range(edits)]
    assert file.stat().st_mode & 0o777 == 0o754
    assert list(tmp_path.glob("*a.py*")) == [file]


@pytest.mark.parametrize("edits", [8, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("save", EDITORS[:3])
def test_saves_that_do_not_wait_are_one_turn_each(
    save: Callable[[Path, bytes], None], edits: int, tiny_model: Path, tmp_path: Path
) -> None:
    """An editor that loads what was written before it saves: the lock stands for its user, who does both at once."""
    file = tmp_path / "a.py"
    file.write_bytes(USERS)
    with watching(file, tiny_model) as watched:
        for number in range(edits):
            with locked(file):
                save(file, file.read_bytes() + b"\n# edit %d !\nx%d = 1\n" % (number, number))
        whole = watched.wait()
    assert [row.title for row in reversed(rows())] == [f"edit {number}" for number in range(edits)]
    users = [line for number in range(edits) for line in (b"# edit %d" % number, b"x%d = 1" % number)]
    assert whole.startswith(USERS) and [line for line in whole.split(b"\n") if line in users] == users


def test_what_is_written_is_what_gen_writes(bundled_model: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "a.py", tmp_path / "b.py"
    for path in (file, other):
        path.write_text("import sys\n\n\ndef double(x):\n    return 2 * x\n")
    common = ("-m", str(bundled_model), "--seed", "1", "--max-tokens", "40", "--threads", "1")
    prompts = ["return x three times", "print the double of 4"]
    for prompt in prompts:
        run_cli("gen", "--into", str(other), prompt, *common)
    with watching(file, bundled_model, max_tokens=40, temperature=0.2, guard="on") as watched:
        for prompt in prompts:
            file.write_text(f"{file.read_text()}\n# {prompt} !\n")
            watched.wait()
    assert file.read_text() == other.read_text()
    assert [row.title for row in rows()[:2]] == prompts[::-1]
    assert run_cli("replay", str(file)).status == 0


def test_two_marks_are_two_turns_from_top_to_bottom(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.c"
    file.write_bytes(b"// one !\r\n// two !\r\nint x;")
    with watching(file, tiny_model) as watched:
        whole = watched.wait()
    assert whole.startswith(b"// one\r\n") and whole.endswith(b"\r\n\r\nint x;")
    assert b"\r\n\r\n// two\r\n" in whole and whole.count(b"\n") == whole.count(b"\r\n")
    first, second = reversed(rows())
    assert (first.title, second.title) == ("one", "two") and second.start.before.startswith(first.program.rstrip())


def test_a_comment_that_is_marked_again_is_drawn_again(tiny_model: Path, tmp_path: Path) -> None:
    """Reworded, or as it was: then it is the next candidate. Also by another watch, which has it from the log."""
    file, seen = tmp_path / "a.py", []
    file.write_bytes(b"# one !\n\nx = 1\n")
    with watching(file, tiny_model) as watched:
        seen.append(watched.wait())
        for again in (b"# two !\n", b"# two !\n"):
            _, _, rest = file.read_bytes().partition(b"\n")
            file.write_bytes(again + rest)
            seen.append(watched.wait())
    with watching(file, tiny_model, seed=2) as watched:
        file.write_bytes(b"# three !\n" + file.read_bytes().partition(b"\n")[2])
        seen.append(watched.wait())
    codes = [text.removesuffix(b"\n\nx = 1\n").partition(b"\n")[2] for text in seen]
    assert len(set(codes)) == 4 and all(code in seen[at] for at, code in enumerate(codes))
    assert all(text.count(b"\n\nx = 1\n") == 1 and codes[at - 1] not in text for at, text in enumerate(seen) if at)


def test_code_that_the_user_changed_stays(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"# one !\n")
    with watching(file, tiny_model) as watched:
        mine = watched.wait().replace(b"# one\n", b"") + b"mine = 1\n"
        file.write_bytes(b"# two !\n" + mine)
        whole = watched.wait()
    assert whole.startswith(b"# two\n") and whole.endswith(b"\n\n" + mine)


def test_a_block_is_indented_and_ends_with_its_indentation(tiny_model: Path, tmp_path: Path) -> None:
    """The model writes lines that begin at the margin."""
    file = tmp_path / "a.py"
    file.write_bytes(b"if x:\n    # one !\n    y = 1\n")
    with watching(file, tiny_model, max_tokens=400, temperature=4.0, seed=4) as watched:
        whole = watched.wait().decode().split("\n")
    assert (whole[:2], whole[3:]) == (["if x:", "    # one"], ["    y = 1", ""])
    assert whole[2].startswith("    ") and "cut at" not in watched.errors.getvalue()
    assert run_cli("replay", "1").status == 0


def test_in_a_new_file_the_model_reads_the_beginning_of_a_new_program(bundled_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    common = ("-m", str(bundled_model), "--seed", "1", "--max-tokens", "40", "--threads", "1", "--no-stdin")
    whole = run_cli("gen", "double a number", *common).out
    with watching(file, bundled_model, max_tokens=40, temperature=0.2, guard="on") as watched:
        file.write_text("# double a number !\n")
        assert b"#!/usr/bin/env python3\n\n" + watched.wait() == whole
    assert run_cli("replay", "2").status == 0


@pytest.mark.parametrize("save", EDITORS[:3])
def test_a_save_during_a_draw_wins(save: Callable[[Path, bytes], None], tiny_model: Path, tmp_path: Path) -> None:
    """Another comment is drawn in place of the first; text below the comment is no reason to draw it again."""
    file = tmp_path / "a.py"
    file.write_bytes(b"# one !\n")
    with watching(file, tiny_model, max_tokens=1900) as watched:
        watched.wait_for("line 1: one")
        save(file, b"# two !\n")
        watched.wait_for("line 1: two")
        save(file, b"# two !\nmine = 1\n")
        whole = watched.wait()
    assert whole.startswith(b"# two\n") and whole.endswith(b"\nmine = 1\n")
    assert [row.title for row in rows()] == ["two"]
    if save is sed:  # of the others a part may be seen
        assert watched.errors.getvalue().count("line 1: two …") == 1


def test_without_its_mark_a_comment_is_no_longer_drawn(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"# one !\n")
    with watching(file, tiny_model, max_tokens=1900) as watched:
        watched.wait_for("line 1: one")
        file.write_bytes(b"# one\n")
        watched.wait()
        file.write_bytes(b"# one\n# ?\n")
        watched.wait_for("line 2")
    assert rows() == []


def test_through_a_link_and_in_several_files(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link, other = tmp_path / "real" / "a.py", tmp_path / "a.py", tmp_path / "b.lua"
    real.write_bytes(b"# one !")
    link.symlink_to(real)
    with watching(link, tiny_model, other) as watched:
        assert watched.wait().startswith(b"# one\n") and link.is_symlink() and not real.read_bytes().endswith(b"\n")
        watched.wait_for("b.lua does not exist yet")
        other.write_bytes(b"-- two !\n")
        assert Watched(other, watched.errors).wait().startswith(b"-- two\n")


def test_the_output_of_the_program_is_written_below(sandbox: None, tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"\xef\xbb\xbfprint(6 * 7)\r\n# ?\r\n#> old\r\nx = 1\r\n")
    with watching(file, tiny_model) as watched:
        assert watched.wait() == b"\xef\xbb\xbfprint(6 * 7)\r\n#> 42\r\nx = 1\r\n"
        file.write_bytes(b"print(1)\n1 / 0\n\n# ?")
        assert watched.wait() == b"print(1)\n1 / 0\n\n#> 1\n#> ZeroDivisionError: division by zero, line 2"
        file.write_bytes(b"x = 1\n# ?\n")
        assert watched.wait() == b"x = 1\n#> (printed nothing)\n"
    assert rows() == []


def test_a_hidden_file_is_opened_to_the_watch(
    sandbox: None, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my data.csv").write_text("1\n")
    file = Path("a b.py")
    file.write_bytes(b"open('my data.csv')\n# ?\n")
    with watching(file, tiny_model) as watched:
        assert b"FileNotFoundError" in watched.wait()
        watched.wait_for("the sandbox hides it; open it: cgcli watch --read 'my data.csv' 'a b.py'")


def test_a_save_ends_a_run(sandbox: None, tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"while True: pass\n# ?\n")
    with watching(file, tiny_model) as watched:
        watched.wait_for("running")
        file.write_bytes(b"print(1)\n# ?\n")
        assert watched.wait() == b"print(1)\n#> 1\n"
    assert "more than 20 s" not in watched.errors.getvalue()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.py", b"x = '\xff'\n# one !\n", "a.py is not UTF-8 at byte 5; save it as UTF-8"),
        ("a.py", b"x = 1\n" * 2000 + b"\n# one !\n", "a.py: the program and prompt"),
        ("a.lua", b"-- ?\n", "a.lua: cannot run a lua program, only Python; remove the line: -- ?"),
    ],
)
def test_errors_are_one_line_and_the_file_stays(
    name: str, text: bytes, words: str, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(text)
    with watching(file, tiny_model) as watched:
        watched.wait_for(words)
        assert file.read_bytes() == text
        file.write_bytes(b"-- one !\n" if name.endswith("lua") else b"# one !\n")  # the next save is looked at
        watched.wait()
    assert sum("cgcli: " in line for line in watched.errors.getvalue().splitlines()) == 1


def test_after_control_c_the_file_has_what_was_drawn(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"# one !\n")
    with watching(file, tiny_model, max_tokens=1900) as watched:
        watched.wait_for("line 1: one")
        Interrupt().set()
        watched.wait_for("Ctrl-C quits", times=2)
        stopped = file.read_bytes()
        assert stopped.startswith(b"# one\n") or stopped == b"# one !\n"
        file.write_bytes(b"# two !\n")
        watched.wait_for("line 1: two")


def test_a_save_while_a_draw_is_being_stopped_is_looked_at(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"# one !\n")
    with watching(file, tiny_model, max_tokens=1900) as watched:
        watched.wait_for("line 1: one")
        Interrupt().set()
        file.write_bytes(b"# two !\n")
        watched.wait_for("line 1: two")


def test_when_nothing_is_drawn_the_next_save_draws_others(bundled_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"# !")
    with watching(file, bundled_model, temperature=0.2, guard="on") as watched:
        watched.wait_for("a.py, line 1: continuing the text above: the model returned nothing in ")
        watched.wait_for("attempts; save it again for others, or reword the comment\n")
        assert file.read_bytes() == b"# !"


def test_what_is_drawn_waits_for_room_on_a_full_disk(tiny_model: Path, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small disk")
    try:
        file, other = tmp_path / "a.py", tmp_path / "other"
        file.write_bytes(b"# one !\n")
        with other.open("wb", buffering=0) as full, suppress(OSError):
            while True:
                full.write(bytes(4096))
        with watching(file, tiny_model, no_log=True) as watched:
            watched.wait_for("save it again once it can be written")
            assert file.read_bytes() == b"# one !\n"
            other.unlink()
            file.write_bytes(b"# one !\n")
            assert watched.wait().startswith(b"# one\n")
        assert list(tmp_path.iterdir()) == [file] and watched.errors.getvalue().count("wrote") == 1
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_marks_that_the_model_writes_ask_for_nothing(tmp_path: Path) -> None:
    token = "(x):\n        # go !\n        # ?\n        y".replace("\n", "\u010a").replace(" ", "\u0120")
    model = write_tiny_model(tmp_path / "m.gguf", special={token: gguf.TokenType.NORMAL})
    weights = gguf.GGUFReader(model, "r+")
    next(one for one in weights.tensors if one.name == "output.bias").data[257] = 17  # often written
    weights.data.flush()
    file = tmp_path / "a.py"
    file.write_bytes(b"if x:\n    # one !\n")
    with watching(file, model, max_tokens=60) as watched:
        watched.wait_for("wrote")
        whole = watched.wait()
    assert b"        # go\n        y" in whole and not is_marked(whole), whole
    assert watched.errors.getvalue().count("wrote") == 1 and "running" not in watched.errors.getvalue()

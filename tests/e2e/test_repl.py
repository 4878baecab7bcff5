"""The REPL as a person has it: in a pseudo-terminal, with the bundled model, on real files and real signals."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.patience import PATIENCE_S
from tests.support.process import CGCLI
from tests.support.pseudo_terminal import PseudoTerminal, pseudo_terminal

PROMPT = r"a function that tells whether a number is prime"
GREEDY = ("-t", "0", "--seed", "1", "--max-tokens", "100")


EMBEDDED = "smollm2-135m"


@contextmanager
def repl(
    home: Path, *arguments: str, model: str = "codegen-nano", rows: int = 24, columns: int = 80
) -> Iterator[PseudoTerminal]:
    """`cgcli repl` with its programs in `home`."""
    home.mkdir(exist_ok=True)
    command = [*CGCLI, "repl", "-m", model, *arguments]
    with pseudo_terminal(*command, rows=rows, columns=columns, CGCLI_HOME=str(home)) as terminal:
        terminal.wait(lambda: " › " in terminal.text or not terminal.process.isalive())
        yield terminal


def embedded(embedded_home: Path, folder: Path) -> Path:
    """A new home that has the embedded model."""
    home = folder / "home"
    home.mkdir()
    (home / "store").symlink_to(embedded_home / "store")
    return home


def type_line(terminal: PseudoTerminal, text: str) -> None:
    terminal.send(text + "\r")


def ended(terminal: PseudoTerminal) -> int:
    terminal.wait(lambda: not terminal.process.isalive())
    terminal.process.wait()
    return int(terminal.process.exitstatus if terminal.process.exitstatus is not None else -1)


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64))


def test_a_program_is_grown_run_undone_and_saved(embedded_home: Path, tmp_path: Path) -> None:
    """With the embedded model, which writes what its prompts ask for."""
    target = tmp_path / "primes.py"
    with repl(embedded(embedded_home, tmp_path), *GREEDY, model=EMBEDDED) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("2 ›")
        type_line(terminal, "print whether 17 is prime")
        terminal.wait_for("3 ›")
        type_line(terminal, "/undo")
        terminal.wait_for("2 ›", times=2)
        type_line(terminal, "/redo")
        terminal.wait_for("3 ›", times=2)
        type_line(terminal, "/run")
        terminal.wait_for("ran in")
        type_line(terminal, f"/save {target}")
        terminal.wait(lambda: "written" in terminal.text and terminal.line.startswith("3 ›"))
        terminal.send("\x04")
        assert ended(terminal) == 0
    text = target.read_text()
    assert f"# {PROMPT}\ndef " in text and "# print whether 17 is prime\n" in text
    subprocess.run([sys.executable, target], check=True, capture_output=True, timeout=PATIENCE_S)


def test_a_paste_of_100_lines_is_one_prompt(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(99)] + [PROMPT]
    with repl(tmp_path / "home", *GREEDY) as terminal:
        terminal.send("\x1b[200~" + "\n".join(lines) + "\x1b[201~")
        terminal.wait_for(PROMPT)
        terminal.send("\r")
        terminal.wait(lambda: "2 ›" in terminal.text)
        type_line(terminal, f"/save {tmp_path / 'pasted.py'}")
        terminal.wait_for("written")
    text = (tmp_path / "pasted.py").read_text()
    assert "".join(f"# {line}\n" for line in lines) in text


def test_ctrl_c_while_it_writes_keeps_the_part(tmp_path: Path) -> None:
    """With a seed whose text has hundreds of tokens: a short one ends before the key arrives."""
    with repl(tmp_path / "home", "-t", "1", "--seed", "5", "--max-tokens", "2000") as terminal:
        type_line(terminal, "a list of the hundred largest cities, with their countries")
        terminal.wait(lambda: terminal.text.count("\n") > 3 and "perplexity" in terminal.text)
        terminal.send("\x03")
        terminal.wait_for("2 ›")
        assert "kept" in terminal.text
        type_line(terminal, "/show")
        terminal.wait_for("interrupted", times=2)


def test_ctrl_c_while_it_reads_leaves_the_program_as_it_was(embedded_home: Path, tmp_path: Path) -> None:
    """With the embedded model, which reads long enough."""
    long = tmp_path / "long.py"
    long.write_text("".join(f"value_{number} = {number} * {number}\n" for number in range(500)))
    with repl(embedded(embedded_home, tmp_path), str(long), *GREEDY, model=EMBEDDED) as terminal:
        type_line(terminal, "print their sum")
        terminal.pump(1.0)
        terminal.send("\x03\x03")  # impatient people press it twice
        terminal.wait_for("interrupted")
        terminal.wait(lambda: "1 › print their sum" in terminal.line)  # the prompt stands there again
        terminal.send("\x15")
        terminal.wait(lambda: "print" not in terminal.line)
        type_line(terminal, "/show")
        terminal.wait(lambda: terminal.text.count("1 ›") >= 3)
        assert terminal.process.isalive() and "print their sum" not in terminal.text.partition("/show")[2]


def test_keys_typed_while_it_writes_stand_in_the_next_prompt(tmp_path: Path) -> None:
    with repl(tmp_path / "home", *GREEDY) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("def ")
        terminal.send("print it\rtwice")
        terminal.wait_for("2 ›")
        terminal.wait_for("twice")
        before, _, after = terminal.text.partition("2 ›")
        assert "print it" in after
        assert "print it" not in before.replace("queued: print it", "")


def test_a_resize_while_it_writes_garbles_nothing(tmp_path: Path) -> None:
    target = tmp_path / "resized.py"
    with repl(tmp_path / "home", *GREEDY, rows=60, columns=100) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("def ")
        terminal.resize(60, 60)
        terminal.wait_for("2 ›")
        type_line(terminal, f"/save {target}")
        terminal.wait_for("written")
        shown = terminal.text
    code = target.read_text().partition(f"# {PROMPT}\n")[2]
    assert code and code.rstrip("\n") in shown


def test_kill_9_loses_nothing_but_the_turn_in_flight(tmp_path: Path) -> None:
    data = tmp_path / "home"
    with repl(data, *GREEDY) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("2 ›")
        type_line(terminal, "print all primes below one hundred")
        terminal.pump(0.3)
        terminal.process.kill(signal.SIGKILL)
        terminal.wait(lambda: not terminal.process.isalive())
    with repl(data, "--resume", *GREEDY) as terminal:
        terminal.wait(lambda: "2 ›" in terminal.text or "3 ›" in terminal.text)
        type_line(terminal, "/show")
        terminal.wait_for(PROMPT)


def test_the_second_repl_on_a_session_is_told(tmp_path: Path) -> None:
    data = tmp_path / "home"
    with repl(data, *GREEDY) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("2 ›")
        with repl(data, "--resume") as other:
            assert ended(other) == 1
            assert "open in another" in " ".join(other.text.split())
        type_line(terminal, "/show")
        terminal.wait_for(PROMPT, times=2)


def test_a_full_disk_while_saving_loses_nothing(tmp_path: Path, mount: Callable[[str], Path]) -> None:
    disk = mount("size=64k")
    (disk / "filling").write_bytes(bytes(60 * 1024))
    with repl(tmp_path / "home", *GREEDY) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("2 ›")
        fill(disk / "rest")
        type_line(terminal, f"/save {disk / 'program.py'}")
        terminal.wait_for("no space left")
        (disk / "filling").unlink()
        type_line(terminal, f"/save {disk / 'program.py'}")
        terminal.wait_for("written")
    assert PROMPT in (disk / "program.py").read_text()


def test_a_disk_that_fills_under_the_journal_is_said_and_mended(tmp_path: Path, mount: Callable[[str], Path]) -> None:
    disk = mount("size=64k")
    with repl(disk, *GREEDY, rows=120) as terminal:
        type_line(terminal, PROMPT)
        terminal.wait_for("2 ›")
        filling = disk / "filling"
        fill(filling)
        candidates = 1
        while "no space left" not in terminal.text:  # the file's last block has room for the first ones
            candidates += 1
            type_line(terminal, "/retry")
            terminal.wait_for("2 ›", times=candidates)
        filling.unlink()
        type_line(terminal, "/pick 1")
        terminal.wait_for("2 ›", times=candidates + 1)
        terminal.send("\x04")
        assert ended(terminal) == 0
    with repl(disk, "--resume", *GREEDY) as terminal:
        type_line(terminal, "/show")
        terminal.wait_for(f"1 of {candidates} candidates")


def test_a_history_that_cannot_be_written_is_said_once(tmp_path: Path, mount: Callable[[str], Path]) -> None:
    data = tmp_path / "home"
    (data / "data").mkdir(parents=True)
    disk = mount("size=64k,ro")
    (data / "data" / "history").symlink_to(disk)
    with repl(data, *GREEDY) as terminal:
        type_line(terminal, "/stats")
        terminal.wait_for("1 ›", times=2)
        type_line(terminal, "/show")
        terminal.wait_for("1 ›", times=3)
        assert terminal.text.count("cannot write") == 1
        terminal.send("\x04")
        assert ended(terminal) == 0

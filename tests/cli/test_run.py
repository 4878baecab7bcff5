"""`cgcli run` as a process: streams, statuses, what is opened by name, and a terminal that the program cannot drive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from cgcli.sandbox.policy import Policy
from tests.support.cli import run
from tests.support.patience import PATIENCE_S
from tests.support.process import Ran, cgcli

pytestmark = pytest.mark.usefixtures("sandbox")


def ran(folder: Path, source: str, *words: str, options: tuple[str, ...] = (), stdin: bytes = b"") -> Ran:
    file = folder / "prog.py"
    file.write_text(source)
    return run("run", *options, str(file), *words, stdin=stdin)


def test_its_streams_are_ours_and_its_options_its_own(tmp_path: Path) -> None:
    source = (
        "import os, sys\nprint(sys.argv, input(), flush=True)\nsys.stderr.write('said')\nos.write(1, b'\\xff\\x1b[1m')"
    )
    done = ran(tmp_path, source, "a", "--time", "--", "-q", stdin=b"given\n")
    assert (done.status, done.err) == (0, "said")
    assert done.out == b"['prog.py', 'a', '--time', '--', '-q'] given\n\xff\x1b[1m"


def test_a_program_that_fails_ends_in_8_with_its_verdict_in_a_line(tmp_path: Path) -> None:
    done = ran(tmp_path, "print(1)\n1 / 0")
    assert (done.status, done.out) == (8, b"1\n")
    assert done.err.splitlines()[-2:] == [
        "ZeroDivisionError: division by zero",
        "cgcli: prog.py: ZeroDivisionError: division by zero, line 2",
    ]


@pytest.mark.parametrize(
    ("source", "options", "line"),
    [
        ("import time; time.sleep(9)", ("--time", "0.3"), "stopped: took more than 1.5 s; raise the limit with --time "
         "TIME"),
        ("x = bytes(10**9)", ("--memory", "200"), "memory: MemoryError, line 1; raise the limit with --memory SIZE"),
        ("import sys; sys.exit(4)", (), "exit: status 4"),
        ("open('/usr/x', 'w')", (), "denied: OSError: [Errno 30] Read-only file system: '/usr/x', line 1; open what it "
         "needs with --read PATH or --write PATH"),
        ("import socket; socket.socket()", (), "denied: PermissionError: [Errno 1] Operation not permitted, line 1; "
         "the sandbox has no network; allow it with --allow-net"),
        ("import urllib.request as u; u.urlopen('http://a.example')", (), "urllib.error.URLError: <urlopen error "
         "[Errno -3] Temporary failure in name resolution>, line 1; the sandbox has no network; allow "
         "it with --allow-net"),
        ("import urllib.request as u; u.urlopen('http://10.0.0.1')", (), "urllib.error.URLError: <urlopen error "
         "[Errno 1] Operation not permitted>, line 1; the sandbox has no network; allow it with --allow-net"),
        ("import nothing_such", (), "ModuleNotFoundError: No module named 'nothing_such', line 1; programs in the "
         "sandbox can import the standard library, numpy and pandas"),
    ],
)  # fmt: skip
def test_every_failure_names_its_cause_and_what_would_help(
    tmp_path: Path, source: str, options: tuple[str, ...], line: str
) -> None:
    done = ran(tmp_path, source, options=options)
    assert done.status == 8 and done.err.splitlines()[-1] == f"cgcli: prog.py: {line}"


def test_a_program_without_end_is_ended_by_the_processor_or_by_the_clock_of_a_busy_machine(tmp_path: Path) -> None:
    done = ran(tmp_path, "while True: pass", options=("--time", "0.3"))
    limits = ("stopped: more than 0.3 s of processor time", "stopped: took more than 1.5 s")
    lines = [f"cgcli: prog.py: {limit}; raise the limit with --time TIME" for limit in limits]
    assert done.status == 8 and done.err.splitlines()[-1] in lines


def test_named_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    (tmp_path / "data" / "in").write_text("seen")
    assert ran(tmp_path, "print(open('data/in').read())").status == 8
    done = ran(tmp_path, "print(open('data/in').read())", options=("--read", "data"))
    assert (done.status, done.out) == (0, b"seen\n")
    source = "open('data/out', 'w').write('made')"
    assert ran(tmp_path, source, options=("--read", "data")).status == 8
    done = ran(tmp_path, source, options=("--write", "data"))
    assert done.status == 0 and (tmp_path / "data" / "out").read_text() == "made"


def test_what_was_printed_before_it_was_stopped_is_there(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("print('before')\nwhile True: pass\n")
    ran = run("run", "--time", "1", str(tmp_path / "hangs.py"))
    assert (ran.status, ran.out) == (8, b"before\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs run as another user")
def test_root_is_told_why_what_it_opened_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir(mode=0o755)
    Path("writes.py").write_text("open('mine/a', 'w')\n")
    ran = run("run", "--write", "mine", "writes.py")
    assert ran.status == 8 and "under root the program runs as another user: chmod" in ran.err


def test_the_program_may_come_from_stdin() -> None:
    done = run("run", "-", "x", stdin=b"import sys; print(sys.argv, repr(sys.stdin.read()))")
    assert (done.status, done.out, done.err) == (0, b"['program.py', 'x'] ''\n", "")


def test_risky_calls_are_named_before_and_not_when_quiet(tmp_path: Path) -> None:
    source = "import os\nprint(1, flush=True)\nos.system('echo 2')"
    done = ran(tmp_path, source)
    assert (done.out, done.err) == (b"1\n2\n", "prog.py, line 3: runs other programs: os.system\n")
    assert ran(tmp_path, source, options=("-q",)).err == ""


def test_files_that_are_gone_with_the_sandbox_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    source = "open('made', 'w').write('x')"
    gone = "files that the program wrote were deleted with the sandbox; keep them with --write PATH\n"
    done = ran(tmp_path, source)
    assert (done.status, done.err) == (0, f"prog.py, line 1: writes files: open\n{gone}")
    (tmp_path / "made").write_text("")
    (tmp_path / "made").chmod(0o666)
    assert gone not in ran(tmp_path, source, options=("--write", "made")).err
    assert (tmp_path / "made").read_text() == "x"


def test_unsafe_is_this_machine(tmp_path: Path) -> None:
    source = f"import os; print(os.getcwd()); open({str(tmp_path / 'made')!r}, 'w')"
    assert ran(tmp_path, source).status == 8
    done = ran(tmp_path, source, options=("--unsafe", "-q"))
    assert (done.status, done.out.decode()) == (0, f"{Path.cwd()}\n") and (tmp_path / "made").exists()


def test_help_tells_the_limits() -> None:
    help_ = run("run", "--help", COLUMNS="100").out.decode()
    limits = [f"{Policy.cpu_s:g}s", f"{Policy.memory_bytes // 1024**3}GiB"]
    assert re.findall(r"\[default: \(?(\w+)", help_) == limits
    assert f"Output is limited to {Policy.output_bytes // 1024**2} MB." in " ".join(help_.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.py"], "no such file: nothing.py"),
        (["--read", "/nothing", "-"], "no such file or folder: /nothing"),
        (["--time", "0", "-"], "--time must be positive, not 0"),
        (["--time", "nan", "-"], "--time is 'nan', not a time; give seconds or a unit, such as --time 20s"),
        (["--memory", "1", "-"], "--memory must be 64MB or more, not 1"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    done = run("run", *words)
    assert done.status == 2 and message in done.err


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text("import time\nprint(1, flush=True)\ntime.sleep(0.2)\nwhile True: print(2)")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = cgcli("run", str(tmp_path / "prog.py"), stdout=writer)
    finally:
        os.close(writer)
    assert (done.status, done.err) == (0, "")


def _on_terminal(folder: Path, source: str, *options: str) -> pexpect.spawn[str]:
    (folder / "prog.py").write_text(source)
    words = ["-m", "cgcli", "run", *options, str(folder / "prog.py")]
    return pexpect.spawn(
        sys.executable, words, encoding="utf-8", timeout=PATIENCE_S, env={**os.environ, "TERM": "xterm"}
    )


def test_a_terminal_is_not_driven_by_the_program(tmp_path: Path) -> None:
    source = (
        "import sys\nfor stream in (sys.stdout, sys.stderr):\n"
        "    print('\\x1b]0;title\\x07\\x1b[2J\\u202eab\\u00fc', file=stream, flush=True)"
    )
    terminal = _on_terminal(tmp_path, source)
    terminal.expect(pexpect.EOF)
    shown = terminal.before or ""
    assert shown.count("\\x1b]0;title\\x07\\x1b[2J\\u202eab\u00fc") == 2
    assert "\x1b" not in shown and "\x07" not in shown


def test_a_terminal_is_not_the_programs_and_is_asked_all_the_same(tmp_path: Path) -> None:
    source = (
        "import os\ntry: os.open('/dev/tty', os.O_RDWR)\nexcept OSError as e: print(e.strerror)\n"
        "print([fd for fd in range(9) if os.isatty(fd)])\nprint('Hello', input('Name? '))"
    )
    terminal = _on_terminal(tmp_path, source)
    terminal.expect_exact("No such device or address")
    terminal.expect_exact("[]")
    terminal.expect_exact("Name? ")
    terminal.sendline("Ada")
    terminal.expect_exact("Hello Ada")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    terminal = _on_terminal(tmp_path, "import time\nprint('begun', flush=True)\ntime.sleep(600)")
    terminal.expect_exact("begun")
    terminal.sendintr()
    terminal.expect_exact("cgcli: interrupted")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


@pytest.mark.parametrize("closed", ["0<&-", "2<&-", "0<&- 2<&-", "1<&-", "0<&- 1<&- 2<&-"])
def test_streams_that_are_closed_at_the_start_are_nobodys(tmp_path: Path, closed: str) -> None:
    """A program runs all the same, and what the process opens has other numbers, in its children, too."""
    out = tmp_path / "out"
    out.write_text("")
    out.chmod(0o666)
    (tmp_path / "prog.py").write_text(f"import sys\nopen({str(out)!r}, 'w').write(sys.stdin.read() + 'ran')\n")
    words = ["-q", "run", "--write", str(out), str(tmp_path / "prog.py")]
    code = (
        "import os, subprocess, sys; from cgcli.__main__ import main; status = main()\n"
        "streams = [os.path.realpath(f'/proc/self/fd/{n}') for n in range(3)]\n"
        "child = subprocess.call(['sh', '-c', 'for n in 0 1 2; do test -e /proc/$$/fd/$n || exit 1; done'])\n"
        "open(os.environ['SEEN'], 'w').write(repr((int(status), child, streams.count('/dev/null'))))"
    )
    seen = tmp_path / "seen"
    with (tmp_path / "streams").open("wb") as streams:
        subprocess.run(
            ["sh", "-c", f'"$0" -c "$@" {closed}', sys.executable, code, *words],
            stdin=subprocess.DEVNULL,
            stdout=streams,
            stderr=streams,
            env={**os.environ, "SEEN": str(seen)},
            check=True,
            timeout=PATIENCE_S,
        )
    nulls = closed.count("<&-") + ("0" not in closed)
    assert (out.read_text(), seen.read_text()) == ("ran", repr((0, 0, nulls)))


@pytest.mark.parametrize("option", ["--read", "--write", "--allow-net"])
def test_a_program_without_unix_sockets_is_told_why(tmp_path: Path, option: str) -> None:
    source = "from multiprocessing import Manager\nif __name__ == '__main__':\n    print(dict(Manager().dict(a=1)))"
    assert ran(tmp_path, source).out == b"{'a': 1}\n"
    assert ran(tmp_path, source, options=("--read", str(tmp_path / "prog.py"))).out == b"{'a': 1}\n"
    done = ran(tmp_path, source, options=(option,) if option == "--allow-net" else (option, str(tmp_path)))
    assert done.status == 8 and done.err.splitlines()[-1] == (
        "cgcli: prog.py: EOFError, line 3; --allow-net and folders in --read or --write disable Unix sockets; run it "
        "without these options"
    )

"""Running programs: verdicts, streams, and what the options open."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cgcli.core.errors import SandboxError
from cgcli.sandbox import bubblewrap
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.verdict import Outcome, Verdict
from tests.sandbox.attacks import ATTACKS
from tests.sandbox.conftest import Attempt

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture(params=[False, True], ids=["sandbox", "host"])
def unsafe(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def ran(source: str, *arguments: str, **policy: object) -> Verdict:
    return run(source.encode(), arguments=arguments, policy=Policy(**policy))  # type: ignore[arg-type]


VERDICTS: list[tuple[str, Outcome, str]] = [
    ("pass", "passed", ""),
    ("", "passed", ""),
    ("import sys; sys.exit(0)", "passed", ""),
    ("import sys; sys.exit()", "passed", ""),
    ("raise SystemExit(False)", "passed", ""),
    ("import os; os._exit(0)", "exit", "status 0 before the last line"),
    ("import os; os.execv('/bin/true', ['true'])", "exit", "status 0 before the last line"),
    ("import os\nif os.fork() == 0: os._exit(0)\nelse: os.wait(); os._exit(0)", "exit",
     "status 0 before the last line"),
    ("import os\nif os.fork(): os._exit(0)", "exit", "status 0 before the last line"),
    ("import sys; sys.exit(256)", "exit", "status 0 before the last line"),
    ("import sys; sys.exit(0.0)", "exit", "status 1"),
    ("import atexit, os; atexit.register(os._exit, 0)", "passed", ""),
    ("import atexit, os; atexit.register(os._exit, 4)", "exit", "status 4"),
    ("import sys; sys.exit(3)", "exit", "status 3"),
    ("import sys; sys.exit('no')", "exit", "status 1"),
    ("import os; os._exit(9)", "exit", "status 9"),
    ("\n\n1 / 0", "exception", "ZeroDivisionError: division by zero, line 3"),
    ("def f():\n    g()\ndef g():\n    {}['x']\nf()", "exception", "KeyError: 'x', line 4"),
    ("import json\njson.loads('{')", "exception", "json.decoder.JSONDecodeError: Expecting property name enclosed in "
     "double quotes: line 1 column 2 (char 1), line 2"),
    ("x = 1\ndef f(:", "exception", "SyntaxError: invalid syntax, line 2"),
    ("class Odd(Exception): pass\nraise Odd", "exception", "Odd, line 2"),
    ("raise ValueError('\\x1b[2J\\nmore')", "exception", "ValueError: \\x1b[2J, line 1"),
    ("import sys\nsys.excepthook = lambda *_: None\nassert False, 'no'", "exception", "AssertionError: no, line 3"),
    ("import os; os.abort()", "crash", "SIGABRT"),
    ("import os; os.kill(os.getpid(), 11)", "crash", "SIGSEGV"),
    ("raise MemoryError", "memory", "MemoryError, line 1"),
    ("def f(): f()\nf()", "exception", "RecursionError: maximum recursion depth exceeded, line 1"),
    ("\nopen('nothing')", "exception", "FileNotFoundError: [Errno 2] No such file or directory: 'nothing', line 2"),
    ("import atexit, os; atexit.register(os._exit, 0); 1 / 0", "exception", "ZeroDivisionError: division by zero, "
     "line 1"),
    ("raise PermissionError('mine')", "exception", "PermissionError: mine, line 1"),
    ("b'\\0'.decode('nonsense')", "exception", "LookupError: unknown encoding: nonsense, line 1"),
    ("print('\u00fc') # \u00fc", "passed", ""),
    *((source, "exception", "SyntaxError: too deeply nested") for source in (
        "x = " + "-" * 50_000 + "1", "x = " + "not " * 50_000 + "1", "x = " + "lambda: " * 50_000 + "1",
        "x = a" + ".b" * 50_000, "x = 1" + " + 1" * 100_000, "if 1: pass\n" + "elif 1: pass\n" * 20_000)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "outcome", "detail"), VERDICTS)
def test_the_verdict_and_its_words(source: str, outcome: Outcome, detail: str, unsafe: bool) -> None:
    verdict = ran(source, unsafe=unsafe)
    assert (verdict.outcome, verdict.detail) == (outcome, detail)
    assert verdict.passed == (outcome == "passed")


NAMES = """
import math
def f(): ...
class Odd:
    def __repr__(self): raise ValueError
_own, many, text, odd = 1, list(range(10**5)), "\\x1b[2J" * 99, Odd()
"""
NO_END = """
class Hangs:
    def __repr__(self):
        while True:
            pass
before, hangs, after = 1, Hangs(), 2
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit", "1 / 0"])
def test_the_variables_at_the_end(end: str, unsafe: bool) -> None:
    many, text, odd = ran(NAMES + end, names=True, unsafe=unsafe).variables
    assert (many.name, many.kind, many.value) == ("many", "list", "[0, 1, 2, 3, 4, 5, ...]")
    assert text.name == "text" and len(text.value) <= 100 and text.value.isprintable()
    assert (odd.kind, odd.value) == ("Odd", "<ValueError>") or odd.value.startswith("<Odd instance at ")
    assert not ran(NAMES, unsafe=unsafe).variables


def test_a_value_without_an_end_is_not_shown_and_fails_no_program(unsafe: bool) -> None:
    verdict = ran(NO_END, names=True, unsafe=unsafe)
    assert verdict.passed
    assert [(one.name, one.value) for one in verdict.variables] == [("before", "1"), ("hangs", "…"), ("after", "…")]


def test_source_that_fills_the_memory_is_not_said_to_nest(unsafe: bool) -> None:
    verdict = ran("x = [" + "1, 2.0, a, " * 200_000 + "]", memory_bytes=64 * 10**6, unsafe=unsafe)
    assert (verdict.outcome, verdict.detail) == ("memory", "MemoryError")


def test_source_that_nests_too_deeply_has_no_traceback(unsafe: bool) -> None:
    verdict = ran("x = " + "-" * 50_000 + "1", unsafe=unsafe)
    assert verdict.stderr == b"SyntaxError: too deeply nested\n"


HELD: list[tuple[str, tuple[str, ...], Outcome, str, int]] = [
    ("x = 2", ("x == 2",), "passed", "", 1),
    ("x = 2", ("x == 2  # two", "x", "(y := x) == 2", "y"), "passed", "", 4),
    ("x = 2", ("x == 3", "x == 2", "z", "x < 3"), "check", "2 of 4 checks passed; check x == 3 failed", 2),
    ("x = 2", ("z",), "check", "check z failed: NameError: name 'z' is not defined", 0),
    ("import sys\ndef f(): return 4\nsys.exit(0)", ("False",), "check", "check False failed", 0),
    ("import sys\ndef f(): return 4\nsys.exit()", ("f() == 4",), "passed", "", 1),
    ("import sys\ndef f(): sys.exit(0)", ("f()", "1"), "check", "1 of 2 checks passed; check f() failed: SystemExit: 0",
     1),
    ("import os\ndef f(): os._exit(0)", ("1", "f()"), "check", "1 of 2 checks passed; check f() failed: it ended the "
     "program", 1),
    ("import sys; sys.exit(3)", ("True",), "exit", "status 3 before the checks", 0),
    ("import os; os._exit(0)", ("True",), "exit", "status 0 before the checks", 0),
    ("import os; os._exit(9)", ("True",), "exit", "status 9 before the checks", 0),
    ("import os; os.execv('/bin/true', ['true'])", ("True",), "exit", "status 0 before the checks", 0),
    ("import os; os.kill(os.getpid(), 11)", ("True",), "crash", "SIGSEGV before the checks", 0),
    ("1 / 0", ("True",), "exception", "ZeroDivisionError: division by zero, line 1", 0),
    ("import os\nif os.fork():\n    os.wait(); os._exit(0)", ("True",), "exit", "status 0 before the checks",
     0),
]  # fmt: skip


@pytest.mark.parametrize(("source", "checks", "outcome", "detail", "held"), HELD)
def test_checks_are_held_against_a_program_at_its_end(
    source: str, checks: tuple[str, ...], outcome: Outcome, detail: str, held: int, unsafe: bool
) -> None:
    verdict = run(source.encode(), checks=checks, policy=Policy(unsafe=unsafe))
    assert (verdict.outcome, verdict.detail, verdict.checks_passed) == (outcome, detail, held)
    assert verdict.passed == (outcome == "passed") and verdict.ran == (outcome in {"passed", "check"})


def test_checks_come_before_the_arguments_and_are_none_of_them(unsafe: bool) -> None:
    source = b"import sys; given = sys.argv[1:]"
    verdict = run(source, arguments=("a", "b"), checks=("given == ['a', 'b']", "1"), policy=Policy(unsafe=unsafe))
    assert verdict.passed and verdict.checks_passed == 2


def test_a_program_that_closes_all_it_has_or_writes_to_it_reaches_its_end() -> None:
    verdict = run(b"import os\nos.closerange(3, 256)\nx = 1", checks=("x == 1",), policy=Policy())
    assert (verdict.outcome, verdict.checks_passed) == ("passed", 1)
    wrote = "import os\nfor fd in range(3, 256):\n    try: os.write(fd, b'end')\n    except OSError: pass\nos._exit(0)"
    assert ran(wrote).outcome == "exit"


def test_a_program_that_does_not_linger_ends_with_its_last_line(unsafe: bool) -> None:
    source = "import atexit, threading, time\natexit.register(time.sleep, 60)\n"
    source += "threading.Thread(target=time.sleep, args=(60,)).start()"
    verdict = ran(source, unsafe=unsafe, lingers=False)
    assert verdict.passed and verdict.wall_s < 30


def test_a_traceback_shows_the_program_and_nothing_of_what_started_it(unsafe: bool, tmp_path: Path) -> None:
    file = tmp_path / "my.py"
    source = "def f():\n    1 / 0\nf()\n"
    file.write_text(source)
    name = str(file) if unsafe else file.name
    verdict = run(source.encode(), name=name, policy=Policy(unsafe=unsafe))
    plain = subprocess.run([sys.executable, file], capture_output=True, check=False, text=True).stderr
    assert verdict.stderr.decode().replace(name, "") == plain.replace(str(file), "")


def test_output_and_arguments_and_names(unsafe: bool) -> None:
    source = "import sys; print(sys.argv, __name__); sys.stderr.write('no'); sys.stdout.buffer.raw.write(b'\\xff\\0')"
    verdict = ran(source, "a b", "--c", unsafe=unsafe)
    assert verdict.stdout == b"['program.py', 'a b', '--c'] __main__\n\xff\0"
    assert verdict.stderr == b"no"


def test_the_last_output_is_read(unsafe: bool) -> None:
    verdict = ran("import os; os.write(1, b'x' * 60_000); os._exit(0)", unsafe=unsafe)
    assert verdict.stdout == b"x" * 60_000


def test_output_is_cut_at_the_limit_and_heard_as_it_comes(unsafe: bool) -> None:
    heard: list[tuple[str, bytes]] = []
    reader, writer = os.pipe()

    def hear(stream: str, chunk: bytes) -> None:
        if not heard:
            os.close(writer)  # it waits for that
        heard.append((stream, chunk))

    source = b"import sys\nprint('first', flush=True)\nsys.stdin.read()\nprint('x' * 10_000)"
    verdict = run(source, policy=Policy(unsafe=unsafe, output_bytes=1000), stdin=reader, listener=hear)
    os.close(reader)
    assert verdict.outcome == "output limit" and len(verdict.stdout) == 1000
    assert b"".join(chunk for _, chunk in heard) == verdict.stdout and {stream for stream, _ in heard} == {"stdout"}
    assert heard[0][1] == b"first\n"


def test_input_is_relayed(unsafe: bool) -> None:
    reader, writer = os.pipe()
    text = b"x" * 50_000 + b"\nlast\n"
    os.write(writer, text)
    os.close(writer)
    source = b"import sys; print(len(sys.stdin.readline()), input())"
    verdict = run(source, policy=Policy(unsafe=unsafe), stdin=reader)
    os.close(reader)
    assert verdict.stdout == b"50001 last\n", verdict


def test_input_that_nobody_reads_keeps_nothing(unsafe: bool) -> None:
    with Path("/dev/zero").open("rb") as endless:
        verdict = run(b"import time; time.sleep(0.3)", policy=Policy(unsafe=unsafe), stdin=endless.fileno())
    assert verdict.passed


@pytest.mark.parametrize(
    ("source", "stdout", "left"),
    [
        ("print(input(), input())", b"one two\n", b"three\n"),
        ("import time; print(input()); time.sleep(0.2)", b"one\n", b"two\nthree\n"),
        ("import time; time.sleep(0.2)", b"", b"one\ntwo\nthree\n"),
        ("import os, time; os.read(0, 1); time.sleep(0.2)", b"", b"ne\ntwo\nthree\n"),
        ("import os, time; os.close(0); time.sleep(0.2)", b"", b"one\ntwo\nthree\n"),
        ("import sys; print(sys.stdin.read().split())", b"['one', 'two', 'three']\n", b""),
    ],
)
def test_typed_lines_that_nobody_reads_are_not_lost(unsafe: bool, source: str, stdout: bytes, left: bytes) -> None:
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"one\ntwo\nthree\n" + b"\x04" * (not left))
    verdict = run(source.encode(), policy=Policy(unsafe=unsafe), stdin=terminal)
    os.set_blocking(terminal, False)
    lines = [verdict.unread]
    with suppress(BlockingIOError):
        while True:
            lines.append(os.read(terminal, 100))
    assert (verdict.stdout, b"".join(lines)) == (stdout, left)
    os.close(keyboard)
    os.close(terminal)


def test_no_input_is_an_empty_one(unsafe: bool) -> None:
    assert ran("import sys; print(repr(sys.stdin.read()))", unsafe=unsafe).stdout == b"''\n"


def test_it_is_interrupted_when_asked(unsafe: bool) -> None:
    heard: list[bytes] = []
    verdict = run(
        b"import time; print('begun', flush=True); time.sleep(10**6)",
        policy=Policy(unsafe=unsafe, wall_s=10**6),
        listener=lambda _, chunk: heard.append(chunk),
        interrupted=lambda: bool(heard),
    )
    assert verdict.outcome == "interrupted"


def test_it_may_be_interrupted_before_it_began(unsafe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.sandbox.watch._TICK_S", 0.0)
    endless = b"import time; time.sleep(10**6)"
    assert run(endless, policy=Policy(unsafe=unsafe), interrupted=lambda: True).outcome == "interrupted"


def test_processor_time_of_all_its_processes_is_known() -> None:
    burn = "import os, time\nif os.fork() == 0:\n    while time.process_time() < 0.4: pass\n    os._exit(0)\nos.wait()"
    verdict = ran(burn)
    assert verdict.passed and verdict.cpu_s > 0.4


def test_processor_time_decides_even_where_nobody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.sandbox.watch._TICK_S", 60.0)
    verdict = ran("import time\nwhile time.process_time() < 0.5: pass", cpu_s=0.2)
    assert verdict.outcome == "cpu time"


def test_the_kernels_limit_on_processor_time_is_the_same_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.sandbox.interpreter._LATE_S", -29)  # as on a busy machine, it comes first
    assert ran("while True: pass", cpu_s=30.0).outcome == "cpu time"


def test_a_program_cannot_talk_its_failure_into_a_pass_or_break_the_judge(unsafe: bool) -> None:
    forge = "import os\nfor fd in range(3, 99):\n    try: os.write(fd, {!r} * 9)\n    except OSError: pass\n"
    for words in (b"passed\0\0\0", b"\0" * 2000, b"\xff\0" + "\u00b2".encode() * 9 + b"\0\xb2\0\x1b[2J", b"x" * 9000):
        verdict = ran(forge.format(words) + "1 / 0", unsafe=unsafe)
        assert not verdict.passed and "\x1b" not in verdict.detail and len(verdict.detail) < 300


def test_what_a_child_dies_of_is_not_what_the_program_died_of(unsafe: bool) -> None:
    verdict = ran("import os\nif os.fork() == 0:\n    1 / 0\nos.wait()", unsafe=unsafe)
    assert verdict.passed and b"ZeroDivisionError" in verdict.stderr


def test_packages_and_helpers_of_the_interpreter_are_there() -> None:
    verdict = ran("import numpy; print(numpy.arange(3).sum()); help; exit()")
    assert (verdict.outcome, verdict.stdout) == ("passed", b"3\n"), verdict


def test_ordinary_programs_with_threads_processes_and_files_work() -> None:
    source = """
import asyncio, concurrent.futures, multiprocessing, pathlib, subprocess, sys, tempfile
if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(sum(pool.map(abs, range(-3, 3))))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(abs, [-1, -2]))
    asyncio.run(asyncio.sleep(0.01))
    print(subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, text=True).stdout)
    pathlib.Path("mine.txt").write_text("mine")
    print(pathlib.Path("mine.txt").read_text(), tempfile.mkdtemp()[:5], pathlib.Path.home())
"""
    verdict = ran(source)
    assert verdict.stdout.decode().split() == ["9", "[1,", "2]", "7", "mine", "/tmp/", "/home"], verdict.stderr


def test_sockets_of_its_own_work() -> None:
    source = """
import asyncio, multiprocessing, os, socket
from concurrent.futures import ProcessPoolExecutor
async def served():
    done = asyncio.Event()
    async def answer(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close(); done.set()
    async with await asyncio.start_unix_server(answer, "here"):
        reader, writer = await asyncio.open_unix_connection("here")
        writer.write(b"heard\\n")
        print((await reader.readline()).decode().strip())
        writer.close()
        await done.wait()
if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        table = manager.dict(a=1)
        print(dict(table))
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool:
        print(pool.submit(abs, -5).result())
    asyncio.run(served())
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.send(b"datagram")
    print(other.recv(9))
"""
    assert ran(source).stdout.decode().splitlines() == ["{'a': 1}", "5", "heard", "b'datagram'"]


def test_modes_without_special_bits_are_as_given() -> None:
    source = """
import os
os.umask(0)
os.mkdir("folder", 0o751)
os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o642))
os.mkfifo("pipe", 0o604)
print([oct(os.stat(name).st_mode & 0o7777) for name in ("folder", "file", "pipe")])
os.chmod("file", 0o100755)
os.close(os.open("file", os.O_RDONLY, 0o4755))
print(oct(os.stat("file").st_mode & 0o7777))
"""
    assert ran(source).stdout == b"['0o751', '0o642', '0o604']\n0o755\n"


def test_named_files_can_be_read_and_written_by_their_path(
    outside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = Path(outside["OUTSIDE"]), Path(outside["WRITABLE"])
    verdict = ran(f"print(open('{read}/note').read())", read=(read,))
    assert verdict.stdout == b"a note\n", verdict
    verdict = ran(f"open('{write}/made', 'w').write('made')", write=(write,))
    assert verdict.passed and (write / "made").read_text() == "made"
    monkeypatch.chdir(read)
    verdict = ran("print(open('note').read(), open('../read/note').read())", read=(Path("note"), Path("../read/note")))
    assert verdict.stdout == b"a note a note\n", verdict


def test_the_network_is_reached_where_it_is_allowed(outside: dict[str, str]) -> None:
    reach = f"import socket; socket.create_connection(('127.0.0.1', {outside['PORT4']}), 2); print('reached')"
    assert ran(reach, network=True).stdout == b"reached\n"
    assert ran(reach).outcome == "denied"


def test_a_fork_bomb(trying: Attempt) -> None:
    gate = next(attack for attack in ATTACKS if attack.name == "fork sixty times")
    held, seen = trying(gate)
    if not held:
        pytest.fail(f"sixty forks were not stopped, so no bomb is tried: {seen}")
    verdict = ran("import os\nwhile True:\n    os.fork()", processes=32, cpu_s=2)
    assert verdict.outcome == "processes"
    deaf = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    verdict = ran(deaf, processes=32, cpu_s=1)
    assert verdict.outcome == "cpu time"


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bubblewrap, "_WHERE", str(tmp_path))
    with pytest.raises(SandboxError, match="bubblewrap is not installed"):
        ran("pass")
    assert ran("pass", unsafe=True).passed


def test_a_sandbox_that_does_not_start_is_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: \033No permissions' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setattr(bubblewrap, "_WHERE", str(tmp_path))
    with pytest.raises(SandboxError, match=r"bwrap: \\x1bNo permissions"):
        ran("pass")
    with pytest.raises(SandboxError):
        ran("pass", read=(Path("/nothing/here"),))

"""`cgcli serve`, and the commands that use it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgcli.serve.places import Place, listen, make_private, places
from tests.cli.test_imports import imported
from tests.support.cli import run
from tests.support.patience import PATIENCE_S, eventually
from tests.support.process import CGCLI, Ran
from tests.support.serving import server_process, server_thread

GEN = ["gen", "a function that adds two numbers", "--seed", "3", "--exact", "--max-tokens", "60"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, bundled_model: Path) -> Iterator[Path]:
    """A home in which a server of codegen-nano runs, with --exact."""
    home = tmp_path_factory.mktemp("home")
    with server_process(home, "-m", str(bundled_model), "--exact"):
        yield home


@pytest.fixture
def model(bundled_model: Path) -> list[str]:
    return ["-m", str(bundled_model)]


def both(home: Path, *arguments: str, **more: Any) -> tuple[Ran, Ran]:
    """With the server, which must be used, and without."""
    served = run(*arguments, "-v", CGCLI_HOME=str(home), **more)
    assert "the server has the model loaded" in served.err
    alone = run(*arguments, "--no-serve", CGCLI_HOME=str(home), **more)
    assert "the server has the model loaded" not in alone.err
    return served, alone


@pytest.mark.parametrize(
    "more",
    [[], ["-n", "3"], ["--raw"], ["print it", "--stop", "\n\n"], ["-t", "0.9", "--guard", "off"]],
    ids=" ".join,
)
def test_a_program_is_the_one_without_a_server(home: Path, model: list[str], more: list[str]) -> None:
    served, alone = both(home, *GEN, *model, *more)
    assert (served.status, served.out) == (alone.status, alone.out)
    assert served.out


def test_the_json_is_the_one_without_a_server_but_for_times(home: Path, model: list[str]) -> None:
    served, alone = (json.loads(one.out) for one in both(home, *GEN, *model, "-n", "2", "--json"))
    times, theirs = served.pop("timings"), alone.pop("timings")
    assert served == alone
    assert times.keys() == theirs.keys()
    assert times["decode_s"] > 0 and times["load_s"] < theirs["load_s"]


def test_a_program_is_continued(home: Path, model: list[str]) -> None:
    program = b"def double(x):\n    return 2 * x\n\n\n" * 9
    served, alone = both(home, *GEN, *model, stdin=program)
    assert served.out == alone.out


def test_a_program_is_read_once(home: Path, model: list[str]) -> None:
    """Even if another one was read meanwhile, and with room for one of them in the cache."""
    programs = [f"def {name}(x):\n    return x * 2\n\n\n".encode() * 60 for name in ("alpha", "beta")]

    def read(program: bytes) -> int:
        before = status(home)["prefill_tokens"]
        assert run(*GEN, *model, "--max-tokens", "5", CGCLI_HOME=str(home), stdin=program).status == 0
        return int(status(home)["prefill_tokens"] - before)

    first = [read(program) for program in programs]
    again = [read(program) for program in programs]
    assert min(first) > 600
    assert max(again) < 40


def status(home: Path) -> Any:
    (found,) = json.loads(run("serve", "--status", "--json", CGCLI_HOME=str(home)).out)
    return found


def test_a_score_is_the_one_without_a_server(home: Path, model: list[str], tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text("# add\ndef add(a, b):\n    return a + b\n")
    arguments = ["score", str(tmp_path / "prog.py"), *model]
    served = run(*arguments, "--json", CGCLI_HOME=str(home), CGCLI_EXACT="1")
    alone = run(*arguments, "--json", "--no-serve", CGCLI_HOME=str(home), CGCLI_EXACT="1")
    assert json.loads(served.out) == json.loads(alone.out)


def test_a_repl_draws_with_the_server(home: Path, model: list[str]) -> None:
    script = b"a function that adds\n/retry\nprint it\n"
    served, alone = both(home, "repl", *model, "--exact", "--seed", "5", "--max-tokens", "30", stdin=script)
    assert served.out == alone.out
    assert served.out.count(b"# ") >= 2


def test_other_settings_do_not_use_it(home: Path, model: list[str]) -> None:
    for other in (["--ctx", "512"], ["--threads", "1"], ["--draft", "off"]):
        assert "the server has the model loaded" not in run(*GEN, *model, *other, "-v", CGCLI_HOME=str(home)).err
    assert "the server has the model loaded" not in run(*GEN, *model, "-v", CGCLI_HOME=str(home), CGCLI_SERVE="off").err


def test_there_is_one_server_for_a_model_and_settings(home: Path, model: list[str]) -> None:
    second = run("serve", *model, "--exact", CGCLI_HOME=str(home))
    assert second.status == 1
    assert second.err.endswith("and these settings runs already; to stop it: cgcli serve --stop\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--status", "--stop"), "--status and --stop exclude each other"),
        (("--json",), "--json needs --status"),
        (("--host", "0.0.0.0"), "--host and --api-key-file are for HTTP, so they need --port N"),
        (("--port", "65536"), "--port 65536 is too high: ports end at 65535"),
    ],
)
def test_options_without_sense_are_refused(arguments: tuple[str, ...], error: str, tmp_path: Path) -> None:
    refused = run("serve", *arguments, CGCLI_HOME=str(tmp_path))
    assert (refused.status, refused.err) == (2, f"cgcli: {error}; type: cgcli serve --help\n")


def test_the_status_tells_what_runs(home: Path, bundled_model: Path) -> None:
    shown = json.loads(run("serve", "--status", "--json", CGCLI_HOME=str(home)).out)
    assert [(one["model"], one["exact"]) for one in shown] == [(str(bundled_model), True)]
    assert str(shown[0]["pid"]).encode() in run("serve", "--status", CGCLI_HOME=str(home)).out


def test_only_the_user_can_open_the_folder_and_the_socket(home: Path) -> None:
    (place,) = places(home / "run")
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert place.socket.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect(home: Path) -> None:
    (place,) = places(home / "run")
    connect = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1]); print(s.recv(99))"
    )
    command = [sys.executable, "-c", connect, str(place.socket)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "PermissionError" in refused.stderr
    # Not even through a folder and a socket that somebody has opened.
    opened = [*place.socket.parents[: len(place.socket.parts) - 2], place.socket]
    modes = {path: path.stat().st_mode for path in opened if path.stat().st_uid == 0 and path != Path("/tmp")}
    try:
        for path in modes:
            path.chmod(0o777)
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        for path, mode in modes.items():
            path.chmod(mode & 0o7777)
    assert found.stdout == "b''\n", found.stderr


def test_ctrl_c_keeps_the_text_and_the_server(home: Path, model: list[str]) -> None:
    """Here nothing is cut, so what is on stdout is all that was drawn."""
    command = [*CGCLI, "gen", "--raw", "x = 1\n", *model, "--exact", "--seed", "3", "--max-tokens", "1800"]
    environment = {**os.environ, "CGCLI_HOME": str(home)}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    assert process.stdout
    begun = os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert len(begun + rest) > 1

    eventually(lambda: status(home)["streams"] == 0, "the server draws on")


def test_a_server_with_too_many_requests_is_not_waited_for(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_thread(tiny_model, tmp_path / "run") as there:
        monkeypatch.setattr("cgcli.app.serve._place", lambda *_: there.place)
        arguments = ["gen", "x", "-m", str(tiny_model), "--max-tokens", "3", "--guard", "off", "-v"]
        assert "the server has the model loaded" in run(*arguments, CGCLI_HOME=str(tmp_path)).err
        monkeypatch.setattr("cgcli.serve.decoder._MOST_WAITING", -16)
        own = run(*arguments, CGCLI_HOME=str(tmp_path))
    assert "the server has too many requests; loading the model in this process" in own.err
    assert "loaded in" in own.err


def test_a_server_of_another_version_is_named_with_v(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_thread(tiny_model, tmp_path / "run") as there:
        monkeypatch.setattr("cgcli.app.serve._place", lambda *_: there.place)
        greeting = there.server.unix._greeting()
        monkeypatch.setattr(there.server.unix, "_greeting", lambda: replace(greeting, version="9.9/9"))
        arguments = ["gen", "x", "-m", str(tiny_model), "--max-tokens", "3", "--guard", "off"]
        assert run(*arguments, "-v", CGCLI_HOME=str(tmp_path)).err.count("the server is cgcli 9.9/9, not") == 1
        assert "9.9/9" not in run(*arguments, CGCLI_HOME=str(tmp_path)).err


def test_a_served_command_does_not_import_the_engine(
    home: Path, model: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CGCLI_HOME", str(home))
    modules = imported("gen", "x", *model, "--exact", "--max-tokens", "2", "--seed", "1", "-q")
    assert "cgcli.serve.client" in modules
    assert not modules & {"cgcli.engine.engine", "cgcli.engine.binding", "asyncio", "numpy"}


def test_a_killed_server_is_replaced_by_an_engine_of_ones_own(tmp_path: Path, model: list[str]) -> None:
    with server_process(tmp_path, *model, "--exact") as server:
        server.kill()
        server.wait()
        (place,) = places(tmp_path / "run")
        assert place.socket.exists()
        alone = run(*GEN, *model, "-v", CGCLI_HOME=str(tmp_path))
    assert alone.status == 0 and alone.out
    assert "no server is used: nothing answers at" in alone.err
    with server_process(tmp_path, *model, "--exact"):  # a new one takes the place
        assert "the server has the model loaded" in run(*GEN, *model, "-v", CGCLI_HOME=str(tmp_path)).err
    assert not place.socket.exists()


def test_a_server_that_is_killed_meanwhile_is_replaced_too(tmp_path: Path, model: list[str]) -> None:
    arguments = ["gen", "--raw", "x = 1\n", *model, "--exact", "--seed", "3", "--max-tokens", "400", "--no-stdin"]
    with server_process(tmp_path, *model, "--exact") as server:
        environment = {**os.environ, "CGCLI_HOME": str(tmp_path)}
        process = subprocess.Popen(
            [*CGCLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        assert process.stdout
        begun = os.read(process.stdout.fileno(), 1)
        server.kill()
        rest, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert b"the server has stopped; loading the model in this process" in said
    assert begun + rest == run(*arguments, "--no-serve").out


def test_stop_ends_it(tmp_path: Path, model: list[str]) -> None:
    with server_process(tmp_path, *model) as server:
        assert "stopped 1 server" in run("serve", "--stop", CGCLI_HOME=str(tmp_path)).err
        assert server.wait(PATIENCE_S) == 0
    for option in ("--stop", "--status"):
        none = run("serve", option, CGCLI_HOME=str(tmp_path))
        assert (none.status, none.out, none.err) == (0, b"", "no server is running\n")


@pytest.mark.parametrize("waiting", [0, 1], ids=["as the first", "behind others"])
@pytest.mark.parametrize("what", ["--status", "--stop"])
def test_a_server_that_does_not_answer_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, waiting: int
) -> None:
    """As when it is suspended. The socket of this test stands for it: nobody accepts its connections."""
    monkeypatch.setattr("cgcli.serve.client._PATIENCE_S", 0.05)
    make_private(tmp_path / "run")
    place = Place(tmp_path / "run", "suspended")
    with ExitStack() as opened:
        opened.enter_context(listen(place.socket)).listen(0)
        for _ in range(waiting):
            other = opened.enter_context(socket.socket(socket.AF_UNIX))
            other.connect(str(place.socket))
        told = run("serve", what, CGCLI_HOME=str(tmp_path))
    who = "a server" if waiting else f"the server with PID {os.getpid()}"
    assert (told.status, told.out) == (1, b"")
    assert f"{who} does not answer" in told.err
    assert "no server is running" not in told.err


def test_an_idle_server_ends(tmp_path: Path, model: list[str]) -> None:
    with server_process(tmp_path, *model, "--idle", "0.2s") as server:
        assert server.wait(PATIENCE_S) == 0
    assert places(tmp_path / "run") == []


def test_a_wrong_idle_time_is_refused(model: list[str]) -> None:
    refused = run("serve", *model, "--idle", "soon")
    assert refused.status == 2
    assert "--idle is 'soon', not a time such as 90s, 10m or 2h" in refused.err


def test_a_warm_gen_leaves_a_server(tmp_path: Path, model: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    arguments = ["gen", "x", *model, "--max-tokens", "2", "--seed", "1"]
    warm: dict[str, Any] = {"CGCLI_HOME": str(tmp_path), "CGCLI_WARM": "10m"}
    run(*arguments, **warm)
    monkeypatch.delenv("CI")
    assert not (tmp_path / "run").exists()  # none where CI is set
    assert "a server keeps the model ready for 10m" in run(*arguments, "-v", **warm).err
    try:
        eventually(lambda: "the server has the model loaded" in run(*arguments, "-v", **warm).err, "no server")
        process = status(tmp_path)["pid"]
        assert os.getsid(process) == process  # a session of its own
    finally:
        run("serve", "--stop", **warm)


def test_a_deep_home_has_a_socket_too(tmp_path: Path, model: list[str]) -> None:
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    with server_process(deep, *model, "--exact"):
        assert "the server has the model loaded" in run(*GEN, *model, "-v", CGCLI_HOME=str(deep)).err


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, model: list[str]) -> None:
    """A link stands for it here."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    refused = run("serve", *model, CGCLI_HOME=str(tmp_path))
    assert refused.status == 1
    assert "belongs to another user" in refused.err
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "elsewhere" / "x.sock"))
        assert run(*GEN, *model, CGCLI_HOME=str(tmp_path)).status == 0

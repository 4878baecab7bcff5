"""Text as it comes from other programs: byte order marks, CRLF, bytes that are no text, and files that change."""

from __future__ import annotations

import fcntl
import io
import json
import os
import threading
from pathlib import Path

import pytest

from cgcli.app.streams import Encoder, FileSink, NullSink
from cgcli.core.errors import CgcliError
from cgcli.core.files import write_atomic
from cgcli.terminal.output import Output
from tests.support.cli import run
from tests.support.process import Ran

BOM = b"\xef\xbb\xbf"
HOW = ("--seed", "3", "--max-tokens", "8", "-t", "1", "--guard", "off")


def gen(*arguments: str, model: Path, stdin: bytes = b"") -> Ran:
    return run("gen", "-m", str(model), *HOW, *arguments, stdin=stdin)


def windows(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


class TestLineEnds:
    """What comes for a program with CRLF and a byte order mark is what comes for the plain one, in the same form."""

    PLAIN = b"# first\nx = 1\n"

    def added(self, model: Path) -> bytes:
        ran = gen("print x", model=model, stdin=self.PLAIN)
        assert (ran.status, ran.out.startswith(b"\n# print x\n")) == (0, True), ran.err
        return ran.out

    @pytest.mark.parametrize("mark", [b"", BOM])
    def test_into_keeps_them(self, tiny_model: Path, tmp_path: Path, mark: bytes) -> None:
        file = tmp_path / "x.py"
        file.write_bytes(mark + windows(self.PLAIN))
        assert gen("--into", str(file), "print x", model=tiny_model).status == 0
        assert file.read_bytes() == mark + windows(self.PLAIN + self.added(tiny_model))

    def test_a_pipe_keeps_them(self, tiny_model: Path, tmp_path: Path) -> None:
        before = BOM + windows(self.PLAIN)
        new = gen("print x", model=tiny_model, stdin=before)
        assert new.out == windows(self.added(tiny_model))
        assert gen("--whole", "print x", model=tiny_model, stdin=before).out == before + new.out
        assert gen("--whole", "print x", "-o", str(tmp_path / "x.py"), model=tiny_model, stdin=before).status == 0
        assert (tmp_path / "x.py").read_bytes() == before + new.out

    def test_mixed_ones_stay_and_new_ones_are_as_most_are(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        for before, line_end in ((b"a = 1\r\nb = 2\nc = 3\r\n", b"\r\n"), (b"a = 1\r\nb = 2\nc = '\r'\n", b"\n")):
            file.write_bytes(before)
            assert gen("--into", str(file), "print x", model=tiny_model).status == 0
            assert file.read_bytes().startswith(before + line_end + b"# print x" + line_end)
            assert gen("--whole", "print x", model=tiny_model, stdin=before).out == file.read_bytes()

    def test_the_last_line_is_ended_as_the_others_are(self, tiny_model: Path) -> None:
        assert gen("b", model=tiny_model, stdin=b"x = 1\r\ny = 2").out.startswith(b"\r\n\r\n# b\r\n")

    def test_raw_takes_the_bytes_as_they_are(self, tiny_model: Path) -> None:
        before = BOM + b"x = 1\r\n"
        ran = gen("--raw", "--whole", "y = ", model=tiny_model, stdin=before)
        assert ran.out.startswith(before + b"y = ") and b"\r" not in ran.out[len(before) :]

    def test_a_prefix_is_read_like_a_file(self, tiny_model: Path) -> None:
        plain = gen("--prefix", "import sys\n", "a", model=tiny_model)
        assert gen("--prefix", "\ufeffimport sys\r\n", "a", model=tiny_model).out == plain.out
        script = run("repl", "-m", str(tiny_model), stdin=b"/show\n", CGCLI_PREFIX="\ufeffimport sys\r\n")
        assert script.out == b"import sys\n"

    def test_a_byte_order_mark_alone_is_no_program(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        file.write_bytes(BOM)
        assert gen("--into", str(file), model=tiny_model).status == 2
        assert gen("--into", str(file), "a", model=tiny_model).status == 0
        assert file.read_bytes().startswith(BOM + b"#!/usr/bin/env python3\n\n# a\n")

    def test_score_reads_what_gen_reads(self, tiny_model: Path, tmp_path: Path) -> None:
        plain = b"# a\nx = 1\n\n# b\ny = 2\n"
        (tmp_path / "x.py").write_bytes(BOM + windows(plain))
        of_file = run("score", "-m", str(tiny_model), "--json", str(tmp_path / "x.py"))
        scored = json.loads(run("score", "-m", str(tiny_model), "--json", "-", stdin=plain).out)
        assert json.loads(of_file.out)["turns"] == scored["turns"] != []
        assert json.loads(of_file.out)["perplexity"] == scored["perplexity"]

    @pytest.mark.parametrize("data", [b"# caf\xe9\nx = '\xff'\n\n# b\ny = 2\n", b"x = 1\x00\n# a\n"])
    def test_score_takes_any_bytes(self, tiny_model: Path, data: bytes) -> None:
        ran = run("score", "-m", str(tiny_model), "-", stdin=data)
        assert ran.status == 0, ran.err


class TestPrompts:
    def prompts(self, ran: Ran) -> list[str]:
        assert ran.status == 0, ran.err
        return [turn["prompt"] for turn in json.loads(ran.out)["turns"]]

    def test_a_file_of_prompts_is_split_at_line_ends_only(self, tiny_model: Path, tmp_path: Path) -> None:
        file, text = tmp_path / "prompts", "set\x0cx\x0bto\x1c1\x85and\u2028so on"
        file.write_bytes(BOM + f"{text}\r\n\r\n b \nc".encode())
        assert self.prompts(gen("--json", "a", "-f", str(file), model=tiny_model)) == ["a", text, "b", "c"]
        assert self.prompts(gen("--json", "-f", "-", model=tiny_model, stdin=file.read_bytes())) == [text, "b", "c"]
        out = gen("-f", str(file), model=tiny_model).out
        assert b"# set\x0cx\x0bto\x1c1\n# and\n# so on\n" in out  # what ends a comment somewhere ends it here

    @pytest.mark.parametrize(("bad", "why"), [(b"caf\xe9", "is not UTF-8"), (b"a\0b", "contains a NUL character")])
    def test_what_is_no_text_is_refused_by_file_and_line(
        self, tiny_model: Path, tmp_path: Path, bad: bytes, why: str
    ) -> None:
        file = tmp_path / "prompts"
        file.write_bytes(b"a\n\n" + bad + b"\n")
        ran = gen("-f", str(file), model=tiny_model)
        assert (ran.status, ran.out) == (2, b"") and f"{file}, line 3 {why}" in ran.err and ran.err.count("\n") == 1
        ran = gen("-f", "-", model=tiny_model, stdin=file.read_bytes())
        assert ran.status == 2 and f"stdin, line 3 {why}" in ran.err
        assert gen("--raw", "-f", str(file), model=tiny_model).out.startswith(b"a")
        script = run("repl", "-m", str(tiny_model), stdin=b"\n" + bad + b"\n/show\n")
        assert (script.status, script.out) == (2, b"#!/usr/bin/env python3\n\n")
        assert f"line 2: the prompt {why}" in script.err

    def test_a_script_with_a_byte_order_mark_and_crlf(self, tiny_model: Path) -> None:
        plain = run("repl", "-m", str(tiny_model), stdin=b"set x\n/show\n", CGCLI_SEED="1", CGCLI_GUARD="off")
        marked = run(
            "repl", "-m", str(tiny_model), stdin=BOM + b"set x\r\n/show\r\n", CGCLI_SEED="1", CGCLI_GUARD="off"
        )
        assert (marked.status, marked.out) == (0, plain.out) and b"\n# set x\n" in plain.out
        command = run("repl", "-m", str(tiny_model), stdin=BOM + b"/help\n")
        assert (command.status, command.out) == (0, b"#!/usr/bin/env python3\n\n")

    def test_utf_16_is_not_utf_8(self, tiny_model: Path, tmp_path: Path) -> None:
        (tmp_path / "prompts").write_text("set x\n", "utf-16")
        ran = gen("-f", str(tmp_path / "prompts"), model=tiny_model)
        assert ran.status == 2 and "line 1 is not UTF-8; save it as UTF-8" in ran.err

    def test_a_prompt_given_with_a_byte_order_mark(self, tiny_model: Path) -> None:
        assert gen("\ufeffset x", model=tiny_model).out == gen("set x", model=tiny_model).out


class TestRepl:
    def test_save_keeps_line_ends_and_byte_order_mark(self, tiny_model: Path, tmp_path: Path) -> None:
        file, before = tmp_path / "x.py", BOM + b"x = 1\r\ny = 2\nz = 3\r\n"
        file.write_bytes(before)
        one = ("repl", "-m", str(tiny_model), str(file))
        ran = run(*one, stdin=f"print x\n/save\n/save {tmp_path}/copy.py\n".encode(), CGCLI_SEED="1", CGCLI_GUARD="off")
        assert ran.status == 0, ran.err
        saved = file.read_bytes()
        assert saved.startswith(before + b"\r\n# print x\r\n") and saved.count(b"\n") == saved.count(b"\r\n") + 1
        assert (tmp_path / "copy.py").read_bytes() == saved == ran.out
        resumed = run(*one, stdin=b"/save\nprint y\n/save\n", CGCLI_SEED="1", CGCLI_GUARD="off")
        assert resumed.status == 0 and "session" not in resumed.err  # its journal goes on
        assert file.read_bytes().startswith(saved + b"\r\n# print y\r\n")

    def test_another_form_of_the_same_text_is_not_a_change(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        assert (
            run("repl", "-m", str(tiny_model), stdin=f"print x\n/save {file}\n".encode(), CGCLI_GUARD="off").status == 0
        )
        file.write_bytes(BOM + windows(file.read_bytes()))
        again = run("repl", "-m", str(tiny_model), str(file), stdin=b"/drop 1\n/save\n")
        assert again.status == 0, again.err
        assert file.read_bytes() == BOM + b"#!/usr/bin/env python3\r\n\r\n"


class TestCodingDeclaration:
    @pytest.mark.parametrize(
        "prompt", ["print text in encoding: base64", "first\ncoding=nothing", "coding: latin-1", "\tcoding: x"]
    )
    def test_a_prompt_is_none(self, tiny_model: Path, prompt: str) -> None:
        ran = gen("--prefix", "", prompt, model=tiny_model)
        assert ran.status == 0, ran.err
        assert ran.out.startswith(b"\n\n# " + prompt.encode().replace(b"\n", b"\n# ").replace(b"# \t", b"# \t"))

    def test_others_stand_in_the_first_line(self, tiny_model: Path) -> None:
        assert gen("--prefix", "", "an encoder: base64", model=tiny_model).out.startswith(b"# an encoder")
        code = ("--lang", "c", "--prefix", "")
        assert gen(*code, "use encoding: base64", model=tiny_model).out.startswith(b"// use encoding")

    def test_a_program_that_declares_a_wrong_one_does_not_parse(self, tiny_model: Path, tmp_path: Path) -> None:
        (tmp_path / "x.py").write_bytes(b"# coding: base64\n")
        ran = run("repl", "-m", str(tiny_model), str(tmp_path / "x.py"), stdin=b"/save\n")
        assert "not valid Python" in ran.err
        (tmp_path / "y.py").write_bytes(b"# coding: latin-1\nx = 'caf\xe9'\n")
        ran = run("repl", "-m", str(tiny_model), str(tmp_path / "y.py"), stdin=b"/save\n")
        assert "not valid Python" not in ran.err


class TestTwoAtOnce:
    @pytest.mark.parametrize("before", [b"x = 1\n", None])
    def test_every_turn_that_ended_well_is_in_the_file(self, tmp_path: Path, before: bytes | None) -> None:
        """Those that come late fail, and their text is on stdout. before: as for --into; None: as for -o."""
        file, writers = tmp_path / "x.py", 6

        def write(number: int, barrier: threading.Barrier, lost: list[bytes]) -> None:
            out, text = io.BytesIO(), f"# print {number}\n"
            sink = FileSink(file, NullSink(), Output(out, io.StringIO(), {}), Encoder(), before=before)
            sink.write(text)
            barrier.wait()
            try:
                sink.close()
            except CgcliError:
                lost.append(out.getvalue())
                assert out.getvalue() == text.encode()

        for _ in range(5):
            file.write_bytes(b"x = 1\n")
            barrier, lost = threading.Barrier(writers), list[bytes]()
            each = [threading.Thread(target=write, args=(number, barrier, lost)) for number in range(writers)]
            for thread in each:
                thread.start()
            for thread in each:
                thread.join()
            assert file.read_bytes().count(b"# print") == writers - len(lost) == 1
            assert all(file.read_bytes().find(text) < 0 for text in lost)

    @pytest.mark.parametrize("option", ["--into", "-o", "/save"])
    def test_nobody_else_of_us_writes_between_the_look_and_the_writing(
        self, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
    ) -> None:
        file, asked = tmp_path / "x.py", list[bool]()

        def look(path: Path, data: bytes) -> None:
            descriptor = os.open(tmp_path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                asked.append(True)
            else:
                asked.append(False)
            finally:
                os.close(descriptor)
            write_atomic(path, data)

        monkeypatch.setattr("cgcli.repl.commands.files.write_atomic", look)
        monkeypatch.setattr("cgcli.app.streams.write_atomic", look)
        if option == "/save":
            run("repl", "-m", str(tiny_model), stdin=f"/save {file}\n".encode())
        else:
            gen("print x", option, str(file), model=tiny_model)
        assert (asked, file.is_file()) == ([True], True)

    @pytest.mark.parametrize("option", ["--into", "-o"])
    @pytest.mark.parametrize("json", [False, True])
    def test_who_is_late_has_status_1_and_the_text_on_stdout(
        self, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, json: bool
    ) -> None:
        from cgcli.program import session

        file = tmp_path / "x.py"
        file.write_bytes(b"x = 1\n")
        draw = session.Session.add

        def meanwhile(*arguments: object) -> object:
            file.write_bytes(b"y = 2\n")
            return draw(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(session.Session, "add", meanwhile)
        ran = gen("print x", option, str(file), *(["--json"] if json else []), model=tiny_model)
        assert (ran.status, file.read_bytes()) == (1, b"y = 2\n")
        assert f"{file} changed in the meantime; it was not overwritten; the new text is" in ran.err
        assert ran.out.startswith(b"{\n") if json else b"# print x\n" in ran.out
        assert "replaced" not in ran.err and b"\nfile: " not in run("log", "show").out

    def test_an_owner_is_kept(self, tiny_model: Path, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        file = tmp_path / "x.py"
        for arguments in (("--into", str(file)), ("-o", str(file))):
            file.write_bytes(b"x = 1\n")
            os.chown(file, 65534, 65534)
            file.chmod(0o640)
            assert gen("print x", *arguments, model=tiny_model).status == 0
            found = file.stat()
            assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65534, 0o640)

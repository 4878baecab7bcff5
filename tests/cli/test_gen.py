"""`cgcli gen`: both streams and the exit status.

Most run a small random CodeGen: what it writes is noise, what must hold is where it goes, and that what was there and
what is new are the whole. Some need the embedded model.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest

from cgcli.terminal.text import plural
from tests.support.cli import run
from tests.support.patience import PATIENCE_S, children_worked
from tests.support.process import CGCLI, Ran, cgcli

HEAD = "#!/usr/bin/env python3\n\n"


def gen(*arguments: str, model: Path | str | None, stdin: bytes | None = None, **variables: str) -> Ran:
    return run("gen", *(["-m", str(model)] if model else []), *arguments, stdin=stdin, **variables)


GREEDY = ("-t", "0", "--seed", "1")  # the guards' tries are drawn
SHORT = ("--seed", "3", "--max-tokens", "12", "-t", "1", "--guard", "off")


def test_a_program_on_stdout_and_the_facts_on_stderr(tiny_model: Path) -> None:
    ran = gen("sort numbers", *SHORT, model=tiny_model)
    assert ran.status == 0, ran.err
    assert ran.out.startswith(f"{HEAD}# sort numbers\n".encode())
    assert ran.out.endswith(b"\n") and not ran.out.endswith(b"\n\n")
    assert "seed 3" in ran.err and "\x1b" not in ran.err
    assert ran.out == gen("sort numbers", *SHORT, model=tiny_model).out


def test_a_seed_that_was_not_given_is_shown_and_gives_the_same_text(tiny_model: Path) -> None:
    ran = gen("sort", "--max-tokens", "8", "-t", "1", model=tiny_model)
    seed = ran.err.partition("seed ")[2].partition(",")[0]
    assert ran.out == gen("sort", "--max-tokens", "8", "-t", "1", "--seed", seed, model=tiny_model).out


def test_each_argument_and_each_line_of_a_file_is_a_turn(tiny_model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.write_text("second\n\n  third \n")
    ran = gen("first", "-f", str(prompts), *SHORT, model=tiny_model)
    lines = ran.out.decode("utf-8", "replace").splitlines()
    at = [lines.index(f"# {prompt}") for prompt in ("first", "second", "third")]
    assert at == sorted(at) and all(lines[index - 1] == "" for index in at)


def test_only_what_is_new_is_printed_after_a_piped_program(tiny_model: Path) -> None:
    before = b"import sys\r\nname = '\xff'"
    new = gen("go on", *SHORT, model=tiny_model, stdin=before)
    whole = gen("go on", *SHORT, "--whole", model=tiny_model, stdin=before)
    assert new.out.startswith(b"\r\n\r\n# go on\r\n")
    assert before + new.out == whole.out


def test_no_comment_leaves_the_comments_out_of_both(tiny_model: Path) -> None:
    before = b"x = 1\n"
    new = gen("a", "b", "--no-comment", *SHORT, model=tiny_model, stdin=before)
    whole = gen("a", "b", "--no-comment", "--whole", *SHORT, model=tiny_model, stdin=before)
    assert before + new.out == whole.out and b"# a\n" not in whole.out


@pytest.mark.parametrize(
    "before", [b"\xf5\x80\x80\x80", b"x = '\xf4\x90\x80\x80'\n", bytes(range(256)), b"\xed\xa0\x80"]
)
def test_any_bytes_can_be_the_program(tiny_model: Path, before: bytes) -> None:
    """llama.cpp's tokenizer ends the process on code points that Unicode does not have."""
    for arguments in (("go on",), ("--raw",)):
        new = gen(*arguments, *SHORT, model=tiny_model, stdin=before)
        whole = gen(*arguments, "--whole", *SHORT, model=tiny_model, stdin=before)
        assert new.status == whole.status == 0, new.err
        assert before + new.out == whole.out


def test_o_does_not_leave_a_fragment_of_the_program_that_was_read(tiny_model: Path, tmp_path: Path) -> None:
    program = tmp_path / "prog.py"
    program.write_text("x = 1\n")
    ran = gen("y", "-o", str(program), *SHORT, model=tiny_model, stdin=program.read_bytes())
    assert ran.status == 2 and "--into" in ran.err and program.read_text() == "x = 1\n"
    ran = gen("y", "-o", str(program), "--whole", *SHORT, model=tiny_model, stdin=program.read_bytes())
    assert ran.status == 0 and program.read_text().startswith("x = 1\n\n# y\n")


def test_a_pipe_that_gives_nothing_is_named(tiny_model: Path) -> None:
    command = [*CGCLI, "gen", "x", "-m", str(tiny_model), *SHORT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stderr and process.stderr.readline().startswith(b"waiting for the program so far on stdin")
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_without_a_prompt_stdin_is_continued_as_it_is(tiny_model: Path) -> None:
    before = b"def add(a, b):\n    "
    ran = gen("--whole", *SHORT, model=tiny_model, stdin=before)
    assert ran.status == 0 and ran.out.startswith(before)


def test_raw_adds_nothing_and_cuts_nothing(tiny_model: Path) -> None:
    ran = gen(
        "--raw",
        "--whole",
        "--seed",
        "3",
        "-t",
        "1",
        "--max-tokens",
        "40",
        "--json",
        model=tiny_model,
        stdin=b"print(1)\n",
    )
    turn = json.loads(ran.out)["turns"][0]
    assert turn["prompt"] is None and turn["candidates"][0]["tokens"] == 40
    raw = gen("--raw", "--whole", "--seed", "3", "-t", "1", "--max-tokens", "40", model=tiny_model, stdin=b"print(1)\n")
    assert raw.out.decode() == "print(1)\n" + turn["completion"]


def test_redirection_appends_to_the_file_that_is_read(tiny_model: Path, tmp_path: Path) -> None:
    program = tmp_path / "prog.py"
    program.write_text("x = 1\n")
    command = f"cat {program} | {' '.join(CGCLI)} gen more -m {tiny_model} {' '.join(SHORT)} >> {program}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert program.read_text().startswith("x = 1\n\n# more\n")


def test_a_closed_pipe_ends_quietly(tiny_model: Path) -> None:
    command = f"{' '.join(CGCLI)} gen a b c d -m {tiny_model} {' '.join(SHORT)} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"#!/usr/bin/env python3\n")
    assert b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr


def test_into_adds_the_turn_to_the_file_and_prints_nothing(tiny_model: Path, tmp_path: Path) -> None:
    program = tmp_path / "prog.py"
    program.write_text("x = 1\n")
    program.chmod(0o755)
    first = gen("--into", str(program), "one", *SHORT, model=tiny_model)
    assert (first.status, first.out) == (0, b"")
    assert program.read_text().startswith("x = 1\n\n# one\n") and program.stat().st_mode & 0o777 == 0o755
    fresh = tmp_path / "new.js"
    assert gen("--into", str(fresh), "one", *SHORT, model=tiny_model).status == 0
    assert fresh.read_text().startswith("// one\n")


def test_into_adds_to_no_data(tiny_model: Path, tmp_path: Path) -> None:
    data, empty, plain = tmp_path / "data.csv", tmp_path / "new.csv", tmp_path / "plain"
    data.write_text("1,2\n")
    plain.write_text("x = 1\n")
    empty.touch()
    ran = gen("--into", str(data), "one", *SHORT, model=tiny_model)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, b"", 1) and data.read_text() == "1,2\n"
    assert f"--read {data}" in ran.err and "--lang python" in ran.err
    for words in ((data, "--lang", "python"), (empty,), (plain,)):
        assert gen("--into", *map(str, words), "one", *SHORT, model=tiny_model).status == 0
        assert "# one\n" in words[0].read_text()


def test_output_goes_to_the_file_alone(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.py"
    ran = gen("-o", str(target), "one", *SHORT, model=tiny_model)
    assert (ran.status, ran.out) == (0, b"") and target.read_bytes() == gen("one", *SHORT, model=tiny_model).out
    assert {*tmp_path.iterdir()} == {target, tmp_path / "home"}  # the log is in there


def test_a_file_that_cannot_be_written_is_found_out_before_the_model_runs(tiny_model: Path, tmp_path: Path) -> None:
    ran = gen("-o", str(tmp_path), "one", model=tiny_model)
    assert ran.status == 1 and ran.out == b"" and "it is a folder" in ran.err and ran.err.count("\n") == 1


def test_a_folder_that_is_not_there_is_not_made(tiny_model: Path, tmp_path: Path) -> None:
    ran = gen("x", "-o", str(tmp_path / "no" / "x.py"), model=tiny_model)
    assert (ran.status, (tmp_path / "no").exists()) == (1, False)
    assert ran.err.endswith(f"{tmp_path / 'no'} does not exist; create it: mkdir -p {tmp_path / 'no'}\n")


def test_a_prompt_that_is_no_text_is_refused(tiny_model: Path) -> None:
    ran = gen("x", "caf\udce9", model=tiny_model)
    assert (ran.status, ran.out) == (2, b"") and "prompt 2 is not UTF-8" in ran.err
    assert gen("--raw", "caf\udce9", *SHORT, model=tiny_model).status == 0


def test_json_goes_to_a_file_that_is_checked_first(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "facts.json"
    ran = gen("one", "--json", "-o", str(target), *SHORT, model=tiny_model)
    assert (ran.status, ran.out) == (0, b"") and json.loads(target.read_bytes())["seed"] == 3
    ran = gen("one", "--json", "-o", str(tmp_path), *SHORT, model=tiny_model)
    assert ran.status == 1 and ran.err.count("\n") == 1


def test_a_pipe_is_written_to_and_not_replaced(tiny_model: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        ran = gen("one", "-o", str(pipe), *SHORT, model=tiny_model)
        assert reader.stdout and reader.stdout.read() == gen("one", *SHORT, model=tiny_model).out
    assert ran.status == 0 and pipe.is_fifo()


def test_turns_that_are_done_are_told_of_though_a_later_one_fails(tiny_model: Path) -> None:
    ran = gen("a", "b" * 60, "--ctx", "64", *SHORT, "--max-tokens", "8", model=tiny_model)
    assert ran.status == 6 and ran.out.startswith(f"{HEAD}# a\n".encode())
    assert "seed 3" in ran.err and "window" in ran.err.splitlines()[-1]
    ran = gen("a", "b" * 60, "--ctx", "64", "--json", "--max-tokens", "8", "-t", "1", model=tiny_model)
    assert ran.status == 6 and len(json.loads(ran.out)["turns"]) == 1


def test_whole_gives_back_what_was_there_though_nothing_came(tiny_model: Path) -> None:
    before = b"x = 1\n"
    ran = gen("a", "--whole", "--stop", "\n", "--max-tokens", "1", *GREEDY, model=tiny_model, stdin=before)
    new = gen("a", "--stop", "\n", "--max-tokens", "1", *GREEDY, model=tiny_model, stdin=before)
    assert before + new.out == ran.out
    ran = gen("a", "--whole", "--ctx", "4", model=tiny_model, stdin=before)
    assert (ran.status, ran.out) == (6, before)


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def test_json_follows_its_schema_and_the_text(tiny_model: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from importlib.resources import files

    probable = ("one", "two", "-n", "3", "--pick", "probable", *SHORT)
    ran = gen(*probable, "--json", model=tiny_model)
    facts = json.loads(ran.out)
    jsonschema.validate(facts, json.loads((files("cgcli.program") / "gen.schema.json").read_text()))
    assert facts["seed"] == 3 and len(facts["turns"]) == 2
    text = gen(*probable, model=tiny_model).out.decode()
    for turn in facts["turns"]:
        assert turn["completion"] and turn["completion"] in text
        usable = [c for c in turn["candidates"] if c["finish_reason"] != "empty"]
        best = max(usable, key=lambda c: (parses(c["text"]), c["mean_logprob"]))  # all are cut at the limit
        assert turn["candidates"][turn["accepted"]] == best
        assert turn["prompt_perplexity"] > 1


def test_stop_strings_end_the_text(tiny_model: Path) -> None:
    args = ("--raw", "--seed", "5", "-t", "1.2", "--max-tokens", "30")
    whole = gen(*args, model=tiny_model, stdin=b"abc").out.decode("utf-8", "replace")
    stop = whole[5:8]
    cut = gen(*args, "--stop", stop, model=tiny_model, stdin=b"abc").out.decode("utf-8", "replace")
    assert cut == whole[: whole.index(stop)]


@pytest.mark.parametrize(
    ("arguments", "model", "status", "says"),
    [
        (("x",), "no-such-model", 3, "cgcli models"),
        (("x",), "smollm2-135m", 3, "cgcli pull smollm2-135m"),
        (("x",), "/no/such.gguf", 3, "/no/such.gguf"),
        (("x",), "smollm2-135m:q3_x", 2, "q3_x"),
        (("x",), None, 3, "cgcli pull"),
        (("x", "-t", "-1"), None, 2, "temperature"),
        (("x", "--into", "a", "-o", "b"), None, 2, "--into"),
        (("x", "--lang", "pythn"), None, 2, "python"),
        (("x", "-f", "/no/such/file"), None, 2, "/no/such/file"),
    ],
)
def test_wrong_words_get_one_line_and_their_status(
    arguments: tuple[str, ...], model: str | None, status: int, says: str
) -> None:
    ran = gen(*arguments, model=model)
    assert (ran.status, ran.out, ran.err.count("\n")) == (status, b"", 1), ran.err
    assert says in ran.err


def test_no_prompt_at_all_is_wrong_usage(tiny_model: Path) -> None:
    ran = gen(model=tiny_model)
    assert (ran.status, ran.out) == (2, b"") and "no prompt" in ran.err


def test_gpu_layers_that_cannot_be_had_are_an_error(tiny_model: Path) -> None:
    from cgcli.engine.binding import gpu_devices

    if gpu_devices():
        pytest.skip("there is a GPU")
    ran = gen("x", "--gpu-layers", "2", model=tiny_model)
    assert ran.status == 2 and "--gpu-layers 2" in ran.err


def test_a_program_longer_than_the_window_is_refused(tiny_model: Path) -> None:
    ran = gen("x", "--ctx", "256", model=tiny_model, stdin=b"a = 1\n" * 400)
    assert (ran.status, ran.out) == (6, b"") and "256" in ran.err and ran.err.count("cgcli: ") == 1


LONG = b"# of no use\nimport os\n\ndef f(x):\n" + b"    x += 1  # step\n" * 20 + b"    return x\n"


def test_a_program_that_is_too_long_is_folded_for_the_model_and_stays_as_it_is(tiny_model: Path) -> None:
    how = ("go on", "and on", "--ctx", "256", *SHORT)
    ran = gen(*how, "--whole", model=tiny_model, stdin=LONG)
    assert ran.status == 0 and ran.out.startswith(LONG + b"\n# go on\n")
    told = [line for line in ran.err.splitlines() if "--fold off" in line]
    assert len(told) == 1 and "window of 256 tokens" in told[0] and "body of f (21 lines)" in told[0]
    turns = json.loads(gen(*how, "--json", model=tiny_model, stdin=LONG).out)["turns"]
    assert all(turn["folded_tokens"] > 300 for turn in turns)
    assert gen(*how, "--fold", "on", model=tiny_model, stdin=LONG, CGCLI_FOLD="off").status == 0


def test_without_folding_a_program_that_is_too_long_is_refused(tiny_model: Path) -> None:
    how = ("go on", "--ctx", "256", *SHORT)
    for ran in (
        gen(*how, "--fold", "off", model=tiny_model, stdin=LONG),
        gen(*how, model=tiny_model, stdin=LONG, CGCLI_FOLD="off"),
        gen("--raw", *how[1:], model=tiny_model, stdin=LONG),
    ):
        assert (ran.status, ran.out, ran.err.count("cgcli: ")) == (6, b"", 1), ran.err
    ran = gen(*how, "--fold", "maybe", model=tiny_model, stdin=LONG)
    assert ran.status == 2 and "'--fold': 'maybe' is not on or off" in ran.err


def test_a_text_that_no_tokens_could_hold_is_refused_at_once(tiny_model: Path) -> None:
    before = children_worked()
    ran = cgcli("gen", "x", "-m", str(tiny_model), stdin=b"a = 1\n" * 2_000_000)
    assert (ran.status, ran.out) == (6, b"") and "12000" in ran.err and ran.err.count("cgcli: ") == 1
    assert children_worked() - before < 10  # tokenizing it takes half a minute


def test_a_full_window_ends_the_text_and_says_so(tiny_model: Path) -> None:
    ran = gen("--raw", "--ctx", "64", "--seed", "1", "-t", "1", model=tiny_model, stdin=b"a = 1\n" * 8)
    assert ran.status == 0 and "window of 64 tokens is full" in ran.err


def test_stdin_that_nobody_feeds_is_not_waited_for(tiny_model: Path) -> None:
    read, write = os.pipe()
    try:
        command = [*CGCLI, "gen", "--no-stdin", "x", "-m", str(tiny_model), *SHORT]
        done = subprocess.run(command, stdin=read, capture_output=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0 and done.stdout.startswith(HEAD.encode())
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.long
def test_looking_does_not_change_the_text(embedded_home: Path) -> None:
    """In a context of some 900 tokens a pass of another shape has other last bits, and draws another text."""
    before = "\n".join(f"value_{n} = compute(value_{n - 1}, {n * n})" for n in range(1, 60)).encode() + b"\n"
    how = ("a function that scores a list", "-t", "0.8", "--max-tokens", "40", "--seed", "5")
    plain = gen(*how, "-q", model=None, stdin=before, CGCLI_HOME=str(embedded_home))
    looked = gen(*how, "-v", "--json", model=None, stdin=before, CGCLI_HOME=str(embedded_home))
    completion = json.loads(looked.out)["turns"][0]["completion"]
    assert plain.status == 0
    assert completion.strip() and completion in plain.out.decode()


def test_a_real_model_writes_python_that_parses(embedded_home: Path) -> None:
    ran = gen("print the first ten square numbers", "--seed", "1", model=None, CGCLI_HOME=str(embedded_home))
    assert ran.status == 0, ran.err
    compile(ran.out, "program", "exec")


def test_indentation_at_the_end_is_healed(embedded_home: Path) -> None:
    """The right continuation of an indented line is a statement, not more white space."""
    before = b"#!/usr/bin/env python3\n\ndef add(a, b):\n    "
    ran = gen("--raw", "-t", "0", "--max-tokens", "6", model=None, stdin=before, CGCLI_HOME=str(embedded_home))
    assert ran.out.startswith(b"return a + b"), ran.out


class TestGuards:
    """What is cut out of a completion never reaches stdout, a file or the program."""

    WORDS = ("-m", "codegen-nano", "-t", "0.8", "--seed", "1", "--max-tokens", "60", "print the squares of ten numbers")

    def test_stdout_the_file_and_the_facts_have_the_same_text(self, tmp_path: Path) -> None:
        facts = json.loads(run("gen", *self.WORDS, "--json").out)["turns"][0]
        (candidate,) = facts["candidates"]
        assert candidate["guard"]["cuts"] and candidate["guard"]["standing"] is None
        ast.parse(facts["completion"])
        ran = run("gen", *self.WORDS)
        assert ran.out.decode().endswith(f"\n{facts['completion']}\n") and "turn 1: regenerated line " in ran.err
        file = tmp_path / "squares.py"
        file.write_bytes(b"#!/usr/bin/env python3\n")
        assert run("gen", *self.WORDS, "--into", str(file)).status == 0
        assert file.read_bytes() == ran.out

    def test_v_names_each_cut(self) -> None:
        facts = json.loads(run("gen", *self.WORDS, "--json").out)["turns"][0]["candidates"][0]["guard"]
        err = run("gen", *self.WORDS, "-v").err
        for cut in facts["cuts"]:
            line = cut["line"] + 3  # the interpreter line, a blank one and the prompt come before it
            assert f"{cut['guard']} guard cut at line {line}, {plural(cut['tokens'], 'token')}: {cut['reason']}" in err

    def test_without_guards_the_line_stands(self) -> None:
        facts = json.loads(run("gen", *self.WORDS, "--json", "--guard", "off").out)["turns"][0]["candidates"][0]
        assert facts["guard"] == {"cuts": [], "imports": [], "standing": None}
        assert facts["text"] != json.loads(run("gen", *self.WORDS, "--json").out)["turns"][0]["completion"]

    def test_raw_text_is_never_guarded(self) -> None:
        assert run("gen", *self.WORDS, "--raw").out == run("gen", *self.WORDS, "--raw", "--guard", "off").out

    def test_v_says_what_is_not_judged(self) -> None:
        err = run("gen", *self.WORDS, "-v", "--lang", "go").err
        assert "go is only kept from loops: the other guards know Python" in err


@pytest.mark.parametrize(
    ("option", "words"), [("-m", "no file"), ("--draft", "no file"), ("--draft-from", "does not exist")]
)
def test_nobodys_home_is_a_folder_that_does_not_exist(tiny_model: Path, option: str, words: str) -> None:
    ran = run("gen", "x", "--no-stdin", "-m", str(tiny_model), option, "~nobody-here/x.gguf")
    assert ran.status in {2, 3} and "~nobody-here/x.gguf" in ran.err and words in ran.err

"""What a prompt draws beyond what a transcript shows: candidates, retries, folding, interruptions."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest

from cgcli.core.config import Settings
from cgcli.core.errors import Interrupted
from cgcli.engine.request import Completion, Request
from cgcli.native.interrupt import Interrupt
from cgcli.program.program_store import ProgramStore
from cgcli.program.source import digest
from cgcli.repl.loop import attempt
from tests.repl.scripted import AnsweringEngine, ScriptedReader, make_repl, play


class TestUntil:
    def test_a_turn_is_drawn_again_from_the_statement_that_failed(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        lines = "/set unsafe on", "/set until runs", "two lines", "/retry", "/show 1"
        repl, shown, status = play(tmp_path, *lines, engine=engine)
        assert status == 0
        failed = "ZeroDivisionError: division by zero, line 5"
        flat = " ".join(shown.split())
        assert f"turn 1: {failed}; regenerating it from line 5, try 1 of 4" in flat
        assert "turn 1 ran at try 1" in flat
        turn = repl.program.turns[0]
        assert [one.text for one in turn.candidates[:2]] == ["first = 1\nsecond = first / 0", "first = 1\nrest = 0"]
        assert [one.ran for one in turn.candidates[:2]] == [failed, "ran"]
        assert [request.candidate for request in engine.requests] == [0, 1, 2], "a retry makes the next draws"
        assert f"candidate 1: run: {failed}" in shown and shown.count("turn 1 ran, printed nothing\n") == 1

    def test_what_was_tried_is_in_the_journal(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "/set unsafe on", "/set until runs", "two lines")
        again = repl.programs.open(repl.journal.id)
        assert again.history.program == repl.program and again.history.program.turns[0].candidates[1].kept == 10
        assert len(again.history.runs) == 2
        again.close()

    def test_a_turn_is_tried_as_often_as_said(self, tmp_path: Path) -> None:
        lines = "/set unsafe on", "/set until runs", "/set tries 1", "no end"
        repl, shown, _ = play(tmp_path, *lines)
        shown = " ".join(shown.split())
        assert "try 1 of 1" in shown and "turn 1: kept draft 1 of 2, the best: NameError" in shown
        assert repl.program.turns[0].accepted == 0

    def test_a_replay_runs_nothing(self, tmp_path: Path) -> None:
        lines = "print the largest", "two lines", "/drop 1", "/set unsafe on", "/set until runs", "/replay"
        repl, shown, _ = play(tmp_path, *lines)
        assert len(repl.program.turns[0].candidates) == 1 and "regenerating it" not in shown

    def test_other_languages_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.go").write_text("package main\n")
        _, shown, status = play(tmp_path, "/open x.go", "/set until runs", "/set until")
        assert status == 2 and "only Python programs can be run, not go" in shown
        assert shown.endswith("until        off\n")

    def test_ctrl_c_keeps_the_best_draft_so_far(self, tmp_path: Path) -> None:
        class Interrupted(AnsweringEngine):
            def stream(self, request: Request) -> Generator[str, None, Completion]:
                self.interrupt_after = 1 if self.requests else None
                return super().stream(request)

        lines = "/set unsafe on", "/auto on", "/set until runs", "two lines"
        repl, shown, status = play(tmp_path, *lines, engine=Interrupted())
        assert status == 130 and shown.endswith("cgcli: interrupted; the best draft so far is kept\n")
        assert repl.program.turns[0].completion == "first = 1\nsecond = first / 0"
        assert len(repl.history.runs) == 1, "and it is not run"

    def test_without_a_sandbox_the_turn_is_kept_and_nothing_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cgcli.sandbox.bubblewrap._WHERE", "")
        repl, shown, status = play(tmp_path, "/set until runs", "two lines")
        assert status == 7 and "/set unsafe on runs programs without a sandbox" in " ".join(shown.split())
        assert len(repl.program.turns) == 1 and not repl.history.runs


class TestDrawing:
    def test_an_interrupted_turn_is_kept_and_told(self, tmp_path: Path) -> None:
        engine = AnsweringEngine(interrupt_after=4)
        repl, shown, status = play(tmp_path, "a list with ten numbers", "/show", engine=engine)
        assert repl.program.turns[0].completion == "numbers = li"
        assert "interrupted; what was written is kept: /undo removes it, /retry 1 regenerates it" in shown
        assert "ten numbers  interrupted" in shown
        assert status == 0

    def test_nothing_written_before_the_interruption_changes_nothing(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, "two lines", engine=AnsweringEngine(interrupt_after=0))
        assert not repl.program.turns
        assert "cgcli: interrupted before anything was written" in shown
        assert status == 130

    def test_what_is_cut_says_how_to_go_on(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "no end", settings=Settings(seed=1, guard="off", max_tokens=7))
        assert "stopped at 7 tokens: /from 6 continues" in shown

    def test_what_does_not_parse_is_told_where_it_was_drawn(self, tmp_path: Path) -> None:
        lines = "a list with ten numbers", "/retry", "/retry"  # whose third is half a list
        _, shown, _ = play(tmp_path, *lines)
        assert shown.count("does not parse: try /retry 1 or /code 1") == 1
        assert "does not parse" not in play(tmp_path, *lines[:2])[1]

    def test_a_cut_turn_that_is_not_the_last_goes_on_where_it_ends(self, tmp_path: Path) -> None:
        how = Settings(seed=1, guard="off", max_tokens=7)
        lines = "no end", "print the largest", "/retry 1"
        repl, shown, _ = play(tmp_path, *lines, settings=how)
        hint = re.findall(r"(/from \d+) continues", shown)[-1]
        again, _, status = play(tmp_path, *lines, hint, settings=how)
        assert status == 0
        before, after = repl.program.turns, again.program.turns
        assert after[0].completion.startswith(before[0].completion)
        assert after[0].completion.endswith("rest = 0")
        assert after[1].completion == before[1].completion

    def test_the_comment_of_a_turn_draws_all_of_it_again(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        play(tmp_path, "two lines", "print the largest", "/from 8", engine=engine)
        assert engine.requests[-1].context.endswith(b"\n\n# print the largest\n")

    @pytest.mark.parametrize("other", ["/seed 9", "/model other", "/set temperature 0.9", "/set max_tokens 99"])
    def test_candidates_that_were_drawn_otherwise_do_not_stay(self, tmp_path: Path, other: str) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", other, "/retry", engine=engine)
        assert [one.draw for one in repl.program.turns[0].candidates] == [0]
        assert [request.candidate for request in engine.requests] == [0, 0]

    def test_a_retry_makes_the_next_draws(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/retry", "/retry 1", engine=engine)
        assert [request.candidate for request in engine.requests] == [0, 1, 2]
        assert [one.draw for one in repl.program.turns[0].candidates] == [0, 1, 2]
        assert repl.program.turns[0].accepted == 2
        assert not repl.program.stale()

    def test_a_reworded_turn_begins_with_new_candidates(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/retry", "/edit 1 print the largest", engine=engine)
        assert [request.candidate for request in engine.requests] == [0, 1, 0]
        assert [one.text for one in repl.program.turns[0].candidates] == ["print(max(numbers))"]

    def test_a_stale_turn_begins_with_new_candidates(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "print the largest", "print their mean", "/drop 1", "/retry")
        assert len(repl.program.turns[0].candidates) == 1
        assert not repl.program.stale()

    def test_turns_are_redrawn_behind_what_is_before_them_only(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        play(tmp_path, "a list with ten numbers", "print their mean", "/retry 1", engine=engine)
        assert b"mean" not in engine.requests[-1].context
        assert engine.requests[-1].turn == 0

    def test_going_on_from_a_line_keeps_what_is_before_it(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "two lines", "/from 5", engine=engine)
        assert engine.requests[-1].context.endswith(b"# two lines\nfirst = 1\n")
        assert repl.program.turns[0].completion == "first = 1\nrest = 0"

    def test_going_on_from_the_end_takes_the_last_turn(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "two lines", "print their mean", "/from 9")
        assert repl.program.turns[1].completion.endswith("len(numbers))\nrest = 0")

    def test_the_chosen_candidate_stands(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "/n 2", "a list with ten numbers", choices=[1])
        assert repl.program.turns[0].completion == "numbers = [1, 2, 3]"
        assert repl.program.turns[0].accepted == 1

    def test_an_empty_candidate_is_not_taken(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, "now and then", "/show 1", "/pick 1")
        assert repl.program.turns[0].completion == "x = 1"
        assert "  candidate 1: log-probability -0.50, empty\n" in shown
        assert "candidate 1 is empty; pick another one" in shown
        assert status == 2

    def test_the_chooser_does_not_offer_an_empty_one(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, "/n 2", "now and then", "/show", "/pick", choices=[0, 0])
        assert [[card.number for card in cards] for cards in repl.ui.reader.cards] == [[2], [2]]  # type: ignore[attr-defined]
        assert repl.program.turns[0].completion == "x = 1"
        assert "now and then\n" in shown and "candidates" not in shown.partition("/show")[2].partition("/pick")[0]
        assert "turn 1 now uses candidate 2 of 2 (1 empty)\n" in shown
        assert status == 0

    def test_a_replay_asks_for_no_choice(self, tmp_path: Path) -> None:
        repl, _, _ = play(
            tmp_path, "/n 2", "a list with ten numbers", "print the largest", "/pick 1", "/drop 1", "/replay",
            choices=[1, 1, 1],
        )  # fmt: skip
        assert len(repl.ui.reader.cards) == 2  # type: ignore[attr-defined]
        assert not repl.program.stale()

    def test_a_replay_is_run_once_when_all_is_drawn(self, tmp_path: Path) -> None:
        repl, shown, status = play(
            tmp_path, "a list with two numbers", "print their mean", "print the largest", "/set unsafe on",
            "/edit 1 two lines", "/auto on", "/replay",
        )  # fmt: skip
        assert not repl.program.stale()
        assert list(repl.history.runs) == [digest(repl.program.source())]
        assert "ZeroDivisionError" in shown
        assert status == 8

    def test_what_is_folded_is_told_before(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.py").write_text("# " + "long " * 50 + "\n" + "import sys\n")
        engine = AnsweringEngine(window=300)
        how = Settings(seed=1, guard="off", max_tokens=60)
        repl, shown, status = play(
            tmp_path, "/open x.py", "print the largest", "/retry", "/diff fold", "/set fold off", "print their mean",
            engine=engine, settings=how, width=200,
        )  # fmt: skip
        told = shown.index(
            "the context window of 300 tokens; the model reads it without prefix: comments, which saves 253 tokens"
        )
        assert told < shown.index("-# long long") < shown.index("print(max(numbers))")
        assert shown.count("the model reads it without prefix") == 2
        assert shown.count("-# long long") == 2  # once told, and not where it is the same again; once asked for
        assert "the window has 300 tokens" in shown  # and not folded, refused
        assert status == 6
        assert repl.program.source().startswith("# long long")
        assert repl.program.turns[0].facts is not None
        assert repl.program.turns[0].facts.folded > 0

    def test_what_is_folded_is_told_once_where_prompts_are_compared(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.py").write_text("# " + "long " * 50 + "\n" + "import sys\n")
        _, shown, status = play(
            tmp_path, "/open x.py", "/ask one | two", "/diff fold", engine=AnsweringEngine(window=300),
            settings=Settings(seed=1, guard="off", max_tokens=60), width=200,
        )  # fmt: skip
        assert shown.count("the model reads it without prefix: comments") == 1
        assert shown.index("the model reads it without") < shown.index("2.7  one")
        assert shown.count("-# long long") == 2  # told with it, and asked for
        assert status == 0

    def test_prompts_are_compared_without_a_trace(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/ask one | two", engine=engine)
        assert engine.asides == [repl.program.source().encode()]

    def test_a_window_that_is_nearly_full_is_told_before(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.py").write_text("x = 1\n" * 45)
        engine, how = AnsweringEngine(window=400), Settings(seed=1, guard="off", max_tokens=100)
        lines = "/open x.py", "count", "print the largest"
        _, shown, status = play(tmp_path, *lines, engine=engine, settings=how)
        told = [line for line in shown.splitlines() if "room for" in line]
        assert told == ["the context window of 400 tokens has room for 65 more, not for 100"]
        assert shown.index("range(50)") < shown.index("room for") < shown.index("print(max(numbers))")
        assert status == 0


class TestTheTurnDrawnLast:
    """/pick, /diff I and /run all are about it, and say which it is."""

    def test_it_is_picked_from_wherever_it_stands(self, tmp_path: Path) -> None:
        lines = "a list with ten numbers", "print their mean", "/retry 1", "/pick 1"
        repl, shown, _ = play(tmp_path, *lines)
        assert repl.program.turns[0].completion == "numbers = list(range(10))"
        assert repl.program.turns[1].completion == "print(sum(numbers) / len(numbers))"
        assert "› /pick 1\nturn 1 now uses candidate 1 of 2\nnumbers = list(range(10))\n" in shown

    def test_it_is_named_before_one_is_chosen(self, tmp_path: Path) -> None:
        lines = "a list with ten numbers", "print their mean", "/retry 1", "/pick"
        _, shown, _ = play(tmp_path, *lines, choices=[0])
        assert "› /pick\nturn 1, a list with ten numbers\n[1 of 2: " in shown

    def test_errors_name_it(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "a list with ten numbers", "print their mean", "/retry 1", "/pick 3")
        assert "no candidate 3: turn 1 has 2" in shown

    def test_its_candidates_are_compared_in_the_whole_program(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "a list with ten numbers", "print their mean", "/retry 1", "/diff 1")
        assert "-numbers = [1, 2, 3]\n+numbers = list(range(10))\n" in shown
        assert "-print(" not in shown

    def test_all_of_its_candidates_are_run(self, tmp_path: Path) -> None:
        lines = "/set unsafe on", "/n 2", "two lines", "/n 1", "count", "/retry 1", "/run all"
        _, shown, _ = play(tmp_path, *lines)
        assert shown.count("› /run all\nturn 1, two lines\n") == 1
        assert "1 of 3: run: ZeroDivisionError: division by zero, line 5, log-probability" in shown

    def test_it_is_known_in_a_session_that_goes_on(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "a list with ten numbers", "print their mean", "/retry 1")
        repl, out = make_repl(tmp_path, ScriptedReader([]))
        repl.journal = repl.programs.latest() or pytest.fail()
        assert attempt(repl, "/pick 1") is None
        assert out.getvalue() == "turn 1 now uses candidate 1 of 2\nnumbers = list(range(10))\n"
        repl.close()


def test_equal_texts_are_one_card_and_run_once(tmp_path: Path) -> None:
    repl, _, _ = play(tmp_path, "/set unsafe on", "/n 4", "a list with ten numbers", "/run all", choices=[2, 2])
    cards = repl.ui.reader.cards[0]  # type: ignore[attr-defined]
    titles = ["1 of 4 *", "2 of 4", "3 of 4, generated twice"]
    assert [(card.title, card.number) for card in cards] == list(zip(titles, (1, 2, 3), strict=True))
    assert repl.program.turns[0].accepted == 2
    assert len(repl.history.runs) == 3
    chosen = repl.ui.reader.cards[1]  # type: ignore[attr-defined]
    assert [card.title for card in chosen] == ["1 of 4", "2 of 4", "3 of 4, generated twice *"]


class TestPicking:
    LINES = "/set unsafe on", "/n 3", "a function f"

    def test_the_card_says_what_a_candidate_returned(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, *self.LINES, "/pick 1", "/pick", pick="auto", choices=[1])
        assert status == 0 and "kept candidate 1\n" in shown  # the last choice was cancelled
        told = [line for line in shown.splitlines() if line.startswith("[")]
        assert told[:3] == [
            "[1 of 3: f(3) → 3, log-probability -4.50, parses]",
            "[2 of 3 *: f(3) → 6, as 1 other, log-probability -10.00, parses]",
            "[3 of 3: f(3) → 6, as 1 other, log-probability -15.00, parses]",
        ]
        turn = repl.program.turns[0]
        assert turn.accepted == 0 and turn.picked and turn.picked.rule == "tests"

    def test_what_was_picked_comes_back_with_the_session(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, *self.LINES, pick="tests")
        journal = ProgramStore(tmp_path / "programs").open(repl.journal.id)
        assert journal.history.program.turns == repl.program.turns
        journal.close()

    def test_new_candidates_are_picked_from_and_follow_the_earlier_ones(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "/set unsafe on", "a function f", "/n 2", "/retry", pick="auto")
        turn = repl.program.turns[0]
        assert turn.accepted == 1 and turn.picked
        assert [one.candidates for one in turn.picked.groups] == [(1, 2)]

    def test_the_card_says_what_a_candidate_printed(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "/set unsafe on", "/n 2", "count", "shout", pick="auto")
        assert re.search(r"^\[1 of 2 \*: prints z+…z+, log-probability", shown, re.MULTILINE)
        assert "[2 of 2: run: ValueError: zzz" in shown
        assert "[1 of 1" not in shown and "prints 49" not in shown  # equal candidates are not run

    def test_run_all_agrees_with_what_was_picked(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, *self.LINES, "/run all", "/pick 1", "/run all", pick="auto", width=200)
        first, second = (line for line in shown.splitlines() if line.startswith("3 of 3 ran"))
        assert first == "3 of 3 ran; none printed anything, so running them tested nothing"
        assert second == f"{first}; /pick 2 takes the best one"

    def test_a_replay_picks_as_a_prompt_does(self, tmp_path: Path) -> None:
        lines = "/set unsafe on", "count", "/n 3", "a function f", "/edit 1 warn", "/replay"
        repl, _, _ = play(tmp_path, *lines, pick="auto")
        assert repl.program.turns[1].accepted == 1

    def test_ctrl_c_while_picking_keeps_the_candidates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> None:
            Interrupt().set()
            raise Interrupted

        monkeypatch.setattr(AnsweringEngine, "surprise", interrupted)
        repl, shown, _ = play(tmp_path, *self.LINES, pick="reviewer")
        assert "interrupted while picking: took the best candidate so far" in shown
        assert [len(turn.candidates) for turn in repl.program.turns] == [3]
        assert not repl.ui.reader.cards  # type: ignore[attr-defined]

    def test_a_candidate_that_ran_unseen_is_warned_of_before_its_first_run(self, tmp_path: Path) -> None:
        lines = "/set unsafe on", "/n 2", "clear the folder", "/run", "/run"
        repl, shown, _ = play(tmp_path, *lines, pick="auto", choices=[1])
        assert len(repl.history.runs) == 2 and shown.count("line 5: ") == 1

    def test_a_candidate_without_end_is_stopped_soon(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cgcli.sandbox.pick._CPU_S", 0.1)
        repl, shown, _ = play(tmp_path, "/set unsafe on", "/n 2", "forever", pick="auto")
        assert "run: stopped: more than 0.1 s of processor time" in shown
        assert repl.program.turns[0].accepted == 1

    def test_another_language_is_not_run(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.c").write_text("int main() {}\n")
        repl, _, status = play(tmp_path, "/open x.c", "/n 2", "a list with ten numbers", pick="run")
        assert status == 0 and len(repl.program.turns[0].candidates) == 2 and not repl.history.runs

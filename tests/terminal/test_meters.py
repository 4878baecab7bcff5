"""Progress as lines: how often, and with which facts. Time is a number that the test moves."""

from __future__ import annotations

from cgcli.terminal.meters import ProgressLines, facts


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_facts() -> None:
    assert facts(45, 100, None, "bytes") == "45 % of 100 B"
    assert facts(450_000_000, 1_000_000_000, 10e6, "bytes") == "45 % of 1.0 GB, 10.0 MB/s, 0:55 left"
    assert facts(3, 10, 0.5, "steps") == "3 of 10, 0:14 left"
    assert facts(10, 10, 1.0, "steps") == "10 of 10"
    assert facts(1234, None, 100.0, "bytes") == "1.2 kB, 100 B/s"
    assert facts(0, None, None, "steps") == ""
    assert facts(30, 40, 2.5, "samples", "pass@1 3 %") == "30 of 40, 2.5/s, 0:04 left, pass@1 3 %"
    assert facts(3, 10, 0.05, "samples") == "3 of 10, 3.0/min, 2:20 left"
    assert facts(0, 0, None, "bytes") == "100 % of 0 B"
    # 100 % is all of it.
    assert facts(999_999, 1_000_000, None, "bytes").startswith("99 %")


def test_a_line_at_a_tenth_but_not_every_moment_and_never_silent_for_long() -> None:
    said: list[str] = []
    clock = Clock()
    with ProgressLines(said.append, clock).task("get", 1000) as task:
        for _ in range(100):  # fast: all within 1 s
            clock.seconds += 0.01
            task.advance(1)
        assert said == ["get …"]
        clock.seconds += 1.5
        task.advance(1)
        assert len(said) == 2 and "10 %" in said[-1]
        clock.seconds += 5
        task.advance(1)
        assert len(said) == 2  # neither a tenth nor ten seconds
        clock.seconds += 5
        task.advance(1)
        assert len(said) == 3 and "10 %" in said[-1]
        task.advance(1000 - 103)
    assert said[-1] == "get: 1.0 kB, 80 B/s, took 0:12"


def test_what_was_there_before_counts_for_the_percentage_and_not_for_the_rate() -> None:
    said: list[str] = []
    clock = Clock()
    with ProgressLines(said.append, clock).task("get", 1000, done=500) as task:
        clock.seconds = 10
        task.advance(100)
    assert said[1] == "get: 60 % of 1.0 kB, 10 B/s, 0:40 left"


def test_a_task_that_fails_is_not_called_done() -> None:
    said: list[str] = []
    try:
        with ProgressLines(said.append).task("get", 1000):
            raise ValueError
    except ValueError:
        pass
    assert said == ["get …"]


def test_the_status_is_in_every_line_after_it_was_set() -> None:
    said: list[str] = []
    clock = Clock()
    with ProgressLines(said.append, clock).task("judged", 4, unit="samples") as task:
        for _ in range(4):
            clock.seconds += 20
            task.status(f"score {clock.seconds:.0f}")
            task.advance(1)
    assert said[1] == "judged: 1 of 4, 3.0/min, 1:00 left, score 20"
    assert said[-1] == "judged: 4, 3.0/min, score 80, took 1:20"

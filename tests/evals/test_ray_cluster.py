"""The cluster driver draws every sample once, even if workers die; with fakes, and on a real cluster."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.evals.ray_cluster import _MAX_IN_FLIGHT, _ROWS_PER_CALL, _connected, _Driver, _Member, _Worker, _worker_error
from cgcli.evals.samples import Key, Row
from tests.evals.tiny_humaneval import samples, write_tasks
from tests.support.process import CGCLI


def drawing(cpus: int) -> Callable[[Iterable[int]], Iterator[Row]]:
    """Takes four items ahead and finishes them in another order, as an engine does."""

    def draw(items: Iterable[int]) -> Iterator[Row]:
        source, going = iter(items), list[int]()
        while True:
            going += [item for _, item in zip(range(4 - len(going)), source, strict=False)]
            if not going:
                return
            yield {"key": going.pop(), "cpus": cpus}

    return draw


def test_a_worker_keeps_drawing_across_calls() -> None:
    worker = _Worker(drawing, 2)
    assert worker.more([]) == []
    first = worker.more(range(20))
    assert len(first) == _ROWS_PER_CALL and all(row["cpus"] == 2 for row in first)
    found = [*first, *worker.more([20, 21]), *worker.more([]), *worker.more([])]
    assert sorted(row["key"] for row in found) == list(range(22)) and worker.more([]) == []
    assert [row["key"] for row in worker.more([30])] == [30]


class Cluster:
    """The part of Ray that the driver uses, in this process. `dies` tells which calls kill their worker."""

    class exceptions:
        class RayError(Exception): ...

        class RayTaskError(RayError):
            cause: Exception

    def __init__(self, workers: int, dies: Callable[[int], bool] = lambda _: False, seed: int = 0) -> None:
        self.calls = count()
        self.dies, self.pick = dies, random.Random(seed).choice
        self.killed: list[Any] = []
        self.most = 0
        self.members = [_Member[int](Actor(self), f"machine {number}") for number in range(workers)]

    def wait(self, calls: list[Call], timeout: float) -> tuple[list[Call], list[Call]]:
        assert len(calls) == len(set(calls)) > 0 and timeout > 0
        self.most = max(self.most, *(len(member.in_flight) for member in self.members))
        return [self.pick([call for call in calls if not call.actor.pending])], []

    def get(self, call: Call) -> list[Row]:
        if self.dies(next(self.calls)):
            raise self.exceptions.RayError("the worker is gone")
        return call.actor.worker.more(call.items)

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


class Actor:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.worker, self.more, self.pending = cluster, _Worker(drawing, 1), self, False

    def remote(self, items: list[int]) -> Call:
        assert self not in self.cluster.killed
        return Call(self, items)


class Call:
    def __init__(self, actor: Actor, items: list[int]) -> None:
        self.actor, self.items = actor, items


def rows(cluster: Cluster, items: int) -> tuple[list[int], list[str]]:
    notes: list[str] = []
    waiting: deque[tuple[Key, int]] = deque(((number,), number) for number in range(items))
    driver = _Driver(cluster, list(cluster.members), waiting, ("key",), notes.append)
    return [int(row["key"]) for row in driver.rows()], notes


@pytest.mark.parametrize("seed", range(30))
def test_everything_is_drawn_once_even_if_workers_die(seed: int) -> None:
    lost = set(random.Random(seed).sample(range(30), seed % 4))
    cluster = Cluster(4, lost.__contains__, seed)
    found, notes = rows(cluster, 300)
    assert sorted(found) == list(range(300))
    assert len(cluster.killed) == sum("died" in note for note in notes) == len(lost)
    assert cluster.most <= _MAX_IN_FLIGHT


def test_the_last_samples_are_shared_out() -> None:
    cluster = Cluster(4)
    assert len(rows(cluster, 40)[0]) == 40 and cluster.most <= 10


def test_the_error_when_all_workers_died_says_how_to_resume() -> None:
    with pytest.raises(CgcliError, match="all workers have died") as caught:
        rows(Cluster(3, lambda call: call > 5), 300)
    assert caught.value.hint == "run the same command again to resume"


def test_a_worker_that_has_not_started_delays_nothing() -> None:
    cluster = Cluster(2)
    cluster.members[1].actor.pending = True
    assert sorted(rows(cluster, 100)[0]) == list(range(100))


def test_errors_of_workers_name_the_machine() -> None:
    error = Cluster.exceptions.RayTaskError()
    error.cause = UsageError("no", hint="yes")
    told = _worker_error(error, "machine 1")
    assert (type(told), told.line) == (UsageError, "machine 1: no; yes")
    error.cause = ModuleNotFoundError("No module named 'cgcli'")
    assert "No module named" in _worker_error(error, "machine 1").line


def test_what_ray_prints_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Including the shutdown, which prints the rest of a dead machine's log."""

    class Talkative:
        def init(self, *_: Any, **__: Any) -> None:
            print("begun")

        def shutdown(self) -> None:
            print("(raylet) lost")

    with _connected(Talkative(), "local"):
        print("between")
    print("ours")
    assert capsys.readouterr().out == "ours\n"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A real cluster of two simulated machines, each with its own processes."""
    utilities = pytest.importorskip("ray.cluster_utils")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        how = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
        found = utilities.Cluster(initialize_head=True, head_node_args=how)
        try:
            found.add_node(num_cpus=1, object_store_memory=100 << 20)
            yield found
        finally:
            found.shutdown()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Ray's own, of processes that it leaves to end by themselves
def test_nothing_is_lost_after_ctrl_c_and_a_killed_machine(cluster: Any, tmp_path: Path, tiny_model: Path) -> None:
    write_tasks(tmp_path / "tasks.jsonl")
    how = ["-m", str(tiny_model), "-n", "400", "-t", "0.8", "--max-tokens", "60", "--exact", "--threads", "1", "--json"]
    command = [*CGCLI, "eval", "humaneval", "--data", "tasks.jsonl", *how, "--generate"]
    path = tmp_path / "s.jsonl"

    def begun(least: int) -> subprocess.Popen[str]:
        """The command on the cluster, when it has so many rows."""
        running = subprocess.Popen(
            [*command, path.name, "--ray", cluster.address],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        while (not path.exists() or path.read_bytes().count(b"\n") < least) and running.poll() is None:
            time.sleep(0.02)
        return running

    first = begun(50)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=240)
    assert (first.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "cgcli: interrupted; run the same command again to resume"
    there = path.read_bytes()
    assert 50 <= there.count(b"\n") < 800 and there.endswith(b"}\n")
    running = begun(there.count(b"\n") + 100)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    out, err = running.communicate(timeout=240)
    assert running.returncode == 0, err
    assert json.loads(out)["n_samples"] == 800 and path.read_bytes().startswith(there)
    assert "Ray: 2 workers on " in err and " died; others redo its " in err
    assert subprocess.run([*command, "whole.jsonl"], cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert samples(path.read_bytes()) == samples((tmp_path / "whole.jsonl").read_bytes())

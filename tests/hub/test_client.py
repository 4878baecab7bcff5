"""What the Hub's API answers is bounded, in bytes and in time, and checked before anything is made of it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, NetworkError, UsageError
from cgcli.hub.client import HubClient, RetryPolicy
from tests.hub.fake_hub import FakeHub
from tests.hub.recording import Recorder

FOREVER = RetryPolicy(tries=6, first_s=600.0)  # who would try again would wait for ever


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub(tmp_path / "hub") as served:
        served.add("own/model", {"config.json": b"{}"})
        yield served


class Waited(Recorder):
    """Lets the server go on once it was told that it waits."""

    def __init__(self, told: threading.Event) -> None:
        super().__init__()
        self.told = told

    def note(self, message: str) -> None:
        super().note(message)
        self.told.set()


def hub(url: str, retries: RetryPolicy = FOREVER, progress: Recorder | None = None) -> HubClient:
    return HubClient(Environment.from_process({"HF_ENDPOINT": url}), progress or Recorder(), retries)


def test_files_and_licence_are_read(server: FakeHub) -> None:
    found = hub(server.url).snapshot("own/model", None)
    assert (found.commit, found.files, found.licence) == (
        server.commit("own/model"), ("config.json",), "bsd-3-clause",
    )  # fmt: skip
    assert hub(server.url).snapshot("own/model", found.commit) == found


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_without_end_is_not_read_to_its_end(server: FakeHub, packed: bool) -> None:
    data = b" " * ((64 << 20) + 1)
    server.faults.listing = (gzip.compress(data, 1), {"Content-Encoding": "gzip"}) if packed else (data, {})
    with pytest.raises(NetworkError, match="more than 67108864 bytes"):
        hub(server.url).snapshot("own/model", None)


def test_a_slow_list_says_that_it_waits(server: FakeHub) -> None:
    server.faults.held = threading.Event()
    progress = Waited(server.faults.held)
    found = hub(server.url, RetryPolicy(silent_s=0.01), progress).snapshot("own/model", None)
    assert found.files == ("config.json",)
    assert progress.notes == ["hf:own/model: file list: waiting for the Hub"]


def test_a_list_that_takes_too_long_is_given_up(server: FakeHub) -> None:
    with pytest.raises(NetworkError, match="no complete response within 0 s"):
        hub(server.url, RetryPolicy(answer_s=0.0)).snapshot("own/model", None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"null", b"[" * 50_000, b'{"sha": 1}', b'{"sha": "a", "siblings": 3}', b"1" * 5000,
        b'{"sha": "a", "siblings": [3]}', b'{"sha": "a", "siblings": [{"rfilename": []}]}', b"<html>", b"\xff",
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_an_error_of_the_network(server: FakeHub, body: bytes) -> None:
    server.faults.listing = (body, {})
    with pytest.raises(NetworkError, match="own/model"):
        hub(server.url).snapshot("own/model", None)


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://x/y", "gopher://x"])
def test_being_led_to_another_scheme_is_refused_at_once(server: FakeHub, to: str) -> None:
    server.faults.status = [(302, {"Location": to})]
    with pytest.raises(CgcliError):
        hub(server.url).snapshot("own/model", None)
    server.faults.status = [(302, {"Location": to})]
    server.faults.status_on = "config.json"
    with pytest.raises(CgcliError):
        found = hub(server.url).snapshot("own/model", None)
        hub(server.url).read(hub(server.url).file(found, "config.json"))


@pytest.mark.parametrize("endpoint", ["file:///srv/hub", "ftp://x", "srv/hub", "FILE://x"])
def test_an_endpoint_that_is_no_web_address_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        hub(endpoint)

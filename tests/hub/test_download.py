"""The download of one file, with the real huggingface_hub client against a server that misbehaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, ExitStatus, ModelNotFound, NetworkError
from cgcli.hub.client import HubClient, RetryPolicy
from cgcli.hub.download import download, present_bytes
from tests.hub.fake_hub import FakeHub
from tests.hub.recording import Recorder

REPO = "someone/some-model"
DATA = random.Random(1).randbytes(3_000_000)
TEXT = b'{"hello": "world"}\n' * 1000
IMPATIENT = RetryPolicy(tries=4, first_s=0.01, longest_s=3)


class Fetcher:
    """`fetch(name)` does what a pull does for one file."""

    def __init__(self, hub: FakeHub, environment: Environment, folder: Path, progress: Recorder) -> None:
        hub.add(REPO, {"model.gguf": DATA, "vocab.json": TEXT, "empty.txt": b""})
        self.environment, self.folder, self.progress = environment, folder, progress

    def __call__(self, name: str = "model.gguf", retries: RetryPolicy = IMPATIENT) -> bytes:
        client = HubClient(self.environment, self.progress, retries)
        remote = client.file(client.snapshot(REPO, None), name)
        return download(client, remote, self.folder, self.progress).read_bytes()

    @property
    def part(self) -> Path:
        return self.folder / ".download" / "model.gguf.part"

    def visible(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("[!.]*"))


@pytest.fixture
def fetch(hub: FakeHub, environment: Environment, tmp_path: Path, progress: Recorder) -> Fetcher:
    return Fetcher(hub, environment, tmp_path / "folder", progress)


@pytest.mark.parametrize(("name", "data"), [("model.gguf", DATA), ("vocab.json", TEXT), ("empty.txt", b"")])
def test_file_arrives(fetch: Fetcher, name: str, data: bytes) -> None:
    assert fetch(name) == data
    assert fetch.progress.bars[-1].done == len(data)
    assert fetch.progress.bars[-1].ended


def test_second_time_nothing_is_fetched(fetch: Fetcher, hub: FakeHub) -> None:
    fetch()
    assert fetch() == DATA
    assert hub.log.sent["model.gguf"] == len(DATA)


def test_cut_connections_are_resumed(fetch: Fetcher, hub: FakeHub) -> None:
    # More cuts than tries: the count starts anew whenever something came.
    hub.faults.cut_after = [200_000] * 12
    assert fetch() == DATA
    ranges = [headers.get("range") for headers in hub.log.gets("/cdn/someone/some-model/model.gguf")]
    assert ranges[0] is None
    assert all(asked is not None for asked in ranges[1:])
    assert hub.log.sent["model.gguf"] < len(DATA) + 13 * 65536
    assert fetch.progress.bars[-1].done == len(DATA)


def test_body_that_ends_early_is_resumed(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.short = 2
    assert fetch() == DATA


def test_server_that_only_cuts_is_given_up(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.cut_after = [0] * 100
    with pytest.raises(NetworkError):
        fetch()
    assert len(hub.log.gets("/cdn/someone/some-model/model.gguf")) == IMPATIENT.tries
    assert fetch.visible() == []


def test_another_process_resumes(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.cut_after = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(NetworkError):
        fetch()
    assert fetch.part.stat().st_size == 1_000_000
    hub.faults.cut_after = []
    assert fetch() == DATA
    assert hub.log.gets("/cdn/someone/some-model/model.gguf")[-1]["range"] == "bytes=1000000-"
    assert hub.log.sent["model.gguf"] < len(DATA) + 65536


def test_server_without_ranges_starts_again(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.ignore_range = True
    hub.faults.cut_after = [1_000_000]
    assert fetch() == DATA
    assert fetch.progress.bars[-1].done == len(DATA)


def test_server_without_ranges_that_always_cuts_is_given_up(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.ignore_range = True
    hub.faults.cut_after = [1_000_000] * 100
    with pytest.raises(NetworkError):
        fetch()
    assert len(hub.faults.cut_after) == 100 - IMPATIENT.tries


def test_changed_file_is_fetched_from_the_start(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.cut_after = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(NetworkError):
        fetch()
    hub.faults.cut_after = []
    other = random.Random(2).randbytes(len(DATA))
    hub.add(REPO, {"model.gguf": other})
    assert fetch() == other


def test_finished_file_that_changed_is_replaced(fetch: Fetcher, hub: FakeHub) -> None:
    fetch()
    other = random.Random(2).randbytes(len(DATA))
    hub.add(REPO, {"model.gguf": other})
    assert fetch() == other


@pytest.mark.parametrize("name", ["model.gguf", "vocab.json"])
def test_a_finished_but_damaged_file_is_downloaded_again(fetch: Fetcher, hub: FakeHub, name: str) -> None:
    data = fetch(name)
    (fetch.folder / name).write_bytes(b"!" + data[1:])
    assert fetch(name) == data
    assert fetch.progress.notes == [f"{name} has changed since it was downloaded; downloading it again"]


@pytest.mark.parametrize("kind", ["flipped", "longer"])
def test_a_damaged_part_is_refused_and_then_downloaded_again(fetch: Fetcher, hub: FakeHub, kind: str) -> None:
    hub.faults.cut_after = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(NetworkError):
        fetch()
    hub.faults.cut_after = []
    part = bytearray(fetch.part.read_bytes())
    if kind == "flipped":
        part[500_000] ^= 1
        fetch.part.write_bytes(part)
        with pytest.raises(NetworkError, match="hash"):
            fetch()
        assert fetch.visible() == []
    else:
        fetch.part.write_bytes(bytes(len(DATA) + 1))
    assert fetch() == DATA


@pytest.mark.parametrize("name", ["model.gguf", "vocab.json"])
def test_wrong_bytes_are_refused_and_deleted(fetch: Fetcher, hub: FakeHub, name: str) -> None:
    if name == "vocab.json":
        hub.faults.etag = "0" * 40
    hub.faults.wrong_bytes = 1
    with pytest.raises(NetworkError, match="hash") as caught:
        fetch(name)
    assert caught.value.status == ExitStatus.NETWORK
    assert fetch.visible() == []
    assert not list(fetch.folder.rglob("*.part"))
    hub.faults.etag = None
    hub.faults.wrong_bytes = 0
    assert fetch(name) == (hub.root / REPO / name).read_bytes()


@pytest.mark.parametrize("etag", ["abc", "W/xyz"])
def test_file_without_a_hash_is_refused(fetch: Fetcher, hub: FakeHub, etag: str) -> None:
    hub.faults.etag = etag
    with pytest.raises(NetworkError, match="hash"):
        fetch()


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("path", ["/api/", "/resolve/", "/cdn/"])
def test_passing_refusals_are_waited_for(fetch: Fetcher, hub: FakeHub, status: int, path: str) -> None:
    hub.faults.status = [(status, {})] * 2
    hub.faults.status_on = path
    assert fetch() == DATA
    assert [str(status) in note for note in fetch.progress.notes] == [True, True]


def test_retry_after_is_honoured(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.status = [(503, {"Retry-After": "1"})]
    assert fetch() == DATA
    assert fetch.progress.notes == [f"hf:{REPO}: the Hub answered 503: retrying in 1 s"]


def test_retry_after_as_a_date_in_the_past(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.status = [(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})]
    assert fetch() == DATA
    assert fetch.progress.notes[0].endswith("in 0 s")


def test_a_wait_that_is_too_long_is_an_error(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.status = [(429, {"Retry-After": "3600"})]
    with pytest.raises(NetworkError, match="429"):
        fetch()
    assert len(hub.log.requests) == 1


def test_patience_ends(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.status = [(503, {})] * 100
    with pytest.raises(NetworkError, match="503"):
        fetch()
    assert len(hub.log.requests) == IMPATIENT.tries


def test_endpoint_with_a_slash_at_its_end(fetch: Fetcher, hub: FakeHub) -> None:
    variables = {**fetch.environment.variables, "HF_ENDPOINT": hub.url + "/"}
    client = HubClient(Environment(Path(), Path(), Path(), variables), fetch.progress, IMPATIENT)
    # The path as it was sent: Python's server, unlike others, forgives two slashes at the start.
    assert client.file(client.snapshot(REPO, None), "model.gguf").url.startswith(f"{hub.url}/{REPO}/")


def test_gone_repository(fetch: Fetcher, hub: FakeHub) -> None:
    client = HubClient(fetch.environment, fetch.progress, IMPATIENT)
    with pytest.raises(ModelNotFound, match="no repository nobody/nothing"):
        client.snapshot("nobody/nothing", None)
    with pytest.raises(ModelNotFound, match="revision"):
        client.snapshot(REPO, "v9")
    with pytest.raises(ModelNotFound, match=r"other\.gguf"):
        client.file(client.snapshot(REPO, None), "other.gguf")


def test_name_that_cannot_be_a_repository(fetch: Fetcher) -> None:
    with pytest.raises(CgcliError) as caught:
        HubClient(fetch.environment, fetch.progress, IMPATIENT).snapshot("a--b/..c", None)
    assert caught.value.status == ExitStatus.USAGE


def test_gated_repository(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.gated = True
    with pytest.raises(NetworkError, match="gated") as caught:
        fetch()
    assert caught.value.hint is not None
    assert "HF_TOKEN" in caught.value.hint
    assert len(hub.log.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token(fetch: Fetcher, hub: FakeHub, status: int) -> None:
    hub.faults.status = [(status, {"X-Error-Message": "Invalid credentials in Authorization header"})]
    with pytest.raises(NetworkError, match=str(status)) as caught:
        fetch()
    assert "HF_TOKEN" in str(caught.value.hint)


def test_token_goes_to_the_hub_and_not_to_its_cdn(fetch: Fetcher, hub: FakeHub) -> None:
    hub.faults.token = "hf_secret"
    with pytest.raises(ModelNotFound):
        fetch()
    variables = {**fetch.environment.variables, "HF_TOKEN": "hf_secret"}
    environment = fetch.environment
    fetch.environment = Environment(environment.store, environment.data, environment.config, variables)
    assert fetch() == DATA
    assert all("authorization" not in headers for headers in hub.log.gets("/cdn/someone/some-model/model.gguf"))


def test_offline_asks_nothing(fetch: Fetcher, hub: FakeHub) -> None:
    variables = {**fetch.environment.variables, "HF_HUB_OFFLINE": "1"}
    fetch.environment = Environment(Path(), Path(), Path(), variables)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        fetch()
    assert hub.log.requests == []


def test_no_network(fetch: Fetcher, hub: FakeHub) -> None:
    variables = {**fetch.environment.variables, "HF_ENDPOINT": "http://127.0.0.1:1"}
    fetch.environment = Environment(Path(), Path(), Path(), variables)
    with pytest.raises(NetworkError, match=r"cannot reach 127\.0\.0\.1") as caught:
        fetch()
    assert "\n" not in caught.value.message
    assert fetch.progress.notes == []  # at once


def test_full_disk(fetch: Fetcher, hub: FakeHub, mount: Callable[[str], Path]) -> None:
    fetch.folder = mount("size=1m") / "folder"
    with pytest.raises(CgcliError, match="no space left") as caught:
        fetch()
    assert caught.value.status == ExitStatus.FAILED
    # What is there is right: with more room it goes on.
    have = fetch.part.read_bytes()
    assert 0 < len(have) < len(DATA)
    assert DATA.startswith(have)


def test_read_only_disk(fetch: Fetcher, mount: Callable[[str], Path]) -> None:
    fetch.folder = mount("size=1m,ro") / "folder"
    with pytest.raises(CgcliError, match="read-only") as caught:
        fetch()
    assert caught.value.status == ExitStatus.FAILED


def test_present_bytes(fetch: Fetcher, hub: FakeHub) -> None:
    client = HubClient(fetch.environment, fetch.progress, IMPATIENT)
    remote = client.file(client.snapshot(REPO, None), "model.gguf")
    assert present_bytes(remote, fetch.folder) == 0
    hub.faults.cut_after = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(NetworkError):
        fetch()
    assert present_bytes(remote, fetch.folder) == 1_000_000
    hub.faults.cut_after = []
    fetch()
    assert present_bytes(remote, fetch.folder) == len(DATA)

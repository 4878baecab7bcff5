"""Data files are downloaded once and checked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, NetworkError
from cgcli.core.progress import Silent
from cgcli.evals.fetch import PublishedFile, fetch
from tests.hub.recording import Recorder

DATA = b"tasks " * 20_000


class _Server(ThreadingHTTPServer):
    asked = 0
    data = DATA
    status = 200
    promised: int | None = None


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.asked += 1
        self.send_response(server.status)
        self.send_header("Content-Length", str(server.promised or len(server.data)))
        self.end_headers()
        self.wfile.write(server.data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def published(server: _Server) -> PublishedFile:
    url = f"http://127.0.0.1:{server.server_port}/tasks.gz"
    return PublishedFile("tasks.gz", url, len(DATA), hashlib.sha256(DATA).hexdigest(), "MIT")


def environment(tmp_path: Path, **variables: str) -> Environment:
    return Environment(tmp_path / "store", tmp_path / "data", tmp_path, variables)


def test_a_file_is_downloaded_once_and_again_if_damaged(server: _Server, tmp_path: Path) -> None:
    path = fetch(published(server), environment(tmp_path), Silent())
    assert (path, path.read_bytes()) == (tmp_path / "data" / "evals" / "tasks.gz", DATA)
    assert fetch(published(server), environment(tmp_path, HF_HUB_OFFLINE="1"), Silent()) == path and server.asked == 1
    path.write_bytes(DATA[:-1])
    assert fetch(published(server), environment(tmp_path), Silent()).read_bytes() == DATA and server.asked == 2


def test_a_file_with_another_hash_is_not_kept(server: _Server, tmp_path: Path) -> None:
    for data in (DATA[:-1] + b"x", DATA * 50, b""):
        server.data = data
        progress = Recorder()
        with pytest.raises(NetworkError, match="has the SHA-256"):
            fetch(published(server), environment(tmp_path), progress)
        assert progress.bars[0].done <= len(DATA) + 100_000  # and no more was read
    assert not (tmp_path / "data").exists()


def test_every_failure_has_a_next_step(server: _Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(NetworkError, match="Not Found") as missing:
        fetch(published(server), environment(tmp_path), Silent())
    assert "--data FILE" in missing.value.line
    server.status, server.data, server.promised = 200, DATA[:1000], len(DATA)
    with pytest.raises(NetworkError, match="has the SHA-256"):
        fetch(published(server), environment(tmp_path), Silent())
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE is set"):
        fetch(published(server), environment(tmp_path, HF_HUB_OFFLINE="1"), Silent())
    closed = PublishedFile("tasks.gz", "http://127.0.0.1:1/tasks.gz", 1, "", "MIT")
    with pytest.raises(NetworkError, match="refused"):
        fetch(closed, environment(tmp_path), Silent())


def test_a_disk_error(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(CgcliError, match="cannot write"):
        fetch(published(server), environment(tmp_path), Silent())

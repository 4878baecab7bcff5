"""A Hub on loopback: the part of the Hub's HTTP API that a pull uses, served from a folder, with faults to switch on.

    ROOT/OWNER/REPO/...    files of the repository; its only commit is a hash of their names and contents

What it does as the real one does: HEAD and GET of /OWNER/REPO/resolve/REVISION/FILE with X-Repo-Commit, a quoted sha256
(LFS, in X-Linked-Etag) or git blob sha1 as etag, LFS bytes behind a redirect to another origin ("CDN"), ranges,
X-Error-Code; /api/models/OWNER/REPO[/revision/REVISION] with `sha` and `siblings`. It can be run by itself:

    python tests/hub/fake_hub.py ROOT
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".bin", ".safetensors", ".gguf")
PIECE = 64 * 1024


@dataclass
class Faults:
    """What goes wrong. Those with a count go wrong that many times, then no more."""

    cut_after: list[int] = field(default_factory=list)  # bytes of a body after which the connection is cut, one a GET
    wrong_bytes: int = 0  # GETs of LFS files in which one bit is flipped
    status: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # answers given instead, one a request
    status_on: str = ""  # only to paths that contain this
    gated: bool = False
    ignore_range: bool = False
    token: str | None = None  # the only token that is let in
    bytes_per_s: float | None = None
    etag: str | None = None  # another etag than the right one
    listing: tuple[bytes, dict[str, str]] | None = None  # instead of the list of a repository's files
    held: threading.Event | None = None  # what that list waits for
    short: int = 0  # GETs that end, politely, half way


@dataclass
class Log:
    """What was asked for. sent: bytes of bodies handed to the socket, by file."""

    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def gets(self, name: str) -> list[dict[str, str]]:
        return [headers for method, path, headers in self.requests if method == "GET" and path.endswith(name)]


class FakeHub:
    """The server, a context manager. `url` is what HF_ENDPOINT should be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults = Faults()
        self.log = Log()
        self.guard = threading.Lock()
        self.hashes: dict[tuple[Path, int, int], str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.cdn = f"http://localhost:{self.port}"  # another origin: a token must not get there

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add(self, repo: str, files: dict[str, bytes]) -> Path:
        """Make or change a repository."""
        folder = self.root / repo
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def commit(self, repo: str) -> str:
        digest = hashlib.sha1()
        for name in self.files(repo):
            digest.update(f"{name} {self.sha256(self.root / repo / name)}\n".encode())
        return digest.hexdigest()

    def files(self, repo: str) -> list[str]:
        folder = self.root / repo
        paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(paths)

    def sha256(self, file: Path) -> str:
        """Of the file as it is now; read once for as long as it stays so."""
        key = (file, file.stat().st_mtime_ns, file.stat().st_size)
        if key not in self.hashes:
            self.hashes[key] = hashlib.sha256(file.read_bytes()).hexdigest()
        return self.hashes[key]

    def etag(self, repo: str, name: str) -> str:
        file = self.root / repo / name
        if name.endswith(LFS_SUFFIXES):
            return self.sha256(file)
        data = file.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            with hub.guard:
                hub.log.requests.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
                planned = hub.faults.status_on in path and hub.faults.status
                status, headers = hub.faults.status.pop(0) if planned else (0, {})
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if status:
                self.refuse(status, "", headers)
            elif path.startswith("/cdn/"):
                self.cdn(path.removeprefix("/cdn/"))
            elif hub.faults.token is not None and token != hub.faults.token:
                self.refuse(401, "RepoNotFound")
            elif hub.faults.gated:
                self.refuse(403, "GatedRepo")
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self.info(match[1], match[2] or "main")
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+|refs/pr/\d+)/(.+)", path):
                self.resolve(match[1], match[2], match[3])
            else:
                self.refuse(404, "")

        def known(self, repo: str, revision: str) -> bool:
            if not (hub.root / repo).is_dir():
                self.refuse(401, "RepoNotFound")  # as the real one: a stranger may not learn what exists
                return False
            if revision not in ("main", hub.commit(repo)):
                self.refuse(404, "RevisionNotFound")
                return False
            return True

        def info(self, repo: str, revision: str) -> None:
            if hub.faults.held is not None:
                hub.faults.held.wait(60)
            if hub.faults.listing is not None:
                self.send(200, *hub.faults.listing)
            elif self.known(repo, revision):
                body = {
                    "id": repo,
                    "sha": hub.commit(repo),
                    "siblings": [{"rfilename": name} for name in hub.files(repo)],
                    "cardData": {"license": "bsd-3-clause"},
                    "tags": [],
                }
                self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

        def resolve(self, repo: str, revision: str, name: str) -> None:
            if not self.known(repo, revision):
                return
            file = hub.root / repo / name
            if not file.is_file():
                self.refuse(404, "EntryNotFound")
                return
            etag = hub.faults.etag or hub.etag(repo, name)
            headers = {"X-Repo-Commit": hub.commit(repo), "ETag": f'"{etag}"'}
            if name.endswith(LFS_SUFFIXES):
                size = str(file.stat().st_size)
                headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": size, "ETag": '"of-the-pointer"'}
                self.send(302, b"", headers | {"Location": f"{hub.cdn}/cdn/{repo}/{name}"})
            else:
                self.body(file, headers)

        def cdn(self, name: str) -> None:
            self.body(hub.root / name, {"ETag": '"of-the-cdn"'})

        def body(self, file: Path, headers: dict[str, str]) -> None:
            data = file.read_bytes()
            first = 0
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            if wanted and not hub.faults.ignore_range:
                first = int(wanted[1])
                if first >= len(data):
                    self.send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                    return
                headers = headers | {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
            if self.command == "GET" and file.name.endswith(LFS_SUFFIXES):
                with hub.guard:
                    if hub.faults.wrong_bytes:
                        hub.faults.wrong_bytes -= 1
                        middle = (first + len(data)) // 2
                        data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            self.send(206 if first else 200, data[first:], headers, file.name)

        def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            self.send(status, b"", {"X-Error-Code": code} | (headers or {}))

        def send(self, status: int, data: bytes, headers: dict[str, str], name: str = "") -> None:
            cut = None
            if name and self.command == "GET":
                with hub.guard:
                    cut = hub.faults.cut_after.pop(0) if hub.faults.cut_after else None
                    if hub.faults.short:
                        hub.faults.short -= 1
                        data = data[: len(data) // 2]
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            try:
                self.pour(data[:cut], name)
            except OSError:  # the client is gone: killed, or satisfied
                self.close_connection = True
                return
            if cut is not None and cut < len(data):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def pour(self, data: bytes, name: str) -> None:
            for at in range(0, len(data), PIECE):
                piece = data[at : at + PIECE]
                self.wfile.write(piece)
                with hub.guard:
                    hub.log.sent[name] += len(piece)
                if hub.faults.bytes_per_s is not None:
                    time.sleep(len(piece) / hub.faults.bytes_per_s)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


if __name__ == "__main__":
    with FakeHub(Path(sys.argv[1])) as served:
        print(f"HF_ENDPOINT={served.url}", flush=True)
        served.thread.join()

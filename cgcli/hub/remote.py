"""The Hub, through huggingface_hub's own session, addresses, token and errors: what a repository holds, a file's size
and hash, and its bytes from any position on.

The only file of the project that imports huggingface_hub. It waits and tries again where that helps (429, 5xx, a cut
connection), honours Retry-After, and turns every failure into one line with the right status. It writes no file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cgcli import __version__
from cgcli.core.environment import Environment
from cgcli.core.errors import CgcliError, ModelNotFound, NetworkError, UsageError
from cgcli.core.progress import Progress
from cgcli.core.reading import MAX_BYTES, parse_json
from cgcli.core.typed import typed

if TYPE_CHECKING:
    import httpx2

Result = TypeVar("Result")

_HINT = "check HF_ENDPOINT, and the network"
_PIECE = 1 << 16
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How often a request that failed is made again, and how long to wait before (doubled each time, in seconds).

    longest_s: a server that asks for more than this is not waited for. An answer of the Hub's API that takes more than
    `silent_s` seconds is told, and one that takes more than `answer_s` is given up.
    """

    tries: int = 6
    first_s: float = 1.0
    longest_s: float = 600.0
    silent_s: float = 5.0
    answer_s: float = 300.0


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit: the paths of its files, and its licence as its card gives it."""

    repo: str
    commit: str
    files: tuple[str, ...]
    licence: str | None


@dataclass(frozen=True)
class RemoteFile:
    """A file of a snapshot. size in bytes; etag: the sha256 of an LFS file, the git blob's sha1 of any other."""

    repo: str
    path: str
    url: str
    size: int
    etag: str

    @property
    def is_lfs(self) -> bool:
        return len(self.etag) == 64


class Hub:
    """The Hub that HF_ENDPOINT names, spoken to with HF_TOKEN (or the token that `hf auth login` stored)."""

    def __init__(self, environment: Environment, progress: Progress, patience: Patience | None = None) -> None:
        self._endpoint = environment.variables.get("HF_ENDPOINT", "").rstrip("/") or None
        if self._endpoint and not self._endpoint.startswith(("http://", "https://")):
            raise UsageError(f"HF_ENDPOINT is {self._endpoint!r}, no http address", hint="unset HF_ENDPOINT")
        self._token = environment.variables.get("HF_TOKEN") or None
        self._progress = progress
        self._patience = patience or Patience()
        self._reached = False
        if environment.flag("HF_HUB_OFFLINE"):
            raise _offline()

    def snapshot(self, repo: str, revision: str | None) -> Snapshot:
        """The commit that a revision (None: the main branch) is now, and what it holds. Raises ModelNotFound."""
        from urllib.parse import quote

        from huggingface_hub import constants
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        def listing() -> Any:
            validate_repo_id(repo)
            at = f"/revision/{quote(revision, safe='')}" if revision is not None else ""
            url = f"{self._endpoint or constants.ENDPOINT}/api/models/{repo}{at}"
            return parse_json(self._whole(url, self._headers(), f"hf:{repo}: the list of its files"))

        info = self._patiently(f"hf:{repo}", listing)
        try:
            known: dict[str, Any] = typed(dict[str, Any], info, "it")
            commit = typed(str, known.get("sha"), "sha")
            files = typed(list, known.get("siblings") or [], "siblings")
            paths = tuple(typed(str, typed(dict, one, "a sibling").get("rfilename"), "rfilename") for one in files)
        except ValueError as error:
            raise NetworkError(f"hf:{repo}: the Hub's list of its files is not one: {error}", hint=_HINT) from error
        card = known.get("cardData")
        licence = card.get("license") if isinstance(card, dict) else None
        return Snapshot(repo, commit, paths, licence if isinstance(licence, str) else None)

    def file(self, snapshot: Snapshot, path: str) -> RemoteFile:
        """Size and hash of a file. Raises ModelNotFound if there is none, NetworkError if the Hub gives no hash."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(snapshot.repo, path, revision=snapshot.commit, endpoint=self._endpoint)
        what = f"hf:{snapshot.repo}/{path}"
        found = self._patiently(what, lambda: get_hf_file_metadata(url, headers=self._headers(), timeout=_timeout()))
        if found.size is None or found.etag is None or not _is_hash(found.etag):
            raise NetworkError(f"{what}: the Hub gives no size and hash to check the file against")
        return RemoteFile(snapshot.repo, path, url, found.size, found.etag)

    def read(self, file: RemoteFile) -> bytes:
        """The whole of a small file, not checked."""

        what = f"hf:{file.repo}/{file.path}"
        return self._patiently(what, lambda: self._whole(file.url, self._plain_headers(), what))

    def stream(self, file: RemoteFile, take: Callable[[int, Iterator[bytes]], None], have: Callable[[], int]) -> None:
        """Feed `take(position, pieces)` until `have()` is the file's size, going on after every cut.

        `position` is where the pieces really begin: 0 if the server ignores ranges. The tries are counted anew
        whenever the file has grown beyond what it ever was.
        """
        import httpx2

        furthest = 0

        def once() -> None:
            if have() < file.size:
                with self._open(file, have()) as (position, pieces):
                    take(position, pieces)
            if have() < file.size:
                raise httpx2.RemoteProtocolError(f"the server stopped after {have()} of {file.size} bytes")

        def grown() -> bool:
            nonlocal furthest
            before, furthest = furthest, max(furthest, have())
            return furthest > before

        self._patiently(f"hf:{file.repo}/{file.path}", once, grown)

    def _patiently(self, what: str, request: Callable[[], Result], grown: Callable[[], bool] = lambda: False) -> Result:
        """Make a request until it succeeds or patience ends; raises the CgcliError that says why."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        failed = 0
        while True:
            try:
                result = request()
                self._reached = True
                return result
            except CgcliError:
                raise
            except HfHubHTTPError as error:
                if error.response.status_code not in _PASSING:
                    raise _refusal(what, error) from error
                problem, asked = _refusal(what, error), _retry_after(error.response)
            except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
                raise _translated(what, error) from error  # led to file://, or what is no address: no try helps
            except httpx2.TransportError as error:
                problem, asked = _unreached(what, error), None
                if isinstance(error, httpx2.ConnectError) and not self._reached:
                    raise problem from error  # no network, or the wrong address: waiting would not help
            except Exception as error:
                raise _translated(what, error) from error
            failed = 1 if grown() else failed + 1
            wait = self._patience.first_s * 2 ** (failed - 1) if asked is None else asked
            if failed >= self._patience.tries or wait > self._patience.longest_s:
                raise problem
            self._progress.note(f"{problem.message}: trying again in {wait:.3g} s")
            time.sleep(wait)

    @contextmanager
    def _open(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of a file from `start` on, and where the server really begins."""
        from huggingface_hub import get_session, hf_raise_for_status

        headers = self._plain_headers()
        if start:
            headers["Range"] = f"bytes={start}-"
        # The address of the repository each time, not where it redirects to: signed addresses expire.
        with get_session().stream("GET", file.url, headers=headers, timeout=_timeout()) as response:
            hf_raise_for_status(response)
            yield _position(response), response.iter_bytes()

    def _whole(self, url: str, headers: dict[str, str], what: str) -> bytes:
        """All of an answer, unpacked: bounded in bytes and in time, whatever the server sends."""
        from threading import Timer

        from huggingface_hub import get_session, hf_raise_for_status

        waiting = Timer(self._patience.silent_s, lambda: self._progress.note(f"{what}: waiting for the Hub"))
        waiting.daemon = True
        until = time.monotonic() + self._patience.answer_s
        found = bytearray()
        waiting.start()
        try:
            with get_session().stream("GET", url, headers=headers, timeout=_timeout()) as response:
                hf_raise_for_status(response)
                for piece in response.iter_bytes(_PIECE):
                    found += piece
                    if len(found) > MAX_BYTES:
                        raise NetworkError(f"{what} has more than {MAX_BYTES} bytes", hint=_HINT)
                    if time.monotonic() > until:
                        raise NetworkError(f"{what} did not come within {self._patience.answer_s:g} s", hint=_HINT)
        finally:
            waiting.cancel()
        return bytes(found)

    def _plain_headers(self) -> dict[str, str]:
        """Compressed, a range would mean something else."""
        return {**self._headers(), "Accept-Encoding": "identity"}

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        return dict(build_hf_headers(token=self._token, library_name="cgcli", library_version=__version__))


def _timeout() -> float:
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _is_hash(etag: str) -> bool:
    return len(etag) in (40, 64) and all(digit in "0123456789abcdef" for digit in etag)


def _position(response: httpx2.Response) -> int:
    """Where in the file a response begins: a server that ignored the range answers 200 from the start."""
    if response.status_code != 206:
        return 0
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else 0


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the server asks to wait: as a number, as a date, or in the Hub's rate-limit headers."""
    from email.utils import parsedate_to_datetime

    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    if value:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None
    limit = parse_ratelimit_headers(response.headers) if response.status_code == 429 else None
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def _offline() -> NetworkError:
    return NetworkError(
        "HF_HUB_OFFLINE is set: nothing is downloaded", hint="unset HF_HUB_OFFLINE, or use a pulled model"
    )


def _unreached(what: str, error: httpx2.TransportError) -> NetworkError:
    """No answer, or one that was cut off."""
    import httpx2

    reason = str(error).strip() or type(error).__name__
    hint = "check the network and run the same command again: it goes on where it was"
    if isinstance(error, httpx2.ConnectError):
        return NetworkError(f"{what}: cannot reach {error.request.url.host}: {reason}", hint=hint)
    return NetworkError(f"{what}: {reason}", hint=hint)


def _refusal(what: str, error: Exception) -> CgcliError:
    """What a status of the Hub means to the user."""
    from huggingface_hub import errors

    repo = "/".join(what.removeprefix("hf:").split("/")[:2])
    if isinstance(error, errors.GatedRepoError):
        return NetworkError(
            f"{what} is gated: the Hub refuses it to this token",
            hint=f"accept its terms at https://huggingface.co/{repo}, then set HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFound(f"no repository {repo} on the Hub", hint="check the name; a private one needs HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFound(f"{what} has no such revision", hint="leave out @REVISION for the main branch")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return ModelNotFound(
            f"{what} is not on the Hub", hint=f"see what is at https://huggingface.co/{repo}/tree/main"
        )
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    hints = {
        401: "check HF_TOKEN: the Hub does not accept it",
        403: "the token in HF_TOKEN may not read this repository",
        404: "check the name and HF_ENDPOINT",
    }
    hint = hints.get(status or 0, "run the same command again later: it goes on where it was")
    return NetworkError(f"{what}: the Hub answered {status}", hint=hint)


def _translated(what: str, error: Exception) -> CgcliError:
    """Errors that are not a refusal: offline, a name that cannot be one, an endpoint that is no Hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return _offline()
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"{what} cannot be a repository's name", hint="write hf:OWNER/REPO")
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return NetworkError(f"{what}: {line}", hint=_HINT)

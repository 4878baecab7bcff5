"""A client for the Hugging Face Hub: a repository's files, their sizes and hashes, and their bytes from any position.

This is the only file that imports huggingface_hub, for its session, URLs, token and errors. Requests are retried after
429, 5xx and lost connections, honoring Retry-After. Every failure becomes a one-line error. No file is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cgcli import __version__
from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, ModelNotFound, NetworkError, UsageError
from cgcli.core.progress import Progress
from cgcli.core.reading import MAX_BYTES, parse_json
from cgcli.core.typed import typed

if TYPE_CHECKING:
    import httpx2

Result = TypeVar("Result")

_HINT = "check HF_ENDPOINT and the network"
_PIECE = 1 << 16
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """How to retry failed requests, and how long to wait for answers. Times are in seconds."""

    tries: int = 6  # without progress
    first_s: float = 1.0  # before the first retry; doubled for each further one
    longest_s: float = 600.0  # give up if the server asks to wait longer
    silent_s: float = 5.0  # report an API request that takes longer
    answer_s: float = 300.0  # give up on an API request that takes longer


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit."""

    repo: str
    commit: str
    files: tuple[str, ...]  # their paths
    licence: str | None  # from its model card


@dataclass(frozen=True)
class RemoteFile:
    """A file of a snapshot."""

    repo: str
    path: str
    url: str
    size: int  # in bytes
    etag: str  # sha256 of an LFS file, sha1 of any other file's git blob

    @property
    def is_lfs(self) -> bool:
        return len(self.etag) == 64


class HubClient:
    """A client of the Hub at HF_ENDPOINT, with HF_TOKEN or the token that `hf auth login` stored."""

    def __init__(self, environment: Environment, progress: Progress, retries: RetryPolicy | None = None) -> None:
        self._endpoint = environment.variables.get("HF_ENDPOINT", "").rstrip("/") or None
        if self._endpoint and not self._endpoint.startswith(("http://", "https://")):
            raise UsageError(f"HF_ENDPOINT is not an http URL: {self._endpoint!r}", hint="unset HF_ENDPOINT")
        self._token = environment.variables.get("HF_TOKEN") or None
        self._progress = progress
        self._retries = retries or RetryPolicy()
        self._reached = False
        if environment.flag("HF_HUB_OFFLINE"):
            raise _offline()

    def snapshot(self, repo: str, revision: str | None) -> Snapshot:
        """Resolve a revision (None: the main branch) to a commit and list its files. Raises ModelNotFound."""
        from urllib.parse import quote

        from huggingface_hub import constants
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        def listing() -> Any:
            validate_repo_id(repo)
            at = f"/revision/{quote(revision, safe='')}" if revision is not None else ""
            url = f"{self._endpoint or constants.ENDPOINT}/api/models/{repo}{at}"
            return parse_json(self._whole(url, self._headers(), f"hf:{repo}: file list"))

        info = self._with_retries(f"hf:{repo}", listing)
        try:
            known: dict[str, Any] = typed(dict[str, Any], info, "it")
            commit = typed(str, known.get("sha"), "sha")
            files = typed(list, known.get("siblings") or [], "siblings")
            paths = tuple(typed(str, typed(dict, one, "a sibling").get("rfilename"), "rfilename") for one in files)
        except ValueError as error:
            raise NetworkError(f"hf:{repo}: the Hub sent an invalid file list: {error}", hint=_HINT) from error
        card = known.get("cardData")
        licence = card.get("license") if isinstance(card, dict) else None
        return Snapshot(repo, commit, paths, licence if isinstance(licence, str) else None)

    def file(self, snapshot: Snapshot, path: str) -> RemoteFile:
        """The size and hash of a file. Raises ModelNotFound, and NetworkError if the Hub sends no hash."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(snapshot.repo, path, revision=snapshot.commit, endpoint=self._endpoint)
        what = f"hf:{snapshot.repo}/{path}"
        found = self._with_retries(what, lambda: get_hf_file_metadata(url, headers=self._headers(), timeout=_timeout()))
        if found.size is None or found.etag is None or not _is_hash(found.etag):
            raise NetworkError(f"{what}: the Hub sent no size or hash to check the file with")
        return RemoteFile(snapshot.repo, path, url, found.size, found.etag)

    def read(self, file: RemoteFile) -> bytes:
        """The contents of a small file, without checking its hash."""
        what = f"hf:{file.repo}/{file.path}"
        return self._with_retries(what, lambda: self._whole(file.url, self._plain_headers(), what))

    def stream(self, file: RemoteFile, take: Callable[[int, Iterator[bytes]], None], have: Callable[[], int]) -> None:
        """Call `take(position, pieces)` until `have()` returns the file's size, reconnecting as needed.

        position: where the pieces begin; 0 if the server ignores ranges. Whenever the file grows beyond its largest
        size so far, the number of tries starts over.
        """
        import httpx2

        furthest = 0

        def once() -> None:
            if have() < file.size:
                with self._open(file, have()) as (position, pieces):
                    take(position, pieces)
            if have() < file.size:
                raise httpx2.RemoteProtocolError(
                    f"the server closed the connection after {have()} of {file.size} bytes"
                )

        def grown() -> bool:
            nonlocal furthest
            before, furthest = furthest, max(furthest, have())
            return furthest > before

        self._with_retries(f"hf:{file.repo}/{file.path}", once, grown)

    def _with_retries(
        self, what: str, request: Callable[[], Result], grown: Callable[[], bool] = lambda: False
    ) -> Result:
        """Make a request, retrying as the policy allows. Raises CgcliError."""
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
                raise _translated(
                    what, error
                ) from error  # a redirect to file:// or to an invalid URL: retrying does not help
            except httpx2.TransportError as error:
                problem, asked = _unreached(what, error), None
                if isinstance(error, httpx2.ConnectError) and not self._reached:
                    raise problem from error  # no network or a wrong URL: retrying does not help
            except Exception as error:
                raise _translated(what, error) from error
            failed = 1 if grown() else failed + 1
            wait = self._retries.first_s * 2 ** (failed - 1) if asked is None else asked
            if failed >= self._retries.tries or wait > self._retries.longest_s:
                raise problem
            self._progress.note(f"{problem.message}: retrying in {wait:.3g} s")
            time.sleep(wait)

    @contextmanager
    def _open(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The position where the server begins, and the bytes of the file from there; `start` is requested."""
        from huggingface_hub import get_session, hf_raise_for_status

        headers = self._plain_headers()
        if start:
            headers["Range"] = f"bytes={start}-"
        # Always the URL in the repository, since the signed URLs that it redirects to expire.
        with get_session().stream("GET", file.url, headers=headers, timeout=_timeout()) as response:
            hf_raise_for_status(response)
            yield _position(response), response.iter_bytes()

    def _whole(self, url: str, headers: dict[str, str], what: str) -> bytes:
        """The whole decompressed response, within limits of size and time."""
        from threading import Timer

        from huggingface_hub import get_session, hf_raise_for_status

        waiting = Timer(self._retries.silent_s, lambda: self._progress.note(f"{what}: waiting for the Hub"))
        waiting.daemon = True
        until = time.monotonic() + self._retries.answer_s
        found = bytearray()
        waiting.start()
        try:
            with get_session().stream("GET", url, headers=headers, timeout=_timeout()) as response:
                hf_raise_for_status(response)
                for piece in response.iter_bytes(_PIECE):
                    found += piece
                    if len(found) > MAX_BYTES:
                        raise NetworkError(f"{what}: the response has more than {MAX_BYTES} bytes", hint=_HINT)
                    if time.monotonic() > until:
                        raise NetworkError(
                            f"{what}: no complete response within {self._retries.answer_s:g} s", hint=_HINT
                        )
        finally:
            waiting.cancel()
        return bytes(found)

    def _plain_headers(self) -> dict[str, str]:
        """Headers for ranges, which would count compressed bytes otherwise."""
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
    """Where a response begins in the file: at 0 if the server ignored the range, with status 200."""
    if response.status_code != 206:
        return 0
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else 0


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the server asks to wait, from Retry-After or the Hub's rate-limit headers."""
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
        "HF_HUB_OFFLINE is set, so nothing is downloaded", hint="unset HF_HUB_OFFLINE, or use a pulled model"
    )


def _unreached(what: str, error: httpx2.TransportError) -> NetworkError:
    """The error for no response, or an incomplete one."""
    import httpx2

    reason = str(error).strip() or type(error).__name__
    hint = "check the network and run the same command again to resume"
    if isinstance(error, httpx2.ConnectError):
        return NetworkError(f"{what}: cannot reach {error.request.url.host}: {reason}", hint=hint)
    return NetworkError(f"{what}: {reason}", hint=hint)


def _refusal(what: str, error: Exception) -> CgcliError:
    """The error for an HTTP status of the Hub."""
    from huggingface_hub import errors

    repo = "/".join(what.removeprefix("hf:").split("/")[:2])
    if isinstance(error, errors.GatedRepoError):
        return NetworkError(
            f"{what} is gated, and the Hub denies access with this token",
            hint=f"accept its terms at https://huggingface.co/{repo}, then set HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFound(
            f"no repository {repo} on the Hub", hint="check the name; private repositories need HF_TOKEN"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFound(f"{what} has no such revision", hint="omit @REVISION to use the main branch")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return ModelNotFound(
            f"{what} is not on the Hub", hint=f"see the files at https://huggingface.co/{repo}/tree/main"
        )
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    hints = {
        401: "check HF_TOKEN; the Hub does not accept it",
        403: "use a token in HF_TOKEN that may read this repository",
        404: "check the name and HF_ENDPOINT",
    }
    hint = hints.get(status or 0, "run the same command again later to resume")
    return NetworkError(f"{what}: the Hub answered {status}", hint=hint)


def _translated(what: str, error: Exception) -> CgcliError:
    """The error for anything else: offline mode, an invalid name, an endpoint that is not a Hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return _offline()
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"{what} is not a valid repository name", hint="use hf:OWNER/REPO")
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return NetworkError(f"{what}: {line}", hint=_HINT)

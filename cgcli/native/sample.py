"""Samples tokens from rows of logits, and scores given ones: the bindings of cgk_sample_rows and cgk_logprob.

kernels/include/cgk.h says exactly what they compute. Logits are read in place, by their address in llama.cpp's memory,
which may be a GPU's; models and text are not known here. All log-probabilities are natural logs at temperature 1 over
the whole vocabulary.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.core.errors import CgcliError, UsageError
from cgcli.native import cuda
from cgcli.native.library import (
    CGK_ERROR_DEVICE,
    CGK_ERROR_NAN,
    CGK_ERROR_NO_CANDIDATE,
    CGK_OK,
    SampleParams,
    SampleResult,
    library,
)

Mask = ctypes.Array[ctypes.c_uint8]
"""uint8 [n_vocab]: ids with a nonzero entry are never sampled."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are sampled. The defaults are the paper's. Raises UsageError for a value out of range."""

    temperature: float = 0.2  # 0 is greedy
    top_p: float = 0.95  # 1 is off
    top_k: int = 0  # 0 is off
    min_p: float = 0.0  # 0 is off
    seed: int = 0  # 64 bits

    def __post_init__(self) -> None:
        _require(0 <= self.temperature < math.inf, "temperature", self.temperature, "0 or more")
        _require(0 <= self.top_p <= 1, "top-p", self.top_p, "0 to 1")
        _require(0 <= self.top_k < 1 << 32, "top-k", self.top_k, "0 to 4294967295")
        _require(0 <= self.min_p <= 1, "min-p", self.min_p, "0 to 1")
        _require(0 <= self.seed < 1 << 64, "seed", self.seed, "0 to 18446744073709551615")


Alternatives = tuple[tuple[int, float], ...]
"""The most probable tokens of a row and their log-probabilities, in order: greater logit, lower id."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A sampled token."""

    token: int
    logprob: float  # natural log of its probability at temperature 1 over the whole vocabulary, for any sampling
    kept: int  # how many tokens could have been drawn
    alternatives: Alternatives = ()  # as many as its `Draw` asked for


@dataclass(frozen=True, slots=True)
class Draw:
    """One token to draw. The random number depends on seed, turn, candidate and index alone."""

    logits: int  # address of float32 [n_vocab], only read
    sampling: Sampling
    turn: int = 0  # below 2^32, as are candidate and index
    candidate: int = 0
    index: int = 0  # of the token in its completion
    banned: Mask | None = None
    alternatives: int = 0  # of the most probable tokens to tell, whatever is banned


class Sampler:
    """Samples from rows of `n_vocab` logits. Owns scratch memory, 12 bytes per entry, so each thread needs its own."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self._scratch = ctypes.create_string_buffer(library().cgk_sample_scratch(n_vocab))
        self._gpu_scratch: int | None = None
        self._grow(1)

    def _grow(self, n_rows: int) -> None:
        self._logits = (ctypes.c_void_p * n_rows)()
        self._banned = (ctypes.c_void_p * n_rows)()
        params = (SampleParams * n_rows)()
        results = (SampleResult * n_rows)()
        blocks = (self._logits, self._banned, params, results)
        self._addresses = tuple(ctypes.addressof(block) for block in blocks)
        # For each row: its two structures, and the settings that are in the first one.
        self._params = list(params)
        self._results = list(results)
        self._settings: list[Sampling | None] = [None] * n_rows

    def _run(self, n_rows: int, on_gpu: bool) -> int:
        """Sample the rows that are set up; returns the status."""
        logits, banned, params, results = self._addresses
        run, scratch = library().cgk_sample_rows, ctypes.addressof(self._scratch)
        if on_gpu:
            gpu = cuda.cuda_library()
            if gpu is None:
                raise RuntimeError("there is no GPU to sample on")
            if self._gpu_scratch is None:
                self._gpu_scratch = gpu.cgk_cuda_scratch_new()
                weakref.finalize(self, gpu.cgk_cuda_scratch_free, self._gpu_scratch)
            run, scratch = gpu.cgk_cuda_host_sample_rows, self._gpu_scratch
        return int(run(logits, banned, n_rows, self.n_vocab, params, scratch, results))

    def sample(
        self,
        logits: int,
        sampling: Sampling,
        *,
        turn: int = 0,
        candidate: int = 0,
        index: int = 0,
        banned: Mask | None = None,
    ) -> Sampled:
        """Sample one token. Arguments as in `Draw`, errors as in `sample_rows`."""
        return self.sample_rows((Draw(logits, sampling, turn, candidate, index, banned),))[0]

    def sample_rows(self, draws: Sequence[Draw], *, on_gpu: bool = False) -> list[Sampled]:
        """Sample a token for each draw, in order. Several draws may read the same logits.

        on_gpu: the logits are in a GPU's memory, and it draws (`cuda.cuda_library`): the same tokens, but a
        log-probability may be off by one unit in its last place.
        Raises CgcliError if logits contain NaN, or if no token can be sampled.
        """
        n_rows = len(draws)
        if n_rows > len(self._params):
            self._grow(2 * n_rows)
        for row, draw in enumerate(draws):
            self._logits[row] = draw.logits
            self._banned[row] = None if draw.banned is None else ctypes.addressof(draw.banned)
            params = self._params[row]
            sampling = draw.sampling
            if sampling is not self._settings[row]:
                params.temperature = sampling.temperature
                params.top_p = sampling.top_p
                params.top_k = sampling.top_k
                params.min_p = sampling.min_p
                params.seed = sampling.seed
                self._settings[row] = sampling
            params.turn = draw.turn
            params.candidate = draw.candidate
            params.index = draw.index
        status = self._run(n_rows, on_gpu)
        if status != CGK_OK:
            raise _error(status)
        return [
            Sampled(found.token, found.logprob, found.kept, top_tokens(draw.logits, self.n_vocab, draw.alternatives))
            for draw, found in zip(draws, self._results[:n_rows], strict=True)
        ]


def _error(status: int) -> CgcliError:
    if status == CGK_ERROR_NAN:
        return CgcliError("the model produced a logit that is not a number", hint="cgcli models verify")
    if status == CGK_ERROR_NO_CANDIDATE:
        return CgcliError("no token left to sample: all are banned or impossible", hint="cgcli models verify")
    if status == CGK_ERROR_DEVICE:
        return CgcliError("the GPU failed while sampling", hint="use --gpu-layers 0")
    return CgcliError(f"cgk_sample rejected its parameters with status {status}")


def _require(good: bool, name: str, value: float, legal: str) -> None:
    if not good:
        raise UsageError(f"{name} must be {legal}, but is {value}")


@dataclass(frozen=True, slots=True)
class Scored:
    """How expected a token was."""

    logprob: float
    rank: int  # entries before it in the order (greater logit, lower id); 0 is the best
    entropy: float  # of the row's whole distribution, in nats


def score_tokens(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[Scored]:
    """Score one token per row. logits: address of float32 [len(tokens), n_vocab], rows one after the other.

    Raises CgcliError if a logit is NaN or all of a row are -inf.
    """
    found = (ctypes.c_float * len(tokens))()
    ranks = (ctypes.c_uint32 * len(tokens))()
    entropies = (ctypes.c_float * len(tokens))()
    wanted = (ctypes.c_int32 * len(tokens))(*tokens)
    if library().cgk_logprob(logits, len(tokens), n_vocab, wanted, found, ranks, entropies) != CGK_OK:
        tokens_named = f"token {tokens[0]}" if len(tokens) == 1 else f"one of {len(tokens)} tokens"
        raise CgcliError(f"cannot score {tokens_named}: the model's logits are invalid", hint="cgcli models verify")
    return list(map(Scored, found, ranks, entropies))


def top_tokens(logits: int, n_vocab: int, k: int) -> Alternatives:
    """The k most probable tokens of a row. logits: address of float32 [n_vocab]. Raises like `score_tokens`."""
    if not k:
        return ()
    ids, found = (ctypes.c_int32 * k)(), (ctypes.c_float * k)()
    if (status := library().cgk_top(logits, n_vocab, k, ids, found)) != CGK_OK:
        raise _error(status)
    return tuple(zip(ids, found, strict=True))

"""Tokens from rows of logits: the binding of cgk_sample_rows (kernels/include/cgk.h says exactly what it computes).

It takes logits by their address, where llama.cpp left them, and knows nothing of models or text.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.core.errors import CgcliError, UsageError
from cgcli.native.library import CGK_ERROR_NAN, CGK_ERROR_NO_CANDIDATE, CGK_OK, SampleParams, SampleResult, library

Mask = ctypes.Array[ctypes.c_uint8]
"""uint8 [n_vocab]: nonzero is never sampled."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. The defaults are the paper's: temperature 0.2, top-p 0.95, no top-k, no min-p.

    temperature: 0 is greedy; top_k: 0 is off; top_p: 1 is off; min_p: 0 is off; seed: 64 bits.
    Raises UsageError for a value out of its range.
    """

    temperature: float = 0.2
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.temperature < math.inf, "temperature", self.temperature, "0 or more")
        _require(0 <= self.top_p <= 1, "top-p", self.top_p, "0 to 1")
        _require(0 <= self.top_k < 1 << 32, "top-k", self.top_k, "0 or more")
        _require(0 <= self.min_p <= 1, "min-p", self.min_p, "0 to 1")
        _require(0 <= self.seed < 1 << 64, "seed", self.seed, "0 to 18446744073709551615")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A chosen token. logprob: natural log of its probability at temperature 1 over the whole vocabulary, whatever the
    sampling; kept: how many tokens could have been drawn."""

    token: int
    logprob: float
    kept: int


@dataclass(frozen=True, slots=True)
class Draw:
    """What one token is drawn from, and which draw it is.

    logits: address of float32 [n_vocab], only read; banned: of the same length. The draw depends on the seed, turn,
    candidate and index (of the token in its completion) and on nothing else, each of the last three below 2^32.
    """

    logits: int
    sampling: Sampling
    turn: int = 0
    candidate: int = 0
    index: int = 0
    banned: Mask | None = None


class Sampler:
    """Samples from rows of `n_vocab` logits. It owns scratch memory (12 bytes an entry): one a thread."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self._sample_rows = library().cgk_sample_rows
        self._scratch = ctypes.create_string_buffer(library().cgk_sample_scratch(n_vocab))
        self._grow(1)

    def _grow(self, n_rows: int) -> None:
        self._logits = (ctypes.c_void_p * n_rows)()
        self._banned = (ctypes.c_void_p * n_rows)()
        params = (SampleParams * n_rows)()
        results = (SampleResult * n_rows)()
        blocks = (self._logits, self._banned, params, self._scratch, results)
        self._addresses = tuple(ctypes.addressof(block) for block in blocks)
        # Of each row: its two structures, and the settings that the first one holds.
        self._params = list(params)
        self._results = list(results)
        self._settings: list[Sampling | None] = [None] * n_rows

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
        """Choose one token; arguments as in Draw, errors as in sample_rows."""
        return self.sample_rows((Draw(logits, sampling, turn, candidate, index, banned),))[0]

    def sample_rows(self, draws: Sequence[Draw]) -> list[Sampled]:
        """Choose a token for each draw, in their order. Several may read the same logits.

        Raises CgcliError where logits hold NaN, or where nothing is left to choose from.
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
        logits, banned, first_params, scratch, results = self._addresses
        status = self._sample_rows(logits, banned, n_rows, self.n_vocab, first_params, scratch, results)
        if status != CGK_OK:
            raise _error(status)
        return [Sampled(found.token, found.logprob, found.kept) for found in self._results[:n_rows]]


def _error(status: int) -> CgcliError:
    if status == CGK_ERROR_NAN:
        return CgcliError("the model put out a logit that is not a number", hint="cgcli models verify")
    if status == CGK_ERROR_NO_CANDIDATE:
        return CgcliError("no token is left to sample: each is banned or impossible", hint="cgcli models verify")
    return CgcliError(f"cgk_sample refused its parameters (status {status})")


def _require(good: bool, name: str, value: float, legal: str) -> None:
    if not good:
        raise UsageError(f"{name} is {value}, must be {legal}", hint="cgcli gen --help")

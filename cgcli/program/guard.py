"""Guards: what no working program contains is cut out of a completion while it is drawn, and drawn again.

A `Guard` follows one completion through all requests that it takes. It makes the cutter of each, which holds the text
back until it is known to stand, and cuts where a line is dead: it repeats itself, cannot become Python, or uses a name
that nothing defines. `follow` then returns the request that draws this line again behind what stands. Missing imports
are written instead. Text that has been released is never taken back.

The idea is AdapTrack's (Li et al. 2025, arXiv 2510.17376), with lines in place of tokens. The tries get hotter, and
from the third on the first tokens that failed are banned: what a model says with confidence it says again.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import replace

from cgcli.core.errors import ContextError
from cgcli.engine.protocol import Engine
from cgcli.engine.request import Completion, DrawnToken, FinishReason, FirstLine, Request
from cgcli.engine.stops import Cutter
from cgcli.program.faults import Fault, Syntax, asks_for_stub, is_empty, looping, repeated_from
from cgcli.program.generation import Generation
from cgcli.program.names import Missing, Names, write_import
from cgcli.program.program import GuardCut, GuardFacts
from cgcli.program.source import encode

TRIES_A_LINE = 8
TRIES = 24
"""Of a completion."""

_DEFINITIONS = 2  # of functions that a completion calls but does not define
_AVOIDING = 3  # the try from which first tokens that failed are banned
_ANY_TOKEN = 2  # times max_tokens may be drawn in all


class Guard:
    """Follows one completion. `request` is the first to draw; `follow` returns the next after each."""

    def __init__(
        self,
        engine: Engine,
        generation: Generation,
        request: Request,
        before: str,
        *,
        keep: str = "",
        prompt: str | None = None,
        python: bool = True,
    ) -> None:
        """request: of the whole completion. Its context ends with `keep`, the beginning that exists already.

        before: the program before the completion, as it is. Without `generation.guard`, all text passes as it is drawn.
        """
        self._engine = engine
        self._generation = generation
        self._context = request.context.removesuffix(encode(keep))
        self._keep = keep
        self._active = generation.guard
        self._stub = asks_for_stub(prompt)
        self._judges = self._active and python
        if self._judges:
            self._syntax, self._names = _judges(before)
            self._judges = self._syntax.dead(keep[: keep.rfind("\n") + 1]) is None
        self.text = keep  # what stands so far
        self._raw = ""  # with what was cut off last
        self._released = len(keep)  # characters that have left
        self._whole = 0  # up to here, whole statements were judged
        self._open = 0  # from here on, a name may still be defined
        self._fault: Fault | None = None
        self._tokens: list[DrawnToken] = []  # those that stand; `end` in `text`
        self._drawn = 0  # in all requests
        self._begin = len(keep)  # of the current request's text, in `text`
        self._written: list[tuple[int, int]] = []  # imports in it: where in `text`, length
        self._tries: Counter[int] = Counter()  # by the place in `text`
        self._avoid: dict[int, set[int]] = {}  # first tokens that failed there
        self._looped: set[int] = set()  # where a loop was cut
        self._defined = 0  # functions
        self._begun: list[tuple[int, int]] = []  # where the beginnings of their definitions are in `text`
        self._cuts: list[GuardCut] = []
        self._imports: list[str] = []
        self._standing = ""  # the fault that stands, all tries being spent
        self._reason: FinishReason = "stop"
        self._only: Completion | None = None  # the only one so far
        self.request = replace(request, cutter=self._cutter)

    # --- results

    @property
    def held(self) -> str:
        """Text that was drawn and may still be cut."""
        return self.text[self._released :]

    @property
    def facts(self) -> GuardFacts | None:
        """What the guards did; None if they did nothing."""
        if not (self._cuts or self._imports or self._standing):
            return None
        return GuardFacts(tuple(self._cuts), tuple(self._imports), self._standing)

    @property
    def empty(self) -> bool:
        """Whether the completion adds nothing that runs, and the prompt asks for more than that."""
        return self._judges and not self._stub and is_empty(self.text)

    @property
    def completion(self) -> Completion:
        """What stands, after `follow` returned None."""
        if self._only and not self._cuts:
            return replace(self._only, text=self.text[len(self._keep) :], finish_reason=self._reason)
        logprobs = [token.logprob for token in self._tokens]
        mean = sum(logprobs) / len(logprobs) if logprobs else None
        new = self.text[len(self._keep) :]
        return Completion(new, len(self._tokens), mean, self._reason, self.request.candidate, tuple(self._tokens))

    def rest(self) -> str:
        """The text that stands and was not released, after `follow` returned None."""
        rest, self._released = self.held, len(self.text)
        return rest

    # --- while a request is drawn

    def _cutter(self) -> Cutter:
        return _GuardedText(self, self._generation.cutter(self._context, self.text))

    def take(self, piece: str) -> str:
        """Take the next piece of text; returns what is released. Sets `dead` if a guard cuts."""
        for line in re.findall(r"[^\n]*\n|[^\n]+", piece):
            self.text += line
            if self._active and not self._standing:
                self._fault = looping(self.text, len(self._keep))
                if self._fault is None and self._judges and line.endswith("\n"):
                    self._fault = self._at_line_end()
            if self._fault:
                self._raw = self.text
                self.text = self.text[: self._place(self._fault)]
                break
        upto = self._final()
        released, self._released = self.text[self._released : upto], upto
        return released

    @property
    def dead(self) -> bool:
        """Whether a guard has cut the text of this request."""
        return self._fault is not None

    def _place(self, fault: Fault) -> int:
        """Where to cut: not in what has left or was there before, nor in the beginning of a definition."""
        at = min(max(fault.at, len(self._keep), self._released), len(self.text))
        return next((end for begin, end in self._begun if begin <= at < end), at)

    def _at_line_end(self) -> Fault | None:
        syntax = self._syntax
        if fault := syntax.dead(self.text):
            return fault
        whole = syntax.whole(self.text)
        if whole <= self._whole:
            return None
        missing = self._missing(whole)
        while now := next((one for one in missing if not one.deferred), None):
            if now.cure is None:
                return _undefined(now)
            whole += self._write_import(now)
            missing = self._missing(whole)
        self._whole = whole
        self._open = min((one.statement for one in missing), default=whole)
        return None

    def _missing(self, upto: int) -> list[Missing]:
        """The undefined names of the text up to here; not those in `keep`, and not those whose import has no place."""
        least, missing = max(len(self._keep), self._released), self._names.missing(self.text[:upto])
        return [one for one in missing if one.at >= len(self._keep) and (one.cure is None or one.statement >= least)]

    def _final(self) -> int:
        """Up to where the text is final."""
        if not self._active or self._standing:
            return len(self.text)
        if self._judges:
            upto = min(self._whole, self._open)
            if not self._stub and is_empty(self.text[:upto]):
                upto = 0
        else:
            upto = self.text.rfind("\n") + 1
        return max(self._released, min(upto, repeated_from(self.text, len(self._keep))))

    def _write_import(self, missing: Missing) -> int:
        """Write the import that defines a name; returns the length of its line."""
        at, before = missing.statement, self.text
        self.text = write_import(before, missing)
        length = len(self.text) - len(before)
        self._tokens = [replace(one, end=one.end + length * (one.end > at)) for one in self._tokens]
        self._begun = [(begin + length * (begin >= at), end + length * (end > at)) for begin, end in self._begun]
        self._written.append((at, length))
        self._imports.append(missing.cure or "")
        return length

    # --- between requests

    def follow(self, completion: Completion) -> Request | None:
        """The request that goes on after this completion of the last one; None once what stands is known."""
        self._count(completion)
        self._only = completion if self._drawn == completion.tokens else None
        self._reason = completion.finish_reason
        fault, self._fault = self._fault, None
        if not self._active or self._standing or self._reason == "interrupted":
            return None
        if fault:
            return self._again(fault)
        if self._reason != "stop":
            self._end_whole()
        return self._ended()

    def _count(self, completion: Completion) -> None:
        """Add the tokens of a request to those that stand."""
        self._drawn += completion.tokens
        for one in completion.trace:
            end = self._begin + one.end
            for at, length in self._written:
                end += length * (end > at)
            self._tokens.append(replace(one, end=end))

    def _ended(self) -> Request | None:
        """The completion has ended: judge it as a whole."""
        fault = self._syntax.ended(self.text) if self._judges else None
        if fault is None and self._judges:
            missing = self._with_imports()
            called = next((one for one in missing if one.called_only), None)
            if called and self._defined < _DEFINITIONS:
                self._defined += 1
                before = self.text
                self.text = f"{before.rstrip()}\n\n\ndef {called.name}("
                request = self._request()
                if request is None:  # there is no room
                    self.text = before
                else:
                    self._begun.append((len(before.rstrip()), len(self.text)))
                return request
            fault = _undefined(missing[0]) if missing else None
        if fault is None and self.empty:
            fault = Fault("empty", len(self._keep), "only a comment or empty")
        if fault is None:
            return None
        self._raw, self.text = self.text, self.text[: self._place(fault)]
        return self._again(fault, ended=True)

    def _with_imports(self) -> list[Missing]:
        """Write the imports that the text lacks; returns the names that are defined nowhere and have none."""
        while cured := next((one for one in self._missing(len(self.text)) if one.cure), None):
            self._write_import(cured)
        return self._missing(len(self.text))

    def _end_whole(self) -> None:
        """End a completion that was cut off at its last line end with which it compiles."""
        if not self._judges:
            return
        upto = self._syntax.compiles_up_to(self.text)
        if max(len(self._keep) + 1, self._released) <= upto < len(self.text) and not is_empty(self.text[:upto]):
            self._raw, self.text = self.text, self.text[:upto]
            self._cut(Fault("end", upto, "unfinished"), self._drop())

    def _again(self, fault: Fault, *, ended: bool = False) -> Request | None:
        """Draw the line that begins at the end of the text again."""
        at = len(self.text)
        self._tries[at] += 1
        self._avoid.setdefault(at, set()).update(self._first_token(at))
        is_loop = fault.guard == "degenerate" and self._raw.count("\n", at) > 1
        spent = self._tries[at] > TRIES_A_LINE or self._tries.total() > TRIES
        if spent and fault.guard != "degenerate":
            self.text, self._standing = self._raw, fault.reason
            return None if ended else self._request()
        tokens = self._tokens
        self._cut(fault, self._drop())
        if spent or (is_loop and at in self._looped):
            return self._ended()
        if is_loop:
            self._looped.add(at)
        tried = self._tries[at]
        sampling = self.request.sampling
        hotter = replace(sampling, temperature=_hotter(sampling.temperature, tried))
        avoid = self._avoid[at] if tried >= _AVOIDING else ()
        request = self._request(FirstLine(hotter, frozenset(avoid)))
        if request is None and fault.guard != "degenerate" and not self._stands():
            # There are no tokens left for another try, and nothing whole stands: better this than nothing.
            self.text, self._tokens, self._standing = self._raw, tokens, fault.reason
            self._cuts.pop()
        return request

    def _stands(self) -> bool:
        """Whether there is something whole."""
        return len(self.text) > len(self._keep) and not (self._judges and self._syntax.ended(self.text))

    def _request(self, first_line: FirstLine | None = None) -> Request | None:
        """The request for what follows the text; None if there are no tokens left for it."""
        of = self.request
        left = min(of.max_tokens - len(self._tokens), _ANY_TOKEN * of.max_tokens - self._drawn)
        context = self._context + encode(self.text)
        if left <= 0 or not self._fits(context):
            self._reason = "length" if left <= 0 else "context"
            self._end_whole()
            return None
        self._begin, self._written = len(self.text), []
        again = of.continues_code or bool(self.text)
        return replace(
            of,
            context=context,
            max_tokens=left,
            continues_code=again,
            first_draw=self._drawn,
            first_line=first_line,
            score_from=None,
        )

    def _fits(self, context: bytes) -> bool:
        """Whether the window has room for a token after a context."""
        try:
            self._engine.check(context)
        except ContextError:
            return False
        return True

    def _drop(self) -> int:
        """Drop the tokens behind the text; returns their number."""
        size, drawn = len(self.text), len(self._tokens)
        ends = [len(self._keep), *(one.end for one in self._tokens)]
        self._tokens = [one for one, begin in zip(self._tokens, ends, strict=False) if begin < size]
        self._whole, self._open = min(self._whole, size), min(self._open, size)
        self._begun = [span for span in self._begun if span[1] <= size]
        return drawn - len(self._tokens)

    def _first_token(self, at: int) -> list[int]:
        """The token that begins the line at `at`, behind its blanks."""
        line = self._raw[at:]
        first = at + len(line) - len(line.lstrip())
        ends = [len(self._keep), *(one.end for one in self._tokens)]
        index = next((number for number, end in enumerate(ends) if end > first), 0)
        while index > 1 and ends[index - 1] == ends[index - 2]:  # the first bytes of a character
            index -= 1
        return [self._tokens[index - 1].token] if index else []

    def _cut(self, fault: Fault, dropped: int) -> None:
        self._cuts.append(GuardCut(fault.guard, self.text.count("\n") + 1, fault.reason, dropped))


class _GuardedText:
    """The cutter of one request of a guarded completion."""

    def __init__(self, guard: Guard, cutter: Cutter) -> None:
        self._guard = guard
        self._cutter = cutter

    @property
    def finished(self) -> bool:
        return self._guard.dead or self._cutter.finished

    def feed(self, text: str) -> str:
        return "" if self.finished else self._guard.take(self._cutter.feed(text))

    def finish(self) -> str:
        return "" if self.finished else self._guard.take(self._cutter.finish())


@functools.lru_cache(maxsize=1)
def _judges(before: str) -> tuple[Syntax, Names]:
    """What judges texts behind a program: all candidates of a turn share it."""
    return Syntax(before), Names(before)


def _hotter(temperature: float, tried: int) -> float:
    """The temperature of a line that is drawn again for the `tried`-th time."""
    if temperature == 0:
        return 0.4 if tried == 1 else 0.6
    return min(temperature + (0.2 if tried == 1 else 0.4), max(temperature, 0.8))


def _undefined(missing: Missing) -> Fault:
    return Fault("names", missing.at, f"{missing.name} is not defined")

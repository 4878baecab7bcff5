"""The interactive reader: prompt_toolkit's line editor with history, completion, a toolbar and the keys of keys.py."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching, vi_navigation_mode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error
from cgcli.native.interrupt import handler_kept
from cgcli.repl.chooser import choose_card
from cgcli.repl.editor import edit_text
from cgcli.repl.keys import HELP, prompt_keys
from cgcli.repl.reader import CandidateCard, Reader, Status, Suggestion, View, is_command
from cgcli.repl.screen import Screen
from cgcli.repl.typeahead import Typeahead, TypeaheadReader
from cgcli.terminal.text import clipped, columns, visible

# Only the terminal's own colors, which are chosen to be readable on its background.
_STYLE = Style.from_dict(
    {
        "prompt": "ansicyan bold",
        "hint": "ansibrightblack",
        "auto-suggestion": "ansibrightblack",
        "bottom-toolbar": "reverse",
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit bg:ansigray ansiblack",
        "completion-menu.completion.current": "noinherit reverse bold",
        "completion-menu.meta.completion": "noinherit bg:ansigray ansiblack italic",
        "completion-menu.meta.completion.current": "noinherit reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit reverse",
    }
)
_FIRST_HINT = "what the program should do {when}; /help lists commands, F1 keys"
_QUIT_HINT = "Ctrl-D or /quit leaves"


def terminal_reader(
    screen: Screen, stdin: TextIO, out: TextIO, *, history: Path | None, variables: Mapping[str, str]
) -> Reader:
    """Return a reader for the terminal `stdin` that draws on `out`. variables: the environment, for TERM and EDITOR."""
    term = variables.get("TERM", "")
    if term in ("dumb", "unknown"):
        from cgcli.repl.plain_terminal import PlainTerminal

        return PlainTerminal(screen, stdin, variables)
    output = Vt100_Output.from_pty(out, term=term)
    return Terminal(screen, create_input(stdin), output, history=history, variables=variables)


class Terminal(TypeaheadReader):
    """A Reader for a person at a terminal."""

    def __init__(
        self,
        screen: Screen,
        input: Input,
        output: Output,
        *,
        history: Path | None,
        variables: Mapping[str, str],
    ) -> None:
        """history: the file of earlier prompts; None keeps them in memory, as does a file that cannot be used."""
        typeahead = Typeahead(input.fileno(), self._set_bracketed_paste, screen.queued, self._unused_keys)
        super().__init__(typeahead, variables)
        self._view: View = _NoView()  # replaced by each `read`
        self._screen = screen
        self._input = input
        self._output = output
        self._history = HistoryFile(history)
        self._hint: str | None = None  # None: the first hint, which depends on the program
        self._reworded: int | None = None  # number of the turn whose prompt is being edited
        self._depth = ColorDepth.DEPTH_4_BIT if screen.color else ColorDepth.DEPTH_1_BIT
        self._session = self._make_session()

    def read(self, view: View, default: str = "") -> str:
        self._view = view
        with self._typeahead.paused():
            if (line := self._typeahead.next()) is not None:
                self._show(line)
                return line
            text = self._typeahead.half() or default
            while not (text := self._line(text)).strip():
                text = ""
            return text

    def reword(self, view: View, turn: int, text: str) -> str | None:
        self._view = view
        with self._typeahead.paused():
            self._reworded = turn
            try:
                words = self._line(self._typeahead.behind(text))
            except EOFError:
                return None
            finally:
                self._reworded = None
        return words if words.strip() else None

    def refresh(self) -> None:
        self._session.app.invalidate()

    def choose(self, cards: Sequence[CandidateCard]) -> int | None:
        with self._typeahead.paused(), handler_kept():
            return choose_card(cards, input=self._input, output=self._output, depth=self._depth)

    def _line(self, default: str) -> str:
        """Read a line, without line ends around it; empty if it was cleared. Raises EOFError."""
        self._session.editing_mode = EditingMode.VI if self._view.vi else EditingMode.EMACS
        try:
            with handler_kept():
                text = self._session.prompt(default=default).strip("\n")
        except KeyboardInterrupt:  # a signal before or after the prompt had its handler
            text = ""
        self._hint = ""
        if self._history.error:
            self._screen.error(self._history.error)
            self._history.error = None
        return text

    def _make_session(self) -> PromptSession[str]:
        session: PromptSession[str] = PromptSession(
            self._message,
            multiline=True,
            prompt_continuation=self._continuation,
            placeholder=self._placeholder,
            completer=_Suggestions(self._completions),
            complete_while_typing=Condition(lambda: self._reworded is None and is_command(session.default_buffer.text)),
            auto_suggest=AutoSuggestFromHistory(),
            history=self._history,
            bottom_toolbar=lambda: toolbar(self._view.status(), self._output.get_size().columns),
            key_bindings=prompt_keys(
                edit=self._edit_line,
                show_help=self._show_keys,
                hint=self._hint_to_quit,
                may_be_empty=lambda: self._reworded is not None,
            ),
            enable_suspend=True,
            style=_STYLE,
            include_default_pygments_style=False,
            color_depth=self._depth,
            input=self._input,
            output=self._output,
        )
        # A terminal that does not report its cursor position only loses the toolbar.
        session.app.renderer.cpr_not_supported_callback = lambda: None
        return session

    def _completions(self, typed: str) -> Iterable[Suggestion]:
        return self._view.completions(typed)

    def _message(self) -> StyleAndTextTuples:
        sign = ":" if vi_navigation_mode() else "›"
        what = self._view.status().turn if self._reworded is None else f"edit {self._reworded}"
        return [("class:prompt", f"{what} {sign} ")]

    def _placeholder(self) -> StyleAndTextTuples:
        if is_searching():  # a match is shown in the line, which is still empty
            return []
        if self._reworded is not None:
            return [("class:hint", f"Ctrl-C or an empty line keeps turn {self._reworded} as it is")]
        first = _FIRST_HINT.format(when="first" if self._view.status().turn == 1 else "next")
        return [("class:hint", first if self._hint is None else self._hint)]

    def _continuation(self, width: int, line_number: int, is_soft_wrap: int) -> StyleAndTextTuples:
        return [("class:hint", ("" if is_soft_wrap else "· ").rjust(width))]

    def _show(self, line: str) -> None:
        """Show a queued line, and add it to the history, as if it had been typed at the prompt."""
        head = "".join(text for _, text, *_ in self._message())
        self._screen.say(head + line.replace("\n", "\n" + "· ".rjust(len(head))))
        self._session.default_buffer.reset(Document(line))
        self._session.default_buffer.reset(append_to_history=True)

    def _unused_keys(self) -> bytes:
        """Keys that prompt_toolkit has read after the last line but not used."""
        keys = (
            f"\x1b[200~{key.data}\x1b[201~" if key.key == Keys.BracketedPaste else key.data
            for key in get_typeahead(self._input)
        )
        return "".join(keys).encode("utf-8", "surrogateescape")

    def _set_bracketed_paste(self, on: bool) -> None:
        with contextlib.suppress(OSError):
            if on:
                self._output.enable_bracketed_paste()
            else:
                self._output.disable_bracketed_paste()
            self._output.flush()

    def _hint_to_quit(self) -> None:
        self._hint = _QUIT_HINT

    def _show_keys(self) -> None:
        run_in_terminal(lambda: self._screen.note(HELP))

    def _edit_line(self, event: KeyPressEvent) -> None:
        event.app.create_background_task(self._edit_buffer(event.current_buffer))

    async def _edit_buffer(self, buffer: Buffer) -> None:
        try:
            text = await run_in_terminal(lambda: edit_text(buffer.text, ".txt", self._variables), in_executor=True)
        except CgcliError as error:
            failure = error
            await run_in_terminal(lambda: self._screen.error(failure))
        else:
            buffer.document = Document(text, len(text))


class _NoView:
    """A View with nothing to show."""

    vi = False

    def status(self) -> Status:
        return Status()

    def completions(self, before_cursor: str) -> Iterable[Suggestion]:
        return ()


class _Suggestions(Completer):
    def __init__(self, suggest: Callable[[str], Iterable[Suggestion]]) -> None:
        self._suggest = suggest

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        for suggestion in self._suggest(before):
            yield Completion(
                suggestion.text, start_position=suggestion.start - len(before), display_meta=suggestion.about
            )


# --- history


class HistoryFile(FileHistory):
    """Earlier prompts, in a file that only the user can read; in memory if the file cannot be used."""

    def __init__(self, path: Path | None) -> None:
        """path: None keeps prompts in memory."""
        super().__init__(path or os.devnull)
        self._path = path
        self.error: CgcliError | None = None  # why the file is no longer used; the reader shows and clears it

    def load_history_strings(self) -> Iterable[str]:
        if self._path is None:
            return []
        try:
            if self._path.exists() and not self._path.is_file():
                raise CgcliError(f"the history {self._path} is not a regular file")
            return super().load_history_strings()
        except OSError as error:
            self._give_up(CgcliError(f"cannot read the history {self._path}: {error.strerror or error}"))
        except CgcliError as error:
            self._give_up(error)
        return []

    def store_string(self, string: str) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600))
            super().store_string(string)
        except OSError as error:
            self._give_up(disk_error(self._path, error))

    def _give_up(self, error: CgcliError) -> None:
        self.error = CgcliError(f"{error.message}; prompts are remembered for this session only", hint=error.hint)
        self._path = None


# --- toolbar

_CELLS = 10  # of the context's bar
_GAUGE = {"clear": "▮▮▮", "fair": "▮▮▯", "unclear": "▮▯▯"}
_BETWEEN = " · "
# The order in which a narrow terminal loses parts.
_LEAST_IMPORTANT_FIRST = ("bar", "gauge", "quant", "rate", "model", "branch", "stale", "turn", "clarity", "context")


def toolbar(status: Status, width: int) -> str:
    """The status in one line of at most `width` columns; the least important parts are left out first."""
    # Parts with the same number are joined by a blank only.
    parts = [
        (0, "state", visible(status.state)),
        (1, "model", clipped(visible(status.model), 28)),
        (1, "quant", visible(status.quant)),
        (2, "turn", f"turn {status.turn}"),
        (3, "bar", _bar(status.tokens, status.window)),
        (3, "context", f"{status.tokens}/{status.window} tokens" if status.window else ""),
        (4, "gauge", _GAUGE.get(status.clarity, "")),
        (4, "clarity", _clarity(status)),
        (5, "rate", f"{status.tokens_per_s:.0f} tokens/s" if status.tokens_per_s else ""),
        (6, "branch", f"branch {visible(status.branch)}" if status.branch not in ("", "main") else ""),
        (7, "stale", f"{status.stale} stale" if status.stale else ""),
    ]
    line = _joined(parts)
    for least in _LEAST_IMPORTANT_FIRST:
        if columns(line) <= width:
            break
        parts = [part for part in parts if part[1] != least]
        line = _joined(parts)
    return clipped(line, width)


def _joined(parts: Iterable[tuple[int, str, str]]) -> str:
    groups: dict[int, list[str]] = {}
    for group, _, text in parts:
        if text:
            groups.setdefault(group, []).append(text)
    return _BETWEEN.join(" ".join(group) for group in groups.values())


def _bar(tokens: int, window: int) -> str:
    if not window:
        return ""
    full = min(_CELLS, -(-tokens * _CELLS // window))
    return "▰" * full + "▱" * (_CELLS - full)


def _clarity(status: Status) -> str:
    """The perplexity and its word; without a word, `perplexity` says what the number is."""
    if status.perplexity is None:
        return ""
    number = f"{status.perplexity:.1f}" if status.perplexity < 100 else f"{status.perplexity:.0f}"
    return f"{status.clarity or 'perplexity'} {number}"

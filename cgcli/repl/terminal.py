"""A terminal to type prompts on: prompt_toolkit's line, with history, completion, a toolbar and the keys of keys.py."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching, vi_navigation_mode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from cgcli.core.errors import CgcliError
from cgcli.native.interrupt import handler_kept
from cgcli.repl.chooser import choose
from cgcli.repl.completion import Suggestions
from cgcli.repl.editor import edit, undisturbed
from cgcli.repl.history_file import HistoryFile
from cgcli.repl.keys import HELP, prompt_keys
from cgcli.repl.reader import Card, Lent, Reader, is_command
from cgcli.repl.screen import Screen
from cgcli.repl.toolbar import toolbar
from cgcli.repl.typeahead import Typeahead
from cgcli.repl.view import View

# Only the terminal's own colours, that are chosen to be read on its background.
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
_LEAVE_HINT = "Ctrl-D or /quit leaves"


def terminal_reader(
    view: View, screen: Screen, stdin: TextIO, out: TextIO, *, history: Path | None, variables: Mapping[str, str]
) -> Reader:
    """The Reader for a person at `stdin` who sees `out`; variables: of the process, for TERM and the editor."""
    term = variables.get("TERM", "")
    if term in ("dumb", "unknown"):
        from cgcli.repl.dumb import Dumb

        return Dumb(view, screen, stdin, variables)
    output = Vt100_Output.from_pty(out, term=term)
    return Terminal(view, screen, create_input(stdin), output, history=history, variables=variables)


class Terminal:
    """A Reader. history: a file of this project's prompts; None, or one that cannot be used (told once): in memory."""

    where = ""

    def __init__(
        self,
        view: View,
        screen: Screen,
        input: Input,
        output: Output,
        *,
        history: Path | None,
        variables: Mapping[str, str],
    ) -> None:
        self._view = view
        self._screen = screen
        self._input = input
        self._output = output
        self._variables = variables
        self._history = HistoryFile(history)
        self._hint: str | None = None  # what the first one is depends on the program
        self._reworded: int | None = None  # the turn whose prompt is typed, if that stood already
        self._typeahead = Typeahead(input.fileno(), self._brackets, screen.queued, self._left)
        self._depth = ColorDepth.DEPTH_4_BIT if screen.colour else ColorDepth.DEPTH_1_BIT
        self._session = self._make_session()
        view.on_change = self._session.app.invalidate

    def read(self, default: str = "") -> str:
        with self._typeahead.paused():
            if (line := self._typeahead.next()) is not None:
                self._show(line)
                return line
            text = self._typeahead.half() or default
            while not (text := self._line(text)).strip():
                text = ""
            return text

    def reword(self, turn: int, text: str) -> str | None:
        with self._typeahead.paused():
            self._reworded = turn
            try:
                words = self._line(self._typeahead.behind(text))
            except EOFError:
                return None
            finally:
                self._reworded = None
        return words if words.strip() else None

    def watching(self) -> AbstractContextManager[None]:
        return self._typeahead.watching()

    def lent(self) -> AbstractContextManager[Lent]:
        return self._typeahead.lent()

    def drop(self) -> Sequence[str]:
        return self._typeahead.drop()

    def choose(self, cards: Sequence[Card]) -> int | None:
        with self._typeahead.paused(), handler_kept():
            return choose(cards, input=self._input, output=self._output, depth=self._depth)

    def edit(self, text: str, suffix: str) -> str:
        with self._typeahead.paused(), undisturbed():
            return edit(text, suffix, self._variables)

    def _line(self, default: str) -> str:
        """What is typed, without line ends around it; empty where that was cleared. Raises EOFError."""
        self._session.editing_mode = EditingMode.VI if self._view.vi else EditingMode.EMACS
        try:
            with handler_kept():
                text = self._session.prompt(default=default).strip("\n")
        except KeyboardInterrupt:  # a signal before or after the prompt had its handler
            text = ""
        self._hint = ""
        if self._history.trouble:
            self._screen.error(self._history.trouble)
            self._history.trouble = None
        return text

    def _make_session(self) -> PromptSession[str]:
        session: PromptSession[str] = PromptSession(
            self._message,
            multiline=True,
            prompt_continuation=self._continuation,
            placeholder=self._placeholder,
            completer=Suggestions(self._view),
            complete_while_typing=Condition(lambda: self._reworded is None and is_command(session.default_buffer.text)),
            auto_suggest=AutoSuggestFromHistory(),
            history=self._history,
            bottom_toolbar=lambda: toolbar(self._view.status(), self._output.get_size().columns),
            key_bindings=prompt_keys(
                edit=self._edit_line,
                show_help=self._show_keys,
                hint=self._hint_to_leave,
                may_be_empty=lambda: self._reworded is not None,
            ),
            enable_suspend=True,
            style=_STYLE,
            include_default_pygments_style=False,
            color_depth=self._depth,
            input=self._input,
            output=self._output,
        )
        # A terminal that does not say where its cursor is only goes without the toolbar.
        session.app.renderer.cpr_not_supported_callback = lambda: None
        return session

    def _message(self) -> StyleAndTextTuples:
        sign = ":" if vi_navigation_mode() else "›"
        what = self._view.status().turn if self._reworded is None else f"edit {self._reworded}"
        return [("class:prompt", f"{what} {sign} ")]

    def _placeholder(self) -> StyleAndTextTuples:
        if is_searching():  # what is found is shown in the line, which is empty still
            return []
        if self._reworded is not None:
            return [("class:hint", f"Ctrl-C or an empty line leaves turn {self._reworded} as it is")]
        first = _FIRST_HINT.format(when="first" if self._view.status().turn == 1 else "next")
        return [("class:hint", first if self._hint is None else self._hint)]

    def _continuation(self, width: int, line_number: int, is_soft_wrap: int) -> StyleAndTextTuples:
        return [("class:hint", ("" if is_soft_wrap else "· ").rjust(width))]

    def _show(self, line: str) -> None:
        """A queued line as it would stand there, had it been typed at the prompt."""
        head = "".join(text for _, text, *_ in self._message())
        self._screen.say(head + line.replace("\n", "\n" + "· ".rjust(len(head))))
        self._session.default_buffer.reset(Document(line))
        self._session.default_buffer.reset(append_to_history=True)

    def _left(self) -> bytes:
        """What was typed so fast behind the last line that prompt_toolkit has read it, and not used."""
        keys = (
            f"\x1b[200~{key.data}\x1b[201~" if key.key == Keys.BracketedPaste else key.data
            for key in get_typeahead(self._input)
        )
        return "".join(keys).encode("utf-8", "surrogateescape")

    def _brackets(self, on: bool) -> None:
        with contextlib.suppress(OSError):
            if on:
                self._output.enable_bracketed_paste()
            else:
                self._output.disable_bracketed_paste()
            self._output.flush()

    def _hint_to_leave(self) -> None:
        self._hint = _LEAVE_HINT

    def _show_keys(self) -> None:
        run_in_terminal(lambda: self._screen.note(HELP))

    def _edit_line(self, event: KeyPressEvent) -> None:
        event.app.create_background_task(self._edit_buffer(event.current_buffer))

    async def _edit_buffer(self, buffer: Buffer) -> None:
        try:
            text = await run_in_terminal(lambda: edit(buffer.text, ".txt", self._variables), in_executor=True)
        except CgcliError as error:
            failure = error
            await run_in_terminal(lambda: self._screen.error(failure))
        else:
            buffer.document = Document(text, len(text))

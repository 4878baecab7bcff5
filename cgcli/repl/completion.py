"""Completion of the line that is typed, by what the view suggests."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from cgcli.repl.view import View


class Suggestions(Completer):
    def __init__(self, view: View) -> None:
        self._view = view

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        for suggestion in self._view.completions(before):
            yield Completion(
                suggestion.text, start_position=suggestion.start - len(before), display_meta=suggestion.about
            )

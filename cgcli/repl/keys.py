"""The keys of the prompt, beside those of emacs and vi that prompt_toolkit has."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import emacs_mode, has_focus, vi_insert_mode, vi_navigation_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.bindings.completion import generate_completions

HELP = """\
Enter          do it                       Alt-Enter  a new line (or Esc Enter)
Ctrl-C         clear the line, stop code   Ctrl-D     leave, on an empty line
Tab            complete                    →          take the grey suggestion
↑ ↓            earlier prompts             Ctrl-R     search them
Ctrl-X Ctrl-E  the line in your editor     Ctrl-Z     suspend
/set vi on     vi's keys; then Esc v: editor, Esc k: earlier, Esc /: search"""


def prompt_keys(
    *,
    edit: Callable[[KeyPressEvent], None],
    show_help: Callable[[], None],
    hint: Callable[[], None],
    may_be_empty: Callable[[], bool],
) -> KeyBindings:
    """edit: the line in an editor; show_help: the list of keys above the prompt; hint: how to leave.

    may_be_empty: whether an empty line is an answer, which Ctrl-C gives too.
    """
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text.strip() or may_be_empty():
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing & (emacs_mode | vi_insert_mode))
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c", filter=typing)
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if not event.app.layout.has_focus(DEFAULT_BUFFER):
            event.app.layout.focus(DEFAULT_BUFFER)
        if may_be_empty():
            event.app.exit(result="")
        elif event.current_buffer.text:
            event.current_buffer.reset()
        else:
            hint()

    @keys.add("tab", filter=typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        found = list(buffer.completer.get_completions(buffer.document, CompleteEvent(completion_requested=True)))
        if len(found) == 1:  # at once: what is typed next comes after it
            buffer.apply_completion(found[0])
        else:
            generate_completions(event)

    @keys.add("c-x", "c-e", filter=typing)
    @keys.add("v", filter=typing & vi_navigation_mode)
    def _(event: KeyPressEvent) -> None:
        edit(event)

    @keys.add("f1")
    @keys.add("c-x", "?", filter=typing)
    def _(event: KeyPressEvent) -> None:
        show_help()

    return keys

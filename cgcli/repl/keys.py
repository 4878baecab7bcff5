"""Key bindings of the prompt, in addition to the emacs and vi keys of prompt_toolkit."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import emacs_mode, has_focus, vi_insert_mode, vi_navigation_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.bindings.completion import generate_completions

HELP = """\
Enter          run the line                Alt-Enter  new line (or Esc Enter)
Ctrl-C         clear the line, stop code   Ctrl-D     quit, on an empty line
Tab            complete                    →          accept gray suggestion
↑ ↓            earlier prompts             Ctrl-R     search earlier prompts
Ctrl-X Ctrl-E  open the line in an editor  Ctrl-Z     suspend
/set vi on     vi keys; then Esc v: editor, Esc k: earlier, Esc /: search"""


def prompt_keys(
    *,
    edit: Callable[[KeyPressEvent], None],
    show_help: Callable[[], None],
    hint: Callable[[], None],
    may_be_empty: Callable[[], bool],
) -> KeyBindings:
    """Return the bindings. edit: opens the line in an editor; show_help: lists the keys; hint: says how to quit.

    may_be_empty: whether Enter accepts an empty line, and Ctrl-C answers with one.
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
        if len(found) == 1:  # at once, so that what is typed next comes after it
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

"""`cgcli completion`: the script with which a shell completes the words of `cgcli`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cgcli.cli.command import COMPLETE, run_of

# Bash takes a colon for the end of a word, and offers are to replace only what follows it. Hence the line as it is
# typed, and the part before the colon cut off what is offered.
_BASH = r"""_cgcli_completion() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} words word
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    IFS=$'\n'
    COMPREPLY=($(COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) _CGCLI_COMPLETE=complete_bash "$1" 2>/dev/null))
    [[ $word == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%:*}:"}")
    return 0
}
complete -o default -F _cgcli_completion cgcli"""


def completion(
    ctx: typer.Context,
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="The shell that completes.")
    ],
) -> None:
    """Print the script that completes commands with the Tab key.

    [dim]cgcli completion bash > ~/.local/share/bash-completion/completions/cgcli
    cgcli completion zsh > ~/.zfunc/_cgcli
    cgcli completion fish > ~/.config/fish/completions/cgcli.fish[/dim]
    """
    from typer._completion_shared import get_completion_script

    script = _BASH
    if shell != "bash":
        script = get_completion_script(prog_name="cgcli", complete_var=COMPLETE, shell=shell)
    run_of(ctx).output.styled(script)

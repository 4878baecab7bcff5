"""What `cgcli score` does: load a model and measure how well it predicts a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.model import Use, choose_model, loaded_engine, model_identity
from cgcli.app.streams import given_bytes
from cgcli.core.errors import ContextError, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.program.score import ProgramScore


@dataclass(frozen=True)
class ScoreArguments:
    """The command line of `score`, without the settings."""

    file: Path
    tokens: bool = False
    lang: str | None = None
    stride: int | None = None
    json: bool = False


@dataclass(frozen=True)
class ScoredFile:
    """A program, scored by a model. The engine is closed."""

    program: ProgramScore
    choice: Choice
    engine: Engine
    clarity: str | None  # of prompts without code
    prefixed: bool  # read after the prefix of a new program, as gen reads prompts

    @property
    def model(self) -> str:
        return f"{self.choice.name} {self.engine.quant}"

    def report(self, run: Run, arguments: ScoreArguments) -> dict[str, object]:
        """As JSON."""
        from cgcli.program.score import score_report

        identity = model_identity(run, self.choice, self.engine.quant)
        return {**identity, **score_report(self.program, self.engine, stride=arguments.stride, tokens=arguments.tokens)}


def score_file(run: Run, settings: Settings, arguments: ScoreArguments) -> ScoredFile:
    """Score a program or, if it has only comments, its prompts as `gen` reads them.

    Raises UsageError for a file without text or a wrong stride, ContextError for a text longer than the window.
    """
    from cgcli.program.languages import language, language_of
    from cgcli.program.program import new_program
    from cgcli.program.score import clarity, score_program
    from cgcli.program.source import from_file, only_prompts, split

    file, stride = arguments.file, arguments.stride
    code = language(arguments.lang) if arguments.lang else language_of(file)
    choice = choose_model(run, settings)
    text = from_file(given_bytes(file, hint="cgcli score FILE, or - for stdin"))
    if not text:
        raise UsageError(f"{'stdin' if str(file) == '-' else file} is empty", hint="give a program or a prompt")
    before = ""
    prompts_alone = only_prompts(split(text, code.mark))
    if prompts_alone:
        text = text.strip("\n") + "\n"
        program = new_program(code, settings, choice.card)
        before = program.source() + program.opening("").removesuffix(program.comment(""))
    with loaded_engine(run, settings, choice, Use(draws=False)) as engine:
        if stride and stride >= engine.window:
            raise UsageError(
                f"--stride {stride} is not smaller than the context window of {engine.window} tokens",
                hint="choose a smaller --stride",
            )
        progress = run.output.progress() if stride else None
        try:
            scored = score_program(engine, text, code.mark, before=before, stride=stride, progress=progress)
        except ContextError as error:
            if stride:
                raise
            raise ContextError(error.message, hint=f"cgcli score {file} --stride {engine.window // 2}") from error
    word = clarity(scored.whole.perplexity, choice.card) if prompts_alone else None
    return ScoredFile(scored, choice, engine, word, prefixed=bool(before))

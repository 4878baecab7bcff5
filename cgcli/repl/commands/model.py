"""Commands about the model: load another one, change how it draws, see how well it understands prompts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cgcli.core.errors import UsageError
from cgcli.program.score import clarity
from cgcli.repl.command import ALTERNATIVES, KEY, MODEL, SEED, VALUE, command
from cgcli.repl.commands.inspect import name_turn
from cgcli.repl.draw import report_fold, report_perplexity
from cgcli.repl.state import KEYS, Repl
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.program.session import Reading

_TOKENS_SHOWN = 60


@command(MODEL.optional)
def model(repl: Repl, name: str | None) -> None:
    """load a model

    Loads model NAME, or the same model again after an error; the program stays. Without NAME, shows the current model.
    """
    if name is not None:
        repl.use(repl.models.choose(name))
    quant = f" {repl.choice.quant}" if repl.choice.quant else ""
    repl.ui.screen.say(f"model: {repl.choice.name}{quant}{', loading' * repl.loader.loading}")


@command(KEY.optional, VALUE.optional)
def set_(repl: Repl, key: str | None, value: str | None) -> None:
    """change settings

    Sets KEY to VALUE from the next prompt on. Without VALUE, shows KEY; without KEY, lists all settings. Sampling:
    temperature, top_p, top_k, min_p, max_tokens, seed. Others: candidates (per prompt), pick (how one of them is found:
    auto, tests, run, reviewer or probable), guard (regenerate lines that cannot run), fold (shorten programs that
    exceed the context window), unsafe (run without a sandbox), read and write (`/set read data.csv` lets programs
    read a file or folder, `off` closes it), auto (run after each turn), until (`/set until runs` regenerates a
    turn until the program runs; tries and try_time limit that), vi (key bindings), color. `--resume`
    restores all but unsafe, read and write.
    """
    if key is not None and value is not None:
        repl.set(key, value)
    elif key is not None:
        repl.options.with_text(key, repl.options.as_text(key) if key in KEYS else "")  # raises for an unknown key
    for one in KEYS if key is None else [key]:
        repl.ui.screen.say(f"{one:<12} {repl.options.as_text(one)}")


@command(SEED.optional)
def seed(repl: Repl, number: str | None) -> None:
    """set the seed

    Uses seed N from the next prompt on. Without N, shows the seed.
    """
    if number is not None:
        repl.set("seed", number)
    repl.ui.screen.say(f"seed: {repl.options.as_text('seed')}")


@command()
def why(repl: Repl) -> None:
    """explain the prompt

    Shows the last prompt token by token, with the probability that the model gave each one. Improbable tokens are
    worth rewording. Then shows each line of the turn that a guard cut and regenerated.
    """
    try:
        _explain_prompt(repl)
    finally:
        _explain_cuts(repl)


def _explain_cuts(repl: Repl) -> None:
    index = repl.history.drawn
    turn = repl.program.turns[index] if index is not None else None
    if turn is None or turn.accepted is None or not (guard := turn.candidates[turn.accepted].guard):
        return
    first = repl.program.code_line(index) if index is not None else 1
    for cut in guard.cuts:
        repl.ui.screen.say(
            f"line {cut.line + first - 1} cut by the {cut.guard} guard: {cut.reason} ({plural(cut.tokens, 'token')})"
        )
    for line in guard.imports:
        repl.ui.screen.say(f"added {line}")


def _explain_prompt(repl: Repl) -> None:
    screen = repl.ui.screen
    scores = (repl.last.reading or _read_again(repl)).scores
    if not scores:
        raise UsageError("no scores: the program begins with this prompt, so nothing predicts it")
    if screen.color:
        from cgcli.terminal.color import colored_by_probability, probability_legend

        screen.painted("".join(colored_by_probability((score.piece, score.logprob) for score in scores)))
        screen.painted(probability_legend())
        return
    screen.note("probability of each token, given all before it")
    for score in scores[:_TOKENS_SHOWN]:
        screen.say(f"{_per_cent(score.logprob):>8}  {score.piece.decode('utf-8', 'replace')!r}")
    if len(scores) > _TOKENS_SHOWN:
        screen.note(f"… {plural(len(scores) - _TOKENS_SHOWN, 'more token')}")


def _read_again(repl: Repl) -> Reading:
    """Score the prompt of the turn that was drawn last, as it was read then. Raises UsageError without a prompt."""
    turns = repl.program.turns
    index = repl.history.drawn
    if index is None or turns[index].prompt is None:
        index = max((number for number, turn in enumerate(turns) if turn.prompt is not None), default=None)
    if index is None:
        raise UsageError("no prompt yet", hint="type what the program should do first")
    prompt = turns[index].prompt or ""
    name_turn(repl, index)
    session = repl.session()
    session.program = repl.program.until(index)
    with session.scratch():
        plan = session.plan(prompt)
        if plan.fold:
            report_fold(repl, plan, plan.fold)
        repl.tokens_given += plan.tokens
        reading = session.read(plan)
    repl.last.reading, repl.last.fold = reading, plan.fold
    report_perplexity(repl, reading)
    return reading


@command(ALTERNATIVES, alias="ask")
def compare(repl: Repl, text: str) -> None:
    """compare prompts

    Shows how well the model understands each of the prompts, which are separated by |: the best one first.
    Generates nothing.
    """
    prompts = list(dict.fromkeys(part.strip() for part in text.split("|") if part.strip()))
    if not prompts:
        raise UsageError("no prompts to compare", hint="/compare read a file | read the lines of a file")
    session = repl.session()
    session.program = repl.program
    found, reported = [], False
    with session.scratch(), repl.ui.progress.task("reading prompts", len(prompts), unit="steps") as task:
        for prompt in prompts:
            plan = session.plan(prompt)
            if plan.fold and not reported:
                report_fold(repl, plan, plan.fold)
                repl.last.fold, reported = plan.fold, True
            repl.tokens_given += plan.tokens
            found.append((session.read(plan).perplexity, prompt))
            task.advance(1)
    for perplexity, prompt in sorted(found, key=lambda one: math.inf if one[0] is None else one[0]):
        number = "     -" if perplexity is None else f"{perplexity:6.1f}"
        word = clarity(perplexity, repl.choice.card) or ""
        repl.ui.screen.say(f"{number}  {word + '  ' if word else ''}{' '.join(prompt.split())}")


@command()
def stats(repl: Repl) -> None:
    """show speed

    Shows how fast the model reads and writes, how many drafted tokens it accepted, and how many tokens were cached.
    """
    engine = repl.session().engine
    timings = engine.timings
    rows = {
        "model": f"{repl.choice.name} {engine.quant}, loaded in {timings.load_s:.2f} s",
        "written": f"{plural(timings.decode_tokens, 'token')} at {timings.tokens_per_s:.0f} tokens/s, "
        f"in {timings.passes} passes",
    }
    if timings.acceptance is not None:
        speedup = f", {timings.speedup:.2f} times as fast" if timings.speedup else ""
        rows["drafted"] = f"{plural(timings.drafted, 'token')}, {timings.acceptance:.0%} accepted{speedup}"
    if repl.tokens_given:
        cached = max(0.0, 1 - timings.prefill_tokens / repl.tokens_given)
        rows["read"] = (
            f"{plural(timings.prefill_tokens, 'token')} in {timings.prefill_s:.2f} s, {cached:.0%} were cached"
        )
    for name, text in rows.items():
        repl.ui.screen.say(f"{name:8} {text}")


def _per_cent(logprob: float) -> str:
    share = 100 * math.exp(logprob)
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %" if share >= 0.001 else "< 0.001 %"

"""Commands about the model: which, how it draws, and what it makes of prompts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cgcli.core.errors import UsageError
from cgcli.program.score import clarity
from cgcli.repl.arguments import ALTERNATIVES, KEY, MODEL, SEED, VALUE
from cgcli.repl.asking import gauge, tell_fold
from cgcli.repl.command import command
from cgcli.repl.options import KEYS
from cgcli.repl.show import tell_turn
from cgcli.repl.state import Repl

if TYPE_CHECKING:
    from cgcli.program.session import Reading

_TOKENS_SHOWN = 60


@command(MODEL.optional)
def model(repl: Repl, name: str | None) -> None:
    """another model

    Loads model NAME, or the same one again after an error; the program stays. Without NAME it says which one runs.
    """
    if name is not None:
        repl.use(repl.models.choose(name))
    quant = f" {repl.choice.quant}" if repl.choice.quant else ""
    repl.screen.say(f"model: {repl.choice.name}{quant}{', loading' * repl.loader.loading}")


@command(KEY.optional, VALUE.optional)
def set_(repl: Repl, key: str | None, value: str | None) -> None:
    """options

    Sets KEY to VALUE from the next prompt on; without VALUE it shows it, without KEY it lists all: temperature, top_p,
    top_k, min_p, max_tokens and seed of what is drawn, candidates for a prompt, fold (what is too long for the model),
    unsafe (run without a sandbox), auto (run after each turn), vi (keys), color. They come back with --resume, but for
    unsafe.
    """
    if key is not None and value is not None:
        repl.set(key, value)
    elif key is not None:
        repl.options.told(key, repl.options.shown(key) if key in KEYS else "")  # raises for a key that is none
    for one in KEYS if key is None else [key]:
        repl.screen.say(f"{one:<12} {repl.options.shown(one)}")


@command(SEED.optional)
def seed(repl: Repl, number: str | None) -> None:
    """other draws

    Draws under seed N from the next prompt on; without N it shows the seed.
    """
    if number is not None:
        repl.set("seed", number)
    repl.screen.say(f"seed: {repl.options.shown('seed')}")


@command()
def why(repl: Repl) -> None:
    """what surprised it

    Shows the last prompt token by token: how probable each was to the model, given all before it. Where it is
    surprised, other words may serve better.
    """
    scores = (repl.reading or _read_again(repl)).scores
    if not scores:
        raise UsageError("nothing in this prompt is predicted: the program begins with it")
    if repl.screen.colour:
        from cgcli.terminal.color import colored_by_probability, probability_legend

        repl.screen.painted("".join(colored_by_probability((score.piece, score.logprob) for score in scores)))
        repl.screen.painted(probability_legend())
        return
    for score in scores[:_TOKENS_SHOWN]:
        repl.screen.say(f"{_per_cent(score.logprob):>8}  {score.piece.decode('utf-8', 'replace')!r}")
    if len(scores) > _TOKENS_SHOWN:
        repl.screen.note(f"… {len(scores) - _TOKENS_SHOWN} tokens more")


def _read_again(repl: Repl) -> Reading:
    """Let the model read the prompt of the turn that was drawn last, as it did then. Raises UsageError without one."""
    turns = repl.program.turns
    index = repl.history.drawn
    if index is None or turns[index].prompt is None:
        index = max((number for number, turn in enumerate(turns) if turn.prompt is not None), default=None)
    if index is None:
        raise UsageError("there is no prompt yet", hint="type what the program should do first")
    prompt = turns[index].prompt or ""
    tell_turn(repl, index)
    session = repl.session()
    session.program = repl.program.until(index)
    with session.scratch():
        plan = session.plan(prompt)
        if plan.fold:
            tell_fold(repl, plan, plan.fold)
        repl.asked += plan.tokens
        reading = session.read(plan)
    repl.reading, repl.fold = reading, plan.fold
    gauge(repl, reading)
    return reading


@command(ALTERNATIVES)
def ask(repl: Repl, text: str) -> None:
    """compare prompts

    Lets the model read each of the prompts between the |, and shows how well it takes them, the best first. Nothing is
    drawn.
    """
    prompts = list(dict.fromkeys(part.strip() for part in text.split("|") if part.strip()))
    if not prompts:
        raise UsageError("there is no prompt", hint="/ask read a file | read the lines of a file")
    session = repl.session()
    session.program = repl.program
    found, told = [], False
    with session.scratch(), repl.progress.task("prompts read", len(prompts), unit="steps") as task:
        for prompt in prompts:
            plan = session.plan(prompt)
            if plan.fold and not told:
                tell_fold(repl, plan, plan.fold)
                repl.fold, told = plan.fold, True
            repl.asked += plan.tokens
            found.append((session.read(plan).perplexity, prompt))
            task.advance(1)
    for perplexity, prompt in sorted(found, key=lambda one: math.inf if one[0] is None else one[0]):
        number = "     -" if perplexity is None else f"{perplexity:6.1f}"
        word = clarity(perplexity, repl.choice.card) or ""
        repl.screen.say(f"{number}  {word + '  ' if word else ''}{' '.join(prompt.split())}")


@command()
def stats(repl: Repl) -> None:
    """speed so far"""
    engine = repl.session().engine
    timings = engine.timings
    rows = {
        "model": f"{repl.choice.name} {engine.quant}, loaded in {timings.load_s:.2f} s",
        "drawn": f"{timings.decode_tokens} tokens at {timings.tokens_per_s:.0f} a second, in {timings.passes} passes",
    }
    if timings.acceptance is not None:
        faster = f", {timings.speedup:.2f} times as fast as without" if timings.speedup else ""
        rows["guessed"] = f"{timings.drafted} tokens ahead, {timings.acceptance:.0%} came true{faster}"
    if repl.asked:
        known = max(0.0, 1 - timings.prefill_tokens / repl.asked)
        rows["read"] = f"{timings.prefill_tokens} tokens in {timings.prefill_s:.2f} s, {known:.0%} were known already"
    for name, text in rows.items():
        repl.screen.say(f"{name:8} {text}")


def _per_cent(logprob: float) -> str:
    share = 100 * math.exp(logprob)
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %" if share >= 0.001 else "< 0.001 %"

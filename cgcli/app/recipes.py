"""Resolves the command line of `cgcli train` to a recipe and the folder of its run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import ModelNotFound, UsageError
from cgcli.core.paths import expanded

if TYPE_CHECKING:
    from cgcli.core.config import Environment
    from cgcli.train.recipe import Recipe

LORA_RANK = 8
# Fine-tuning without a recipe. All weights: rate and no decay of CodeGen's own example (salesforce/CodeGen
# jaxformer/hf/train_deepspeed.py). Adapters: more than ten times that rate, as in the LoRA paper.
FULL_LR, LORA_LR = 1e-5, 2e-4
STEPS, WARMUP, SEQUENCES, CONTEXT = 100, 10, 8, 1024


@dataclass(frozen=True)
class TrainArguments:
    """The command line of `train`."""

    recipe: str | None = None
    init: str | None = None
    data: tuple[Path, ...] = ()
    tokenizer: Path | None = None
    steps: int | None = None
    lora: int | None = None
    full: bool = False
    seed: int | None = None
    output: Path | None = None
    export: str | None = None
    quant: str = "q8_0"
    coordinator: str = ""
    processes: int = 1
    process: int = 0
    dry_run: bool = False
    profile: bool = False
    report: Path | None = None
    json: bool = False


@dataclass(frozen=True)
class Device:
    """The hardware to train on."""

    platform: str  # cpu, gpu or tpu
    memory_bytes: int  # per device
    count: int = 1  # of devices


def resolve_recipe(
    arguments: TrainArguments, environment: Environment, device: Callable[[], Device], note: Callable[[str], None]
) -> tuple[Recipe, Path]:
    """The recipe, its paths absolute, and the folder of the run.

    device: called if the choice depends on the hardware. note: receives a line about what was chosen.
    Raises UsageError for arguments that make no recipe, ModelNotFound if the weights of `--init` are missing.
    """
    from cgcli.train.folder import RunFolder, resolved
    from cgcli.train.recipe import Recipe, read_recipe

    if arguments.full and arguments.lora is not None:
        raise UsageError("--full and --lora cannot be used together", hint="leave one of them out")
    init = _init(arguments.init, environment) if arguments.init else None
    tuning = False
    if arguments.recipe is not None:
        path = _file(arguments.recipe)
        recipe = resolved(read_recipe(path), path.parent)
    elif arguments.output is not None and RunFolder(arguments.output).recipe.is_file():
        recipe = read_recipe(RunFolder(arguments.output).recipe)
    elif init is not None:
        if not arguments.data:
            raise UsageError(
                f"--init {arguments.init} needs data to train on", hint="add --data PATH, or a RECIPE with data"
            )
        recipe, tuning = Recipe(name=f"{init.name if init.name != 'checkpoint' else init.parent.name}-tuned"), True
    else:
        raise UsageError("nothing to train: give a RECIPE or --init", hint="cgcli train nano -o OUT")
    recipe = _with_flags(arguments, recipe, init)
    if tuning and init is not None:
        recipe = _tuning(arguments, recipe, init, device(), note)
    return recipe, (arguments.output or environment.data / "train" / recipe.name).absolute()


def _with_flags(arguments: TrainArguments, recipe: Recipe, init: Path | None) -> Recipe:
    from cgcli.train.recipe import with_values

    if init is not None:
        recipe = replace(recipe, init=str(init))
    data = {}
    if arguments.data:
        for path in arguments.data:
            if not path.exists():
                raise UsageError(f"--data {path}: no such file or folder")
        data = {"paths": tuple(str(path.absolute()) for path in arguments.data), "packages": ""}
    tokenizer = arguments.tokenizer or (init if recipe.data.tokenizer == "codegen" else None)
    if tokenizer is not None:
        if not tokenizer.is_dir():
            raise UsageError(f"--tokenizer {tokenizer}: no such folder")
        data["tokenizer"] = str(tokenizer.absolute())
    optimizer = {}
    if arguments.steps is not None:
        optimizer = {"steps": arguments.steps, "warmup": min(recipe.optimizer.warmup, arguments.steps)}
    lora = {"rank": 0} if arguments.full else {} if arguments.lora is None else {"rank": arguments.lora}
    compute = {} if arguments.seed is None else {"seed": arguments.seed}
    return with_values(recipe, data=data, optimizer=optimizer, lora=lora, compute=compute)


def _tuning(
    arguments: TrainArguments, recipe: Recipe, init: Path, device: Device, note: Callable[[str], None]
) -> Recipe:
    """A recipe to fine-tune `init`: all weights if they fit, else adapters; as many sequences at once as fit."""
    from cgcli.convert.config import read_config
    from cgcli.terminal.text import size
    from cgcli.train.estimate import estimate, fits
    from cgcli.train.recipe import with_values

    shape = read_config(init).shape
    dtype = "float32" if device.platform == "cpu" else "bfloat16"
    recipe = replace(
        recipe,
        model=replace(shape, context=min(CONTEXT, shape.context), feed_forward=None),
        batch=replace(recipe.batch, sequences=SEQUENCES, accumulate=SEQUENCES),
        compute=replace(recipe.compute, dtype=dtype),
    )
    rank = recipe.lora.rank
    if not arguments.full and not rank and not fits(recipe, device.memory_bytes, device.count):
        rank = LORA_RANK
        needs = size(estimate(recipe, device.count).memory_bytes)
        note(
            f"training LoRA adapters of rank {rank}: all weights would need about {needs} of memory, "
            f"{size(device.memory_bytes)} are available (--full to train all weights)"
        )
    steps = arguments.steps or STEPS
    lr = LORA_LR if rank else FULL_LR
    optimizer = {
        "lr": lr,
        "lr_end": lr / 10,
        "warmup": min(WARMUP, steps),
        "steps": steps,
        "weight_decay": 0.0,
    }
    recipe = with_values(recipe, lora={"rank": rank}, optimizer=optimizer)
    for accumulate in (1, 2, 4):
        larger = with_values(recipe, batch={"accumulate": accumulate})
        if fits(larger, device.memory_bytes, device.count):
            return larger
    return recipe


def _init(text: str, environment: Environment) -> Path:
    """The checkpoint folder that `text` names, or that of a pulled model."""
    from cgcli.hub.catalog import load_catalog, parse_spec
    from cgcli.hub.store import open_store

    folder = expanded(text)
    if folder.is_dir():
        return folder.absolute()
    if "/" in text or text.startswith("."):
        raise UsageError(f"--init {text}: no such folder")
    store, name = open_store(environment), parse_spec(text).name
    checkpoint = store.original(name)
    if (checkpoint / "config.json").is_file():
        return checkpoint.absolute()
    catalog, there = load_catalog(), store.quants(name)
    card = catalog.get(name)
    source = there[0].manifest.source if there and not card else name
    if (card and card.wheel) or (source != name and (not source.startswith("hf:") or source.endswith(".gguf"))):
        raise ModelNotFound(
            f"{name} is a GGUF; training needs a checkpoint",
            hint="use --init codegen-nano, or the folder of a CodeGen checkpoint",
        )
    if not there:
        catalog.require(name)
    raise ModelNotFound(f"the checkpoint of {name} was not kept", hint=f"cgcli pull {source} --keep")


def _file(text: str) -> Path:
    """The file of a recipe: a path, or the name of a recipe that comes with cgcli."""
    path = expanded(text)
    if path.is_file():
        return path.absolute()
    if text in _names():
        return _published() / f"{text}.toml"
    from cgcli.core.config import nearest

    raise UsageError(
        f"no recipe {text}{nearest(text, _names())}", hint=f"give a TOML file, or one of: {', '.join(_names())}"
    )


def _names() -> list[str]:
    """The recipes that come with cgcli. Package lists lie beside them."""
    return [file.stem for file in sorted(_published().glob("*.toml")) if not file.stem.endswith("-packages")]


def _published() -> Path:
    from cgcli.hub.catalog import bundled_models

    return bundled_models() / "recipes"

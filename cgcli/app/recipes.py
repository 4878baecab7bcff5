"""Which recipe the words of `cgcli train` mean, and the folder that its run is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import ModelNotFound, UsageError

if TYPE_CHECKING:
    from cgcli.core.environment import Environment
    from cgcli.train.recipe import Recipe

LORA_RANK = 8
# Fine-tuning where no recipe says otherwise. The rate for all weights, and no decay: CodeGen's own example
# (salesforce/CodeGen jaxformer/hf/train_deepspeed.py); for adapters: ten times that and more, as LoRA's paper takes it.
FULL_LR, LORA_LR = 1e-5, 2e-4
STEPS, WARMUP, SEQUENCES, CONTEXT = 100, 10, 8, 1024


@dataclass(frozen=True)
class Wish:
    """What the command line says; None, "" and () where it says nothing."""

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
    """What there is to train on. memory_bytes: of one device; count: of all of them."""

    platform: str
    memory_bytes: int
    count: int = 1


def wished(
    wish: Wish, environment: Environment, device: Callable[[], Device], note: Callable[[str], None]
) -> tuple[Recipe, Path]:
    """The recipe, its paths absolute, and the run's folder. device: asked where the choice depends on it; note: told
    what was chosen that nobody asked for.

    Raises UsageError where the words do not make a recipe, ModelNotFound where `--init` is not here.
    """
    from cgcli.train.folder import RunFolder, resolved
    from cgcli.train.recipe import Recipe, read_recipe

    if wish.full and wish.lora is not None:
        raise UsageError("--full trains all weights, --lora adapters", hint="leave one of them out")
    init = _init(wish.init, environment) if wish.init else None
    tuning = False
    if wish.recipe is not None:
        path = _file(wish.recipe)
        recipe = resolved(read_recipe(path), path.parent)
    elif wish.output is not None and RunFolder(wish.output).recipe.is_file():
        recipe = read_recipe(RunFolder(wish.output).recipe)
    elif init is not None:
        if not wish.data:
            raise UsageError(f"--init {wish.init}: train it on what?", hint="--data PATH, or a RECIPE that has data")
        recipe, tuning = Recipe(name=f"{init.name if init.name != 'checkpoint' else init.parent.name}-tuned"), True
    else:
        raise UsageError("nothing to train: no RECIPE, no --init", hint="cgcli train nano -o OUT")
    recipe = _with_flags(wish, recipe, init)
    if tuning and init is not None:
        recipe = _tuning(wish, recipe, init, device(), note)
    return recipe, (wish.output or environment.data / "train" / recipe.name).absolute()


def _with_flags(wish: Wish, recipe: Recipe, init: Path | None) -> Recipe:
    from cgcli.train.recipe import with_values

    if init is not None:
        recipe = replace(recipe, init=str(init))
    data = {}
    if wish.data:
        for path in wish.data:
            if not path.exists():
                raise UsageError(f"--data {path}: there is no such file or folder")
        data = {"paths": tuple(str(path.absolute()) for path in wish.data), "packages": ""}
    tokenizer = wish.tokenizer or (init if recipe.data.tokenizer == "codegen" else None)
    if tokenizer is not None:
        if not tokenizer.is_dir():
            raise UsageError(f"--tokenizer {tokenizer}: there is no such folder")
        data["tokenizer"] = str(tokenizer.absolute())
    optimizer = {}
    if wish.steps is not None:
        optimizer = {"steps": wish.steps, "warmup": min(recipe.optimizer.warmup, wish.steps)}
    lora = {"rank": 0} if wish.full else {} if wish.lora is None else {"rank": wish.lora}
    compute = {} if wish.seed is None else {"seed": wish.seed}
    return with_values(recipe, data=data, optimizer=optimizer, lora=lora, compute=compute)


def _tuning(wish: Wish, recipe: Recipe, init: Path, device: Device, note: Callable[[str], None]) -> Recipe:
    """A recipe to fine-tune `init` with: all weights where memory carries that, else adapters; as many sequences at
    once as fit."""
    from cgcli.convert.config import read_config
    from cgcli.core.units import size
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
    if not wish.full and not rank and not fits(recipe, device.memory_bytes, device.count):
        rank = LORA_RANK
        needs = size(estimate(recipe, device.count).memory_bytes)
        note(
            f"all weights would need about {needs} of memory, there are {size(device.memory_bytes)}: "
            f"adapters of rank {rank} are trained (--full: all weights all the same)"
        )
    steps = wish.steps or STEPS
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
    """The folder of a checkpoint: the one that `text` names, or that of a pulled model."""
    from cgcli.hub.catalog import load_catalog, parse_spec
    from cgcli.hub.store import open_store

    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if "/" in text or text.startswith("."):
        raise UsageError(f"--init {text}: there is no such folder")
    store, name = open_store(environment), parse_spec(text).name
    checkpoint = store.original(name)
    if (checkpoint / "config.json").is_file():
        return checkpoint.absolute()
    catalog, there = load_catalog(), store.quants(name)
    card = catalog.get(name)
    source = there[0].manifest.source if there and not card else name
    if (card and card.wheel) or (source != name and (not source.startswith("hf:") or source.endswith(".gguf"))):
        raise ModelNotFound(
            f"{name} came as a GGUF, there is no checkpoint of it to train",
            hint="--init codegen-nano, or the folder of a CodeGen checkpoint",
        )
    if not there:
        catalog.require(name)
    raise ModelNotFound(f"the checkpoint of {name} is not here", hint=f"cgcli pull {source} --keep")


def _file(text: str) -> Path:
    """The file of a recipe: a path, or the name of one that came with cgcli."""
    path = Path(text).expanduser()
    if path.is_file():
        return path.absolute()
    if text in _names():
        return _published() / f"{text}.toml"
    from cgcli.core.config import nearest

    raise UsageError(
        f"there is no recipe {text}{nearest(text, _names())}", hint=f"a TOML file, or one of {', '.join(_names())}"
    )


def _names() -> list[str]:
    """The recipes that came with cgcli; lists of packages are beside them."""
    return [file.stem for file in sorted(_published().glob("*.toml")) if not file.stem.endswith("-packages")]


def _published() -> Path:
    from cgcli.hub.catalog import bundled_models

    return bundled_models() / "recipes"

"""The policy as a Hugging Face folder, made once and found again.

A folder says in its mark what it was made from (`runtime.made`). It appears under its name whole or not at all, and is
reused only when seed, sizes and settings are the ones asked for; otherwise it is made anew.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from areal_mesh.recipes.arithmetic.choices import ModelShape, Progress, WarmStartSettings
from areal_mesh.runtime.durable import remove_leftovers, replace_folder
from areal_mesh.runtime.made import is_made_from, made_from, mark_folder

RECIPE = "arithmetic"
FORMAT = 2
"""Raised when the problems, the tokenizer or the training change, so that folders of older code are made anew."""


def make_model(
    folder: Path,
    seed: int,
    shape: ModelShape | None = None,
    settings: WarmStartSettings | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> bool:
    """Make the warm-started policy in `folder`, unless it is there already; True if it was made.

    Raises:
        NotMadeHere: `folder` is not as this or another recipe made it; it is left untouched.
    """
    shape, settings = shape or ModelShape(), settings or WarmStartSettings()
    record = {"recipe": RECIPE, "format": FORMAT, "seed": seed, "shape": asdict(shape), "settings": asdict(settings)}
    if is_made_from(folder, record):
        return False
    # Tens of seconds on a busy machine, for nothing where the model is there.
    from areal_mesh.recipes.arithmetic.warm_start import train

    model, tokenizer = train(seed, shape, settings, on_progress)
    # Training takes a minute, in which somebody may have put something there.
    made_from(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    remove_leftovers(aside)
    aside.mkdir(parents=True)
    model.save_pretrained(os.fspath(aside))
    tokenizer.save_pretrained(os.fspath(aside))
    mark_folder(aside, record)
    replace_folder(aside, folder)
    return True

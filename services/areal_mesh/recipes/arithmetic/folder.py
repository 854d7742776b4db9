"""The policy as a Hugging Face folder, made once and found again.

A folder says in ``warm_start.json`` what it was made from. It appears under its name whole or not at all, and is reused
only when seed, sizes and settings are the ones asked for; otherwise it is made anew.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from areal_mesh.recipes.arithmetic.model import ModelShape
from areal_mesh.recipes.arithmetic.warm_start import Progress, WarmStartSettings, train
from areal_mesh.runtime.durable import remove_leftovers, replace_folder

RECORD = "warm_start.json"
FORMAT = 1
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
        FileExistsError: `folder` holds something that is not a warm-started policy; it is left untouched.
    """
    shape, settings = shape or ModelShape(), settings or WarmStartSettings()
    record = {"format": FORMAT, "seed": seed, "shape": asdict(shape), "settings": asdict(settings)}
    if _is_made(folder, record):
        return False
    model, tokenizer = train(seed, shape, settings, on_progress)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    remove_leftovers(aside)
    aside.mkdir(parents=True)
    model.save_pretrained(os.fspath(aside))
    tokenizer.save_pretrained(os.fspath(aside))
    (aside / RECORD).write_text(_canonical(record), encoding="utf-8")
    replace_folder(aside, folder)
    return True


def _is_made(folder: Path, record: dict[str, Any]) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not (folder / RECORD).is_file():
        raise FileExistsError(
            f"{folder} exists and holds no {RECORD}, so it is not a warm-started policy; name another folder or move it"
        )
    return (folder / RECORD).read_text(encoding="utf-8") == _canonical(record)


def _canonical(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"

"""Export of weights as a Hugging Face folder."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from areal_mesh.runtime.durable import remove_leftovers, replace_folder
from areal_mesh.runtime.made import FOLDER_MARK

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json"}


def save_hf(causal_lm: nn.Module, weights: Mapping[str, Tensor], model_folder: Path, folder: str) -> None:
    """Write `weights` with the model's config, and the tokenizer and templates of `model_folder`, to `folder`.

    Written aside and renamed, so that what stands under the name is whole; see `durable.replace_folder` for an
    existing folder.
    """
    target = Path(folder)
    aside = target.with_name(f".{target.name}.partial")
    remove_leftovers(aside)
    aside.mkdir(parents=True)
    for source in model_folder.iterdir():
        if (
            source.is_file()
            and source.name != FOLDER_MARK
            and not any(source.name.endswith(suffix) for suffix in _WEIGHTS)
        ):
            shutil.copyfile(source, aside / source.name)
    model: Any = causal_lm
    model.save_pretrained(os.fspath(aside), state_dict=dict(weights))
    replace_folder(aside, target)

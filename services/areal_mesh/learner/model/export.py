"""Export of weights as a Hugging Face folder: a model's, or adapters by themselves as PEFT keeps them."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from areal_mesh.learner.model.adapters import peft_tensors
from areal_mesh.runtime.durable import remove_leftovers, replace_folder
from areal_mesh.runtime.made import FOLDER_MARK

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json"}
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


def save_hf(causal_lm: nn.Module, weights: Mapping[str, Tensor], model_folder: Path, folder: str) -> None:
    """Write `weights` with the model's config, and the tokenizer and templates of `model_folder`, to `folder`.

    Written aside and renamed, so that what stands under the name is whole; see `durable.replace_folder` for an
    existing folder.
    """
    with _aside(Path(folder)) as aside:
        for source in model_folder.iterdir():
            if (
                source.is_file()
                and source.name != FOLDER_MARK
                and not any(source.name.endswith(suffix) for suffix in _WEIGHTS)
            ):
                shutil.copyfile(source, aside / source.name)
        model: Any = causal_lm
        model.save_pretrained(os.fspath(aside), state_dict=dict(weights))


def save_adapters(config: Any, weights: Mapping[str, Tensor], model_folder: Path, folder: Path) -> None:
    """Write the adapters among `weights` as a folder for `PeftModel.from_pretrained`; it names `model_folder`.

    `config`: PEFT's own, which `add_adapters` gives.
    """
    config.base_model_name_or_path = os.fspath(model_folder)
    config.inference_mode = True
    with _aside(folder) as aside:
        config.save_pretrained(os.fspath(aside))
        save_file(peft_tensors(weights), aside / _ADAPTER_WEIGHTS, metadata={"format": "pt"})


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """An empty folder, which takes the place of `target` once it is filled."""
    aside = target.with_name(f".{target.name}.partial")
    remove_leftovers(aside)
    aside.mkdir(parents=True)
    yield aside
    replace_folder(aside, target)

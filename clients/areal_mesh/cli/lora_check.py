"""What `learner.lora` needs of the packages and of a model folder; neither torch nor PEFT is imported."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from areal_mesh.runtime.settings import RunSettings

_LONGEST_HEADER = 100 << 20
_LENGTH_BYTES = 8
_DECODER_LAYER = ".layers."


def missing_peft(settings: RunSettings) -> Iterator[str]:
    """PEFT, where adapters are to be trained and it is not installed."""
    if settings.learner.lora is not None and importlib.util.find_spec("peft") is None:
        yield "learner.lora needs peft, which is not installed; install areal-mesh[learner], or leave learner.lora out"


def lora_faults(settings: RunSettings) -> Iterator[str]:
    """Layers that adapters are asked for and that the model lacks, a line each, as far as its files say."""
    lora, folder = settings.learner.lora, settings.model.folder
    if lora is None or lora.target_modules is None:
        return
    layers = linear_layers(folder)
    there = sorted({name.rpartition(".")[2] for name in layers})
    for target in lora.target_modules:
        if layers and not any(f".{name}".endswith(f".{target}") for name in layers):
            yield (
                f"learner.lora.target_modules: the model in {folder} has no linear layer {target!r}; name some of "
                f"{', '.join(there)}, or leave it out for all of them"
            )


def linear_layers(folder: Path) -> set[str]:
    """Names of the matrices of the decoder layers, without `.weight`; empty where the files cannot be read.

    That is told elsewhere.
    """
    found = set()
    for file in folder.glob("*.safetensors"):
        try:
            with file.open("rb") as stream:
                length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
                described = json.loads(stream.read(min(length, _LONGEST_HEADER)))
                matrices = [name for name, tensor in described.items() if len(tensor.get("shape", ())) == 2]
        except (OSError, ValueError, AttributeError):
            return set()
        found |= {name.removesuffix(".weight") for name in matrices if _DECODER_LAYER in name}
    return found

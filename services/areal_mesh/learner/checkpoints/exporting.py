"""A checkpoint as a Hugging Face folder, on one process, by whatever number of ranks it was written.

The folder is a model's, with adapters merged, or that of the adapters by themselves.
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from transformers import AutoModelForCausalLM

from areal_mesh.learner.checkpoints.manifest import fault_of, path_of, read_manifest, whole_versions
from areal_mesh.learner.model.adapters import add_adapters
from areal_mesh.learner.model.export import save_adapters, save_hf
from areal_mesh.learner.model.merging import published_weights
from areal_mesh.learner.model.precision import DTYPES
from areal_mesh.runtime.settings.lora import LoraSettings


class NotExported(RuntimeError):
    """There is no such checkpoint, or it cannot be read; the message says which there are."""


def export_version(
    checkpoints: Path, version: int | None, model_folder: Path, dtype: str, target: Path | None, adapters: bool = False
) -> Path:
    """Write the policy of a whole checkpoint as a folder that transformers and vLLM load. Atomic; returns the folder.

    Weights are those that the learner published at this version: its float32 ones, rounded to `dtype`, and adapters
    merged. Config, tokenizer, templates and remote code are those of `model_folder`, which names the architecture too.
    On the CPU, in six bytes a parameter beside the model's own.

    Args:
        checkpoints: a run's folder of checkpoints.
        version: policy version of the checkpoint; None: the newest.
        target: None: `export-<version>` beside the checkpoints, `adapters-<version>` for adapters.
        adapters: write the adapters by themselves, as PEFT keeps them.

    Raises NotExported; OSError where a folder cannot be read or written.
    """
    versions = sorted(whole_versions(checkpoints))
    chosen = newest_version(checkpoints) if version is None else version
    if not versions:
        raise NotExported(f"{checkpoints}: no whole checkpoint is there")
    if chosen not in versions:
        there = ", ".join(str(each) for each in versions)
        raise NotExported(f"{checkpoints}: no whole checkpoint of version {chosen}; there are {there}")
    target = target or checkpoints / f"{'adapters' if adapters else 'export'}-{chosen:08d}"
    if target.exists():
        raise NotExported(f"{target}: is there already; name another folder")
    if fault := fault_of(path_of(checkpoints, chosen), contents=True):
        raise NotExported(f"{path_of(checkpoints, chosen)}: {fault}; export another version")
    _export(path_of(checkpoints, chosen), model_folder, DTYPES[dtype], target, adapters)
    return target


def newest_version(checkpoints: Path) -> int:
    """Policy version of the newest whole checkpoint. Raises NotExported where there is none."""
    newest = next(whole_versions(checkpoints), None)
    if newest is None:
        raise NotExported(f"{checkpoints}: no whole checkpoint is there")
    return newest


def _export(checkpoint: Path, model_folder: Path, dtype: torch.dtype, target: Path, adapters: bool) -> None:
    lora = _lora_of(checkpoint)
    if adapters and lora is None:
        raise NotExported(f"{checkpoint}: holds no adapters, for learner.lora was off; export the model")
    causal_lm = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype, local_files_only=True)
    config = add_adapters(causal_lm, lora, dtype) if lora is not None else None
    weights = dict(causal_lm.named_parameters())
    weights |= {name: tensor.to(dtype) for name, tensor in _trained(checkpoint, causal_lm, model_folder).items()}
    if adapters:
        save_adapters(config, weights, model_folder, target)
    else:
        published = dict(published_weights(weights.items(), lora.scale if lora is not None else 0.0, dtype))
        save_hf(causal_lm, published, model_folder, str(target))


def _trained(checkpoint: Path, causal_lm: nn.Module, model_folder: Path) -> dict[str, Tensor]:
    """The checkpoint's float32 weights, by their names in the model: what of it was trained."""
    # One process is what was asked for.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    masters = {
        f"policy.{name}": torch.empty(weight.shape, dtype=torch.float32)
        for name, weight in causal_lm.named_parameters()
        if weight.requires_grad
    }
    try:
        load(masters, checkpoint_id=checkpoint, no_dist=True)
    except (CheckpointException, ValueError, RuntimeError) as error:
        raise NotExported(f"cannot read {checkpoint} as a checkpoint of {model_folder}: {error}") from error
    return {name.removeprefix("policy."): tensor for name, tensor in masters.items()}


def _lora_of(checkpoint: Path) -> LoraSettings | None:
    found = read_manifest(checkpoint).lora
    return None if found is None else LoraSettings.model_validate(found)

"""A checkpoint as a Hugging Face folder, on one process, by whatever number of ranks it was written."""

import warnings
from pathlib import Path

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from transformers import AutoModelForCausalLM

from areal_mesh.learner.checkpoints.manifest import fault_of, path_of, whole_versions
from areal_mesh.learner.model.export import save_hf
from areal_mesh.learner.model.precision import DTYPES


class NotExported(RuntimeError):
    """There is no such checkpoint, or it cannot be read; the message says which there are."""


def export_version(checkpoints: Path, version: int | None, model_folder: Path, dtype: str, target: Path | None) -> Path:
    """Write the policy of a whole checkpoint as a folder that transformers and vLLM load. Atomic; returns the folder.

    Weights are those that the learner published at this version: its float32 ones, rounded to `dtype`. Config,
    tokenizer, templates and remote code are those of `model_folder`, which names the architecture too. On the CPU, in
    six bytes a parameter beside the model's own.

    Args:
        checkpoints: a run's folder of checkpoints.
        version: policy version of the checkpoint; None: the newest.
        target: None: `export-<version>` beside the checkpoints.

    Raises NotExported; OSError where a folder cannot be read or written.
    """
    versions = sorted(whole_versions(checkpoints))
    chosen = newest_version(checkpoints) if version is None else version
    if not versions:
        raise NotExported(f"{checkpoints}: no whole checkpoint is there")
    if chosen not in versions:
        there = ", ".join(str(each) for each in versions)
        raise NotExported(f"{checkpoints}: no whole checkpoint of version {chosen}; there are {there}")
    target = target or checkpoints / f"export-{chosen:08d}"
    if target.exists():
        raise NotExported(f"{target}: is there already; name another folder")
    if fault := fault_of(path_of(checkpoints, chosen), contents=True):
        raise NotExported(f"{path_of(checkpoints, chosen)}: {fault}; export another version")
    _export(path_of(checkpoints, chosen), model_folder, DTYPES[dtype], target)
    return target


def newest_version(checkpoints: Path) -> int:
    """Policy version of the newest whole checkpoint. Raises NotExported where there is none."""
    newest = next(whole_versions(checkpoints), None)
    if newest is None:
        raise NotExported(f"{checkpoints}: no whole checkpoint is there")
    return newest


def _export(checkpoint: Path, model_folder: Path, dtype: torch.dtype, target: Path) -> None:
    # One process is what was asked for.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    causal_lm = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype, local_files_only=True)
    masters = {
        f"policy.{name}": torch.empty(weight.shape, dtype=torch.float32)
        for name, weight in causal_lm.named_parameters()
    }
    try:
        load(masters, checkpoint_id=checkpoint, no_dist=True)
    except (CheckpointException, ValueError, RuntimeError) as error:
        raise NotExported(f"cannot read {checkpoint} as a checkpoint of {model_folder}: {error}") from error
    weights = {name.removeprefix("policy."): tensor.to(dtype) for name, tensor in masters.items()}
    save_hf(causal_lm, weights, model_folder, str(target))

"""A checkpoint as a Hugging Face folder, on one process, by whatever number of ranks it was written."""

import warnings
from pathlib import Path

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from transformers import AutoModelForCausalLM

from areal_mesh.learner.checkpoints.files import CheckpointError
from areal_mesh.learner.model.export import save_hf


def export_checkpoint(checkpoint: Path, model_folder: Path, dtype: torch.dtype, target: Path) -> None:
    """Write the policy of a whole checkpoint to `target`, for transformers and vLLM to load. Atomic.

    Weights are those that the learner published at this version: its float32 ones, rounded to `dtype`. Config,
    tokenizer, templates and remote code are those of `model_folder`, which names the architecture too. On the CPU, in
    six bytes a parameter beside the model's own.

    Raises CheckpointError if the checkpoint cannot be read or is of another model, OSError if the folder cannot.
    """
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    causal_lm = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype, local_files_only=True)
    masters = {
        f"policy.{name}": torch.empty(weight.shape, dtype=torch.float32)
        for name, weight in causal_lm.named_parameters()
    }
    try:
        load(masters, checkpoint_id=checkpoint, no_dist=True)
    except (CheckpointException, ValueError, RuntimeError) as error:
        raise CheckpointError(f"cannot read {checkpoint} as a checkpoint of {model_folder}: {error}") from error
    weights = {name.removeprefix("policy."): tensor.to(dtype) for name, tensor in masters.items()}
    save_hf(causal_lm, weights, model_folder, str(target))

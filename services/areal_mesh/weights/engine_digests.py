"""Digests of the weights as the engine holds them, computed by the learner from its own tensors.

vLLM fuses q, k, v into one matrix and gate, up into another, pads the vocabulary, and shards by tensor-parallel rank;
`engine_digests` does the same to tensors in Hugging Face names, for architectures built like Llama and Qwen2. Names and
digests are those of vLLM's `compute_weight_checksums`: SHA-256 of the bytes, in hexadecimal.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this, with zeros."""

_FUSED = {
    "q_proj": ("qkv_proj", 0),
    "k_proj": ("qkv_proj", 1),
    "v_proj": ("qkv_proj", 2),
    "gate_proj": ("gate_up_proj", 0),
    "up_proj": ("gate_up_proj", 1),
}
_PARTS = {"qkv_proj": 3, "gate_up_proj": 2}
_SHARDED_BY_COLUMN = {"o_proj", "down_proj"}
_SHARDED_BY_VOCABULARY = {"embed_tokens", "lm_head"}


@dataclass(frozen=True)
class ModelLayout:
    """What of a model's configuration decides how vLLM lays its weights out."""

    num_key_value_heads: int
    tie_word_embeddings: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelLayout":
        """From a Hugging Face `config.json`."""
        heads = config.get("num_key_value_heads") or config["num_attention_heads"]
        return cls(int(heads), bool(config.get("tie_word_embeddings", False)))


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of the tensor's elements in row-major order, negative zero as zero (see `packing.pack`)."""
    positive = (tensor.detach().cpu() + 0.0).contiguous()
    return hashlib.sha256(positive.view(-1).view(torch.uint8).numpy().data).hexdigest()


def engine_digests(
    named_tensors: Iterable[tuple[str, torch.Tensor]],
    layout: ModelLayout,
    dtype: torch.dtype,
    tensor_parallel_size: int = 1,
) -> dict[str, str]:
    """Digest of every parameter that the engine's workers hold, keyed `tp<rank>:<vLLM's name>`.

    `named_tensors` are whole (unsharded) tensors in Hugging Face names; they are cast to the engine's `dtype`.
    Raises ValueError when a fused matrix lacks a part.
    """
    digests: dict[str, str] = {}
    waiting: dict[str, dict[int, torch.Tensor]] = {}
    for name, tensor in named_tensors:
        module = name.split(".")[-2]
        if module == "lm_head" and layout.tie_word_embeddings:
            continue
        target, part = _FUSED.get(module, (module, 0))
        held_name = name.replace(f".{module}.", f".{target}.")
        parts = waiting.setdefault(held_name, {})
        parts[part] = tensor.detach().to(dtype)
        if len(parts) == _PARTS.get(target, 1):
            whole = [parts[index] for index in sorted(waiting.pop(held_name))]
            for rank in range(tensor_parallel_size):
                shards = [
                    _shard(module, index, piece, rank, tensor_parallel_size, layout)
                    for index, piece in enumerate(whole)
                ]
                digests[f"tp{rank}:{held_name}"] = digest(torch.cat(shards) if len(shards) > 1 else shards[0])
    if waiting:
        raise ValueError(f"these fused weights lack a part: {sorted(waiting)}")
    return digests


def _shard(module: str, part: int, tensor: torch.Tensor, rank: int, size: int, layout: ModelLayout) -> torch.Tensor:
    """The rows or columns of `tensor` that tensor-parallel rank `rank` of `size` holds."""
    if module in _SHARDED_BY_VOCABULARY:
        padding = -tensor.shape[0] % VOCABULARY_PADDING
        padded = torch.nn.functional.pad(tensor, (0, 0, 0, padding))
        return padded.chunk(size)[rank]
    if module in _SHARDED_BY_COLUMN:
        # A bias beside a sharded sum is added once, whole.
        return tensor.chunk(size, dim=1)[rank] if tensor.ndim == 2 else tensor
    if module not in _FUSED:
        return tensor
    is_key_or_value = _FUSED[module][0] == "qkv_proj" and part > 0
    if is_key_or_value and size > layout.num_key_value_heads:
        # Fewer heads than ranks: several ranks hold the same head.
        copies = size // layout.num_key_value_heads
        return tensor.chunk(layout.num_key_value_heads)[rank // copies]
    return tensor.chunk(size)[rank]

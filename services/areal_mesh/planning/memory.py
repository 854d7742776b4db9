"""What a GPU of the learner and of a generator has to hold, in bytes. Pure.

The learner's are FSDP2's over all ranks, with float32 weights, gradients and Adam's state, bfloat16 arithmetic, and
activations recomputed layer by layer; see `learner/model`. A generator's are vLLM's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from areal_mesh.planning.shapes import ModelShape

_HALF, _FULL = 2, 4
_LOGITS_BYTES = 3 * 256 * 2**20
"""What a pass holds of logits at once (`learner/model/log_probabilities.py`): a chunk, its gradient, a product."""
_CONTEXT_BYTES = 2.5e9
"""Of CUDA, of NCCL's buffers and of the allocator's gaps."""
_GRAPH_BYTES = 2e9
"""vLLM's CUDA graphs and its workspace."""
_BATCHED_TOKENS = 4096
"""vLLM's max_num_batched_tokens, as `generator/vllm_arguments.py` sets it."""


@dataclass(frozen=True)
class LearnerMemory:
    """A rank's, in bytes."""

    parameters: float
    """Its shard of the float32 weights, and what is gathered of them at once in bfloat16."""
    gradients: float
    optimizer: float
    reference: float
    """Its shard of the KL reference."""
    activations: float
    """Of the longest micro-batch, logits among them."""
    publishing: float
    """Two buffers of the broadcast."""

    @property
    def total(self) -> float:
        """With what the libraries take."""
        parts = (self.parameters, self.gradients, self.optimizer, self.reference, self.activations, self.publishing)
        return sum(parts) + _CONTEXT_BYTES

    def parts(self) -> Mapping[str, float]:
        """By name, as people are shown them."""
        return {name: getattr(self, name) for name in LearnerMemory.__dataclass_fields__}


def learner_memory(
    shape: ModelShape, ranks: int, micro_batch_tokens: int, reference: bool, bucket_bytes: float
) -> LearnerMemory:
    """What each of `ranks` holds with micro-batches of so many tokens."""
    whole = shape.parameters
    layer = shape.layer_parameters / shape.layers
    head = whole - shape.layer_parameters
    # Two layers are gathered at a time, one of them ahead; embedding and head for as long as the pass runs.
    gathered = _HALF * (2 * layer + head) if ranks > 1 else _HALF * whole
    kept = _HALF * micro_batch_tokens * shape.hidden * shape.layers
    attention = (shape.heads + 2 * shape.kv_heads) * shape.head_size
    recomputed = _HALF * micro_batch_tokens * 2 * (4 * shape.hidden + 2 * attention + 3 * shape.intermediate)
    return LearnerMemory(
        parameters=_FULL * whole / ranks + gathered,
        # One rank has those of its bfloat16 weights and those of the float32 ones; several reduce a layer at a time.
        gradients=_FULL * whole / ranks + (_FULL * layer if ranks > 1 else _HALF * whole),
        optimizer=2 * _FULL * whole / ranks,
        reference=_HALF * whole / ranks if reference else 0.0,
        activations=kept + recomputed + _LOGITS_BYTES,
        publishing=2 * bucket_bytes,
    )


@dataclass(frozen=True)
class GeneratorMemory:
    """A GPU's of an engine, in bytes."""

    parameters: float
    workspace: float
    kv_cache: float
    """What is left of the engine's share for the KV cache; negative where the rest does not fit already."""
    kv_tokens: float
    """Tokens that the engine's caches hold together."""

    def sequences(self, tokens: float) -> int:
        """Responses of so many tokens, prompt included, that run at once."""
        return max(0, int(self.kv_tokens / tokens))


def generator_memory(
    shape: ModelShape, tensor_parallel: int, memory: float, utilization: float, bucket_bytes: float
) -> GeneratorMemory:
    """What a GPU with `memory` bytes holds, of which the engine takes the share `utilization`."""
    parameters = _HALF * shape.parameters / tensor_parallel
    widest = max(shape.intermediate, shape.vocabulary / 16)
    workspace = _GRAPH_BYTES + _HALF * _BATCHED_TOKENS * (8 * shape.hidden + 2 * widest) / tensor_parallel
    # The broadcast's buffers are beside what the engine takes for itself.
    kv_cache = min(memory * utilization, memory - 2 * bucket_bytes) - parameters - workspace
    return GeneratorMemory(parameters, workspace, kv_cache, max(0.0, kv_cache) * tensor_parallel / shape.kv_bytes)

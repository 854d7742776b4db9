"""What a GPU of the learner and of a generator has to hold, in bytes. Pure.

The learner's are FSDP2's over all ranks, with float32 weights, gradients and Adam's state, bfloat16 arithmetic, and
activations recomputed layer by layer; see `learner/model`. With LoRA that is the adapters' alone, beside bfloat16
weights. A generator's are vLLM's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from areal_mesh.planning.shapes import ModelShape
from areal_mesh.runtime.settings.lora import LoraSettings

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
    """Its shard of the float32 weights, and what is gathered of them at once in bfloat16. With LoRA its shard of the
    bfloat16 weights and of the float32 adapters."""
    gradients: float
    optimizer: float
    reference: float
    """Its shard of the KL reference; with LoRA of its adapters alone."""
    activations: float
    """Of the longest micro-batch, logits among them."""
    publishing: float
    """Two buffers of the broadcast; with LoRA also a matrix that is merged."""

    @property
    def total(self) -> float:
        """With what the libraries take."""
        parts = (self.parameters, self.gradients, self.optimizer, self.reference, self.activations, self.publishing)
        return sum(parts) + _CONTEXT_BYTES

    def parts(self) -> Mapping[str, float]:
        """By name, as people are shown them."""
        return {name: getattr(self, name) for name in LearnerMemory.__dataclass_fields__}


def learner_memory(
    shape: ModelShape,
    ranks: int,
    micro_batch_tokens: int,
    reference: bool,
    bucket_bytes: float,
    lora: LoraSettings | None = None,
    muon: bool = False,
) -> LearnerMemory:
    """What each of `ranks` holds with micro-batches of so many tokens.

    `lora`: where adapters alone are trained. `muon`: the layers' matrices, which is nearly all of a layer, have one
    moment in place of two.
    """
    whole = shape.parameters
    layer = shape.layer_parameters / shape.layers
    head = whole - shape.layer_parameters
    trained = whole if lora is None else shape.adapter_parameters(lora.rank, lora.target_modules)
    frozen = 0 if lora is None else whole
    # Two layers are gathered at a time, one of them ahead; embedding and head for as long as the pass runs. One rank
    # computes with bfloat16 copies of what it trains.
    gathered = _HALF * (2 * layer + head) if ranks > 1 else _HALF * trained
    # One rank has gradients of its bfloat16 weights and of the float32 ones; several reduce a layer at a time.
    beside = _FULL * (layer if lora is None else trained / shape.layers)
    of_one_moment = (shape.layer_parameters if lora is None else trained) if muon else 0.0
    merged = 0.0 if lora is None else (_FULL + _HALF) * max(a * b for a, b in shape.linear_layers.values())
    return LearnerMemory(
        parameters=_FULL * trained / ranks + _HALF * frozen / ranks + gathered,
        gradients=_FULL * trained / ranks + (beside if ranks > 1 else _HALF * trained),
        optimizer=_FULL * (2 * trained - of_one_moment) / ranks,
        reference=_HALF * trained / ranks if reference else 0.0,
        activations=_activations(shape, micro_batch_tokens),
        publishing=2 * bucket_bytes + merged,
    )


def _activations(shape: ModelShape, micro_batch_tokens: int) -> float:
    kept = _HALF * micro_batch_tokens * shape.hidden * shape.layers
    attention = (shape.heads + 2 * shape.kv_heads) * shape.head_size
    recomputed = _HALF * micro_batch_tokens * 2 * (4 * shape.hidden + 2 * attention + 3 * shape.intermediate)
    return kept + recomputed + _LOGITS_BYTES


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

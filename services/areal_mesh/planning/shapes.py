"""What a model's shape costs: parameters, bytes of the KV cache, floating-point operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BYTES = 2
"""Of a weight, and of a number of the KV cache, in bfloat16."""


class UnknownShape(ValueError):
    """A configuration that does not say what shape the model has."""


@dataclass(frozen=True)
class ModelShape:
    """A decoder of grouped-query attention and gated feed-forward layers: Qwen2, Llama and their kin."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    """Whether the head shares the embedding's weights."""

    @property
    def layer_parameters(self) -> int:
        """Parameters of all layers, norms and biases left out: they are a thousandth."""
        attention = self.hidden * self.head_size * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def linear_layers(self) -> Mapping[str, tuple[int, int]]:
        """Inputs and outputs of the linear layers that each decoder layer has, by their names."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    def adapter_parameters(self, rank: int, targets: Sequence[str] | None) -> int:
        """Parameters of LoRA's adapters on the linear layers whose names end so; None: on all."""
        sides = (
            sum(size)
            for name, size in self.linear_layers.items()
            if targets is None or any(target.rpartition(".")[2] == name for target in targets)
        )
        return self.layers * rank * sum(sides)

    @property
    def multiplied_parameters(self) -> int:
        """Parameters that each token is multiplied with: the layers and the head."""
        return self.layer_parameters + self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layer_parameters + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def weight_bytes(self) -> int:
        """Bytes that decoding one token reads of the weights."""
        return _BYTES * self.multiplied_parameters

    @property
    def kv_bytes(self) -> int:
        """Bytes of the KV cache that a token takes."""
        return 2 * _BYTES * self.layers * self.kv_heads * self.head_size

    def forward_flops(self, context: float) -> float:
        """Floating-point operations of a forward pass, a token with so many tokens before it on average."""
        return 2.0 * self.multiplied_parameters + 4.0 * self.layers * self.heads * self.head_size * context


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a Hugging Face `config.json` says. Raises UnknownShape: a key is missing."""
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        return ModelShape(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UnknownShape(f"its config.json does not say its shape: {error!r}") from error


_QWEN_SMALLEST = ModelShape(24, 896, 14, 2, 64, 4864, 151936, tied=True)
_QWEN_SMALL = ModelShape(28, 1536, 12, 2, 128, 8960, 151936, tied=True)
MODELS: Mapping[str, ModelShape] = {
    "DeepSeek-R1-Distill-Qwen-1.5B": ModelShape(28, 1536, 12, 2, 128, 8960, 151936, tied=False),
    "DeepSeek-R1-Distill-Qwen-7B": ModelShape(28, 3584, 28, 4, 128, 18944, 152064, tied=False),
    "Qwen2.5-0.5B": _QWEN_SMALLEST,
    "Qwen2.5-0.5B-Instruct": _QWEN_SMALLEST,
    "Qwen2.5-1.5B": _QWEN_SMALL,
    "Qwen2.5-1.5B-Instruct": _QWEN_SMALL,
    "Qwen2.5-7B": ModelShape(28, 3584, 28, 4, 128, 18944, 152064, tied=False),
    "smollm2-135m": ModelShape(30, 576, 9, 3, 64, 1536, 49152, tied=True),
}
"""Of the models of the presets, by the name of the folder (their `config.json` on the Hugging Face hub), so that a run
can be planned before its model is there."""

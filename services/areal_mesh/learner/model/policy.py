"""The policy: a causal language model from a Hugging Face folder, run on packed rows for token log-probabilities."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from areal_mesh.learner.batches.micro_batch import MicroBatch
from areal_mesh.learner.model import attention
from areal_mesh.learner.model.log_probabilities import Head, token_log_probs


class UnusableModel(ValueError):
    """A model that cannot be trained here, however often it is tried."""


class PolicyModel(nn.Module):
    """Log-probabilities of the response tokens of a packed micro-batch.

    One module from token ids to log-probabilities, so that sharding gathers the head's weights once for all chunks.
    """

    def __init__(self, causal_lm: nn.Module, temperature: float) -> None:
        super().__init__()
        self.causal_lm = causal_lm
        self.temperature = temperature
        self.vocabulary_size = int(causal_lm.config.vocab_size)  # type: ignore[union-attr, arg-type]
        # A tuple, because a module takes a parameter for one of its own.
        self._head_master: tuple[nn.Parameter, ...] = ()

    def forward(self, micro_batch: MicroBatch) -> Tensor:
        """float32 [response tokens of the micro-batch]."""
        causal_lm: Any = self.causal_lm
        hidden = causal_lm.model(
            input_ids=micro_batch.token_ids.unsqueeze(0),
            position_ids=micro_batch.position_ids.unsqueeze(0),
            use_cache=False,
            packed_layout=micro_batch.layout,
        ).last_hidden_state[0]
        predictors = hidden.index_select(0, micro_batch.predictor_index)
        head = Head(self.head_weight, *self._head_master)
        return token_log_probs(predictors, head, micro_batch.targets, self.temperature)

    @property
    def head_weight(self) -> nn.Parameter:
        """[vocabulary, width]; the embedding's where they are tied."""
        causal_lm: Any = self.causal_lm
        weight: nn.Parameter = causal_lm.lm_head.weight
        return weight

    def give_head_gradient_to(self, master: nn.Parameter) -> None:
        """From now on the head's gradient is added up in `master.grad`, in float32, and not in that of its weight."""
        self._head_master = (master,)

    def named_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters by Hugging Face name, tied ones once."""
        return self.causal_lm.named_parameters()

    def trained_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Those that the optimizer moves: all, or the adapters alone."""
        return ((name, weight) for name, weight in self.named_weights() if weight.requires_grad)

    @property
    def attention_parity(self) -> int:
        """Length at which causal attention costs as much as the rest of a decoder layer, in tokens.

        A layer of width h has about 12 h^2 weights, two operations a token each; attention 2 h operations a token and
        key, half of them masked.
        """
        config: Any = self.causal_lm.config
        return 12 * int(config.hidden_size)

    @property
    def decoder_layers(self) -> list[nn.Module]:
        """The transformer blocks, the units of sharding."""
        causal_lm: Any = self.causal_lm
        return list(causal_lm.model.layers)


def load_policy(folder: Path, dtype: torch.dtype, temperature: float, activation_checkpointing: bool) -> PolicyModel:
    """Load a Qwen2- or Llama-like causal language model on the CPU in `dtype`.

    Raises FileNotFoundError if the folder holds no model, UnusableModel if a weight is not finite, and for
    sliding-window attention and a bias of the head, which the kernels do not do.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no config.json in {folder}: model_folder must be a Hugging Face model folder")
    attention.register()
    # Bars belong on a terminal, not in a service's log.
    disable_progress_bar()
    causal_lm = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention.IMPLEMENTATION, local_files_only=True
    )
    layer_types = getattr(causal_lm.config, "layer_types", None) or ()
    if "sliding_attention" in layer_types:
        raise UnusableModel(f"{folder} uses sliding-window attention: packed attention is full; choose another model")
    if getattr(causal_lm.lm_head, "bias", None) is not None:
        raise UnusableModel(f"{folder} has a bias in its head, which the fused head has not; choose another model")
    for name, weight in causal_lm.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise UnusableModel(
                f"{folder}: the weight {name} holds NaN or infinity as {str(dtype).removeprefix('torch.')}; "
                "copy it anew, or choose another model or model.dtype"
            )
    # Off: dropout would make the proximal and the training pass disagree.
    causal_lm.eval()
    if activation_checkpointing:
        causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
        # transformers recomputes blocks in training mode only; packed attention ignores dropout.
        causal_lm.train()
    return PolicyModel(causal_lm, temperature)

"""Log-probabilities of given tokens from hidden states, without ever holding a long response's logits.

The logits of 24,000 tokens over a vocabulary of 152,000 are 14.6 GB in float32, and their gradient as much again. Here
they exist for one chunk of tokens at a time; the backward pass computes each chunk again.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Logits held at once: 64 Mi elements are 256 MiB in float32, large enough for full-speed matrix products.
MAX_LOGIT_ELEMENTS = 2**26


def token_log_probs(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    targets: Tensor,
    temperature: float,
    vocabulary_size: int,
    max_logit_elements: int = MAX_LOGIT_ELEMENTS,
) -> Tensor:
    """log softmax(head(hidden) / temperature) at the targets.

    hidden: [tokens, width], any floating dtype; head: to logits [tokens, vocabulary_size]; targets: int64 [tokens].
    Softmax in float32; returns float32 [tokens]. Logits are divided by the temperature because the behaviour
    log-probabilities are of the distribution sampled from. At most `max_logit_elements` logits exist at once (but a
    whole token's at the least).
    """
    tokens = targets.numel()
    chunk = max(1, max_logit_elements // vocabulary_size)
    if tokens <= chunk:
        return _chunk_log_probs(hidden, targets, head, temperature)
    parts = []
    for hidden_part, target_part in zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True):
        if torch.is_grad_enabled():
            part = checkpoint(_chunk_log_probs, hidden_part, target_part, head, temperature, use_reentrant=False)
        else:
            part = _chunk_log_probs(hidden_part, target_part, head, temperature)
        parts.append(part)
    return torch.cat(parts)


def _chunk_log_probs(hidden: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor], temperature: float) -> Tensor:
    logits = head(hidden).float()
    if temperature != 1.0:
        logits = logits / temperature
    return -functional.cross_entropy(logits, targets, reduction="none")

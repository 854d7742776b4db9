"""Log-probabilities of given tokens with the head fused in: a long response's logits never exist, nor their gradient.

    l_v     = hidden . W_v / temperature
    logp    = l_target - log sum over v of exp(l_v)
    dl_v    = g (1[v = target] - softmax(l)_v),    g the gradient of logp
    dhidden = dl W / temperature,    dW = sum over tokens of dl hidden / temperature

The logits of 24,000 tokens over a vocabulary of 152,000 are 14.6 GB in float32, and their gradient as much again. Here
they exist for one chunk of tokens at a time, and the backward pass computes each chunk again; those of a single chunk
are kept for it. Logits, softmax and the sum of dW over chunks are float32 whatever the dtype of hidden states and
weights: chunk by chunk in bfloat16 the sum loses a part in 150 of itself over 60 chunks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Logits held at once: 64 Mi elements are 256 MiB in float32, large enough for full-speed matrix products.
MAX_LOGIT_ELEMENTS = 2**26
_CACHED_ELEMENTS = 2**20


@dataclass(frozen=True)
class Head:
    """The matrix that makes logits of hidden states, and where its gradient is added up."""

    weight: Tensor
    """[vocabulary, width], any floating dtype."""
    master: nn.Parameter | None = None
    """float32 and of the same shape: its `grad` gets the weight's gradient, which is then not rounded to the weight's
    dtype; None: the weight's own `grad` gets it."""


def token_log_probs(
    hidden: Tensor, head: Head, targets: Tensor, temperature: float, max_logit_elements: int = MAX_LOGIT_ELEMENTS
) -> Tensor:
    """log softmax(hidden W^T / temperature) at the targets.

    hidden: [tokens, width], any floating dtype; targets: int64 [tokens]. Returns float32 [tokens]. Logits are divided
    by the temperature because the behaviour log-probabilities are of the distribution sampled from. At most
    `max_logit_elements` logits exist at once (but a whole token's at the least).
    """
    chunk = max(1, max_logit_elements // head.weight.shape[0])
    result: Tensor = _HeadLogProbs.apply(hidden, head.weight, targets, temperature, chunk, head.master)  # type: ignore[no-untyped-call]
    return result


class _HeadLogProbs(torch.autograd.Function):
    """See the module; with one chunk its unnormalised probabilities are kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        temperature: float,
        chunk: int,
        master: nn.Parameter | None,
    ) -> Tensor:
        operand = _operand(weight)
        found = torch.empty(targets.numel(), dtype=torch.float32, device=hidden.device)
        normalisers = torch.empty_like(found)
        room = _room(hidden, operand, chunk)
        kept: tuple[Tensor, ...] = ()
        for rows in _chunks(targets.numel(), chunk):
            logits = _logits(hidden[rows], operand, temperature, room)
            chosen = logits.gather(1, targets[rows, None])[:, 0]
            largest, sums = _exponentiate(logits)
            normalisers[rows] = largest + sums.log()
            found[rows] = chosen - normalisers[rows]
            kept = (logits, sums) if targets.numel() <= chunk else ()
        ctx.save_for_backward(hidden, weight, targets, normalisers, *kept)
        ctx.temperature, ctx.chunk, ctx.master = temperature, chunk, master
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, normalisers, *kept = ctx.saved_tensors
        operand = _operand(weight)
        into_hidden = torch.zeros_like(hidden)
        trained = ctx.needs_input_grad[1]
        into_weight = torch.zeros(weight.shape if trained else 0, dtype=torch.float32, device=weight.device)
        room = None if kept else _room(hidden, operand, ctx.chunk)
        for rows in _chunks(targets.numel(), ctx.chunk):
            gradient = gradients[0][rows]
            if kept:
                slopes = kept[0].mul_((-gradient / kept[1])[:, None])
            else:
                logits = _logits(hidden[rows], operand, ctx.temperature, room)
                slopes = _weighted_softmax(logits, normalisers[rows], -gradient)
            slopes[torch.arange(slopes.shape[0], device=slopes.device), targets[rows]] += gradient
            slopes = slopes.to(operand.dtype)
            into_hidden[rows] = (_product(slopes, operand) / ctx.temperature).to(hidden.dtype)
            if trained:
                _add_product(into_weight, slopes.T, hidden[rows].to(operand.dtype) / ctx.temperature)
        of_weight = _give(into_weight, weight, ctx.master) if trained else None
        return into_hidden, of_weight, None, None, None, None


def _exponentiate(logits: Tensor) -> tuple[Tensor, Tensor]:
    """exp(logits - the largest of the row) in place; the largest and the sum of each row, [tokens]."""
    largest, sums = logits.new_empty(2, logits.shape[0]).unbind()
    for rows in _blocks(logits):
        largest[rows] = logits[rows].amax(1)
        sums[rows] = logits[rows].sub_(largest[rows, None]).exp_().sum(1)
    return largest, sums


def _weighted_softmax(logits: Tensor, normalisers: Tensor, weights: Tensor) -> Tensor:
    """weight * exp(logits - normaliser) in place."""
    for rows in _blocks(logits):
        logits[rows].sub_(normalisers[rows, None]).exp_().mul_(weights[rows, None])
    return logits


def _blocks(logits: Tensor) -> Iterator[slice]:
    """On a CPU few enough rows at a time to stay in its cache from one operation to the next; elsewhere all."""
    elements = _CACHED_ELEMENTS if logits.device.type == "cpu" else logits.numel()
    return _chunks(logits.shape[0], max(1, elements // logits.shape[1]))


def _chunks(tokens: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, tokens)) for start in range(0, tokens, chunk))


def _operand(weight: Tensor) -> Tensor:
    """The weight as matrix products take it: in its own dtype on a GPU, whose products of halves can give float32."""
    return weight if weight.device.type == "cuda" else weight.float()


def _room(hidden: Tensor, operand: Tensor, chunk: int) -> Tensor | None:
    """On a CPU one buffer for the logits of all chunks: pages that are new to a process cost as much as the product."""
    if hidden.device.type != "cpu":
        return None
    return torch.empty(min(chunk, hidden.shape[0]), operand.shape[0], dtype=torch.float32)


def _logits(hidden: Tensor, operand: Tensor, temperature: float, room: Tensor | None) -> Tensor:
    """float32 [tokens, vocabulary], in `room` where there is one."""
    if room is not None:
        return torch.mm(hidden.float() / temperature, operand.T, out=room[: hidden.shape[0]])
    return _product(hidden, operand.T).div_(temperature)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """float32, whatever the operands."""
    return left @ right if left.dtype == torch.float32 else torch.mm(left, right, out_dtype=torch.float32)


def _add_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == torch.float32:
        target.addmm_(left, right)
    else:
        target.add_(_product(left, right))


def _give(gradient: Tensor, weight: Tensor, master: nn.Parameter | None) -> Tensor | None:
    """The gradient for autograd to add to the weight's; None where the master has had it."""
    if master is None:
        return gradient.to(weight.dtype)
    master.grad = gradient if master.grad is None else master.grad.add_(gradient)
    return None

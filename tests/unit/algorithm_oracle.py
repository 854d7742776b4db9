"""Advantages and losses once more, in float64 NumPy with loops, from the formulas of the papers and not from our code.

Responses are lists; nothing is packed. Every loss comes with its gradient by log pi(t), worked out by hand. `Settings`
of a loss or an advantage are plain keywords with the names and defaults of the settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """One response of a batch; arrays over its tokens."""

    group: int
    reward: float
    now: Array
    """log pi."""
    proximal: Array
    behaviour: Array
    reference: Array
    advantages: Array
    limit: int

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.now)


Batch = Sequence[Response]


def estimate_kl(estimator: str, log_probs: Array, reference: Array) -> Array:
    """k1, k2, k3 of Schulman's note."""
    log_r = reference - log_probs
    return {"k1": -log_r, "k2": log_r**2 / 2, "k3": np.exp(log_r) - 1 - log_r}[estimator]


def token_returns(batch: Batch, beta: float, estimator: str) -> list[Array]:
    """Return to go of every token of every response."""
    found = []
    for response in batch:
        rewards = -beta * estimate_kl(estimator, response.behaviour, response.reference)
        rewards[-1] += response.reward
        found.append(np.array([rewards[position:].sum() for position in range(len(rewards))]))
    return found


def group_rewards(batch: Batch, group: int) -> Array:
    """Rewards of a group's responses."""
    return np.array([response.reward for response in batch if response.group == group])


def spread(batch: Batch, values: Sequence[float]) -> list[Array]:
    """One value a response, at each of its tokens."""
    return [np.full(response.length, value) for response, value in zip(batch, values, strict=True)]


def normalised(per_token: list[Array], epsilon: float) -> list[Array]:
    """By mean and deviation of all tokens."""
    every = np.concatenate(per_token)
    return [(values - every.mean()) / (np.sqrt(np.mean((every - every.mean()) ** 2)) + epsilon) for values in per_token]


def areal(batch: Batch, kl_coefficient: float = 0.001, kl_estimator: str = "k1") -> list[Array]:
    """AReaL v0.1."""
    return normalised(token_returns(batch, kl_coefficient, kl_estimator), 1e-5)


def grpo(batch: Batch) -> list[Array]:
    """Shao et al. 2024."""
    values = []
    for response in batch:
        peers = group_rewards(batch, response.group)
        values.append((response.reward - peers.mean()) / (peers.std() + 1e-6))
    return spread(batch, values)


def dr_grpo(batch: Batch) -> list[Array]:
    """Liu et al. 2025."""
    return spread(batch, [response.reward - group_rewards(batch, response.group).mean() for response in batch])


def rloo(batch: Batch, kl_coefficient: float = 0.001, kl_estimator: str = "k1") -> list[Array]:
    """Ahmadian et al. 2024."""
    returns = [
        response.reward - kl_coefficient * estimate_kl(kl_estimator, response.behaviour, response.reference).sum()
        for response in batch
    ]
    values = []
    for number, response in enumerate(batch):
        others = [
            returns[other] for other in range(len(batch)) if other != number and batch[other].group == response.group
        ]
        values.append(returns[number] - sum(others) / len(others) if others else 0.0)
    return spread(batch, values)


def reinforce_plus_plus(batch: Batch, kl_coefficient: float = 0.001, kl_estimator: str = "k1") -> list[Array]:
    """Hu 2025."""
    return normalised(token_returns(batch, kl_coefficient, kl_estimator), 1e-8)


def reinforce_plus_plus_baseline(batch: Batch) -> list[Array]:
    """Hu 2025, with the group's mean as baseline."""
    return normalised(dr_grpo(batch), 1e-8)


ADVANTAGES: Mapping[str, Callable[..., list[Array]]] = {
    "areal": areal,
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_plus_plus": reinforce_plus_plus,
    "reinforce_plus_plus_baseline": reinforce_plus_plus_baseline,
}


def weight_of(batch: Batch, response: Response, average: str) -> float:
    """What one token of a response counts in the mean over the batch."""
    if average == "tokens":
        return 1.0 / sum(other.length for other in batch)
    if average == "responses":
        return 1.0 / (len(batch) * response.length)
    return 1.0 / sum(other.limit for other in batch)


def clipped(ratio: float, advantage: float, low: float, high: float, dual: float | None = None) -> tuple[float, float]:
    """PPO's loss of one token and its derivative by the ratio."""
    inside = min(max(ratio, low), high)
    loss, slope = -advantage * ratio, -advantage
    if -advantage * inside > loss:
        loss, slope = -advantage * inside, 0.0
    if dual is not None and advantage < 0 and loss > -advantage * dual:
        loss, slope = -advantage * dual, 0.0
    return loss, slope


def bounds_of(options: Mapping[str, Any]) -> tuple[float, float]:
    """1 - clip, 1 + clip_high."""
    clip = options.get("clip", 0.2)
    return 1 - clip, 1 + (options.get("clip_high") or clip)


Found = tuple[float, Array]
"""Loss of one response, its tokens not yet weighed against those of others, and the gradient by log pi(t)."""


def ppo(response: Response, **options: Any) -> Found:
    """Schulman et al. 2017, dual clip of Ye et al. 2020."""
    return _round(response, response.behaviour, np.ones(response.length), options)


def decoupled_ppo(response: Response, behaviour_weight_cap: float | None = None, **options: Any) -> Found:
    """Hilton et al. 2022; a cap masks."""
    weights = np.exp(response.proximal - response.behaviour)
    if behaviour_weight_cap is not None:
        weights = np.array([0.0 if weight > behaviour_weight_cap else weight for weight in weights])
    return _round(response, response.proximal, weights, options)


def truncated_importance_sampling(response: Response, weight_cap: float = 2.0, **options: Any) -> Found:
    """Yao et al. 2025; a cap cuts."""
    weights = np.array([min(weight, weight_cap) for weight in np.exp(response.proximal - response.behaviour)])
    return _round(response, response.proximal, weights, options)


def _round(response: Response, anchor: Array, weights: Array, options: Mapping[str, Any]) -> Found:
    total, gradient = 0.0, np.zeros(response.length)
    for t in range(response.length):
        ratio = float(np.exp(response.now[t] - anchor[t]))
        loss, slope = clipped(ratio, response.advantages[t], *bounds_of(options), options.get("dual_clip"))
        total += weights[t] * loss
        gradient[t] = weights[t] * slope * ratio
    return total, gradient


def cispo(response: Response, weight_cap: float = 5.0) -> Found:
    """MiniMax-M1: the weight is a constant."""
    weights = np.array([min(weight, weight_cap) for weight in np.exp(response.now - response.behaviour)])
    return float(-(weights * response.advantages * response.now).sum()), -weights * response.advantages


def gspo(response: Response, clip: float = 3e-4, clip_high: float = 4e-4, weight_cap: float = 2.0) -> Found:
    """Zheng et al. 2025; a response's loss counts once for each of its tokens, as their weights are per token."""
    ratio = float(np.exp((response.now - response.proximal).mean()))
    weight = min(float(np.exp((response.proximal - response.behaviour).mean())), weight_cap)
    loss, slope = clipped(ratio, float(response.advantages.mean()), 1 - clip, 1 + clip_high)
    return response.length * weight * loss, np.full(response.length, weight * slope * ratio)


def dppo(response: Response, mask_low: float = 0.2, mask_high: float = 0.2, squared_log_ratio: float = 1e-3) -> Found:
    """The default loss of prime-rl."""
    total, gradient = 0.0, np.zeros(response.length)
    for t in range(response.length):
        log_ratio, advantage = response.now[t] - response.behaviour[t], response.advantages[t]
        moved = np.exp(response.now[t]) - np.exp(response.behaviour[t])
        masked = moved > mask_high if advantage > 0 else moved < -mask_low
        if not masked:
            total -= advantage * np.exp(log_ratio)
            gradient[t] -= advantage * np.exp(log_ratio)
        total += squared_log_ratio * log_ratio**2
        gradient[t] += 2 * squared_log_ratio * log_ratio
    return total, gradient


LOSSES: Mapping[str, Callable[..., Found]] = {
    "ppo": ppo,
    "decoupled_ppo": decoupled_ppo,
    "truncated_importance_sampling": truncated_importance_sampling,
    "cispo": cispo,
    "gspo": gspo,
    "dppo": dppo,
}


def kl_term(response: Response, coefficient: float = 0.001, estimator: str = "k3") -> Found:
    """A KL term beside a loss."""
    distance = response.now - response.reference
    slope = {"k1": np.ones_like(distance), "k2": distance, "k3": 1 - np.exp(-distance)}[estimator]
    values = estimate_kl(estimator, response.now, response.reference)
    return float(coefficient * values.sum()), coefficient * slope


Term = Callable[[Response], Found]


def whole_loss(batch: Batch, average: str, terms: Sequence[Term]) -> tuple[float, list[Array]]:
    """The loss of a minibatch and its gradient for each response."""
    total, gradients = 0.0, []
    for response in batch:
        weight = weight_of(batch, response, average)
        found = [term(response) for term in terms]
        total += weight * sum(loss for loss, _ in found)
        gradients.append(weight * np.sum([gradient for _, gradient in found], axis=0))
    return total, gradients

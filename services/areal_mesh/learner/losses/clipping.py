"""PPO's clipped objective, which several losses share: a lower and an upper bound, and a second bound by request."""

import torch
from torch import Tensor


def clipped_objective(
    ratios: Tensor, advantages: Tensor, bounds: tuple[float, float], dual_clip: float | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of every token, and where it was clipped; shapes [tokens].

        max(-A r, -A clip(r, low, high)),    for A < 0 at most -A * dual_clip (Ye et al. 2020)

    A token whose loss is a clipped branch gives no gradient. The marks (bool): `clip_fraction`, clipped by either
    bound; `clip_fraction_low` and `clip_fraction_high`, by which; with a dual clip `dual_clip_fraction`.
    """
    low, high = bounds
    unclipped = -advantages * ratios
    clipped = -advantages * ratios.clamp(low, high)
    losses = torch.maximum(unclipped, clipped)
    with torch.no_grad():
        by_bound = clipped > unclipped
        marks = {
            "clip_fraction": by_bound,
            "clip_fraction_low": by_bound & (ratios < low),
            "clip_fraction_high": by_bound & (ratios > high),
        }
    if dual_clip is None:
        return losses, marks
    ceiling = torch.where(advantages < 0, -advantages * dual_clip, torch.inf)
    return torch.minimum(losses, ceiling), {**marks, "dual_clip_fraction": (losses > ceiling).detach()}

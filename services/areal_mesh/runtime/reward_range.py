"""The rewards that the settings allow, for whoever takes a reward from another service."""

from areal_mesh.runtime.settings import RunSettings

# Rewards travel as float64, and may be a sum in another order.
_ROUNDING = 1e-6


def reward_range(settings: RunSettings) -> tuple[float, float]:
    """Lowest and highest reward of a graded response.

    Without further terms these are `(s - bias) * scale` for s of -1 and +1, clipped; with them, whatever the clip lets.
    """
    algorithm = settings.algorithm
    clip = algorithm.reward_clip
    if settings.verifier.reward_terms:
        return -clip - _ROUNDING, clip + _ROUNDING
    ends = [(s - algorithm.reward_bias) * algorithm.reward_scale for s in (-1.0, 1.0)]
    clipped = [max(-clip, min(clip, end)) for end in ends]
    return min(clipped) - _ROUNDING, max(clipped) + _ROUNDING

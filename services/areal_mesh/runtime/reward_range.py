"""Rewards as the settings say them: the correctness term, the clip, and what a reward can be at all.

The verifier gives rewards by it, and whoever takes a reward from another service checks them by it.
"""

from areal_mesh.runtime.settings import AlgorithmSettings, RunSettings

# Rewards travel as float64, and may be a sum in another order.
_ROUNDING = 1e-6


def correctness_term(correct: bool, algorithm: AlgorithmSettings) -> float:
    """AReaL's `(s - bias) * scale` with s = +1 for a correct answer and -1 for an incorrect one, unclipped."""
    return ((1.0 if correct else -1.0) - algorithm.reward_bias) * algorithm.reward_scale


def clipped(reward: float, algorithm: AlgorithmSettings) -> float:
    """The reward within +-`reward_clip`."""
    return max(-algorithm.reward_clip, min(algorithm.reward_clip, reward))


def reward_range(settings: RunSettings) -> tuple[float, float]:
    """Lowest and highest reward of a graded response.

    Without further terms these are the two values of the correctness term, clipped; with them, whatever the clip lets.
    """
    algorithm = settings.algorithm
    if settings.verifier.reward_terms or settings.verifier.reward:
        return -algorithm.reward_clip - _ROUNDING, algorithm.reward_clip + _ROUNDING
    ends = [clipped(correctness_term(correct, algorithm), algorithm) for correct in (False, True)]
    return min(ends) - _ROUNDING, max(ends) + _ROUNDING

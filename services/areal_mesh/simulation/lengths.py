"""Lengths of responses as a real run has them: a few are many times longer than most. Pure."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Lengths:
    """Log-normal lengths in tokens, cut off at a limit.

    The same for a sequence number in every run of a seed, whoever generates it and whatever draws it.
    """

    responses: int
    """To a prompt."""
    limit: int
    median: float
    prompt_spread: float = 0.7
    response_spread: float = 0.7
    """Standard deviations of the logarithm of a length, between prompts and between responses to one."""
    seed: int = 1

    def of_group(self, sequence: int, limit: int) -> list[int]:
        """Lengths of the responses to the prompt of a sequence number, under the limit of its group's stage."""
        chance = random.Random(self.seed * 1_000_003 + sequence)
        typical = math.log(self.median) + chance.gauss(0.0, self.prompt_spread)
        drawn = (math.exp(typical + chance.gauss(0.0, self.response_spread)) for _ in range(self.responses))
        return [max(1, min(limit, round(length))) for length in drawn]

"""How long responses are: log-normal, cut off at the limit. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ResponseLengths:
    """Lengths in tokens before the limit cuts them off; a spread of 0 makes all of them the same."""

    median: float
    spread: float
    """Standard deviation of the logarithm."""

    def over(self, tokens: float) -> float:
        """Share of responses that are longer."""
        if tokens <= 0:
            return 1.0
        if self.spread <= 0:
            return 1.0 if self.median > tokens else 0.0
        return _normal(math.log(self.median / tokens) / self.spread)

    def mean(self, limit: int) -> float:
        """Mean length at a limit."""
        if self.spread <= 0:
            return min(self.median, limit)
        whole = self.median * math.exp(self.spread**2 / 2)
        below = _normal(math.log(limit / self.median) / self.spread - self.spread)
        return whole * below + limit * self.over(limit)

    def mean_square(self, limit: int) -> float:
        """Mean of the squared lengths at a limit."""
        if self.spread <= 0:
            return min(self.median, limit) ** 2
        whole = self.median**2 * math.exp(2 * self.spread**2)
        below = _normal(math.log(limit / self.median) / self.spread - 2 * self.spread)
        return whole * below + limit**2 * self.over(limit)

    def longest(self, limit: int, count: float) -> float:
        """Length that one of `count` responses exceeds."""
        low, high = 0.0, float(limit)
        if self.over(limit) * count >= 1:
            return high
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.over(middle) * count > 1 else (low, middle)
        return high


def with_mean(mean: float, limit: int, spread: float) -> ResponseLengths:
    """Lengths of a spread whose mean at a limit is `mean`.

    Raises:
        ValueError: the mean is not between 0 and the limit.
    """
    if not 0 < mean < limit:
        raise ValueError(f"a mean of {mean:g} tokens is not between 0 and the limit of {limit}")
    low, high = 1e-3, limit * 1e6
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if ResponseLengths(middle, spread).mean(limit) > mean else (middle, high)
    return ResponseLengths(high, spread)


def _normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2))


LENGTHS: Mapping[str, ResponseLengths] = {
    # 5.75k tokens on average at 8192, where Figure 1 of the release note begins; the spread is that with which the mean
    # at 16384, 8.1k, is what the published hours and tokens a second say of a step (8.1k, 9.0k and 8.7k).
    "DeepSeek-R1-Distill-Qwen-1.5B": ResponseLengths(6640.0, 1.0),
    # 7.8k tokens on average and 12.3 % cut off at 16384: six steps of the log in v0.1.1's tutorial.
    "DeepSeek-R1-Distill-Qwen-7B": ResponseLengths(6600.0, 0.78),
    # Figure 3 of the release note: a mean of 570 tokens at the start, 870 by step 150, 930 by step 250.
    "Qwen2.5-7B": ResponseLengths(650.0, 0.7),
    # Guesses for school mathematics.
    "Qwen2.5-0.5B-Instruct": ResponseLengths(300.0, 0.7),
    "Qwen2.5-1.5B-Instruct": ResponseLengths(350.0, 0.7),
    "smollm2-135m": ResponseLengths(120.0, 0.7),
}
"""Of the models of the presets before training, by the name of the folder."""

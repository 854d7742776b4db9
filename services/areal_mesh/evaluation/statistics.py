"""The statistics of an evaluation. Pure: counts and values in, numbers out.

A problem is answered n times, c of them right. All figures are means over problems, so a confidence interval comes from
drawing problems anew: the samples of one problem are not independent of each other.
"""

import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import comb, fsum

DRAWS = 2000
"""Bootstrap draws: the ends of a 95 % interval then vary by about a hundredth of its width."""


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that one of k samples is right, estimated without bias from `samples` of which `correct` are.

    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1); for
    k = 1 it is c / n. Computed in integers, so nothing cancels.

    Raises:
        ValueError: k is not from 1 to `samples`, or `correct` is not from 0 to `samples`.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples: k has to be from 1 to the number of samples")
    if not 0 <= correct <= samples:
        raise ValueError(f"{correct} of {samples} samples are right: give a number from 0 to {samples}")
    return float(1 - Fraction(comb(samples - correct, k), comb(samples, k)))


def majority_vote(answers: Sequence[tuple[str, bool]]) -> float:
    """Whether the commonest answer is right: 1 or 0, or the share of right ones among those that are equally common.

    Args:
        answers: each sample's answer in one spelling, and whether it is right; an empty answer does not vote.
    """
    votes = Counter(answer for answer, _ in answers if answer)
    if not votes:
        return 0.0
    most = max(votes.values())
    right = {answer for answer, correct in answers if answer and correct}
    leading = [answer for answer, count in votes.items() if count == most]
    return sum(answer in right for answer in leading) / len(leading)


def mean(values: Sequence[float]) -> float:
    """Mean of at least one value.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("the mean of no values")
    return fsum(values) / len(values)


def bootstrap_interval(
    values: Sequence[float], seed: int, confidence: float = 0.95, draws: int = DRAWS
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values`, one value a problem (Efron 1979).

    The same seed gives the same interval. Of equal values, or of one, it is a point.

    Raises:
        ValueError: there is no value, or the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: give a number between 0 and 1")
    center = mean(values)
    if min(values) == max(values):
        return center, center
    generator, count = random.Random(seed), len(values)
    means = sorted(fsum(generator.choices(values, k=count)) / count for _ in range(draws))
    return quantile(means, (1 - confidence) / 2), quantile(means, (1 + confidence) / 2)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile of values in order, linear between neighbours (type 7 of Hyndman and Fan 1996)."""
    position = share * (len(ordered) - 1)
    lower = int(position)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (position - lower)

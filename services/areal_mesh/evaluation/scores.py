"""The figures of one checkpoint on one suite, from its graded samples. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from areal_mesh.evaluation.statistics import bootstrap_interval, majority_vote, mean, pass_at_k

_BOOTSTRAP_SEED = 1


@dataclass(frozen=True, slots=True)
class GradedSample:
    """One response, graded."""

    problem_id: str
    correct: bool | None
    """None where the grader failed: neither right nor wrong."""
    answer: str
    """The answer in its one spelling; empty where none was found."""
    tokens: int
    """Of the response; 0 where the prompt was refused."""
    truncated: bool
    """The response limit cut it off."""
    refused: bool = False
    """The model was not asked: its prompt is too long, or cannot be given to it."""


@dataclass(frozen=True, slots=True)
class SuiteScore:
    """The figures of a checkpoint on a suite. Shares are from 0 to 1."""

    problems: int
    samples: int
    """Of each problem, the most."""
    pass_at_1: float
    """Mean over problems of the share of right samples."""
    low: float
    high: float
    """The 95 % bootstrap interval of `pass_at_1` over problems."""
    pass_at_k: dict[int, float]
    """By k: powers of two up to the samples that every problem has, and that number."""
    majority: float
    """Share of problems whose commonest answer is right."""
    response_length: float
    """Mean tokens of a response."""
    truncated: float
    """Share of responses that the limit cut off."""
    refused: int = 0
    """Problems that the model was not asked, counted as not solved."""
    ungraded: int = 0
    """Samples on which the grader failed, left out of the shares."""


def score_suite(samples: Iterable[GradedSample]) -> SuiteScore:
    """The figures of a suite's samples.

    A problem none of whose samples could be graded is left out; a refused one counts as not solved.

    Raises:
        ValueError: there is no graded sample.
    """
    everything = list(samples)
    by_problem: dict[str, list[GradedSample]] = defaultdict(list)
    for sample in everything:
        if sample.correct is not None:
            by_problem[sample.problem_id].append(sample)
    if not by_problem:
        raise ValueError("no sample was graded")
    problems = list(by_problem.values())
    counts = [(len(graded), sum(bool(sample.correct) for sample in graded)) for graded in problems]
    shares = [correct / graded for graded, correct in counts]
    low, high = bootstrap_interval(shares, _BOOTSTRAP_SEED)
    asked = [sample for sample in everything if not sample.refused]
    return SuiteScore(
        problems=len(problems),
        samples=max(graded for graded, _ in counts),
        pass_at_1=mean(shares),
        low=low,
        high=high,
        pass_at_k={k: mean([pass_at_k(*count, k) for count in counts]) for k in _ks(min(n for n, _ in counts))},
        majority=mean([majority_vote([(s.answer, bool(s.correct)) for s in graded]) for graded in problems]),
        response_length=mean([float(sample.tokens) for sample in asked]) if asked else 0.0,
        truncated=mean([float(sample.truncated) for sample in asked]) if asked else 0.0,
        refused=len({sample.problem_id for sample in everything if sample.refused}),
        ungraded=sum(sample.correct is None for sample in everything),
    )


def _ks(samples: int) -> Sequence[int]:
    powers = [1 << exponent for exponent in range(samples.bit_length())]
    return sorted({*powers, samples})

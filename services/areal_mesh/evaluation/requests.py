"""What an evaluation asks: every sample of every problem, each with a seed of its own. Pure.

A sample's seed follows from the evaluation's seed, the suite, the problem and its number alone: not from the order of
asking, the checkpoint, nor who asks. So the same weights give the same responses during training and after it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from areal_mesh.evaluation.suites import Suite

MOST_SAMPLES = 4096


@dataclass(frozen=True, slots=True)
class SampleKey:
    """Names a sample within an evaluation."""

    checkpoint: str
    suite: str
    problem_id: str
    number: int
    """From 0."""

    @property
    def identifier(self) -> str:
        """The same as one word, for people and for `areal-mesh verify --explain`."""
        return f"{self.checkpoint}/{self.suite}/{self.problem_id}/{self.number}"


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One response that is to be generated."""

    key: SampleKey
    problem: str
    golds: tuple[str, ...]
    seed: int


def sample_seed(seed: int, suite: str, problem_id: str, number: int) -> int:
    """Seed of a sample: 61 bits, within what engines and the contract take."""
    digest = hashlib.blake2b(f"{seed}/{suite}/{problem_id}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 3


def sample_requests(checkpoint: str, suites: Iterable[Suite], samples: int, seed: int) -> Iterator[SampleRequest]:
    """Every sample of a checkpoint: the first of each problem, then the second of each, so that all grow alike."""
    known = list(suites)
    for number in range(samples):
        for suite in known:
            for problem in suite.problems:
                yield SampleRequest(
                    SampleKey(checkpoint, suite.name, problem.prompt_id, number),
                    problem.problem,
                    problem.gold_answers,
                    sample_seed(seed, suite.name, problem.prompt_id, number),
                )

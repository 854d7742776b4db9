"""Publishing, the decisions: whom a version goes to, who is to blame when it fails, whether digests agree. Pure.

A publish is a small state machine, carried out by `transfer`:

    Prepare(version, manifest) -> Ready -> Transfer -> Commit(digests)

Each state has a deadline, and each is idempotent by version. Who fails is left out for a while that doubles with each
failure, and the group is built anew without them; what they lack reaches them with a later publish.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_FIRST_SECONDS = 2.0  # a process that was restarted is back within a few of these
_LONGEST_SECONDS = 60.0


class Cause(StrEnum):
    """Why a member's part of a publish failed, the gravest first.

    Its process is gone; it is silent; it said no; it waited for others; its weights are not the learner's.
    """

    GONE = "gone"
    SILENT = "silent"
    REFUSED = "refused"
    WAITED = "waited for others"
    CHECKSUMS = "checksums"


@dataclass(frozen=True)
class Failure:
    """A member's part that failed. `key` names its life; `state` is the one it failed in."""

    key: str
    state: str
    cause: Cause
    message: str


@dataclass(frozen=True)
class GeneratorWeights:
    """The weights of a generator that could be published to: its life, the version it says it holds, its ranks."""

    key: str
    version: int
    ranks: int
    verified: bool = True
    """Whether its digests agreed with the learner's at that version, or none are asked for."""


@dataclass(frozen=True)
class Versions:
    """Policy versions of the run. `held` is the learner's, None without one; `due`: admission says to publish."""

    committed: int
    published: int
    held: int | None
    due: bool


def receivers(versions: Versions, generators: Sequence[GeneratorWeights]) -> list[GeneratorWeights]:
    """Generators that the learner's version should go to now; empty if there is nothing to publish.

    A publish is wanted if it is due, or if a generator holds less than what was published or weights whose digests were
    never compared; it then goes to everyone who lacks the learner's version. A learner that is behind what was
    published, or behind a generator's unverified weights (it came back from a checkpoint), publishes nothing there
    until it has caught up.
    """
    held = versions.held
    if held is None or held < max(versions.published, 0):
        return []
    lacking = [generator for generator in generators if lacks(generator, min(held, versions.committed))]
    wanted = any(generator.version < versions.published or not generator.verified for generator in lacking)
    return lacking if versions.due or wanted else []


def lacks(generator: GeneratorWeights, version: int) -> bool:
    """Whether a generator needs `version`. Unverified weights of that version do not count; newer ones stay."""
    return generator.version < version or (generator.version == version and not generator.verified)


def unrecorded_version(versions: Versions, generators: Iterable[GeneratorWeights]) -> int | None:
    """A committed version newer than the last recorded publish that a generator holds already; None if there is none.

    A controller killed between a transfer and its record finds the publish done when the generators register again.
    Only where digests are not asked for: a generator says its version before they are compared.
    """
    held = [generator.version for generator in generators if generator.version <= versions.committed]
    newest = max(held, default=-1)
    return newest if newest > versions.published else None


def blamed(failures: Iterable[Failure]) -> set[str]:
    """Keys of those to leave out. When a process dies its peers' collectives fail too, so the gravest cause counts."""
    failures = list(failures)
    for cause in Cause:
        guilty = {failure.key for failure in failures if failure.cause is cause}
        if guilty:
            return guilty
    return set()


def ranks_of(generators: Sequence[GeneratorWeights]) -> dict[str, int]:
    """First rank of each generator; the learner has rank 0."""
    ranks = {}
    next_rank = 1
    for generator in generators:
        ranks[generator.key] = next_rank
        next_rank += generator.ranks
    return ranks


def disagreement(expected: Mapping[str, str], workers: Sequence[Mapping[str, str]]) -> str | None:
    """What differs between the learner's digests and those of a generator's workers, by tensor name; None if nothing.

    The learner names the tensors of all workers (a shard has its tensor-parallel rank in its name). Each worker has to
    agree in what it holds, and together they have to hold everything.
    """
    if not expected:
        return "the learner sent no digests"
    held: set[str] = set()
    for rank, worker in enumerate(workers):
        named = expected.keys() & worker.keys()
        if not named:
            return f"worker {rank} holds none of the {len(expected)} tensors"
        wrong = sorted(name for name in named if worker[name] != expected[name])
        if wrong:
            name = wrong[0]
            difference = f"{worker[name]} instead of {expected[name]}"
            return f"worker {rank}: {len(wrong)} of {len(named)} tensors differ, first {name}: {difference}"
        held |= named
    missing = sorted(expected.keys() - held)
    return f"no worker holds {len(missing)} of the tensors, first {missing[0]}" if missing else None


class Backoff:
    """Who is left out until when. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def failed(self, key: str, now: float) -> float:
        """Notes a failure; returns the seconds that this life is left out."""
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = min(_FIRST_SECONDS * 2.0 ** (self._failures[key] - 1), _LONGEST_SECONDS)
        self._until[key] = now + seconds
        return seconds

    def succeeded(self, key: str) -> None:
        """Forgets a life's failures."""
        self._failures.pop(key, None)
        self._until.pop(key, None)

    def left_out(self, key: str, now: float) -> bool:
        """Whether a life is left out now."""
        return self._until.get(key, now) > now

    def next_return(self, now: float) -> float | None:
        """Seconds until the first of those left out may be tried again; None if nobody is."""
        return min((until - now for until in self._until.values() if until > now), default=None)

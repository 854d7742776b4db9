"""Which group carries the next publish: the one that its members are in already, or a new one. Pure.

A group is one membership: a life of the learner and lives of generators, each with its ranks. It is formed before
anything is frozen, and used for every publish to exactly these members until one of them fails in it. Who is lost, late
or left out is simply not among the members of the next; nobody is ever added to a group.
"""

from collections.abc import Sequence

from areal_mesh.controller.publish.policy import GeneratorWeights

Members = tuple[str, tuple[tuple[str, int], ...]]


class Groups:
    """Numbers the memberships of this life of the controller.

    Args:
        life: tells its groups from those of other lives.
    """

    def __init__(self, life: str) -> None:
        self._life = life
        self._epoch = 0
        self._members: Members | None = None

    @property
    def epoch(self) -> int:
        """How many groups were formed."""
        return self._epoch

    def group_for(self, learner: str, receivers: Sequence[GeneratorWeights]) -> str:
        """Id of the group of these members, in the order of their ranks; a new one where they are no group yet."""
        members = (learner, tuple((receiver.key, receiver.ranks) for receiver in receivers))
        if members != self._members:
            self._epoch += 1
            self._members = members
        return f"{self._life}-{self._epoch}"

    def broke(self) -> None:
        """A publish failed in the group: it is not used again."""
        self._members = None

"""Who keeps the version it holds while it is examined."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from areal_mesh.controller.evaluation.due import keeps_version
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.run import Run
from areal_mesh.v1 import common_pb2


class Holds:
    """Generators that publishes leave out for now, see `due`."""

    def __init__(self, run: Run, roster: Roster) -> None:
        self._run = run
        self._roster = roster
        self._keys: frozenset[str] = frozenset()

    @contextmanager
    def holding(self, keys: Iterable[str]) -> Iterator[None]:
        """Within it these lives keep the version that they have, as long as training does not need it otherwise."""
        self._keys = frozenset(keys)
        try:
            yield
        finally:
            self._keys = frozenset()

    @property
    def kept(self) -> bool:
        """Whether those who are examined still keep their version."""
        if not self._keys:
            return False
        live = self._roster.live(common_pb2.ROLE_GENERATOR)
        versions = [member.policy_version for member in live if not member.quarantined]
        return keeps_version(self._run.version, versions, self._run.settings.algorithm.max_staleness)

    def holds(self, key: str) -> bool:
        """Whether a life keeps the version that it has."""
        return key in self._keys and self.kept

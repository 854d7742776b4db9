"""What holds a run or ends it: a pause, a stop, the end of its schedule. Pure: the run writes each down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from areal_mesh.controller.records import RunState
from areal_mesh.runtime.errors import failed_precondition

PAUSED, STOPPING, FINISHED, LEARNER_LEFT = "paused", "stopping", "finished", "learner_left"
"""Facts of the ledger."""
CHECKPOINT_STEP = "checkpoint_step"
"""A fact too: the step after which somebody asked for a checkpoint."""


@dataclass
class Condition:
    """How the run stands."""

    paused: bool = False
    """Somebody asked for a pause."""
    stopping: bool = False
    """Somebody asked the run to stop."""
    finished: bool = False
    """The last step of the schedule is committed."""
    learner_gone: bool = False
    """The learner has left after the run's end: its last checkpoint and export are written."""

    @classmethod
    def read(cls, fact: Callable[[str], str | None]) -> Self:
        """As the facts of the ledger say."""
        return cls(*(fact(key) is not None for key in (PAUSED, STOPPING, FINISHED, LEARNER_LEFT)))

    @property
    def over(self) -> bool:
        """Whether nothing new starts: no group, no step."""
        return self.finished or self.stopping

    def state(self, published_version: int) -> RunState:
        """What the run does; -1 for `published_version` before the first publish."""
        if self.finished:
            return RunState.FINISHED
        if self.stopping:
            return RunState.STOPPING
        if self.paused:
            return RunState.PAUSED
        return RunState.STARTING if published_version < 0 else RunState.RUNNING

    def check_steerable(self) -> None:
        """Refuses to steer a run that is over.

        Raises:
            MeshError: FAILED_PRECONDITION, nothing starts in it, or not before it is started again.
        """
        if self.finished:
            raise failed_precondition("the run is finished: nothing starts in it any more")
        if self.stopping:
            raise failed_precondition(
                "the run is stopping and nothing new starts; once it has ended, the same `areal-mesh up` continues it"
            )

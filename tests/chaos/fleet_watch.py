"""What a fleet of generators is seen to do while it is disturbed, from the controller's status alone."""

import time
from dataclasses import dataclass, field

from areal_mesh.client.status import RunStatus, ServiceState, ServiceStatus


@dataclass
class FleetWatch:
    """Takes in every status of a run. Times in seconds of a monotonic clock."""

    last: RunStatus | None = None
    longest_gap: float = 0.0
    """Longest time between two commits, after the first."""
    waits: dict[str, float] = field(default_factory=dict)
    """By life of a generator, `service_id/starts`: from when it could take weights to when it served."""
    _step_at: float | None = None
    _pending_at: dict[str, float] = field(default_factory=dict)

    def see(self, status: RunStatus) -> None:
        """Takes in a status."""
        now = time.monotonic()
        if self.last is not None and status.step > self.last.step:
            if self._step_at is not None:
                self.longest_gap = max(self.longest_gap, now - self._step_at)
            self._step_at = now
        for generator in generators(status):
            life = f"{generator.service_id}/{generator.starts}"
            if generator.state is ServiceState.PENDING_WEIGHTS:
                self._pending_at.setdefault(life, now)
            elif generator.state is ServiceState.SERVING and life not in self.waits:
                self.waits[life] = now - self._pending_at.get(life, now)
        self.last = status

    def serving(self) -> list[str]:
        """Ids of the generators that serve now."""
        if self.last is None:
            return []
        return [one.service_id for one in generators(self.last) if one.state is ServiceState.SERVING]


def generators(status: RunStatus) -> list[ServiceStatus]:
    """The generators of a status."""
    return [service for service in status.services if service.role == "generator"]

"""When the run last got a step done, as its controller reports it."""

from areal_mesh.controller.run import Run
from areal_mesh.runtime.registration import HeartbeatReport


class SeenProgress:
    """The version that was seen last, and when it was new."""

    def __init__(self) -> None:
        self._version, self._since = -1, 0.0

    def report(self, run: Run, now: float) -> HeartbeatReport:
        """What the controller's heartbeat would say. A run that is held or over makes no progress; none is missed."""
        if run.over or run.paused or run.version != self._version:
            self._version, self._since = run.version, now
        return HeartbeatReport(policy_version=run.version, seconds_since_progress=now - self._since)

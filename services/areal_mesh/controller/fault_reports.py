"""Faults as they are reported: taken in, logged, and told to whom they hold."""

from dataclasses import dataclass

import structlog

from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.faults import FaultKind, Faults, Hold

_LOG = structlog.get_logger("controller")


@dataclass(frozen=True)
class FaultReports:
    """Takes in what is wrong with a service."""

    faults: Faults
    changes: Changes
    clock: Clock

    def put(self, service_id: str, kind: FaultKind, text: str = "", hold: Hold = Hold.NOTHING) -> None:
        """Takes in a fault, or that it is gone where the text is empty."""
        if not self.faults.put(service_id, kind, text, hold, self.clock.monotonic()):
            return
        if text:
            _LOG.error("fault", member=service_id, what=text)
        else:
            _LOG.info("fault gone", member=service_id)
        self.changes.notify(Change.STATE, Change.PLACES)

"""A member's heartbeats: what it says of itself and what it waits for, and what the controller orders."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from areal_mesh.runtime.metrics.members import OPEN_CALL_PREFIX
from areal_mesh.runtime.registration import HeartbeatOrders, HeartbeatReport, Membership
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.runtime.watch import Watch
from areal_mesh.runtime.watchdog.open_calls import OpenCalls

# A call that is answered sooner is nothing that anybody waits for.
_OPEN_CALL_SECONDS = 1.0
_LOG = structlog.get_logger("service")


@dataclass(frozen=True)
class Heartbeats:
    """Reports to the controller, and does what it orders.

    `report` and `lose_groups` are the service's; `calls` those that it has open.
    """

    membership: Membership
    standing: HeardStanding
    calls: OpenCalls
    watch: Watch
    draining: asyncio.Event
    report: Callable[[], HeartbeatReport]
    lose_groups: Callable[[tuple[str, ...]], None]

    async def work(self, finished: asyncio.Event) -> None:
        """Beats until `finished` is set."""
        while not finished.is_set():
            orders: HeartbeatOrders = await self.membership.beat(self._report())
            if orders.lost_group_ids:
                self.lose_groups(orders.lost_group_ids)
            if orders.drain and not self.draining.is_set():
                _LOG.info("the controller asks to drain")
                self.draining.set()
            await wait_until(finished, self.membership.interval_seconds)

    def _report(self) -> HeartbeatReport:
        """The service's, and what it waits for."""
        report = self.report()
        waits = self.calls.ages(_OPEN_CALL_SECONDS)
        open_calls = {f"{OPEN_CALL_PREFIX}{method}": age for method, age in waits.items()}
        report = replace(report, metrics={**report.metrics, **open_calls})
        said = self.standing.said
        self.watch.hear(report, None if said is None else said.policy_version)
        return report

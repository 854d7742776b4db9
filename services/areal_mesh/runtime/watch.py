"""What looks at a service while it lives: the metrics' endpoint, the watchdog, and the supervisor that started it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.metrics.endpoint import Endpoint, Samples, about
from areal_mesh.runtime.metrics.members import samples_of
from areal_mesh.runtime.metrics.metric import Sample
from areal_mesh.runtime.notify import Supervisor
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.runtime.watchdog.thread import Heard, Watchdog


class Watch:
    """One service's; a context manager of the service's event loop. `registry` is shown by the endpoint."""

    def __init__(self, settings: RunSettings, identity: Identity, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._identity = identity
        self._heard = Heard()
        self._registry = registry
        section = settings.service(identity.role)
        self._heartbeat_seconds = settings.controller.heartbeat_seconds
        self._watchdog = Watchdog(self._heard, identity.calls, section, self._logs / f"{identity.service_id}.stacks")
        self._endpoint: Endpoint | None = None
        self.supervisor = Supervisor()

    @property
    def _logs(self) -> Path:
        return self._settings.run_directory / "logs"

    @property
    def metrics_port(self) -> int:
        """Of the endpoint; 0 where there is none."""
        return 0 if self._endpoint is None else self._endpoint.port

    def __enter__(self) -> Self:
        self._registry.register(Samples(self._samples))
        self._endpoint = Endpoint(self._settings.service(self._identity.role), self._registry)
        self._watchdog.start(asyncio.get_running_loop())
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.stop()
        if self._endpoint is not None:
            self._endpoint.close()

    def hear(self, report: HeartbeatReport, run_version: int | None) -> None:
        """Takes in what the service says of itself, and the version that the run is at, where it is known."""
        self._heard.hear(report, run_version)

    async def look(self, report: Callable[[], HeartbeatReport], finished: asyncio.Event) -> None:
        """Hears the controller, which sends no heartbeats, at their interval."""
        while not await wait_until(finished, self._heartbeat_seconds):
            said = report()
            self.hear(said, said.policy_version)

    async def keep_alive(self, finished: asyncio.Event) -> None:
        """Tells the supervisor that the loop turns, as often as it asks for it."""
        interval = self.supervisor.keep_alive_seconds
        while interval and not await wait_until(finished, interval):
            report = self._heard.report
            self.supervisor.alive("" if report is None else f"policy version {report.policy_version}")

    def _samples(self) -> Iterator[Sample]:
        identity = self._identity
        yield from about(self._settings.name, identity.service_id, identity.role, self._settings.run_directory)
        if self._heard.report is not None:
            yield from samples_of(identity.role, self._heard.report)

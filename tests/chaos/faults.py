"""Faults at random: services killed, suspended and cut off, a disk filled; each is put right after a while."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cluster import CONTROLLER_PORT, Cluster
from tests.integration.small_disk import fill

AWAY_SECONDS = (2.0, 20.0)
FULL_SECONDS = 10.0


@dataclass
class RandomFaults:
    """Does one fault at a time, and starts again what has ended, as a supervisor would.

    Args:
        disk: the file system that the run's directory lies on.
    """

    mesh: Cluster
    disk: Path
    chance: random.Random
    survived: Counter[str] = field(default_factory=Counter)
    ended_by_themselves: Counter[str] = field(default_factory=Counter)
    """Services that ended without being killed, by id: a fault that they took for a reason to start again."""
    _back: tuple[float, Callable[[], None]] | None = None
    """When what is away or full is put right, and how."""

    @property
    def quiet(self) -> bool:
        """Whether nothing is cut off, suspended or full."""
        return self._back is None

    def one(self) -> str:
        """Does a fault, and says what it is."""
        kinds = [self._kill, self._kill, self._suspend, self._cut, self._fill, self._kill_everything]
        kind = self.chance.choices(kinds, weights=[4, 4, 4, 4, 2, 1])[0]
        name = kind()
        self.survived[name] += 1
        return name

    def put_right(self, at_once: bool = False) -> None:
        """Ends a fault whose time is over, or any."""
        if self._back is not None and (at_once or time.monotonic() >= self._back[0]):
            _, mend = self._back
            self._back = None
            mend()

    def supervise(self) -> None:
        """Starts again what has ended."""
        for service_id, service in list(self.mesh.services.items()):
            if not service.running:
                self.ended_by_themselves[service_id] += 1
                self._start(service_id)

    def _start(self, service_id: str) -> None:
        role = service_id.partition("-")[0]
        host = self.mesh.services[service_id].host
        self.mesh.serve(role, service_id, host, CONTROLLER_PORT if role == "controller" else 0)

    def _kill(self) -> str:
        service_id = self.chance.choice(sorted(self.mesh.services))
        self.mesh.services[service_id].kill()
        self._start(service_id)
        return f"kill {service_id.partition('-')[0]}"

    def _kill_everything(self) -> str:
        for service in self.mesh.services.values():
            service.kill()
        for service_id in list(self.mesh.services):
            self._start(service_id)
        return "kill everything"

    def _suspend(self) -> str:
        service_id = self.chance.choice(sorted(self.mesh.services))
        service = self.mesh.services[service_id]
        service.send(signal.SIGSTOP)
        self._later(lambda: service.send(signal.SIGCONT))
        return f"suspend {service_id.partition('-')[0]}"

    def _cut(self) -> str:
        away = [name for name, service in self.mesh.services.items() if service.host != self.mesh.central]
        service_id = self.chance.choice(sorted(away))
        host = self.mesh.services[service_id].host
        host.cut()
        self._later(host.mend)
        return f"cut off {service_id.partition('-')[0]}"

    def _fill(self) -> str:
        filler = fill(self.disk)
        self._back = (time.monotonic() + FULL_SECONDS, lambda: filler.unlink(missing_ok=True))
        return "full disk"

    def _later(self, mend: Callable[[], None]) -> None:
        self._back = (time.monotonic() + self.chance.uniform(*AWAY_SECONDS), mend)

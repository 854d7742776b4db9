"""A run over its ledger, whose controller can be killed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.records import GroupState, PublishRow
from areal_mesh.controller.run import Run
from areal_mesh.runtime.settings import RunSettings, StageSettings
from tests.unit.stage_support import run_of

LEASE_SECONDS = 10.0


def begun_with(*stages: StageSettings, **chosen: Any) -> RunSettings:
    return run_of(*stages, lease_seconds=LEASE_SECONDS, group_attempts=2, **chosen)


@dataclass
class Scene:
    """A run whose controller can be killed; `holder` leases."""

    path: Path
    settings: RunSettings
    now: float = 1000.0
    ledgers: list[Ledger] = field(default_factory=list)

    def open(self) -> Run:
        ledger = Ledger(self.path)
        self.ledgers.append(ledger)
        return Run(self.settings, ledger, Clock(lambda: self.now, lambda: self.now))

    def killed(self) -> Run:
        self.ledgers[-1].close()
        return self.open()

    def publish(self, run: Run, version: int) -> None:
        run.published(PublishRow(version, self.now, 0.1, 0.2, 0.3, 10, ("generator/a",), "agreed"))


def lease(run: Run, most: int, holder: str = "generator/a") -> list[str]:
    return [row.group_id for row in run.lease(holder, most, str)]


def store(run: Run, group_ids: list[str], version: int = 0) -> None:
    for group_id in group_ids:
        run.groups.store(group_id, StoredFigures(version, 10))


def take_step(run: Run) -> None:
    """Leases, stores and commits the batch of the next step."""
    batch = lease(run, run.settings.algorithm.batch_groups)
    store(run, batch)
    assert run.next_step(run.version) is not None
    assert run.commit(run.version + 1, batch, {"reward": 1.0}, {0: len(batch)})


def state_of(run: Run, group_id: str) -> GroupState:
    row = run.ledger.group(group_id)
    assert row is not None
    return row.state

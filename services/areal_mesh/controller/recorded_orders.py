"""The steps of a run as the learner was told to take them, read from the ledger of a run that may go on meanwhile."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from areal_mesh.controller.ledger import LedgerError
from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.records import StageEntry
from areal_mesh.controller.stage_progress import StageProgress, StepOrder
from areal_mesh.runtime.settings import StageSettings


@dataclass(frozen=True)
class RecordedOrders:
    """`committed`: steps of the run so far. `entries`: the stages entered."""

    committed: int
    plans: Sequence[StageSettings]
    entries: Sequence[StageEntry]

    def order(self, step: int) -> StepOrder:
        """What the learner was told of a committed step, and would be told again."""
        return StageProgress(self.plans, self.entries).order(step)

    def stage_name(self, step: int) -> str:
        """Name of the stage that a step belongs to."""
        return self.plans[self.order(step).stage].name


def read_orders(ledger: Path, plans: Sequence[StageSettings]) -> RecordedOrders:
    """Reads the stages and steps of a run.

    Args:
        plans: the stages of the run's settings.

    Raises:
        LedgerError: the file cannot be read as a ledger, or no stage was entered yet.
    """
    try:
        database = sqlite3.connect(f"file:{quote(str(ledger))}?mode=ro", uri=True, timeout=5.0)
        reader = LedgerReader(database)
        try:
            entries, committed = reader.stages(), reader.step_totals().step
        finally:
            reader.close()
    except sqlite3.Error as error:
        raise LedgerError(f"{ledger}: cannot be read as the run's ledger: {error}") from error
    if not entries:
        raise LedgerError(f"{ledger}: the run has entered no stage yet")
    return RecordedOrders(committed, plans, entries)

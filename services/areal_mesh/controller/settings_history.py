"""Settings that were changed between two sittings of a run: kept in the ledger; more steps open a finished run.

Pure: the run writes what is found here.
"""

import json
from collections.abc import Sequence
from typing import Any

from areal_mesh.controller.condition import FINISHED, LEARNER_LEFT
from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.records import StageEntry
from areal_mesh.runtime.settings import RunSettings, StageSettings
from areal_mesh.runtime.settings.changes import changes_between

SETTINGS, HISTORY = "settings", "settings_changes"
"""Facts of the ledger: the settings of the last sitting, and a list of what was changed, when and before which step."""


def history_facts(settings: RunSettings, ledger: LedgerReader, now: float) -> dict[str, str | None]:
    """Facts to write where the settings are others than in the sitting before; None takes a fact away."""
    wanted = settings.model_dump(mode="json")
    written = ledger.read(SETTINGS)
    if written is None:
        return {SETTINGS: json.dumps(wanted)}
    there = json.loads(written)
    changes = list(changes_between(there, wanted))
    if not changes:
        return {}
    step = ledger.step_totals().step + 1
    history: list[dict[str, Any]] = json.loads(ledger.read(HISTORY) or "[]")
    history += [{"at": now, "from_step": step, "key": c.key, "before": c.before, "now": c.now} for c in changes]
    facts: dict[str, str | None] = {SETTINGS: json.dumps(wanted), HISTORY: json.dumps(history)}
    if _steps(wanted) > _steps(there):
        facts |= {FINISHED: None, LEARNER_LEFT: None}
    return facts


def _steps(settings: dict[str, Any]) -> int:
    return sum(stage["max_steps"] for stage in settings["stages"])


def stages_due(
    plans: Sequence[StageSettings], entered: Sequence[StageEntry], steps: int, now: float
) -> list[StageEntry]:
    """The stage that a run enters as it starts: its first; or the next, where the one it is in has all its steps.

    The latter is so where a stage was added to a finished run, or the one it is in was cut short.
    """
    if not entered:
        return [StageEntry(0, 1, now, "start of the run")]
    last = entered[-1]
    if last.stage < len(plans) - 1 and steps - last.first_step + 1 >= plans[last.stage].max_steps:
        return [StageEntry(last.stage + 1, steps + 1, now, "the schedule was changed")]
    return []

"""What a run was begun with and has to keep, out of its settings."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.controller.ledger import LedgerError
from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.prompts import PromptFile
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.data import ColumnSettings

_BATCH_GROUPS = "batch_groups"


@dataclass(frozen=True)
class PromptFact:
    """Something by which a sequence number names its prompt: it holds for the whole run."""

    key: str
    """The setting."""
    value: str
    where: str = ""
    """What stands before the value in a message."""


def prompt_facts(settings: RunSettings, prompts: PromptFile) -> tuple[PromptFact, ...]:
    """What decides which prompt a sequence number names; the file last, for where a setting differs it is why."""
    section = settings.prompts
    chosen: dict[str, object] = {
        "seed": settings.seed,
        "prompts.shuffle": section.shuffle,
        "prompts.count": section.count,
        "prompts.template": section.template,
        "prompts.instruction": section.instruction,
    }
    if section.chat_template is not None:
        chosen["prompts.chat_template"] = _digest(section.chat_template)
    if section.columns != ColumnSettings():
        chosen["prompts.columns"] = section.columns.model_dump()
    if section.also:
        chosen["prompts.also"] = [also.model_dump(mode="json", exclude={"file"}) for also in section.also]
    facts = [PromptFact(key, json.dumps(value, ensure_ascii=False)) for key, value in chosen.items()]
    content = f"{len(prompts):,} problems of SHA-256 {prompts.digest}"
    return (*facts, PromptFact("prompts.file", content, where=f"{section.file}: "))


def _digest(file: Path) -> str:
    """SHA-256 of a file, wherever it lies; of one that cannot be read, its name."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return str(file)


def facts_of_run(settings: RunSettings, prompts: Sequence[PromptFact], ledger: LedgerReader) -> dict[str, str]:
    """What holds for the whole run, by key; checked against what the ledger was begun with.

    Sequence n has to name the same prompt in every life of the run, and admission counts in batches of one size.

    Raises:
        LedgerError: something that holds for the whole run is another by now.
    """
    for fact in prompts:
        begun_with = ledger.read(fact.key)
        if begun_with not in (None, fact.value):
            raise LedgerError(
                f"{fact.key} = {fact.where}{fact.value} but the run was begun with {begun_with}: its prompts would be "
                "others; put it back as it was, or give the run another name"
            )
    batch_groups = settings.algorithm.batch_groups
    begun_with = ledger.read(_BATCH_GROUPS)
    if begun_with is not None and int(begun_with) != batch_groups:
        raise LedgerError(
            f"algorithm.batch_groups = {batch_groups} but the run was begun with {begun_with}; "
            "set it back, or give the run another name"
        )
    entered = ledger.stages()
    if entered and entered[-1].stage >= len(settings.stages):
        raise LedgerError(
            f"stages: the run is in stage {entered[-1].stage + 1} of its schedule but only {len(settings.stages)} are "
            "set; set them back, or give the run another name"
        )
    return {fact.key: fact.value for fact in prompts} | {_BATCH_GROUPS: str(batch_groups)}


def check_steps_left(done: int, planned: int) -> None:
    """Checks that a run that is not finished has steps left to take.

    Raises:
        LedgerError: it has none.
    """
    if done >= planned:
        raise LedgerError(
            f"stages: {done} steps are done and the schedule ends after {planned}, so none is left to take; raise "
            "max_steps of the last stage, or give the run another name"
        )

"""A schedule on recorded steps ends its stages where the controller would have."""

import json
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.cli.main import main
from areal_mesh.controller.records import StageEntry, StepRow
from areal_mesh.controller.replaying import NothingRecorded, replay_schedule
from areal_mesh.controller.stage_progress import StageProgress
from areal_mesh.runtime.settings.stages import (
    EpochsSettings,
    RewardGainBelowSettings,
    StepsSettings,
    TruncatedBelowSettings,
)
from tests.unit.stage_support import stage

FALLING = TruncatedBelowSettings(share=0.1, window=3)
PLATEAU = RewardGainBelowSettings(gain=0.05, window=4)


def rows(count: int) -> list[dict[str, Any]]:
    """Truncation falls under a tenth at step 11; the reward rises by 0.1 a step until step 20."""
    return [
        {
            "step": step,
            "reward": 0.1 * min(step, 20),
            "truncated": max(0.0, 0.32 - 0.02 * step),
            "max_response_tokens": 8192,
        }
        for step in range(1, count + 1)
    ]


def test_stages_end_where_the_run_itself_would_have_ended_them() -> None:
    plans = [stage("8K", 8192, 50, FALLING, min_steps=5), stage("16K", 16384, 9), stage("24K", 24000, 8, PLATEAU)]
    found = replay_schedule(plans, rows(40), epoch_share=0.0)
    progress = StageProgress(plans, [StageEntry(0, 1, 0.0, "start")])
    entered: list[tuple[int, str]] = []
    before: list[StepRow] = []
    for row in rows(40):
        step = StepRow(row["step"], progress.stage, row, {}, 0.0, 0)
        entry, finished = progress.after_step(step, before)
        before.append(step)
        if entry is not None:
            progress.enter(entry)
            entered.append((entry.first_step, entry.reason))
        if finished:
            break
    assert [(part.last_step + 1, part.reason) for part in found[:-1]] == entered
    assert found[-1].last_step == before[-1].step
    assert [(part.name, part.elsewhere) for part in found] == [("8K", 0), ("16K", 9), ("24K", found[2].steps)]


def test_any_rule_ends_a_stage_or_all_of_them_do() -> None:
    first = replay_schedule([stage("8K", 8192, 50, FALLING, PLATEAU)], rows(40), 0.0)[0]
    both = replay_schedule([stage("8K", 8192, 50, FALLING, PLATEAU, ends_by="all")], rows(40), 0.0)[0]
    assert (first.last_step, first.reason) == (13, "truncated share 0.080 over 3 steps is below 0.1")
    assert both.last_step > 20
    assert both.reason.count(" and ") == 1
    assert "reward gain" in both.reason


def test_steps_and_epochs_are_rules_too() -> None:
    after = stage("8K", 8192, 50, FALLING, StepsSettings(steps=30), ends_by="all")
    assert replay_schedule([after], rows(40), 0.0)[0].last_step == 30
    epochs = stage("8K", 8192, 50, EpochsSettings(epochs=1.5))
    assert replay_schedule([epochs], rows(40), epoch_share=0.1)[0].last_step == 15
    said = [{**row, "epoch_share": 0.5} for row in rows(40)]
    assert replay_schedule([epochs], said, epoch_share=0.1)[0].reason == "1.50 epochs"


def test_a_run_that_is_shorter_than_its_schedule_ends_within_a_stage() -> None:
    [part] = replay_schedule([stage("8K", 8192, 50), stage("16K", 16384, 9)], rows(7), 0.0)
    assert (part.last_step, part.reason, part.steps) == (7, "", 7)


@pytest.mark.parametrize(("recorded", "said"), [([], "holds no step"), ([{"step": 3}], "its reward and truncated")])
def test_rows_that_say_nothing_are_refused(recorded: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(NothingRecorded, match=said):
        replay_schedule([stage("8K", 8192, 50)], recorded, 0.0)


def test_the_command_prints_the_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows(40)), encoding="utf-8")
    words = ["schedule", "replay", str(metrics), "--preset", "distill-1.5b-16node", "--set", "stages.0.max_steps=15"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert not ended.value.code
    table, _, objects = capsys.readouterr().out.partition("[\n")
    assert "15 steps, its most" in table
    assert "25 of 25 steps were recorded at another response limit" in table
    assert "not reached: 24K" in table
    assert [part["name"] for part in json.loads("[" + objects)] == ["8K", "16K"]
    with pytest.raises(SystemExit) as failed:
        main(["schedule", "replay", str(tmp_path / "none.jsonl"), "--preset", "trial"])
    assert failed.value.code == 1

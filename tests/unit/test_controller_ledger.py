"""The ledger's totals: the same as what is added up, and what makes costs independent of the run's length."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.records import PublishRow
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.runtime.settings.stages import TruncatedAboveSettings
from tests.unit.stage_support import run_of, stage

HOLDER = "generator/a"
STAGES = (
    stage("8K", 8, 2),
    stage("16K", 16, 10_000, TruncatedAboveSettings(share=0.9, window=3)),
)
SETTINGS = run_of(*STAGES, group_attempts=2)


def opened(ledger: Ledger) -> Run:
    return Run(SETTINGS, ledger, Clock(lambda: 0.0, lambda: 0.0))


def take_step(run: Run) -> None:
    """Publishes what is committed, then leases, ends and trains a batch; one group is filtered, one is stale."""
    run.published(PublishRow(run.version, 0.0, 0.1, 0.1, 0.1, 10, (HOLDER,), "agreed"))
    filtered, stale, *batch = [row.group_id for row in run.lease(HOLDER, 4, str)]
    run.groups.filter(HOLDER, filtered, "too long")
    run.groups.store(stale, StoredFigures(0, 7))
    run.groups.drop_stale([stale], "too old")
    for group_id in batch:
        run.groups.store(group_id, StoredFigures(run.version, 10))
    assert run.commit(run.version + 1, batch, {"reward": 1.0, "truncated": 0.1, "mismatch_kl": run.version}, {0: 2})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


def figures(run: Run) -> tuple[object, ...]:
    groups = run.groups
    return (groups.counts, groups.generated_tokens, groups.totals, run.totals, run.stage_steps, run.weight_updates)


def test_a_ledger_without_totals_is_added_up_to_the_same(ledger: Ledger) -> None:
    run = opened(ledger)
    for _ in range(5):
        take_step(run)
    before = figures(run)
    assert figures(opened(ledger)) == before
    ledger.erase_fact("group_totals")
    ledger.erase_fact("step_totals")
    assert figures(opened(ledger)) == before
    assert run.groups.generated_tokens == 5 * 27
    assert (run.totals.tokens, run.totals.staleness, run.totals.mismatch_kl) == (100, {0: 10}, 4)


def test_the_length_of_what_was_dropped_stands_beside_that_of_what_was_trained(ledger: Ledger) -> None:
    run = opened(ledger)
    for _ in range(3):
        take_step(run)
    assert run.groups.totals.group_tokens == {"trained": 10.0, "stale": 7.0}, "of filtered ones nobody said a length"
    assert opened(ledger).groups.totals.group_tokens == {"trained": 10.0, "stale": 7.0}


def test_totals_of_before_lengths_were_kept_are_added_up_again(ledger: Ledger) -> None:
    run = opened(ledger)
    take_step(run)
    ledger.write_fact("group_totals", '{"ended": {"trained": 2, "stale": 1, "filtered": 1}, "tokens": 27}')
    assert figures(opened(ledger)) == figures(run)


def test_totals_that_miss_groups_are_added_up_again(ledger: Ledger) -> None:
    run = opened(ledger)
    take_step(run)
    early = ledger.read("group_totals"), ledger.read("step_totals")
    take_step(run)
    before = figures(run)
    for key, value in zip(("group_totals", "step_totals"), early, strict=True):
        assert value is not None
        ledger.write_fact(key, value)
    assert figures(opened(ledger)) == before


def test_a_late_end_of_a_group_that_ended_changes_the_tokens_alone(ledger: Ledger) -> None:
    run = opened(ledger)
    take_step(run)
    (group_id,) = [row.group_id for row in run.lease(HOLDER, 1, str)]
    run.groups.drop_stale([group_id], "too old")
    before = run.groups.counts
    run.groups.store(group_id, StoredFigures(0, 9))
    assert run.groups.counts == before
    assert run.groups.generated_tokens == 27 + 9
    assert run.groups.totals.group_tokens["stale"] == 8.0, "a group that came too late counts with its length"
    assert figures(opened(ledger)) == figures(run)


def test_a_ledger_of_before_running_groups_were_called_so_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    run = opened(ledger)
    take_step(run)
    (group_id,) = [row.group_id for row in run.lease(HOLDER, 1, str)]
    before = figures(run)
    ledger.close()
    old = sqlite3.connect(path)
    old.execute("UPDATE groups SET state = 'leased' WHERE state = 'running'")
    old.execute("PRAGMA user_version = 0")
    old.commit()
    old.close()
    ledger = Ledger(path)
    run = opened(ledger)
    assert figures(run) == before
    assert [row.group_id for row in run.groups.open.held_by(HOLDER)] == [group_id]
    assert ledger.group_counts() == run.groups.counts
    ledger.close()


def test_a_change_that_finds_no_room_leaves_the_groups_as_they_were(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LedgerFull(Path())

    monkeypatch.setattr(ledger, "put_groups", full)
    run = opened(ledger)
    run.published(PublishRow(0, 0.0, 0.1, 0.1, 0.1, 10, (HOLDER,), "agreed"))
    before = figures(run)
    with pytest.raises(LedgerFull):
        run.lease(HOLDER, 1, str)
    assert figures(run) == before
    monkeypatch.undo()
    assert [row.group_id for row in opened(ledger).lease(HOLDER, 1, str)] == ["g00000000"]


@contextmanager
def counted(ledger: Ledger) -> Iterator[Callable[[], int]]:
    """Counts the steps of SQLite's virtual machine, by tens."""
    tens = 0

    def count() -> int:
        nonlocal tens
        tens += 1
        return 0

    ledger._database.set_progress_handler(count, 10)
    yield lambda: tens
    ledger._database.set_progress_handler(None, 10)


def cost_of(ledger: Ledger, work: Callable[[], object]) -> int:
    with counted(ledger) as tens:
        work()
        return tens()


def test_what_a_start_and_a_commit_cost_does_not_grow_with_the_run(ledger: Ledger) -> None:
    run = opened(ledger)
    costs = []
    for steps in (12, 300):
        while run.version < steps:
            take_step(run)
        start = cost_of(ledger, lambda: opened(ledger))
        step = cost_of(ledger, lambda: take_step(run))
        costs.append((start, step))
    (start, step), (late_start, late_step) = costs
    assert late_start <= 1.2 * start + 5
    assert late_step <= 1.2 * step + 5
    assert len(run.recent) == 6, "as many as rates and rules look at"

"""Ends that are written together: each is answered once its group is in the ledger, and fails no other."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.records import GroupState, PublishRow
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.controller.stored_ends import StoredEnds
from areal_mesh.runtime.errors import MeshError
from tests.unit.stage_support import run_of, stage

FIGURES = StoredFigures(0, 40)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    ledger = Ledger(tmp_path / "ledger.db")
    run = Run(run_of(stage("8K", 8, 9), batch_groups=8), ledger, Clock(lambda: 0.0, lambda: 0.0))
    run.published(PublishRow(0, 0.0, 0.0, 0.0, 0.0, 0, ("generator-0",), "agreed"))
    yield run
    ledger.close()


async def test_ends_that_come_together_are_one_transaction_and_answered_after_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [row.group_id for row in run.lease("generator-0/a", 8, str)]
    written: list[int] = []
    put = run.groups._write

    def noted(rows: list[object], totals: object) -> None:
        written.append(len(rows))
        put(rows, totals)  # type: ignore[arg-type]

    monkeypatch.setattr(run.groups, "_write", noted)
    ends = StoredEnds(run.groups)

    async def end(name: str) -> None:
        await ends.store(name, FIGURES)
        row = run.ledger.group(name)
        assert row is not None
        assert row.state is GroupState.STORED

    await asyncio.gather(*map(end, [*names, names[0]]))
    assert written == [8], "nine ends of eight groups"
    assert run.groups.generated_tokens == 8 * 40


async def test_an_end_of_no_lease_is_refused_alone(run: Run) -> None:
    [row] = run.lease("generator-0/a", 1, str)
    ends = StoredEnds(run.groups)
    known, unknown = await asyncio.gather(
        ends.store(row.group_id, FIGURES), ends.store("g99999999", FIGURES), return_exceptions=True
    )
    assert known is None
    assert isinstance(unknown, MeshError)
    assert run.groups.row(row.group_id).state is GroupState.STORED


async def test_a_write_that_fails_fails_for_all_and_counts_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [row.group_id for row in run.lease("generator-0/a", 2, str)]
    ends = StoredEnds(run.groups)

    def full(*_: object) -> None:
        raise LedgerFull(tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr(run.groups, "_write", full)
        results = await asyncio.gather(*(ends.store(name, FIGURES) for name in names), return_exceptions=True)
    assert [type(result) for result in results] == [LedgerFull, LedgerFull]
    assert [run.groups.row(name).state for name in names] == [GroupState.RUNNING] * 2
    assert run.groups.generated_tokens == 0
    await ends.store(names[0], FIGURES)
    assert run.groups.row(names[0]).state is GroupState.STORED


async def test_a_caller_that_is_gone_takes_its_answer_alone_with_it(run: Run) -> None:
    names = [row.group_id for row in run.lease("generator-0/a", 2, str)]
    ends = StoredEnds(run.groups)
    gone, stays = (asyncio.ensure_future(ends.store(name, FIGURES)) for name in names)
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert [run.groups.row(name).state for name in names] == [GroupState.STORED] * 2

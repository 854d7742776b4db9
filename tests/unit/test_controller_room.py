"""The ledger's reserve is spoken of where the disk is full, and at a run's end without a word."""

from pathlib import Path

import structlog

from areal_mesh.controller.room import LedgerRoom


def test_a_reserve_that_is_given_back_at_the_end_is_no_news(tmp_path: Path) -> None:
    room = LedgerRoom(tmp_path)
    assert room.check() == ""
    assert (tmp_path / "ledger.reserve").exists()
    with structlog.testing.capture_logs() as said:
        assert room.give_back()
        assert not room.give_back()
    assert said == []
    assert not (tmp_path / "ledger.reserve").exists()

"""The curves of a recorded trial have the shape of AReaL v0.1's, and others have not."""

from pathlib import Path
from typing import Any

from areal_mesh.views.rows import read_rows
from benchmarks.note_shape import CURVES, faults


def recorded() -> list[dict[str, Any]]:
    return [dict(row) for row in read_rows(CURVES)]


def test_length_shrinks_in_the_first_stage_and_grows_after_it_and_truncation_and_reward_go_with_it() -> None:
    rows = recorded()
    assert len({row["stage"] for row in rows}) == 3
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert faults(rows) == []


def test_curves_of_another_shape_are_found() -> None:
    flat = [{**row, "response_length": 30.0, "truncated": 0.5, "reward": 0.0} for row in recorded()]
    assert len(faults(flat)) == 9
    shrinking = [{**row, "response_length": 100.0 - row["step"]} for row in recorded()]
    assert faults(shrinking) == [
        f"length at the end of stage {index} is not over that of the first" for index in (2, 3)
    ]


def test_the_recorded_file_is_kept_with_the_results() -> None:
    assert CURVES.is_relative_to(Path(__file__).parents[2] / "benchmarks" / "results")

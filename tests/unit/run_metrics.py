"""Rows of a run's `metrics.jsonl`."""

from typing import Any


def rows(count: int) -> list[dict[str, Any]]:
    """A run of two stages; the third step lacks its reward."""
    made = []
    for step in range(1, count + 1):
        row: dict[str, Any] = {
            "step": step,
            "stage": int(step > count // 2),
            "stage_name": "8" if step <= count // 2 else "16",
        }
        row |= {"reward": step / 2, "response_length": 20.0 + step, "committed_at": 1e9 + step, "staleness": {"0": 4}}
        if step == 3:
            del row["reward"]
        made.append(row)
    return made

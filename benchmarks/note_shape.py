"""Whether the trial shows the shape of AReaL v0.1's curves: length shrinks in the first stage, and grows after it.

Its limits, in the proportion 8 : 16 : 24, cut most responses off at first, as 8K did for the distilled model. Keeps the
curves in `benchmarks/results/note_shape.jsonl`, which a test holds to the same shape.

    python -m benchmarks.note_shape
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from areal_mesh.evaluation.tables import markdown
from areal_mesh.runtime.curves import first_and_last
from areal_mesh.views.figures import plot_training
from areal_mesh.views.rows import Row
from areal_mesh.views.stages import stage_head, stage_rows
from benchmarks.meshrun import run_mesh, write_result

RESULTS = Path(__file__).parent / "results"
CURVES = RESULTS / "note_shape.jsonl"
_KEPT = ("step", "stage", "stage_name", "max_response_tokens", "reward", "response_length", "truncated")
_WINDOW = 5
Ends = Mapping[str, float | None]


def main() -> None:
    """Runs it, prints the table of stages and what is not as it should be, keeps the curves."""
    console = Console(record=True, width=110)
    with tempfile.TemporaryDirectory() as folder:
        run = run_mesh("trial", Path(folder), "note_shape", [])
    rows: list[dict[str, Any]] = [{name: step[name] for name in _KEPT} for step in run.steps]
    CURVES.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plot_training({"trial": rows}, [RESULTS / "note_shape.png"], stages=True, window=_WINDOW)
    console.print(markdown(stage_head([]), stage_rows("trial", rows, [], [])))
    console.print("\n".join(faults(rows)) or "the shape of the note's curves")
    write_result("note_shape", console)


def faults(rows: Sequence[Row]) -> list[str]:
    """What is not as in the note's curves; nothing where all is. Figures are means over five steps at either end."""
    stages = [_ends(list(group)) for _, group in groupby(rows, lambda row: row["stage"])]
    first, later = stages[0], stages[1:]
    found = [
        ("length does not shrink in the first stage", first["response_length"], (1, 0)),
        ("truncation does not fall in the first stage", first["truncated"], (1, 0)),
        ("reward does not rise in the first stage", first["reward"], (0, 1)),
    ]
    told = [text for text, ends, (less, more) in found if not ends[less] < ends[more]]
    for index, (before, stage) in enumerate(zip(stages, later, strict=False), start=2):
        if not stage["response_length"][1] > first["response_length"][1]:
            told.append(f"length at the end of stage {index} is not over that of the first")
        # Where nothing is cut off any more, nothing can fall.
        if not stage["truncated"][0] < before["truncated"][1] and stage["truncated"][0] > 0:
            told.append(f"truncation does not fall with the longer limit of stage {index}")
        if not stage["reward"][1] > before["reward"][1]:
            told.append(f"reward at the end of stage {index} is not over that of the stage before")
    return told


def _ends(stage: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """First and last figure of each curve of a stage."""
    found: dict[str, tuple[float, float]] = {}
    for name in ("reward", "response_length", "truncated"):
        ends: Ends = first_and_last([row[name] for row in stage])
        assert ends["first"] is not None, name
        assert ends["last"] is not None, name
        found[name] = ends["first"], ends["last"]
    return found


if __name__ == "__main__":
    main()

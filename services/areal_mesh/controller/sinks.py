"""What the controller writes for people: `metrics.jsonl`, one line a step, and `summary.json`. Both follow the ledger.

A line that a killed controller did not write, or wrote in part, is written by its next life.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.controller.records import EvaluationRow, StepRow
from areal_mesh.controller.run import Run
from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.errors import StartupError
from areal_mesh.v1 import replay_pb2

_TAIL_BYTES = 64 << 10  # several lines of a step


def step_line(run: Run, step: StepRow, replay: replay_pb2.GetReplayStatisticsResponse) -> dict[str, Any]:
    """A step as its line in `metrics.jsonl` says it; the publish's seconds are there if its version was published."""
    publish = next(reversed(run.ledger.publishes_of(step.policy_version)), None)
    counts = run.groups.counts
    line: dict[str, Any] = {
        **step.metrics,
        "step": step.step,
        "stage": step.stage,
        "stage_name": run.settings.stages[step.stage].name,
        "max_response_tokens": run.settings.stages[step.stage].max_response_tokens,
        "policy_version": step.policy_version,
        "committed_at": step.committed_at,
        "tokens_trained": step.tokens,
        "staleness": {str(age): count for age, count in step.staleness.items()},
        "replay_waiting_groups": replay.waiting_groups,
        "replay_waiting_bytes": replay.waiting_bytes,
        "replay_held_seconds": replay.held_seconds,
        "groups_leased": counts.leased,
        "groups_open": counts.open,
        "groups_stale": counts.stale,
        "groups_filtered": counts.filtered,
        "groups_failed": counts.failed,
        "tokens_generated": run.groups.generated_tokens,
        "end_reasons": run.groups.end_reasons,
        "reason_tokens": run.groups.totals.reason_tokens,
        **{f"{end}_group_tokens": tokens for end, tokens in run.groups.totals.group_tokens.items()},
    }
    if publish is not None:
        line |= {
            "pause_seconds": publish.pause,
            "transfer_seconds": publish.transfer,
            "resume_seconds": publish.resume,
            "publish_bytes": publish.bytes,
        }
    return line


class MetricsFile:
    """`metrics.jsonl`; `written` is the last step in it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self.written = self._recover()

    def _recover(self) -> int:
        """Cuts a line that was written in part; returns the last step. It reads no more than the file's end."""
        size = start = self._file.seek(0, os.SEEK_END)
        tail = b""
        while start and tail.count(b"\n") < 2:
            start = max(0, start - _TAIL_BYTES)
            self._file.seek(start)
            tail = self._file.read(size - start)
        whole = tail[: tail.rfind(b"\n") + 1]
        self._file.truncate(size - len(tail) + len(whole))
        last = whole.rstrip(b"\n").rpartition(b"\n")[2]
        return int(json.loads(last)["step"]) if last else 0

    def catch_up(self, run: Run, upto: int, replay: replay_pb2.GetReplayStatisticsResponse) -> bool:
        """Writes the lines of steps up to `upto` that lack, as far as the disk has room; returns whether any was."""
        before = self.written
        for step in run.ledger.steps(self.written, upto) if self.written < upto else ():
            line = json.dumps(step_line(run, step, replay))
            if not self._append(line.encode() + b"\n"):
                break
            self.written = step.step
        return self.written > before

    def _append(self, line: bytes) -> bool:
        """Writes a line; False, with nothing of it in the file, where the disk is full."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            if not is_full(error):
                raise
            whole = False
        if not whole:
            self._file.truncate(end)
        return whole

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class EvaluationsFile:
    """`evaluations.jsonl`: a line for each version and suite. `written` are in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.written = 0

    def catch_up(self, rows: Sequence[EvaluationRow]) -> None:
        """Writes the file anew where rows lack, whole or not at all; a full disk is left for the next time."""
        if self.written == len(rows):
            return
        lines = [
            {"policy_version": row.policy_version, "suite": row.suite, "finished_at": row.finished_at, **row.figures}
            for row in rows
        ]
        aside = self._path.with_name(f".{self._path.name}.new")
        try:
            aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            aside.replace(self._path)
        except OSError as error:
            if not is_full(error):
                raise
            return
        self.written = len(rows)


def read_prepared_seconds(path: Path) -> float:
    """Seconds that the launcher took to prepare the run, as it noted them in `setup.json`; 0 where nobody did."""
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.is_file() else 0.0


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Writes `summary.json` whole or not at all."""
    aside = path.with_suffix(".json.new")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def check_nobody_elses(directory: Path) -> None:
    """Makes sure that what a controller writes is there from a run alone.

    Raises:
        StartupError: a file of that name is there without a ledger.
    """
    if (directory / "ledger.db").exists():
        return
    for name in ("metrics.jsonl", "summary.json"):
        if (directory / name).exists():
            raise StartupError(
                f"{directory / name}: is there without a ledger.db beside it, so it is no run's and is left as it is; "
                "move it, or give the run another name"
            )

"""`areal-mesh log show|verify|dump`: the replay log of a run, read and never written, while the run goes on too."""

import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.log_groups import group_lines, group_record
from areal_mesh.cli.report import run_folder
from areal_mesh.cli.tables import print_wide
from areal_mesh.cli.view import counted
from areal_mesh.prompts.plain_tokenizer import NoPlainTokenizer, PlainTokenizer, load_plain_tokenizer
from areal_mesh.replay.inspection.contents import GroupEnd
from areal_mesh.replay.inspection.reading import NotInLog, ReplayLog, read_log
from areal_mesh.replay.inspection.scanning import SegmentFacts
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import SettingsError, load_settings

_MIB = 1 << 20


def log_of(source: str, whole_groups: bool = False) -> tuple[Path, ReplayLog]:
    """A run's directory and its replay log.

    Raises:
        CommandFailed: there is no such run, or no log of it that can be read.
    """
    run = run_folder(source)
    try:
        return run, read_log(run / "replay", whole_groups)
    except (NotInLog, OSError) as error:
        raise CommandFailed(str(error)) from error


def show(source: str, group_id: str, step: int | None, as_json: bool) -> None:
    """Prints what the log holds; or one group as text; or the groups of a step's batch."""
    run, log = log_of(source)
    if group_id:
        _print_group(run, log, group_id)
    elif step is not None:
        _print_batch(log, step)
    elif as_json:
        print(json.dumps(_overview(log)))
    else:
        _print_overview(log)
    _say_damages(log)


def verify(source: str) -> int:
    """Checks every checksum of the log; names each damage by file and byte. Returns the exit code."""
    _, log = log_of(source, whole_groups=True)
    for damage in log.damages:
        print(damage)
    records = sum(segment.records for segment in [*log.segments, *log.history])
    groups = counted(len(log.contents.groups), "group")
    found = counted(len(log.damages), "damage") if log.damages else "no damage"
    print(f"{log.directory}: {counted(records, 'record')}, {groups}, {log.bytes_on_disk / _MIB:.1f} MiB: {found}")
    return 1 if log.damages else 0


def dump(source: str, step: int | None, with_text: bool, with_tokens: bool) -> int:
    """Prints each group that is whole as a line of JSON, in the order of the log or of a step's batch.

    Returns the exit code: 1 where the log is damaged, each damage on standard error.
    """
    run, log = log_of(source)
    if step is not None and step not in log.contents.batches:
        raise CommandFailed(f"{log.directory}: step {step} has no batch; {log.steps_line()}")
    tokenizer = _tokenizer(run) if with_text else None
    group_ids = log.contents.groups if step is None else log.contents.batches[step]
    lost = []
    for group_id in group_ids:
        try:
            group = log.group(group_id)
        except NotInLog as error:
            lost.append(str(error))
            continue
        print(json.dumps(group_record(log.contents.groups[group_id], group, tokenizer, with_tokens)))
    _say_damages(log)
    for line in lost:
        print(line, file=sys.stderr)
    return 1 if log.damages or lost else 0


def _say_damages(log: ReplayLog) -> None:
    for damage in log.damages:
        print(damage, file=sys.stderr)


def _print_group(run: Path, log: ReplayLog, group_id: str) -> None:
    try:
        group = log.group(group_id)
    except NotInLog as error:
        raise CommandFailed(str(error)) from error
    for line in group_lines(log.contents.groups[group_id], group, _tokenizer(run)):
        print(line)


def _tokenizer(run: Path) -> PlainTokenizer | None:
    """The tokenizer of the run's model; None, and said, where it cannot be read here."""
    try:
        return load_plain_tokenizer(load_settings(run / SETTINGS_FILE).model.folder)
    except (NoPlainTokenizer, SettingsError) as error:
        print(f"no text is shown: {error}", file=sys.stderr)
        return None


def _print_batch(log: ReplayLog, step: int) -> None:
    try:
        groups = log.batch(step)
    except NotInLog as error:
        raise CommandFailed(str(error)) from error
    table = Table(title=f"batch of step {step}", title_justify="left")
    for name in ("group", "prompt", "stage", "lease", "versions", "tokens", "rewards"):
        table.add_column(name, justify="left" if name in ("group", "prompt", "stage") else "right")
    for group in groups:
        versions = sorted({span.policy_version for info in group.responses for span in info.version_spans})
        table.add_row(
            group.group_id,
            group.prompt_id,
            group.stage.name,
            str(group.sequence),
            f"{versions[0]}-{versions[-1]}" if len(versions) > 1 else str(versions[0]),
            str(sum(info.length for info in group.responses)),
            " ".join(f"{info.verdict.reward:g}" for info in group.responses),
        )
    print_wide(table)


def _overview(log: ReplayLog) -> dict[str, Any]:
    contents = log.contents
    ends = contents.counted()
    return {
        "directory": str(log.directory),
        "bytes": log.bytes_on_disk,
        "groups": {end.value: ends[end] for end in GroupEnd},
        "groups_of_deleted_segments": len(contents.retired - contents.groups.keys()),
        "last_drawn_step": max(contents.batches, default=contents.released_step),
        "released_step": contents.released_step,
        "whole_steps": contents.whole_steps(),
        "segments": [
            {**fields, "folder": folder}
            for folder, segments in (("groups", log.segments), ("history", log.history))
            for fields in map(_segment_fields, segments)
        ],
        "damages": [str(damage) for damage in log.damages],
    }


def _segment_fields(segment: SegmentFacts) -> dict[str, Any]:
    return {
        "number": segment.number,
        "bytes": segment.size,
        "end": segment.end,
        "records": segment.records,
        "sealed": segment.sealed,
    }


def _print_overview(log: ReplayLog) -> None:
    contents = log.contents
    table = Table(title=f"{log.directory}", title_justify="left")
    for name in ("segment", "state", "records", "bytes of them", "bytes on disk", "groups", "trained by steps"):
        table.add_column(name, justify="left" if name in ("segment", "state") else "right")
    for row in chain(_rows(log, "groups", log.segments), _rows(log, "history", log.history)):
        table.add_row(*row)
    print_wide(table)
    ends = contents.counted()
    print("groups: " + ", ".join(f"{ends[end]} {end.value}" for end in GroupEnd), end="")
    gone = len(contents.retired - contents.groups.keys())
    print(f"; {gone} of segments that were deleted" if gone else "")
    drawn = max(contents.batches, default=contents.released_step)
    print(f"steps: {drawn} drawn, {contents.released_step} released; {log.steps_line()}")


def _rows(log: ReplayLog, folder: str, segments: list[SegmentFacts]) -> Iterator[list[str]]:
    for segment in segments:
        groups = [group for group in log.contents.groups.values() if group.location.segment == segment.number]
        steps = sorted({group.step for group in groups if group.step})
        yield [
            f"{folder}/{segment.number}",
            "sealed" if segment.sealed else "open",
            str(segment.records),
            str(segment.end),
            str(segment.size),
            str(len(groups)) if folder == "groups" else "",
            f"{steps[0]} to {steps[-1]}" if steps and folder == "groups" else "",
        ]

"""A replay log in its folder, read from outside: what is in it, what of it is damaged, its groups one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from areal_mesh.replay.inspection.contents import LogContents, parse_group
from areal_mesh.replay.inspection.scanning import Damage, SegmentFacts, scan_segment
from areal_mesh.replay.records import Location, Record, read_record
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.v1 import rollout_pb2

GROUPS = "groups"
HISTORY = "history"
KEPT = "kept"
"""Released segments that stay to be looked at, where a run has any."""


class NotInLog(LookupError):
    """The folder is no replay log, or what was asked for is not in it, or damaged; the message says what is."""


@dataclass
class ReplayLog:
    """A log as it was when it was read."""

    directory: Path
    contents: LogContents
    segments: list[SegmentFacts] = field(default_factory=list)
    """Of the groups' log, by number."""
    history: list[SegmentFacts] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)

    @property
    def bytes_on_disk(self) -> int:
        """Of all segments, what is allocated ahead included."""
        return sum(segment.size for segment in [*self.segments, *self.history])

    def group(self, group_id: str) -> rollout_pb2.Group:
        """One group.

        Raises:
            NotInLog: it is not in the log, its segment was deleted since, or its record is damaged since.
        """
        logged = self.contents.groups.get(group_id)
        if logged is None:
            gone = group_id in self.contents.retired
            why = "was stored once, and its segment is deleted since" if gone else "is not in the log"
            raise NotInLog(f"{self.directory}: group {group_id} {why}")
        return self._at(logged.location, group_id)

    def _at(self, location: Location, group_id: str) -> rollout_pb2.Group:
        path = self._path(location.segment)
        try:
            kind, payload = read_record(path, location)
            return parse_group(Record(kind, payload, location))
        except FileNotFoundError as error:
            raise NotInLog(f"{path}: deleted meanwhile, with group {group_id}") from error
        except CorruptLog as error:
            raise NotInLog(str(error)) from error
        except ValueError as error:
            raise NotInLog(f"{path}: the record at byte {location.offset}: {error}") from error

    def _path(self, segment: int) -> Path:
        """Where a segment lies now: it may have been moved since."""
        name = f"{segment:010d}.segment"
        kept = self.directory / KEPT / name
        return kept if kept.exists() else self.directory / GROUPS / name

    def batch(self, step: int) -> list[rollout_pb2.Group]:
        """The groups of a step's batch, in the order in which the learner got them.

        Raises:
            NotInLog: the step was not drawn, or groups of it are not in the log any more.
        """
        return list(self.batch_one_by_one(step))

    def batch_one_by_one(self, step: int) -> Iterator[rollout_pb2.Group]:
        """As `batch`, each read when it is asked for."""
        if step not in self.contents.batches:
            raise NotInLog(f"{self.directory}: step {step} has no batch; {self.steps_line()}")
        missing = self.contents.missing(step)
        if missing:
            raise NotInLog(
                f"{self.directory}: of the batch of step {step}, {len(missing)} groups are not in the log any more "
                f"({missing[0]} is one); {self.steps_line()}"
            )
        return (self.group(group_id) for group_id in self.contents.batches[step])

    def steps_line(self) -> str:
        """Which steps can be read, for a person."""
        steps = self.contents.whole_steps()
        firsts = [step for step in steps if step - 1 not in steps]
        lasts = [step for step in steps if step + 1 not in steps]
        ranges = (f"{first} to {last}" for first, last in zip(firsts, lasts, strict=True))
        return f"whole are steps {', '.join(ranges)}" if steps else "no step is whole"


def read_log(directory: Path, whole_groups: bool = False) -> ReplayLog:
    """Reads the log of a replay buffer, `replay/` of a run's directory. Changes nothing.

    Args:
        whole_groups: check each group by its own checksum too, beside that of its record.

    Raises:
        NotInLog: there is no log.
        OSError: it cannot be read.
    """
    folder = directory / GROUPS
    if not folder.is_dir():
        raise NotInLog(f"{directory}: no replay log is there; give the directory of a run")
    log = ReplayLog(directory, LogContents())
    # The groups first: a segment that is deleted meanwhile is in the history that is read then.
    log.segments = _scan([*_segments(directory / KEPT), *_segments(folder)], log, whole_groups)
    log.history = _scan(_segments(directory / HISTORY), log, whole_groups=False)
    _check_numbers(folder, log, log.segments, log.contents.retired_segment + 1)
    _check_numbers(directory / HISTORY, log, log.history, 1)
    return log


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def _scan(paths: list[Path], log: ReplayLog, whole_groups: bool) -> list[SegmentFacts]:
    found = []
    for path in paths:

        def take(record: Record, path: Path = path) -> None:
            try:
                log.contents.take(record, whole_groups)
            except ValueError as error:
                log.damages.append(Damage(path, record.location.offset, str(error)))

        try:
            facts, damages = scan_segment(path, take)
        except FileNotFoundError:
            continue
        found.append(facts)
        log.damages += damages
    for facts in found[:-1]:
        damaged = any(damage.path == facts.path for damage in log.damages)
        if not facts.sealed and not damaged:
            log.damages.append(Damage(facts.path, facts.end, "ends without a seal though later segments follow"))
    return found


def _check_numbers(folder: Path, log: ReplayLog, segments: list[SegmentFacts], first: int) -> None:
    """Notes each segment that has to be there and is not."""
    numbers = {segment.number for segment in segments}
    for number in range(first, max(numbers, default=first)):
        if number not in numbers:
            log.damages.append(Damage(folder / f"{number:010d}.segment", 0, "the file is missing"))

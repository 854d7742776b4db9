"""A run on a virtual clock whose responses have the lengths of a real one: a few are many times longer than most.

Admission, ledger and drawing are the product's own (`controller.run.Run`, `replay.drawing.GroupLedger`); generators
are slots that decode a token each at a fixed rate, the learner is a step time, and a publish takes no time. Nobody
fails: what is measured is what drawing alone does to the lengths that are trained on.
"""

import heapq
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.records import PublishRow
from areal_mesh.controller.run import Run
from areal_mesh.controller.running import running_groups
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import Decision, GroupLedger
from areal_mesh.replay.events import Chosen, Dropped, Event, GroupSummary, Stored
from areal_mesh.runtime.settings import RunSettings, StageSettings
from areal_mesh.simulation.lengths import Lengths

_FOR_EVER = 1e9


@dataclass(frozen=True)
class Workload:
    """What a run's members do. Times in virtual seconds, lengths in tokens."""

    batch_groups: int = 32
    responses: int = 8
    steps: int = 150
    generators: int = 4
    slots: int = 128
    """Responses that a generator decodes at once."""
    token_seconds: float = 0.02
    step_seconds: float = 60.0
    limit: int = 24000
    """Of a response, as the stage sets it."""
    median: float = 3000.0
    prompt_spread: float = 0.7
    response_spread: float = 0.7
    """Standard deviations of the logarithm of a length, between prompts and between responses to one."""
    seed: int = 1

    def lengths(self, sequence: int) -> list[int]:
        """Lengths of a group's responses: the same in every run of this seed, whatever draws."""
        return Lengths(
            self.responses, self.limit, self.median, self.prompt_spread, self.response_spread, self.seed
        ).of_group(sequence, self.limit)


@dataclass
class Outcome:
    """What came of a run."""

    leased: list[int] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    """Response tokens of each group."""
    seconds: float = 0.0
    held_seconds: float = 0.0
    """In which enough groups were stored and the learner was held for running ones."""
    staleness: int = 0
    """The highest of a trained group."""

    @property
    def bias(self) -> float:
        """By how much the mean length of what was trained differs from that of what was leased, as a share."""
        return mean(self.trained) / mean(self.leased) - 1.0


def mean(lengths: list[int]) -> float:
    """0 of none."""
    return sum(lengths) / len(lengths) if lengths else 0.0


class ArrivalOrder(GroupLedger):
    """For comparison: a batch is the groups that were stored first, and nothing is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived: dict[str, GroupSummary] = {}

    def apply(self, event: Event) -> tuple[str, ...]:
        """Remembers the order in which groups came."""
        if isinstance(event, Stored):
            self._arrived[event.group.group_id] = event.group
        elif isinstance(event, Chosen | Dropped):
            for group_id in event.group_ids:
                del self._arrived[group_id]
        return super().apply(event)

    def draw(self, request: DrawRequest, patient: bool = True) -> Decision:
        """Drops what is too old, then takes the first that came."""
        events = self.evict(request.policy_version, request.max_staleness)
        fresh = [
            name for name, group in self._arrived.items() if group.oldest_policy_version >= request.oldest_trainable
        ]
        if len(fresh) >= request.batch_groups:
            events.append(Chosen(request.step, tuple(fresh[: request.batch_groups])))
        return Decision(tuple(events))


@contextmanager
def simulated(workload: Workload, max_staleness: int) -> Iterator[Run]:
    """The controller's side of a run."""
    stage = StageSettings(name="simulated", max_response_tokens=workload.limit, max_steps=workload.steps)
    settings = RunSettings.model_validate(
        {
            "name": "simulated",
            "stages": [stage],
            "algorithm": {"batch_groups": workload.batch_groups, "max_staleness": max_staleness},
            "model": {"folder": "none"},
            "prompts": {"file": "none"},
            "controller": {"lease_seconds": _FOR_EVER, "group_attempts": 1},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.db")
        try:
            yield Run(settings, ledger, Clock(lambda: 0.0, lambda: 0.0))
        finally:
            ledger.close()


def simulate(workload: Workload, max_staleness: int, ledger: GroupLedger, patience: float) -> Outcome:
    """Runs to the last step. `patience`: seconds for which the draw of a step may be held."""
    with simulated(workload, max_staleness) as run:
        return _Simulation(workload, run, ledger, patience).run_out()


class _Simulation:
    """Time goes from event to event: a response ends, an update ends, patience ends."""

    def __init__(self, workload: Workload, run: Run, ledger: GroupLedger, patience: float) -> None:
        self._workload = workload
        self._run = run
        self._ledger = ledger
        self._patience = patience
        self._now = 0.0
        self._events: list[tuple[float, int, str, str]] = []
        self._count = 0
        self._free = {f"generator/{number}": workload.slots for number in range(workload.generators)}
        self._decoding: dict[str, tuple[str, int, int]] = {}
        """Group to its generator, the version it began with, and its responses that go on."""
        self._tokens: dict[str, int] = {}
        self._oldest: dict[str, int] = {}
        self._in_hand: tuple[str, ...] = ()
        self._held_since: float | None = None
        self._outcome = Outcome()

    def run_out(self) -> Outcome:
        """Until the schedule is done."""
        self._publish()
        self._lease()
        while not self._run.finished:
            assert self._events, f"stuck at version {self._run.version}: {self._run.groups.counts}"
            self._now, _, what, group_id = heapq.heappop(self._events)
            if what == "response":
                self._end_response(group_id)
            elif what == "update":
                self._commit()
            self._draw()
            self._lease()
        self._outcome.seconds = self._now
        return self._outcome

    def _at(self, seconds: float, what: str, group_id: str = "") -> None:
        self._count += 1
        heapq.heappush(self._events, (seconds, self._count, what, group_id))

    def _lease(self) -> None:
        for holder, free in self._free.items():
            most = free // self._workload.responses
            for row in self._run.lease(holder, most, str) if most else ():
                lengths = self._workload.lengths(row.sequence)
                self._free[holder] -= len(lengths)
                self._decoding[row.group_id] = (holder, self._run.published_version, len(lengths))
                self._tokens[row.group_id] = sum(lengths)
                self._outcome.leased.append(sum(lengths))
                for length in lengths:
                    self._at(self._now + length * self._workload.token_seconds, "response", row.group_id)

    def _end_response(self, group_id: str) -> None:
        holder, version, left = self._decoding.pop(group_id)
        self._free[holder] += 1
        if left > 1:
            self._decoding[group_id] = (holder, version, left - 1)
            return
        tokens = self._tokens[group_id]
        self._oldest[group_id] = version
        self._ledger.apply(Stored(GroupSummary(group_id, int(group_id[1:]), version, 1)))
        self._run.groups.store(group_id, StoredFigures(version, tokens))

    def _draw(self) -> None:
        order = None if self._in_hand else self._run.next_step(self._run.version)
        if order is None:
            return
        algorithm = self._run.settings.algorithm
        request = DrawRequest(
            order.step, algorithm.batch_groups, order.step - 1, algorithm.max_staleness, running_groups(self._run)
        )
        held = 0.0 if self._held_since is None else self._now - self._held_since
        decision = self._ledger.draw(request, patient=held < self._patience)
        self._take(decision.events)
        if decision.awaited and self._held_since is None:
            self._held_since = self._now
            self._at(self._now + self._patience, "patience")
        batch = self._ledger.batch(order.step)
        if batch is not None:
            self._outcome.held_seconds += held
            self._held_since, self._in_hand = None, batch
            self._at(self._now + self._workload.step_seconds, "update")

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._ledger.apply(event)
            if isinstance(event, Dropped):
                self._outcome.stale += [self._tokens[group_id] for group_id in event.group_ids]
                self._run.groups.drop_stale(event.group_ids, "too old")

    def _commit(self) -> None:
        batch, self._in_hand = self._in_hand, ()
        version = self._run.version
        ages = [version - self._oldest[group_id] for group_id in batch]
        tokens = [self._tokens[group_id] for group_id in batch]
        self._outcome.staleness = max(self._outcome.staleness, *ages)
        self._outcome.trained += tokens
        self._run.commit(version + 1, batch, {}, {age: ages.count(age) for age in set(ages)}, tokens)
        self._take(tuple(self._ledger.evict(self._run.version, self._run.settings.algorithm.max_staleness)))
        if self._run.publish_due():
            self._publish()

    def _publish(self) -> None:
        self._run.published(PublishRow(self._run.version, self._now, 0.0, 0.0, 0.0, 0, ("generators",), "agreed"))

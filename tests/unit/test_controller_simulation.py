"""The whole loop on a virtual clock: generators, learner, replay buffer and controller, any of them killed at any time.

What holds throughout: leased = trained + stale + filtered + failed + open, in memory and in the ledger; no batch is
staler than the bound; no group is trained twice. And once the killing ends, the run finishes: no deadlock.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.publish.policy import GeneratorWeights, Versions, receivers, unrecorded_version
from areal_mesh.controller.records import GroupRow, GroupState, PublishRow
from areal_mesh.controller.replay_link import reconcile
from areal_mesh.controller.run import Run
from areal_mesh.controller.running import running_groups
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import GroupLedger
from areal_mesh.replay.events import Chosen, Dropped, Event, GroupSummary, Stored
from areal_mesh.runtime.errors import MeshError
from areal_mesh.v1 import replay_pb2
from tests.unit.stage_support import run_of, stage

_GROUP_TOKENS = 5
LEASE_SECONDS = 10.0


@dataclass
class Time:
    now: float = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


@dataclass
class Replay:
    """The real ledger of the replay buffer, and the events that are its log."""

    events: list[Event] = field(default_factory=list)
    ledger: GroupLedger = field(default_factory=GroupLedger)

    def record(self, events: Iterable[Event]) -> None:
        for event in events:
            self.events.append(event)
            self.ledger.apply(event)

    def restart(self) -> None:
        """All that is known is what the log says."""
        self.ledger = GroupLedger()
        for event in self.events:
            self.ledger.apply(event)

    def append(self, group_id: str, version: int) -> None:
        if not self.ledger.knows(group_id):
            self.record([Stored(GroupSummary(group_id, int(group_id[1:]), version, 1))])

    def waiting(self) -> list[GroupSummary]:
        ended = {name for event in self.events if isinstance(event, Chosen | Dropped) for name in event.group_ids}
        stored = [event.group for event in self.events if isinstance(event, Stored)]
        return [group for group in stored if group.group_id not in ended]

    def lose(self, group: GroupSummary) -> None:
        """The disk loses a group."""
        self.events.remove(Stored(group))
        self.restart()

    def evict(self, version: int, bound: int) -> tuple[str, ...]:
        self.record(self.ledger.evict(version, bound))
        return self.ledger.stale_since(version)

    def draw(self, request: DrawRequest, patient: bool) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        oldest = {group.group_id: group.oldest_policy_version for group in self.waiting()}
        events = self.ledger.draw(request, patient).events
        for event in events:
            if isinstance(event, Chosen):
                assert all(oldest[group_id] >= request.oldest_trainable for group_id in event.group_ids)
        self.record(events)
        return self.ledger.batch(request.step), self.ledger.stale_of_step(request.step)

    def find(self, group_ids: Iterable[str]) -> list[replay_pb2.StoredGroup]:
        found = [self.ledger.describe(group_id) for group_id in group_ids]
        return [
            replay_pb2.StoredGroup(
                group_id=group.group_id,
                oldest_policy_version=group.oldest_policy_version,
                stale=group.dropped_version >= 0,
            )
            for group in found
            if group is not None
        ]


@dataclass
class Generator:
    life: int = 0
    version: int = -1
    alive: bool = True
    held: dict[str, int] = field(default_factory=dict)
    """Group id to the version it began with."""

    @property
    def key(self) -> str:
        return f"generator/{self.life}"


class Mesh(RuleBasedStateMachine):
    """Rules are what happens to the mesh; `_turn` is the fair scheduler that follows."""

    @initialize(
        bound=st.integers(0, 3),
        batch=st.integers(1, 3),
        sync_every=st.integers(1, 4),
        steps=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        generators=st.integers(1, 2),
    )
    def begin(self, bound: int, batch: int, sync_every: int, steps: list[int], generators: int) -> None:
        self.folder = TemporaryDirectory()
        self.time = Time()
        stages = tuple(stage(f"stage {index}", 8 * (index + 1), count) for index, count in enumerate(steps))
        self.settings_of_run = run_of(
            *stages,
            batch_groups=batch,
            max_staleness=bound,
            sync_every=min(sync_every, bound + 1),
            lease_seconds=LEASE_SECONDS,
        )
        self.total_steps = sum(steps)
        self.replay = Replay()
        self.generators = [Generator(life=100 * index) for index in range(generators)]
        self.learner_version: int | None = 0
        self.checkpoint = 0
        self.in_hand: tuple[int, tuple[str, ...]] | None = None
        self._open()

    def _open(self) -> None:
        self.run = Run(self.settings_of_run, Ledger(Path(self.folder.name) / "ledger.db"), self.time.clock())

    def teardown(self) -> None:
        self._finish()
        self.run.ledger.close()

    # --- what happens --------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), most=st.integers(1, 5))
    def lease(self, which: int, most: int) -> None:
        generator = self._generator(which)
        if generator.alive and generator.version >= self.run.published_version:
            for row in self.run.lease(generator.key, most, str):
                generator.held[row.group_id] = generator.version

    @rule(which=st.integers(0, 1), newest=st.booleans(), told=st.booleans(), died=st.booleans())
    def finish_a_group(self, which: int, newest: bool, told: bool, died: bool) -> None:
        """Stores a group, in any order; the controller may not hear of it, and the generator may die right after."""
        generator = self._generator(which)
        if not generator.held:
            return
        group_id = max(generator.held) if newest else min(generator.held)
        oldest = generator.held.pop(group_id)
        self.replay.append(group_id, oldest)
        if told:
            self.run.groups.store(group_id, StoredFigures(oldest, _GROUP_TOKENS))
        if died:
            self._kill(generator)

    @rule(which=st.integers(0, 1), end=st.sampled_from(["filtered", "failed", "returned"]))
    def end_otherwise(self, which: int, end: str) -> None:
        generator = self._generator(which)
        if not generator.held:
            return
        group_id = max(generator.held)
        del generator.held[group_id]
        if end == "filtered":
            self.run.groups.filter(generator.key, group_id, "verdict stays an error")
        elif end == "failed":
            self.run.groups.fail(generator.key, group_id, "engine")
        else:
            self.run.groups.give_back(generator.key, [group_id])

    @rule(which=st.integers(0, 1))
    def kill_generator(self, which: int) -> None:
        self._kill(self._generator(which))

    @rule(which=st.integers(0, 1))
    def restart_generator(self, which: int) -> None:
        generator = self._generator(which)
        if not generator.alive:
            self.run.groups.free(generator.key, "restarted")
            generator.life += 1
            generator.alive, generator.version = True, -1

    @rule(stale=st.booleans())
    def lose_in_replay(self, stale: bool) -> None:
        """The replay buffer drops a waiting group without anyone hearing of it: as too old, or by a damaged disk."""
        waiting = self.replay.waiting()
        if not waiting:
            return
        group = waiting[-1]
        if stale:
            self.replay.record([Dropped((group.group_id,), group.oldest_policy_version, 0)])
        else:
            self.replay.lose(group)

    @rule()
    def restart_replay(self) -> None:
        self.replay.restart()

    @rule(reported=st.booleans(), patient=st.booleans())
    def draw(self, reported: bool, patient: bool) -> None:
        self._draw(reported, patient)

    @rule(heard=st.booleans())
    def commit(self, heard: bool) -> None:
        self._commit(heard)

    @rule()
    def keep_checkpoint(self) -> None:
        if self.learner_version is not None:
            self.checkpoint = min(self.learner_version, self.run.version)

    @rule()
    def kill_learner(self) -> None:
        self.learner_version, self.in_hand = None, None

    @rule()
    def restart_learner(self) -> None:
        if self.learner_version is None:
            self.learner_version = self.checkpoint
            reconcile(self.run, self.run.groups.open.all(), self.replay.find(self._open_ids()))

    @rule(reached=st.sets(st.integers(0, 1)), recorded=st.booleans(), evicted=st.booleans())
    def publish(self, reached: set[int], recorded: bool, evicted: bool) -> None:
        self._publish(reached, recorded, evicted)

    @rule()
    def kill_controller(self) -> None:
        self.run.ledger.close()
        self._open()

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self._pass_time(seconds)

    @precondition(lambda self: self.run.stage + 1 < len(self.settings_of_run.stages) and not self.run.finished)
    @rule()
    def advance_stage(self) -> None:
        if self.run.stage_steps:
            self.run.advance_stage(self.run.stage)
        else:
            with pytest.raises(MeshError, match="has no step yet"):
                self.run.advance_stage(self.run.stage)

    # --- what holds ----------------------------------------------------------------------------------------------

    @invariant()
    def every_group_is_counted_once(self) -> None:
        counts = self.run.groups.counts
        assert counts == self.run.ledger.group_counts()
        assert self.run.ledger.group_totals(counts.open).groups == counts.leased - counts.open
        assert self.run.stage_steps == sum(step.stage == self.run.stage for step in self.run.ledger.steps())
        assert counts.leased == self.run.ledger.next_sequence()
        assert counts.trained == self.run.version * self.settings_of_run.algorithm.batch_groups
        assert self.run.version <= self.run.planned_steps

    @invariant()
    def no_more_tokens_are_trained_on_than_were_generated(self) -> None:
        assert self.run.totals.tokens <= self.run.groups.generated_tokens

    # --- the parts of a turn -------------------------------------------------------------------------------------

    def _generator(self, which: int) -> Generator:
        return self.generators[which % len(self.generators)]

    def _kill(self, generator: Generator) -> None:
        generator.alive = False
        generator.held.clear()

    def _open_ids(self) -> list[str]:
        return [row.group_id for row in self.run.groups.open.all()]

    def _pass_time(self, seconds: float) -> None:
        """Heartbeats of the living renew their leases; those of the dead lapse."""
        self.time.now += seconds
        for generator in self.generators:
            if generator.alive:
                for group_id in self.run.groups.renew(generator.key, list(generator.held)):
                    del generator.held[group_id]
        self.run.groups.expire()

    def _draw(self, reported: bool, patient: bool = True) -> None:
        if self.learner_version is None or self.in_hand is not None:
            return
        order = self.run.next_step(self.learner_version)
        if order is None:
            return
        section = self.settings_of_run.algorithm
        running = running_groups(self.run)
        request = DrawRequest(order.step, section.batch_groups, self.learner_version, section.max_staleness, running)
        batch, stale = self.replay.draw(request, patient)
        if reported:
            self.run.groups.drop_stale(stale, "drawn too late")
        if batch is not None:
            self.in_hand = (order.step, batch)

    def _commit(self, heard: bool) -> None:
        """The learner updates; it may die before the controller hears of it."""
        if self.in_hand is None:
            return
        step, batch = self.in_hand
        self.in_hand = None
        if not heard:
            self.learner_version = None
            return
        new = step > self.run.version
        tokens = [_GROUP_TOKENS] * len(batch)
        figures = {"reward": 1.0, "response_tokens": float(sum(tokens))}
        assert self.run.commit(step, batch, figures, {0: len(batch)}, tokens) is new
        self.learner_version = step

    def _publish(self, reached: set[int], recorded: bool, evicted: bool) -> None:
        versions = Versions(self.run.version, self.run.published_version, self.learner_version, self.run.publish_due())
        living = {generator.key: generator for generator in self.generators if generator.alive}
        generators = [GeneratorWeights(key, generator.version, 1) for key, generator in living.items()]
        targets = receivers(versions, generators)
        if not targets:
            version = unrecorded_version(versions, generators)
            if version is not None:
                self._record(version)
            return
        assert self.learner_version is not None
        if evicted:
            old = self.replay.evict(self.learner_version, self.settings_of_run.algorithm.max_staleness)
            self.run.groups.drop_stale(old, "evicted")
        got = [target for index, target in enumerate(targets) if index in reached]
        for target in got:
            living[target.key].version = self.learner_version
        if got and recorded:
            self._record(self.learner_version)

    def _record(self, version: int) -> None:
        self.run.published(PublishRow(version, self.time.now, 0.0, 0.0, 0.0, 1, ("generator",), "agreed"))

    def _turn(self) -> None:
        """Everyone does their part once, and nobody dies."""
        self.restart_learner()
        for which in range(len(self.generators)):
            self.restart_generator(which)
        self._publish({0, 1}, recorded=True, evicted=True)
        self._publish({0, 1}, recorded=True, evicted=True)
        for which in range(len(self.generators)):
            self.lease(which, 8)
            while self._generator(which).held:
                self.finish_a_group(which, newest=False, told=True, died=False)
        reconcile(self.run, self.run.groups.open.all(), self.replay.find(self._open_ids()))
        self._draw(reported=True)
        self._commit(heard=True)
        self._pass_time(1.0)

    def _finish(self) -> None:
        turns = 0
        while not self.run.finished or self.learner_version != self.run.version:
            self._turn()
            self.every_group_is_counted_once()
            turns += 1
            counts = self.run.groups.counts
            stuck = f"stuck at version {self.run.version}, published {self.run.published_version}, {counts}"
            assert turns < 60 + 20 * self.total_steps, stuck
        assert [step.step for step in self.run.ledger.steps()] == list(range(1, self.run.version + 1))
        trained = [row for row in _all_rows(self.run) if row.state is GroupState.TRAINED]
        assert len({row.group_id for row in trained}) == self.run.version * self.settings_of_run.algorithm.batch_groups
        assert [row.sequence for row in _all_rows(self.run)] == list(range(self.run.groups.counts.leased))


def _all_rows(run: Run) -> Iterator[GroupRow]:
    for sequence in range(run.ledger.next_sequence()):
        row = run.ledger.group(f"g{sequence:08d}")
        assert row is not None
        yield row


TestMesh = Mesh.TestCase
TestMesh.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

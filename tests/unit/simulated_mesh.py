"""A controller's run, a replay buffer's ledger, generators and a learner on a virtual clock, one action a method."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.publish.policy import GeneratorWeights, Versions, receivers, unrecorded_version
from areal_mesh.controller.records import GroupRow, GroupState, PublishRow
from areal_mesh.controller.replay_link import reconcile
from areal_mesh.controller.run import Run
from areal_mesh.controller.running import running_groups
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import Dropped
from areal_mesh.runtime.errors import MeshError
from tests.unit.simulated_members import Generator, Replay, Time
from tests.unit.stage_support import run_of, stage

_GROUP_TOKENS = 5
LEASE_SECONDS = 10.0


class SimulatedMesh:
    """What can happen to a mesh, and a fair scheduler that finishes its run."""

    def __init__(
        self, bound: int, batch: int, sync_every: int, steps: list[int], generators: int, **controller: int
    ) -> None:
        self.folder = TemporaryDirectory()
        self.time = Time()
        stages = tuple(stage(f"stage {index}", 8 * (index + 1), count) for index, count in enumerate(steps))
        self.settings = run_of(
            *stages,
            batch_groups=batch,
            max_staleness=bound,
            sync_every=min(sync_every, bound + 1),
            lease_seconds=LEASE_SECONDS,
            **controller,
        )
        self.total_steps = sum(steps)
        self.replay = Replay()
        self.generators = [Generator(life=100 * index) for index in range(generators)]
        self.learner_version: int | None = 0
        self.checkpoint = 0
        self.in_hand: tuple[int, tuple[str, ...]] | None = None
        self._open()

    def _open(self) -> None:
        self.run = Run(self.settings, Ledger(Path(self.folder.name) / "ledger.db"), self.time.clock())

    def lease(self, which: int, most: int) -> None:
        generator = self._generator(which)
        if generator.alive and generator.version >= self.run.published_version:
            for row in self.run.lease(generator.key, most, str):
                generator.held[row.group_id] = generator.version

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

    def kill_generator(self, which: int) -> None:
        self._kill(self._generator(which))

    def restart_generator(self, which: int) -> None:
        generator = self._generator(which)
        if not generator.alive:
            self.run.groups.free(generator.key, "restarted")
            generator.life += 1
            generator.alive, generator.version = True, -1

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

    def draw(self, reported: bool, patient: bool = True) -> None:
        """The learner draws the batch of its next step, unless it is dead or holds one."""
        if self.learner_version is None or self.in_hand is not None:
            return
        order = self.run.next_step(self.learner_version)
        if order is None:
            return
        section = self.settings.algorithm
        running = running_groups(self.run)
        request = DrawRequest(order.step, section.batch_groups, self.learner_version, section.max_staleness, running)
        batch, stale = self.replay.draw(request, patient)
        if reported:
            self.run.groups.drop_stale(stale, "drawn too late")
        if batch is not None:
            self.in_hand = (order.step, batch)

    def commit(self, heard: bool) -> None:
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

    def keep_checkpoint(self) -> None:
        if self.learner_version is not None:
            self.checkpoint = min(self.learner_version, self.run.version)

    def kill_learner(self) -> None:
        self.learner_version, self.in_hand = None, None

    def restart_learner(self) -> None:
        if self.learner_version is None:
            self.learner_version = self.checkpoint
            reconcile(self.run, self.run.groups.open.all(), self.replay.find(self._open_ids()))

    def publish(self, reached: set[int], recorded: bool, evicted: bool) -> None:
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
            old = self.replay.evict(self.learner_version, self.settings.algorithm.max_staleness)
            self.run.groups.drop_stale(old, "evicted")
        got = [target for index, target in enumerate(targets) if index in reached]
        for target in got:
            living[target.key].version = self.learner_version
        if got and recorded:
            self._record(self.learner_version)

    def _record(self, version: int) -> None:
        self.run.published(PublishRow(version, self.time.now, 0.0, 0.0, 0.0, 1, ("generator",), "agreed"))

    def kill_controller(self) -> None:
        self.run.ledger.close()
        self._open()

    def pass_time(self, seconds: float) -> None:
        """Heartbeats of the living renew their leases; those of the dead lapse."""
        self.time.now += seconds
        for generator in self.generators:
            if generator.alive:
                for group_id in self.run.groups.renew(generator.key, list(generator.held)):
                    del generator.held[group_id]
        self.run.groups.expire()

    def advance_stage(self) -> None:
        if self.run.stage_steps:
            self.run.advance_stage(self.run.stage)
        else:
            with pytest.raises(MeshError, match="has no step yet"):
                self.run.advance_stage(self.run.stage)

    def every_group_is_counted_once(self) -> None:
        counts = self.run.groups.counts
        assert counts == self.run.ledger.group_counts()
        assert self.run.ledger.group_totals(counts.open).groups == counts.leased - counts.open
        assert self.run.stage_steps == sum(step.stage == self.run.stage for step in self.run.ledger.steps())
        assert counts.leased == self.run.ledger.next_sequence()
        assert counts.trained == self.run.version * self.settings.algorithm.batch_groups
        assert self.run.version <= self.run.planned_steps

    def no_more_tokens_are_trained_on_than_were_generated(self) -> None:
        assert self.run.totals.tokens <= self.run.groups.generated_tokens

    def _turn(self) -> None:
        """Everyone does their part once, and nobody dies."""
        self.restart_learner()
        for which in range(len(self.generators)):
            self.restart_generator(which)
        self.publish({0, 1}, recorded=True, evicted=True)
        self.publish({0, 1}, recorded=True, evicted=True)
        for which in range(len(self.generators)):
            self.lease(which, 8)
            while self._generator(which).held:
                self.finish_a_group(which, newest=False, told=True, died=False)
        reconcile(self.run, self.run.groups.open.all(), self.replay.find(self._open_ids()))
        self.draw(reported=True)
        self.commit(heard=True)
        self.pass_time(1.0)

    def finish(self) -> None:
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
        assert len({row.group_id for row in trained}) == self.run.version * self.settings.algorithm.batch_groups
        assert [row.sequence for row in _all_rows(self.run)] == list(range(self.run.groups.counts.leased))

    def _generator(self, which: int) -> Generator:
        return self.generators[which % len(self.generators)]

    def _kill(self, generator: Generator) -> None:
        generator.alive = False
        generator.held.clear()

    def _open_ids(self) -> list[str]:
        return [row.group_id for row in self.run.groups.open.all()]


def _all_rows(run: Run) -> Iterator[GroupRow]:
    for sequence in range(run.ledger.next_sequence()):
        row = run.ledger.group(f"g{sequence:08d}")
        assert row is not None
        yield row

"""The whole loop on a virtual clock: generators, learner, replay buffer and controller, any of them killed at any time.

What holds throughout: leased = trained + stale + filtered + failed + open, in memory and in the ledger; no batch is
staler than the bound; no group is trained twice. And once the killing ends, the run finishes: no deadlock.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.simulated_mesh import SimulatedMesh


class Mesh(RuleBasedStateMachine):
    """Rules are what happens to the mesh; its fair scheduler follows."""

    @initialize(
        bound=st.integers(0, 4),
        batch=st.integers(1, 3),
        sync_every=st.integers(1, 4),
        steps=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        generators=st.integers(1, 2),
    )
    def begin(self, bound: int, batch: int, sync_every: int, steps: list[int], generators: int) -> None:
        self.mesh = SimulatedMesh(bound, batch, sync_every, steps, generators)

    @rule(which=st.integers(0, 1), most=st.integers(1, 5))
    def lease(self, which: int, most: int) -> None:
        self.mesh.lease(which, most)

    @rule(which=st.integers(0, 1), newest=st.booleans(), told=st.booleans(), died=st.booleans())
    def finish_a_group(self, which: int, newest: bool, told: bool, died: bool) -> None:
        self.mesh.finish_a_group(which, newest, told, died)

    @rule(which=st.integers(0, 1), end=st.sampled_from(["filtered", "failed", "returned"]))
    def end_otherwise(self, which: int, end: str) -> None:
        self.mesh.end_otherwise(which, end)

    @rule(which=st.integers(0, 1))
    def kill_generator(self, which: int) -> None:
        self.mesh.kill_generator(which)

    @rule(which=st.integers(0, 1))
    def restart_generator(self, which: int) -> None:
        self.mesh.restart_generator(which)

    @rule(stale=st.booleans())
    def lose_in_replay(self, stale: bool) -> None:
        self.mesh.lose_in_replay(stale)

    @rule()
    def restart_replay(self) -> None:
        self.mesh.replay.restart()

    @rule(reported=st.booleans(), patient=st.booleans())
    def draw(self, reported: bool, patient: bool) -> None:
        self.mesh.draw(reported, patient)

    @rule(heard=st.booleans())
    def commit(self, heard: bool) -> None:
        self.mesh.commit(heard)

    @rule()
    def keep_checkpoint(self) -> None:
        self.mesh.keep_checkpoint()

    @rule()
    def kill_learner(self) -> None:
        self.mesh.kill_learner()

    @rule()
    def restart_learner(self) -> None:
        self.mesh.restart_learner()

    @rule(reached=st.sets(st.integers(0, 1)), recorded=st.booleans(), evicted=st.booleans())
    def publish(self, reached: set[int], recorded: bool, evicted: bool) -> None:
        self.mesh.publish(reached, recorded, evicted)

    @rule()
    def kill_controller(self) -> None:
        self.mesh.kill_controller()

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.mesh.pass_time(seconds)

    @precondition(lambda self: self.mesh.run.stage + 1 < len(self.mesh.settings.stages) and not self.mesh.run.finished)
    @rule()
    def advance_stage(self) -> None:
        self.mesh.advance_stage()

    @invariant()
    def every_group_is_counted_once(self) -> None:
        self.mesh.every_group_is_counted_once()

    @invariant()
    def no_more_tokens_are_trained_on_than_were_generated(self) -> None:
        self.mesh.no_more_tokens_are_trained_on_than_were_generated()

    def teardown(self) -> None:
        self.mesh.finish()
        self.mesh.run.ledger.close()


TestMesh = Mesh.TestCase
TestMesh.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

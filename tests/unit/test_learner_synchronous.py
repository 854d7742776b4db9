"""With a bound of zero the mesh is a synchronous loop: whatever runs beside what, its weights are the loop's."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from areal_mesh.learner.batches.decoding import decode_batch
from areal_mesh.learner.trainer import Trainer
from areal_mesh.replay.events import Stored
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import rollout_pb2
from tests.unit.learner_support import VOCABULARY, settings_for, write_model
from tests.unit.simulated_mesh import SimulatedMesh

BATCH, STEPS, RESPONSES = 3, 4, 4
MOST_ACTIONS = 4_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def rollouts(sequence: int, version: int) -> rollout_pb2.Group:
    """What a policy version answers to the prompt of a sequence number: another one answers something else."""
    chance = random.Random(f"{sequence}/{version}")
    group = rollout_pb2.Group(
        group_id=f"g{sequence:08d}", prompt_token_ids=encode_int32([chance.randrange(VOCABULARY) for _ in range(3)])
    )
    lengths = [chance.randint(1, 12) for _ in range(RESPONSES)]
    for length in lengths:
        right = chance.random() < 0.5
        group.responses.add(
            length=length,
            finish_reason=rollout_pb2.FINISH_REASON_STOP,
            version_spans=[rollout_pb2.VersionSpan(policy_version=version, start=0, end=length)],
            verdict=rollout_pb2.Verdict(
                status=rollout_pb2.VERDICT_STATUS_CORRECT if right else rollout_pb2.VERDICT_STATUS_INCORRECT,
                reward=5.0 if right else -5.0,
            ),
        )
    tokens = sum(lengths)
    group.response_token_ids = encode_int32([chance.randrange(VOCABULARY) for _ in range(tokens)])
    group.behaviour_log_probs = encode_float32([chance.uniform(-3.6, -3.2) for _ in range(tokens)])
    group.crc32c = payload_crc32c(group)
    return group


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.named_tensors()}


def synchronous_loop(folder: Path) -> list[dict[str, torch.Tensor]]:
    """Generate a batch, then train on it, and again; the weights after each step."""
    trainer = Trainer(settings_for(folder))
    found = []
    for step in range(STEPS):
        batch = [rollouts(sequence, version=step) for sequence in range(step * BATCH, (step + 1) * BATCH)]
        trainer.step(decode_batch(batch))
        found.append(weights_of(trainer))
    return found


def steps_of(mesh: SimulatedMesh, chance: random.Random) -> Iterator[list[rollout_pb2.Group]]:
    """The batches of a mesh whose members act in any order, and some of which are killed; a batch a step."""
    for _ in range(MOST_ACTIONS):
        if mesh.run.finished:
            return
        which, action = chance.randrange(2), chance.randrange(10)
        if action == 0:
            mesh.kill_generator(which)
        elif action == 1:
            mesh.replay.restart()
        elif action == 2:
            mesh.pass_time(chance.choice([1.0, 11.0]))
        elif action == 3:
            mesh.publish({0, 1}, recorded=True, evicted=chance.random() < 0.5)
        elif action == 4:
            mesh.restart_generator(which)
        elif action < 7:
            mesh.lease(which, chance.randint(1, 4))
        elif action < 9:
            mesh.finish_a_group(which, newest=chance.random() < 0.5, told=True, died=chance.random() < 0.1)
        else:
            mesh.draw(reported=True, patient=chance.random() < 0.5)
        if mesh.in_hand is not None:
            # The replay buffer's own word for the version, and not what the test would like it to be.
            stored = {event.group.group_id: event.group for event in mesh.replay.events if isinstance(event, Stored)}
            batch = [stored[group_id] for group_id in mesh.in_hand[1]]
            yield [rollouts(group.sequence, group.oldest_policy_version) for group in batch]
            mesh.commit(heard=True)
    raise AssertionError(f"not finished after {MOST_ACTIONS} actions: {mesh.run.groups.counts}")


def train(folder: Path, seed: int, bound: int) -> list[dict[str, torch.Tensor]]:
    """The weights after each step of a mesh with this bound."""
    # A group that is given up is another prompt's place: none is, however often its generator is killed.
    mesh = SimulatedMesh(bound, BATCH, 1, [STEPS], 2, group_attempts=1000)
    trainer = Trainer(settings_for(folder))
    found = []
    for batch in steps_of(mesh, random.Random(seed)):
        trainer.step(decode_batch(batch))
        found.append(weights_of(trainer))
    mesh.run.ledger.close()
    return found


def same(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    return len(first) == len(second) and all(
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        for one, other in zip(first, second, strict=True)
    )


def test_a_bound_of_zero_gives_the_weights_of_a_synchronous_loop_to_the_bit(folder: Path) -> None:
    loop = synchronous_loop(folder)
    assert not torch.equal(loop[0]["model.norm.weight"], loop[1]["model.norm.weight"]), "the steps move the weights"
    for seed in range(4):
        assert same(train(folder, seed, bound=0), loop), f"schedule {seed}"


def test_a_higher_bound_does_not_so_that_the_comparison_can_fail(folder: Path) -> None:
    loop = synchronous_loop(folder)
    assert not all(same(train(folder, seed, bound=2), loop) for seed in range(4))

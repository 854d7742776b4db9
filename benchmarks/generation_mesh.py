"""The mesh's side of the generation benchmark.

Controller, verifier, replay buffer and generator are real, each a process as `areal-mesh serve` runs it. The learner
trains nothing: it publishes the model folder's weights, draws the batch, commits it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from areal_mesh.controller.prompts import group_seed
from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.snapshots import WeightSnapshots
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.learner.weight_sender import WeightSenderServicer
from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.registration import HeartbeatReport, Membership
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import (
    controller_pb2,
    controller_pb2_grpc,
    learner_pb2_grpc,
    replay_pb2,
    replay_pb2_grpc,
    rollout_pb2,
)
from benchmarks.generation_offline import Done, Request

_ROUND_SECONDS = 400.0
"""For a start, and for a round."""
_POLL = to_duration(2.0)
_CALL = Patience(attempt_seconds=_ROUND_SECONDS)
_SERVICES = ("controller", "verifier", "replay", "generator")


class _Weights:
    """Stands for the learner's ranks: the model folder's weights, whatever the version."""

    def __init__(self, settings: RunSettings) -> None:
        model = AutoModelForCausalLM.from_pretrained(settings.model.folder, dtype=settings.model.dtype)
        self._parameters = [(name, tensor.detach()) for name, tensor in model.named_parameters()]
        self.model_config: dict[str, Any] = model.config.to_dict()
        self.dtype = self._parameters[0][1].dtype
        self.policy_version = 0

    def tensor_specs(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self._parameters]

    def named_tensors(self) -> Generator[tuple[str, torch.Tensor], None, None]:
        yield from self._parameters


class Mesh:
    """The mesh, round after round: a round is a batch of `algorithm.batch_groups` groups."""

    def __init__(
        self,
        settings: RunSettings,
        members: Members,
        identity: Identity,
        weights: _Weights,
        snapshots: WeightSnapshots,
    ) -> None:
        self._settings = settings
        self._members = members
        self._me: dict[str, Any] = {"service_id": identity.service_id, "incarnation": identity.incarnation}
        self._weights = weights
        self._snapshots = snapshots
        self._published_at = self._chosen_at = time.perf_counter()

    async def generate(self) -> tuple[list[Request], Done]:
        """From the end of a publish until the batch generated on it is whole, durable and drawn; and its requests.

        The first round has the start of the mesh in it.
        """
        async with asyncio.timeout(_ROUND_SECONDS):
            groups = await self._draw()
        done = Done(sum(_tokens(group) for group in groups), self._chosen_at - self._published_at)
        self._batch = groups
        requests = [
            Request(
                np.frombuffer(group.prompt_token_ids, dtype="<i4").tolist(),
                group_seed(self._settings.seed, group.sequence),
            )
            for group in sorted(groups, key=lambda group: group.sequence)
        ]
        return requests, done

    async def commit(self) -> None:
        """Ends the round; the next begins now that its weights are published: no group was leased before."""
        step = self._weights.policy_version = self._weights.policy_version + 1
        await self._snapshots.take()
        request = controller_pb2.CommitStepRequest(
            **self._me,
            step=step,
            policy_version=step,
            group_ids=[group.group_id for group in self._batch],
            metrics={"reward": 0.0, "response_length": 1.0, "truncated": 0.0},
            staleness={0: len(self._batch)},
            group_tokens=[_tokens(group) for group in self._batch],
        )
        await self._controller(lambda stub, seconds: stub.CommitStep(request, timeout=seconds))
        self._published_at = time.perf_counter()

    async def _draw(self) -> list[rollout_pb2.Group]:
        version = self._weights.policy_version
        while True:
            asked = controller_pb2.NextStepRequest(**self._me, policy_version=version, wait=_POLL)
            order = await self._controller(lambda stub, seconds, asked=asked: stub.NextStep(asked, timeout=seconds))
            if order.wait:
                continue
            request = replay_pb2.DrawBatchRequest(
                **self._me,
                step=order.step,
                batch_groups=order.batch_groups,
                policy_version=version,
                max_staleness=order.max_staleness,
                wait=_POLL,
                running=order.running,
                published_version=order.published_version,
            )

            async def read(channel: Any, seconds: float, request: Any = request) -> list[Any]:
                stub: Any = replay_pb2_grpc.ReplayServiceStub(channel)
                parts: list[Any] = []
                async for part in stub.DrawBatch(request, timeout=seconds):
                    # The header: the batch is chosen. Reading its groups is the learner's time.
                    self._chosen_at = self._chosen_at if parts else time.perf_counter()
                    parts.append(part)
                return parts

            parts = await self._members.call("replay", read, _CALL)
            if parts[0].header.complete:
                return [part.group for part in parts if part.HasField("group")]

    async def _controller(self, send: Callable[..., Awaitable[Any]]) -> Any:
        async def call(channel: Any, seconds: float) -> Any:
            return await send(controller_pb2_grpc.ControllerServiceStub(channel), seconds)

        return await self._members.call("controller", call, _CALL)


def _tokens(group: rollout_pb2.Group) -> int:
    return sum(response.length for response in group.responses)


@asynccontextmanager
async def mesh(preset: str, overrides: Sequence[str], settings: RunSettings, folder: Path) -> AsyncIterator[Mesh]:
    """The whole mesh, about to be given its first weights. `settings`: the preset with the overrides."""
    controller, identity, standing = str(settings.controller.address), Identity("learner", "learner-0"), HeardStanding()
    weights, torch_thread = _Weights(settings), TorchThread()

    async def engine_ranks() -> int:
        return settings.generator.transfer_ranks

    def leader() -> RankLeader:
        return cast(RankLeader, weights)

    snapshots = WeightSnapshots(leader, torch_thread, settings.weights.transport.bucket_mib << 20)
    await snapshots.take()
    sender = WeightSenderServicer(settings, leader, snapshots, engine_ranks, standing)
    server, members = MeshServer("127.0.0.1:0"), Members(controller, identity)
    server.add(learner_pb2_grpc.add_LearnerServiceServicer_to_server, sender, "areal_mesh.v1.LearnerService")
    membership = Membership(controller, identity, RunIdentity(settings.name, ""), standing)
    with _services(preset, overrides, controller, folder):
        await membership.register(f"127.0.0.1:{await server.start()}", 0, 0)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(_beat(membership, weights))
            try:
                yield Mesh(settings, members, identity, weights, snapshots)
            finally:
                beating.cancel()
                await members.close()
                await membership.close()
                await server.stop(0)
                sender.close()
                torch_thread.close()


async def _beat(membership: Membership, weights: _Weights) -> None:
    never = asyncio.Event()
    while not never.is_set():
        await membership.beat(HeartbeatReport(policy_version=weights.policy_version))
        await asyncio.sleep(membership.interval_seconds)


@contextmanager
def _services(preset: str, overrides: Sequence[str], controller: str, folder: Path) -> Iterator[None]:
    """The four services; killed when left, and what they said last is shown if that is by an error."""
    sets = [word for override in overrides for word in ("--set", override)]
    processes = []
    for role in _SERVICES:
        command = [
            sys.executable,
            "-m",
            "areal_mesh.cli",
            "serve",
            role,
            "--config",
            preset,
            "--controller",
            controller,
        ]
        with (folder / f"{role}.out").open("wb") as out:
            environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
            process = subprocess.Popen(
                [*command, *sets], stdout=out, stderr=out, start_new_session=True, env=environment
            )
            processes.append(process)
    try:
        yield
    except BaseException:
        for role in _SERVICES:
            print(f"{role}: {(folder / f'{role}.out').read_text()[-1500:]}", file=sys.stderr)
        raise
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

"""When the learner keeps a checkpoint, exports weights, and lets the replay buffer forget what is covered."""

import asyncio

import grpc.aio

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import replay_pb2, replay_pb2_grpc


class Checkpoints:
    """Checkpoints every so many steps and at the end; an export at the end, and every so many steps where asked.

    Saving begins and exporting happens under `still`, the lock of a publish: generators frozen for one would otherwise
    wait for a disk.
    """

    def __init__(
        self,
        settings: RunSettings,
        identity: Identity,
        leader: RankLeader,
        members: Members,
        torch: TorchThread,
        weights_lock: asyncio.Lock,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._leader = leader
        self._members = members
        self._torch = torch
        self._weights_lock = weights_lock
        self._begun: int | None = None
        self._last_stage = ""

    async def after_step(self, step: int, stage: str) -> None:
        """Keeps what is due after `step`. The write goes on in the background; generation is never paused for it."""
        section = self._settings.learner
        self._last_stage = stage
        if step % section.checkpoint_every == 0:
            await self._save(step, stage)
        if section.export_every and step % section.export_every == 0:
            await self._export(step)

    async def finish(self, complete: bool) -> None:
        """The last checkpoint is durable when this returns; a complete run is exported too."""
        step = self._leader.policy_version
        if step > 0 and step != self._begun and step % self._settings.learner.checkpoint_every:
            await self._save(step, self._last_stage)
        await self._torch.run(self._leader.wait_for_checkpoint)
        if complete:
            await self._export(step)

    async def _save(self, step: int, stage: str) -> None:
        async with self._weights_lock:
            await self._torch.run(lambda: self._leader.save_checkpoint(step, stage))
        if self._begun is not None:  # durable by now: saving waits for the one before
            await self._release(self._begun)
        self._begun = step

    async def _export(self, step: int) -> None:
        folder = self._settings.run_directory / "checkpoints" / f"export-{step:08d}"
        if not folder.exists():
            async with self._weights_lock:
                await self._torch.run(lambda: self._leader.export(folder))

    async def _release(self, step: int) -> None:
        identity = self._identity
        request = replay_pb2.ReleaseStepsRequest(
            step=step, service_id=identity.service_id, incarnation=identity.incarnation
        )

        async def send(channel: grpc.aio.Channel, seconds: float) -> None:
            stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
            await stub.ReleaseSteps(request, timeout=seconds)

        await self._members.call("replay", send, Patience(attempt_seconds=30.0))

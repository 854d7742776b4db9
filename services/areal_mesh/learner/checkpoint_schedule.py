"""When the learner keeps a checkpoint, exports weights, and lets the replay buffer forget what is covered."""

import asyncio
import shutil

import grpc.aio
import structlog

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import replay_pb2, replay_pb2_grpc

_LOG = structlog.get_logger("learner")
_ROOM_SECONDS = 5.0  # between two looks for room at the end of a run


class Checkpoints:
    """Checkpoints every so many steps and at the end; an export at the end, and every so many steps where asked.

    A publish is made from a snapshot, so that neither waits for the other.
    """

    def __init__(
        self,
        settings: RunSettings,
        identity: Identity,
        leader: RankLeader,
        members: Members,
        torch: TorchThread,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._leader = leader
        self._members = members
        self._torch = torch
        self._begun: int | None = None
        self._last_stage = ""
        self._no_room = ""

    async def after_step(self, step: int, stage: str, asked: bool = False) -> None:
        """Keeps what is due after `step`, or `asked` for.

        The write goes on in the background; generation is never paused for it.
        """
        section = self._settings.learner
        self._last_stage = stage
        again = self._leader.checkpoint_missing and not self._leader.checkpoint_fault
        if again or asked or step % section.checkpoint_every == 0:
            await self._save(step, stage)
        if section.export_every and step % section.export_every == 0:
            await self._export(step)

    @property
    def fault(self) -> str:
        """What of this waits for room on the disk, for a person; empty where nothing does."""
        return self._leader.checkpoint_fault or self._no_room

    async def finish(self, complete: bool, draining: asyncio.Event) -> None:
        """The last checkpoint is durable when this returns; a complete run is exported too.

        On a full disk it waits for room. A service that drains in the middle of a run does not: the steps since the
        last checkpoint are taken again when it goes on.
        """
        step = self._leader.policy_version
        if step > 0 and step != self._begun and step % self._settings.learner.checkpoint_every:
            await self._save(step, self._last_stage)
        await self._torch.run(self._leader.wait_for_checkpoint)
        while self._leader.checkpoint_missing:
            if draining.is_set() and not complete:
                _LOG.warning("no checkpoint of the last steps, for the disk is full", step=step)
                return
            await asyncio.sleep(_ROOM_SECONDS)
            if not self._leader.checkpoint_fault:
                await self._save(step, self._last_stage)
                await self._torch.run(self._leader.wait_for_checkpoint)
        while complete:
            if await self._export(step):
                return
            await asyncio.sleep(_ROOM_SECONDS)

    async def _save(self, step: int, stage: str) -> None:
        await self._torch.run(lambda: self._leader.save_checkpoint(step, stage))
        # Saving waited for the one before: it is durable by now, or found no room.
        if self._begun is not None and not self._leader.checkpoint_missing:
            await self._release(self._begun)
        self._begun = step

    async def _export(self, step: int) -> bool:
        """Exports the weights; False, and said, where the disk has no room for them."""
        folder = self._settings.run_directory / "checkpoints" / f"export-{step:08d}"
        needed = self._leader.export_bytes
        free = shutil.disk_usage(self._settings.run_directory).free
        self._no_room = ""
        if folder.exists():
            return True
        if free < needed:
            self._no_room = f"{folder}: no room for an export of {needed} bytes; free space there"
            _LOG.warning("no export, for the disk is full", folder=str(folder), bytes=needed)
            return False
        await self._torch.run(lambda: self._leader.export(folder))
        return True

    async def _release(self, step: int) -> None:
        identity = self._identity
        request = replay_pb2.ReleaseStepsRequest(
            step=step, service_id=identity.service_id, incarnation=identity.incarnation
        )

        async def send(channel: grpc.aio.Channel, seconds: float) -> None:
            stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
            await stub.ReleaseSteps(request, timeout=seconds)

        await self._members.call("replay", send, Patience(attempt_seconds=30.0))

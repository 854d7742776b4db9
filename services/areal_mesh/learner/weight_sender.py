"""The learner's end of a publish: opens a group, sends the weights it holds, says their digests.

The weights stand still from OpenTransfer until the transfer has ended: the training loop holds `weights_lock` for each
update, and a publish holds it from its opening to its end, or to its deadline if the controller never comes back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import structlog

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.durations import from_duration, to_duration
from areal_mesh.runtime.errors import aborted, failed_precondition, invalid_argument, unavailable
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.transfer_key import require_transfer_key
from areal_mesh.v1 import learner_pb2, learner_pb2_grpc
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import TensorSpec, WeightManifest
from areal_mesh.weights.messages import encode_digests, encode_group, encode_manifest
from areal_mesh.weights.sender import TransferReport, WeightSender
from areal_mesh.weights.transport import Meeting
from areal_mesh.weights.transports.table import build_transport

_LOG = structlog.get_logger("publishing")


@dataclass(frozen=True)
class _Transfer:
    """A publish that is open."""

    group: Group
    manifest: WeightManifest
    sender: WeightSender
    expiry: asyncio.TimerHandle


class WeightSenderServicer(learner_pb2_grpc.LearnerServiceServicer):
    """LearnerService on one leader.

    Args:
        torch: the thread on which it works.
        engine_ranks: how many ranks the run's generators have in all.
        standing: by what the run's controller is known.
    """

    def __init__(
        self,
        settings: RunSettings,
        leader: Callable[[], RankLeader],
        torch: TorchThread,
        engine_ranks: Callable[[], Awaitable[int]],
        standing: HeardStanding,
    ) -> None:
        self._engine_ranks = engine_ranks
        self._standing = standing
        self._settings = settings
        self._leader = leader
        self._torch = torch
        self._transport = build_transport(settings.weights.transport)
        self._meeting: Meeting | None = None
        self._open: _Transfer | None = None
        self.weights_lock = asyncio.Lock()
        self.sent_bytes = 0

    async def OpenTransfer(
        self, request: learner_pb2.OpenTransferRequest, context: Any
    ) -> learner_pb2.OpenTransferResponse:
        """Waits for an update in progress, then holds the weights still for this group."""
        await require_transfer_key(self._standing, request.transfer_key)
        if self._open is not None and self._open.group.transfer_id == request.transfer_id:
            return _opened(self._open)
        await self._check_bounds(request)
        if self._open is not None:
            self._end(self._open, "a newer transfer took its place")
        await self._hold_weights(request)
        try:
            manifest = weight_manifest(self._leader())
            seconds = from_duration(request.timeout)
            group = self._host_meeting().open(request.transfer_id, request.world_size, seconds)
            sender = WeightSender(self._transport, group)
        except (TransferError, RuntimeError, OSError) as error:
            self.weights_lock.release()
            raise aborted(f"transfer {request.transfer_id} could not be opened: {type(error).__name__}") from error
        except BaseException:
            self.weights_lock.release()
            raise
        expiry = asyncio.get_running_loop().call_later(2 * seconds, self._expire, group.transfer_id)
        self._open = _Transfer(group, manifest, sender, expiry)
        return _opened(self._open)

    async def _check_bounds(self, request: learner_pb2.OpenTransferRequest) -> None:
        """Refuses a group that the run cannot have asked for: it takes memory for each rank, and stops training."""
        longest = self._settings.weights.transfer_seconds
        if from_duration(request.timeout) > longest:
            raise invalid_argument("timeout", f"weights.transfer_seconds = {longest:g} of this run is the longest")
        most = 1 + await self._engine_ranks()
        if request.world_size > most:
            raise invalid_argument(
                "world_size", f"{request.world_size}; the learner and the run's generators are {most} together"
            )

    async def _hold_weights(self, request: learner_pb2.OpenTransferRequest) -> None:
        seconds = from_duration(request.timeout)
        try:
            async with asyncio.timeout(seconds):
                await self.weights_lock.acquire()
        except TimeoutError as error:
            raise unavailable(f"an update has been in progress for {seconds:.0f} s; the weights move") from error

    def _host_meeting(self) -> Meeting:
        if self._meeting is None:
            self._meeting = self._transport.host(self._settings.learner.reached_host)
        return self._meeting

    async def SendWeights(
        self, request: learner_pb2.SendWeightsRequest, context: Any
    ) -> learner_pb2.SendWeightsResponse:
        """Broadcasts to the open group; ABORTED where a member is gone or late."""
        await require_transfer_key(self._standing, request.transfer_key)
        transfer = self._open
        if transfer is None or transfer.group.transfer_id != request.transfer_id:
            raise failed_precondition(f"transfer {request.transfer_id!r} is not open; open it first")
        try:
            report, digests = await self._torch.run(lambda: self._send(transfer, request.digests))
        except TransferError as error:
            raise aborted(str(error)) from error
        finally:
            self._end(transfer, "sent")
        self.sent_bytes += report.num_bytes
        return learner_pb2.SendWeightsResponse(
            bytes=report.num_bytes, transfer=to_duration(report.seconds), digests=encode_digests(digests)
        )

    def _send(self, transfer: _Transfer, with_digests: bool) -> tuple[TransferReport, dict[str, str]]:
        leader = self._leader()
        with closing(leader.named_tensors()) as tensors:
            report = transfer.sender.broadcast(transfer.manifest, tensors)
        if not with_digests:
            return report, {}
        digests = engine_digests(
            leader.named_tensors(),
            ModelLayout.from_config(leader.model_config),
            leader.dtype,
            self._settings.generator.tensor_parallel_size,
        )
        return report, digests

    async def AbortTransfer(
        self, request: learner_pb2.AbortTransferRequest, context: Any
    ) -> learner_pb2.AbortTransferResponse:
        """Leaves the transfer's group, if it is open."""
        await require_transfer_key(self._standing, request.transfer_key)
        if self._open is not None and self._open.group.transfer_id == request.transfer_id:
            self._end(self._open, request.reason)
        return learner_pb2.AbortTransferResponse()

    def _expire(self, transfer_id: str) -> None:
        if self._open is not None and self._open.group.transfer_id == transfer_id:
            _LOG.warning("the controller never finished a transfer; training goes on", transfer_id=transfer_id)
            self._end(self._open, "expired")

    def _end(self, transfer: _Transfer, reason: str) -> None:
        """Ends `transfer` unless another has taken its place: what that holds still is its own."""
        if self._open is not transfer:
            return
        self._open = None
        transfer.expiry.cancel()
        transfer.sender.close()
        self.weights_lock.release()
        _LOG.info("transfer ended", version=transfer.manifest.version, reason=reason)

    def close(self) -> None:
        """Ends an open transfer and stops hosting the meeting."""
        if self._open is not None:
            self._end(self._open, "the learner ends")
        if self._meeting is not None:
            self._meeting.close()


def _opened(transfer: _Transfer) -> learner_pb2.OpenTransferResponse:
    return learner_pb2.OpenTransferResponse(
        manifest=encode_manifest(transfer.manifest), group=encode_group(transfer.group)
    )


def weight_manifest(leader: RankLeader) -> WeightManifest:
    """The weights that the learner holds, in the order in which `named_tensors` gives them."""
    tensors = tuple(
        TensorSpec(name, str(dtype).removeprefix("torch."), tuple(shape))
        for name, dtype, shape in leader.tensor_specs()
    )
    return WeightManifest(leader.policy_version, tensors)

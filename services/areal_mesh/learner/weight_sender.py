"""The learner's end of a publish: joins the group of the members, sends the weights it holds, says their digests.

A group is kept from one publish to the next, until a transfer fails or the controller names another membership.

What is sent is a snapshot (`snapshots`), lent from OpenTransfer until the transfer has ended, or until its deadline if
the controller never comes back; the learner trains on meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
from torch import Tensor

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.snapshots import WeightSnapshots
from areal_mesh.runtime.durations import from_duration, to_duration
from areal_mesh.runtime.errors import aborted, failed_precondition, invalid_argument
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.transfer_key import require_transfer_key
from areal_mesh.v1 import learner_pb2, learner_pb2_grpc
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.messages import encode_digests, encode_group, encode_manifest
from areal_mesh.weights.sender import TransferReport, WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transport import Meeting
from areal_mesh.weights.transports.table import build_transport

_THREADS = 4
"""Transfers that were given up hold a thread each until their deadline; one is sent at a time."""
_LOG = structlog.get_logger("publishing")


@dataclass
class _Transfer:
    """A publish that is open. `sending`: its bytes are on their way, and its snapshot is the thread's to give back."""

    transfer_id: str
    snapshot: Snapshot
    sender: WeightSender
    expiry: asyncio.TimerHandle
    sending: bool = False


class WeightSenderServicer(learner_pb2_grpc.LearnerServiceServicer):
    """LearnerService on one leader.

    Args:
        snapshots: what is sent.
        engine_ranks: how many ranks the run's generators have in all.
        standing: by what the run's controller is known.
    """

    def __init__(
        self,
        settings: RunSettings,
        leader: Callable[[], RankLeader],
        snapshots: WeightSnapshots,
        engine_ranks: Callable[[], Awaitable[int]],
        standing: HeardStanding,
    ) -> None:
        self._engine_ranks = engine_ranks
        self._standing = standing
        self._settings = settings
        self._leader = leader
        self._snapshots = snapshots
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="weights-send")
        self._transport = build_transport(settings.weights.transport)
        self._meeting: Meeting | None = None
        self._opening = asyncio.Lock()
        self._open: _Transfer | None = None
        self._sender: WeightSender | None = None
        self.sent_bytes = 0

    async def OpenTransfer(
        self, request: learner_pb2.OpenTransferRequest, context: Any
    ) -> learner_pb2.OpenTransferResponse:
        """Lends the newest snapshot to the transfer, and begins to join its group."""
        await require_transfer_key(self._standing, request.transfer_key)
        if self._open is not None and self._open.transfer_id == request.transfer_id:
            return _opened(self._open)
        await self._check_bounds(request)
        async with self._opening:
            if self._open is not None:
                self._end(self._open, "a newer transfer took its place")
            seconds = from_duration(request.timeout)
            snapshot = await self._snapshots.lend(seconds)
            try:
                sender = self._sender_to(request.group_id, request.world_size, seconds)
            except BaseException as error:
                self._snapshots.give_back(snapshot)
                if isinstance(error, TransferError | RuntimeError | OSError):
                    raise aborted(
                        f"transfer {request.transfer_id} could not be opened: {type(error).__name__}"
                    ) from error
                raise
            expiry = asyncio.get_running_loop().call_later(2 * seconds, self._expire, request.transfer_id)
            self._open = _Transfer(request.transfer_id, snapshot, sender, expiry)
            return _opened(self._open)

    def _sender_to(self, group_id: str, world_size: int, seconds: float) -> WeightSender:
        """The end of a group: the one that is joined already, or a new one in place of it."""
        if self._sender is not None and self._sender.group.group_id == group_id:
            return self._sender
        self._leave_group()
        self._sender = WeightSender(self._transport, self._host_meeting().open(group_id, world_size, seconds))
        return self._sender

    def _leave_group(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    async def _check_bounds(self, request: learner_pb2.OpenTransferRequest) -> None:
        """Refuses a group that the run cannot have asked for: it takes memory for each rank."""
        longest = self._settings.weights.transfer_seconds
        if from_duration(request.timeout) > longest:
            raise invalid_argument("timeout", f"weights.transfer_seconds = {longest:g} of this run is the longest")
        most = 1 + await self._engine_ranks()
        if request.world_size > most:
            raise invalid_argument(
                "world_size", f"{request.world_size}; the learner and the run's generators are {most} together"
            )

    def _host_meeting(self) -> Meeting:
        if self._meeting is None:
            self._meeting = self._transport.host(
                self._settings.weights.meeting_host or self._settings.learner.reached_host
            )
        return self._meeting

    async def SendWeights(
        self, request: learner_pb2.SendWeightsRequest, context: Any
    ) -> learner_pb2.SendWeightsResponse:
        """Broadcasts to the open group; ABORTED where a member is gone or late."""
        await require_transfer_key(self._standing, request.transfer_key)
        transfer = self._open
        if transfer is None or transfer.transfer_id != request.transfer_id:
            raise failed_precondition(f"transfer {request.transfer_id!r} is not open; open it first")
        if transfer.sending:
            raise failed_precondition(f"transfer {request.transfer_id!r} is being sent already")
        transfer.sending = True
        try:
            loop = asyncio.get_running_loop()
            sending = loop.run_in_executor(self._threads, self._send, transfer, request.digests)
            # A caller that leaves cannot call back what is on its way, nor take its snapshot from it.
            sending.add_done_callback(_heard)
            report, digests = await asyncio.shield(sending)
        except TransferError as error:
            self._end(transfer, "failed")
            raise aborted(str(error)) from error
        except BaseException:
            self._end(transfer, "given up")
            raise
        self._end(transfer, "sent", keep_group=True)
        self.sent_bytes += report.sent_bytes
        return learner_pb2.SendWeightsResponse(
            bytes=report.num_bytes, transfer=to_duration(report.seconds), digests=encode_digests(digests)
        )

    def _send(self, transfer: _Transfer, with_digests: bool) -> tuple[TransferReport, Mapping[str, str]]:
        try:
            report = transfer.sender.broadcast(transfer.snapshot)
            return report, transfer.snapshot.digests(self._digests) if with_digests else {}
        finally:
            self._snapshots.give_back(transfer.snapshot)

    def _digests(self, named_tensors: Iterator[tuple[str, Tensor]]) -> Mapping[str, str]:
        leader = self._leader()
        layout = ModelLayout.from_config(leader.model_config)
        return engine_digests(named_tensors, layout, leader.dtype, self._settings.generator.tensor_parallel_size)

    async def AbortTransfer(
        self, request: learner_pb2.AbortTransferRequest, context: Any
    ) -> learner_pb2.AbortTransferResponse:
        """Leaves the transfer's group, if it is open."""
        await require_transfer_key(self._standing, request.transfer_key)
        if self._open is not None and self._open.transfer_id == request.transfer_id:
            self._end(self._open, request.reason)
        return learner_pb2.AbortTransferResponse()

    def _expire(self, transfer_id: str) -> None:
        if self._open is not None and self._open.transfer_id == transfer_id:
            _LOG.warning("the controller never finished a transfer; it is given up", transfer_id=transfer_id)
            self._end(self._open, "expired")

    def _end(self, transfer: _Transfer, reason: str, keep_group: bool = False) -> None:
        """Ends `transfer`, unless another has taken its place. A group in which one went wrong is of no more use."""
        if self._open is not transfer:
            return
        self._open = None
        transfer.expiry.cancel()
        if not keep_group:
            self._leave_group()
        if not transfer.sending:
            self._snapshots.give_back(transfer.snapshot)
        _LOG.info("transfer ended", version=transfer.snapshot.manifest.version, reason=reason)

    def close(self) -> None:
        """Ends an open transfer and stops hosting the meeting."""
        if self._open is not None:
            self._end(self._open, "the learner ends")
        self._leave_group()
        if self._meeting is not None:
            self._meeting.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _opened(transfer: _Transfer) -> learner_pb2.OpenTransferResponse:
    return learner_pb2.OpenTransferResponse(
        manifest=encode_manifest(transfer.snapshot.manifest), group=encode_group(transfer.sender.group)
    )


def _heard(sent: "asyncio.Future[Any]") -> None:
    """Takes note of how a send ended whose caller may be gone, or asyncio would report its failure as forgotten."""
    if not sent.cancelled():
        sent.exception()

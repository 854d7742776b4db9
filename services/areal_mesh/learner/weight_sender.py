"""The learner's end of a publish: opens a broadcast group, sends the weights it holds, says their digests.

The weights stand still from OpenTransfer until the transfer has ended: the training loop holds `still` for each
update, and a publish holds it from its opening to its end, or to its deadline if the controller never comes back.
"""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import structlog
from google.protobuf import duration_pb2

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.errors import aborted, failed_precondition, unavailable
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import learner_pb2, learner_pb2_grpc, weights_pb2
from areal_mesh.weights.checksums import ModelLayout, engine_digests
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.manifest import TensorSpec, WeightManifest
from areal_mesh.weights.sender import TransferReport, WeightSender
from areal_mesh.weights.store import StoreHost

_LOG = structlog.get_logger("publishing")


@dataclass(frozen=True)
class _Transfer:
    """A publish that is open."""

    group_id: str
    manifest: WeightManifest
    sender: WeightSender
    expiry: asyncio.TimerHandle


class PublishServicer(learner_pb2_grpc.LearnerServiceServicer):
    """LearnerService on one leader. `torch`: the thread on which it works."""

    def __init__(self, settings: RunSettings, leader: Callable[[], RankLeader], torch: TorchThread) -> None:
        self._settings = settings
        self._leader = leader
        self._torch = torch
        self._store: StoreHost | None = None
        self._open: _Transfer | None = None
        self.still = asyncio.Lock()
        self.sent_bytes = 0

    async def OpenTransfer(
        self, request: learner_pb2.OpenTransferRequest, context: Any
    ) -> learner_pb2.OpenTransferResponse:
        """Waits for an update in progress, then holds the weights still for this group."""
        if self._open is not None and self._open.group_id == request.group_id:
            return self._opened(self._open, request)
        if self._open is not None:
            self._end(self._open, "a newer transfer took its place")
        await self._hold_still(request)
        try:
            manifest = weight_manifest(self._leader())
            group_id = request.group_id or uuid.uuid4().hex
            seconds = request.timeout.ToNanoseconds() / 1e9
            rendezvous = self._store_host().rendezvous(group_id, request.world_size, seconds)
            sender = WeightSender.open(
                rendezvous, self._settings.learner.transport, interface=self._settings.learner.interface
            )
        except BaseException:
            self.still.release()
            raise
        expiry = asyncio.get_running_loop().call_later(2 * seconds, self._expire, group_id)
        self._open = _Transfer(group_id, manifest, sender, expiry)
        return self._opened(self._open, request)

    async def _hold_still(self, request: learner_pb2.OpenTransferRequest) -> None:
        seconds = request.timeout.ToNanoseconds() / 1e9
        try:
            async with asyncio.timeout(seconds):
                await self.still.acquire()
        except TimeoutError as error:
            raise unavailable(f"an update has been in progress for {seconds:.0f} s; the weights move") from error

    def _store_host(self) -> StoreHost:
        if self._store is None:
            self._store = StoreHost(self._settings.learner.reached_host)
        return self._store

    def _opened(
        self, transfer: _Transfer, request: learner_pb2.OpenTransferRequest
    ) -> learner_pb2.OpenTransferResponse:
        store = self._store_host()
        manifest = weights_pb2.WeightManifest(policy_version=transfer.manifest.version)
        for tensor in transfer.manifest.tensors:
            manifest.tensors.add(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape)
        group = weights_pb2.TransferGroup(
            group_id=transfer.group_id,
            host=store.host,
            port=store.port,
            world_size=request.world_size,
            rank=0,
            timeout=request.timeout,
        )
        return learner_pb2.OpenTransferResponse(manifest=manifest, group=group)

    async def SendWeights(
        self, request: learner_pb2.SendWeightsRequest, context: Any
    ) -> learner_pb2.SendWeightsResponse:
        """Broadcasts to the open group; ABORTED where a member is gone or late."""
        transfer = self._open
        if transfer is None or transfer.group_id != request.group_id:
            raise failed_precondition(f"broadcast group {request.group_id!r} is not open; open it first")
        try:
            report, digests = await self._torch.run(lambda: self._send(transfer, request.checksums))
        except TransferError as error:
            raise aborted(str(error)) from error
        finally:
            self._end(transfer, "sent")
        self.sent_bytes += report.num_bytes
        response = learner_pb2.SendWeightsResponse(bytes=report.num_bytes, transfer=duration_pb2.Duration(nanos=0))
        response.transfer.FromNanoseconds(int(report.seconds * 1e9))
        for name, digest in digests.items():
            response.checksums.add(name=name, digest=digest)
        return response

    def _send(self, transfer: _Transfer, checksums: bool) -> tuple[TransferReport, dict[str, str]]:
        leader = self._leader()
        with closing(leader.named_tensors()) as tensors:
            report = transfer.sender.broadcast(transfer.manifest, tensors)
        if not checksums:
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
        """Leaves the version's open group, if there is one."""
        if self._open is not None and self._open.manifest.version == request.policy_version:
            self._end(self._open, request.reason)
        return learner_pb2.AbortTransferResponse()

    def _expire(self, group_id: str) -> None:
        if self._open is not None and self._open.group_id == group_id:
            _LOG.warning("the controller never finished a transfer; training goes on", group_id=group_id)
            self._end(self._open, "expired")

    def _end(self, transfer: _Transfer, reason: str) -> None:
        """Ends `transfer` unless another has taken its place: what that holds still is its own."""
        if self._open is not transfer:
            return
        self._open = None
        transfer.expiry.cancel()
        transfer.sender.close()
        self.still.release()
        _LOG.info("transfer ended", version=transfer.manifest.version, reason=reason)

    def close(self) -> None:
        """Ends an open transfer and stops serving the store."""
        if self._open is not None:
            self._end(self._open, "the learner ends")
        if self._store is not None:
            self._store.close()


def weight_manifest(leader: RankLeader) -> WeightManifest:
    """The weights that the learner holds, in the order in which `named_tensors` gives them."""
    tensors = tuple(
        TensorSpec(name, str(dtype).removeprefix("torch."), tuple(shape))
        for name, dtype, shape in leader.tensor_specs()
    )
    return WeightManifest(leader.policy_version, tensors)

"""The learner's end of a publish."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.joining import PendingWire
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transport import Transport


@dataclass(frozen=True)
class TransferReport:
    """What one broadcast moved."""

    num_bytes: int
    """Bytes of the tensors, padding aside."""
    sent_bytes: int
    """Bytes that travelled to each member."""
    seconds: float
    """From the first byte to the last one handed over; joining is not in it."""


class WeightSender:
    """Rank 0 of one group: the learner's, as long as the group lives. One thread at a time; calls block."""

    def __init__(self, transport: Transport, group: Group) -> None:
        """Start joining the group, in the background: `broadcast` waits for it. The meeting must be hosted already."""
        self.group = group
        self._pending = PendingWire(transport, group, SENDER_RANK)

    def broadcast(self, snapshot: Snapshot) -> TransferReport:
        """Send a snapshot to all members, bucket by bucket; it may be filled anew when this returns.

        The manifest's fingerprint goes first; members that expect another manifest refuse it before any weight moves.
        Raises TransferError when a member is gone or late.
        """
        wire, manifest = self._pending.wait(), snapshot.manifest
        start = time.monotonic()
        fingerprint = torch.frombuffer(bytearray(manifest.fingerprint()), dtype=torch.uint8)
        wire.begin(fingerprint.numel() + sum(bucket.num_bytes for bucket in manifest.buckets()))
        sent = wire.broadcast(fingerprint.to(wire.device))
        for buffer in staged(snapshot, wire.device):
            sent += wire.broadcast(buffer)
        seconds = time.monotonic() - start
        wire.finish()
        return TransferReport(manifest.num_bytes, sent, seconds)

    def close(self) -> None:
        """Leave the group. Idempotent."""
        self._pending.close()


def staged(snapshot: Snapshot, device: torch.device) -> Iterator[torch.Tensor]:
    """The snapshot's buckets on `device`. On a GPU there are two buffers: one is filled while the other is sent.

    A buffer is used before the next one is asked for; a broadcast has ended when it returns, so the buffer before the
    last is free by then.
    """
    if device.type == "cpu":
        yield from snapshot.buckets()
        return
    sizes = [bucket.num_bytes for bucket in snapshot.manifest.buckets()]
    memory = [torch.empty(max(sizes), dtype=torch.uint8, device=device) for _ in range(2)]
    copies, coming = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]
    for index, source in enumerate(snapshot.buckets()):
        with torch.cuda.stream(copies):
            following = memory[index % 2][: source.numel()]
            following.copy_(source, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(copies)
        if coming is not None:
            yield coming
        arrived.synchronize()
        coming = following
    if coming is not None:
        yield coming

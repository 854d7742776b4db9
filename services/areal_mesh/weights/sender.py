"""The learner's end of a publish."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.joining import PendingWire
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import pack
from areal_mesh.weights.transport import Transport


@dataclass(frozen=True)
class TransferReport:
    """What one broadcast moved."""

    num_bytes: int
    """Bytes of the tensors, padding aside."""
    seconds: float
    """From the first byte to the last one handed over; joining is not in it."""


class WeightSender:
    """Rank 0 of one broadcast group. Not thread-safe; its calls block.

    Only the learner's rank 0 holds one. Where the parameters are sharded, the other ranks iterate the same tensors,
    because gathering each is a collective, and send nothing.
    """

    def __init__(self, transport: Transport, group: Group) -> None:
        """Start joining the group, in the background: `broadcast` waits for it. The meeting must be hosted already."""
        self._pending = PendingWire(transport, group, SENDER_RANK)

    def broadcast(self, manifest: WeightManifest, named_tensors: Iterable[tuple[str, torch.Tensor]]) -> TransferReport:
        """Send every tensor of the manifest to all members, in buckets, one bucket in memory at a time.

        The manifest's fingerprint goes first; members that expect another manifest refuse it before any weight moves.
        Raises TransferError when a member is gone or late, ValueError when the tensors are not the manifest's.
        """
        wire = self._pending.wait()
        start = time.monotonic()
        fingerprint = torch.frombuffer(bytearray(manifest.fingerprint()), dtype=torch.uint8)
        wire.broadcast(fingerprint.to(wire.device))
        for buffer in pack(manifest, named_tensors, wire.device):
            wire.broadcast(buffer)
        return TransferReport(manifest.num_bytes, time.monotonic() - start)

    def close(self) -> None:
        """Leave the group. Idempotent."""
        self._pending.close()

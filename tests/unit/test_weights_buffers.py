"""Two fixed buffers carry any number of buckets, and what was loaded is not written over."""

import pytest
import torch

from areal_mesh.weights.packing import describe
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transport import Wire


class Replay(Wire):
    """Receives what a snapshot would send."""

    device = torch.device("cpu")

    def __init__(self, snapshot: Snapshot) -> None:
        fingerprint = torch.frombuffer(bytearray(snapshot.manifest.fingerprint()), dtype=torch.uint8)
        self._coming = iter([fingerprint, *snapshot.buckets()])
        self.memory: set[int] = set()

    def broadcast(self, buffer: torch.Tensor) -> int:
        raise AssertionError("another sends")

    def receive(self, buffer: torch.Tensor) -> None:
        self.memory.add(buffer.data_ptr())
        buffer.copy_(next(self._coming))

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("fixed", [True, False])
def test_what_a_loader_keeps_stays_as_it_was_received(fixed: bool) -> None:
    tensors = {f"t{index}": torch.full((100 + index,), float(index)) for index in range(20)}
    manifest = describe(1, tensors.items(), bucket_bytes=1024)
    wire = Replay(Snapshot.of(manifest, tensors.items()))
    receiver = BucketReceiver(wire, manifest, fixed)
    kept = dict(receiver.tensors())
    assert len(manifest.buckets()) > 5
    assert list(kept) == list(tensors)
    assert all(torch.equal(kept[name], tensor) for name, tensor in tensors.items())
    if fixed:
        assert len(wire.memory) == 3, "the fingerprint's and two"

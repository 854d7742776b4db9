"""The receiving end of a publish, whatever holds the model."""

from collections.abc import Iterator

import torch

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.manifest import Bucket, WeightManifest
from areal_mesh.weights.transport import Transport


def receive_buckets(transport: Transport, manifest: WeightManifest) -> Iterator[tuple[Bucket, torch.Tensor]]:
    """Yield each bucket of the manifest with its bytes, each in memory of its own.

    (A loader may keep views into a bucket until the last tensor of a layer has come.)
    Raises TransferError before the first bucket when the sender's manifest is another one.
    """
    expected = manifest.fingerprint()
    fingerprint = torch.empty(len(expected), dtype=torch.uint8, device=transport.device)
    transport.receive(fingerprint)
    if bytes(fingerprint.tolist()) != expected:
        raise TransferError(f"the learner sends another manifest than the one announced for version {manifest.version}")
    for bucket in manifest.buckets():
        buffer = torch.empty(bucket.num_bytes, dtype=torch.uint8, device=transport.device)
        transport.receive(buffer)
        yield bucket, buffer

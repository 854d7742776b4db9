"""The receiving end of a publish, whatever holds the model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.manifest import Bucket, WeightManifest
from areal_mesh.weights.transport import Transport


def receive_buckets(transport: Transport, manifest: WeightManifest) -> Iterator[tuple[Bucket, torch.Tensor]]:
    """Yield each bucket of the manifest with its bytes, each in memory of its own, while the next one is received.

    (A loader may keep views into a bucket until the last tensor of a layer has come.)
    Raises TransferError before the first bucket when the sender's manifest is another one.
    """
    expected = manifest.fingerprint()
    if bytes(_receive(transport, len(expected)).tolist()) != expected:
        raise TransferError(f"the learner sends another manifest than the one announced for version {manifest.version}")
    buckets = manifest.buckets()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="weights-ahead") as ahead:
        coming = [ahead.submit(_receive, transport, bucket.num_bytes) for bucket in buckets[:1]]
        for index, bucket in enumerate(buckets):
            buffer = coming.pop().result()
            coming = [ahead.submit(_receive, transport, after.num_bytes) for after in buckets[index + 1 : index + 2]]
            yield bucket, buffer


def _receive(transport: Transport, num_bytes: int) -> torch.Tensor:
    buffer = torch.empty(num_bytes, dtype=torch.uint8, device=transport.device)
    transport.receive(buffer)
    return buffer

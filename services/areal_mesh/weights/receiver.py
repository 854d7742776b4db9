"""The receiving end of a publish, whatever holds the model."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.manifest import Bucket, WeightManifest
from areal_mesh.weights.transport import Wire


class BucketReceiver:
    """Receives one publish; while one bucket is loaded, the next is on the wire."""

    def __init__(self, wire: Wire, manifest: WeightManifest) -> None:
        self._wire = wire
        self._manifest = manifest
        self.seconds = 0.0
        """Spent receiving buckets so far, the sender's packing included; the caller's loading runs beside it. The
        fingerprint, and the wait for a sender that has still to begin, are not in it."""

    def buckets(self) -> Iterator[tuple[Bucket, torch.Tensor]]:
        """Yield each bucket of the manifest with its bytes, each in memory of its own.

        (A loader may keep views into a bucket until the last tensor of a layer has come.)
        Raises TransferError, before the first bucket when the sender's manifest is another one.
        """
        expected = self._manifest.fingerprint()
        found = bytes(self._receive(len(expected)).tolist())
        self.seconds = 0.0
        if found != expected:
            version = self._manifest.version
            raise TransferError(f"the learner sends another manifest than the one announced for version {version}")
        plan = self._manifest.buckets()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="weights-ahead") as ahead:
            coming = [ahead.submit(self._receive, bucket.num_bytes) for bucket in plan[:1]]
            for index, bucket in enumerate(plan):
                buffer = coming.pop().result()
                coming = [ahead.submit(self._receive, after.num_bytes) for after in plan[index + 1 : index + 2]]
                yield bucket, buffer

    def _receive(self, num_bytes: int) -> torch.Tensor:
        begin = time.monotonic()
        buffer = torch.empty(num_bytes, dtype=torch.uint8, device=self._wire.device)
        self._wire.receive(buffer)
        self.seconds += time.monotonic() - begin
        return buffer

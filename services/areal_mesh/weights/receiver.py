"""The receiving end of a publish, whatever holds the model."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from areal_mesh.weights.buffers import ReceiveBuffers
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.manifest import Bucket, WeightManifest
from areal_mesh.weights.packing import unpack
from areal_mesh.weights.transport import Wire


class BucketReceiver:
    """Receives one publish; while one bucket is loaded, the next is on the wire."""

    def __init__(self, wire: Wire, manifest: WeightManifest, fixed_buffers: bool | None = None) -> None:
        self._wire = wire
        self._manifest = manifest
        self._plan = manifest.buckets()
        longest = max((bucket.num_bytes for bucket in self._plan), default=0)
        self._buffers = ReceiveBuffers(wire.device, longest, fixed_buffers)
        self.seconds = 0.0
        """Spent receiving buckets so far; the caller's loading runs beside it. The fingerprint, and the wait for a
        sender that has still to begin, are not in it."""
        self.waited_seconds = 0.0
        """Of those, and of waiting for the sender, what the caller's loading waited for."""

    def buckets(self) -> Iterator[tuple[Bucket, torch.Tensor]]:
        """Yield each bucket of the manifest with its bytes; whoever is through with them calls `release`.

        A bucket is not to be kept, for its buffer may be received into again; what `tensors` yields is.
        Raises TransferError, before the first bucket when the sender's manifest is another one.
        """
        expected = self._manifest.fingerprint()
        fingerprint = torch.empty(len(expected), dtype=torch.uint8, device=self._wire.device)
        self._wire.receive(fingerprint)
        if bytes(fingerprint.tolist()) != expected:
            version = self._manifest.version
            raise TransferError(f"the learner sends another manifest than the one announced for version {version}")
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="weights-ahead") as ahead:
            coming = [ahead.submit(self._receive, 0)] if self._plan else []
            for index, bucket in enumerate(self._plan):
                begin = time.monotonic()
                buffer = coming.pop().result()
                self.waited_seconds += time.monotonic() - begin
                if index + 1 < len(self._plan):
                    coming = [ahead.submit(self._receive, index + 1)]
                yield bucket, buffer
                self._buffers.loaded(index)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors of all buckets as they come, for a loader that may keep them; raises as `buckets` does."""
        for bucket, buffer in self.buckets():
            for spec, view in unpack(bucket, buffer):
                yield spec.name, self._buffers.loaded_from(view)

    def release(self) -> None:
        """Every tensor was loaded: the sender may write anew what it lent. Raises TransferError where it did before."""
        self._wire.release()

    def _receive(self, index: int) -> torch.Tensor:
        if self._wire.device.type == "cuda":
            # A new thread begins on device 0.
            torch.cuda.set_device(self._wire.device)
        num_bytes, begin = self._plan[index].num_bytes, time.monotonic()
        lent = self._wire.lend(num_bytes)
        if lent is None:
            lent = self._buffers.to_receive(index, num_bytes)
            begin = time.monotonic()
            self._wire.receive(lent)
        self.seconds += time.monotonic() - begin
        return lent

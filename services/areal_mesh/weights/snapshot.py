"""One policy version as it is published: packed in the order and the dtype of the broadcast, in memory of its own.

What trains may go on once a snapshot was filled: publishes, and the digests of both ends, are made from the snapshot.
The memory is the host's, pinned where there is a GPU, and is filled anew for a later version. Where engines of the same
host load from it (`ipc`), it is shared with them; not where there is a GPU, for what is shared is not pinned.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

import torch

from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import pack_into, unpack
from areal_mesh.weights.shared_memory import SharedMemory


class Snapshot:
    """Weights of one version at a time. Filled, and then only read.

    Args:
        shared: whether other processes of the host are to read it where it lies.
    """

    def __init__(self, shared: bool = False) -> None:
        self._shares = shared and not torch.cuda.is_available()
        self._shared: SharedMemory | None = None
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._manifest: WeightManifest | None = None
        self._digests: Mapping[str, str] | None = None

    @classmethod
    def of(
        cls, manifest: WeightManifest, named_tensors: Iterable[tuple[str, torch.Tensor]], shared: bool = False
    ) -> Self:
        """A snapshot that is filled. Raises ValueError like `fill`."""
        snapshot = cls(shared)
        snapshot.fill(manifest, named_tensors)
        return snapshot

    @property
    def manifest(self) -> WeightManifest:
        """What it holds."""
        assert self._manifest is not None, "a snapshot is filled before it is read"
        return self._manifest

    def fill(self, manifest: WeightManifest, named_tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Hold `named_tensors` as the manifest says. Raises ValueError where they are not the manifest's."""
        self._manifest = self._digests = None
        num_bytes = sum(bucket.num_bytes for bucket in manifest.buckets())
        if self._memory.numel() != num_bytes:
            self._memory = self._allocate(num_bytes)
        pack_into(manifest, named_tensors, self._slices(manifest))
        self._manifest = manifest

    def buckets(self) -> Iterator[torch.Tensor]:
        """The bytes of each bucket of the manifest, in its order."""
        return self._slices(self.manifest)

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each tensor of the manifest, as a view."""
        for bucket, buffer in zip(self.manifest.buckets(), self.buckets(), strict=True):
            for spec, view in unpack(bucket, buffer):
                yield spec.name, view

    def digests(self, compute: Callable[[Iterator[tuple[str, torch.Tensor]]], Mapping[str, str]]) -> Mapping[str, str]:
        """What `compute` makes of the tensors, once a version."""
        if self._digests is None:
            self._digests = compute(self.named_tensors())
        return self._digests

    def _allocate(self, num_bytes: int) -> torch.Tensor:
        if not self._shares:
            return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
        self._shared = SharedMemory(num_bytes)
        return self._shared.tensor

    def _slices(self, manifest: WeightManifest) -> Iterator[torch.Tensor]:
        begin = 0
        for bucket in manifest.buckets():
            yield self._memory[begin : begin + bucket.num_bytes]
            begin += bucket.num_bytes

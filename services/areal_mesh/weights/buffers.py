"""Where buckets are received: in fresh memory on a CPU, in two fixed buffers on a GPU.

On a GPU memory that one stream reads must not come back from the allocator to another. So there the receiver has two
buffers of its own from the first bucket to the last; an event, recorded when a bucket has been loaded, says when its
buffer may be received into again; and what a loader keeps of a bucket it copies first (`loaded_from`).
"""

from typing import Any

import torch

_BUFFERS = 2


class ReceiveBuffers:
    """The memory of one publish.

    Args:
        longest: bytes of the longest bucket.
        fixed: whether two buffers are used in turn; by default on a GPU.
    """

    def __init__(self, device: torch.device, longest: int, fixed: bool | None = None) -> None:
        self._device = device
        self.fixed = device.type == "cuda" if fixed is None else fixed
        self._memory = [self._empty(longest) for _ in range(_BUFFERS)] if self.fixed else []
        self._loaded: list[Any] = [None] * _BUFFERS

    def to_receive(self, index: int, num_bytes: int) -> torch.Tensor:
        """Memory for bucket `index`; waits until the bucket before the last, which had it, has been loaded."""
        if not self.fixed:
            return self._empty(num_bytes)
        event = self._loaded[index % _BUFFERS]
        if event is not None:
            event.synchronize()
        return self._memory[index % _BUFFERS][:num_bytes]

    def loaded(self, index: int) -> None:
        """Bucket `index` has been loaded, or will have been once the current stream is through with it."""
        if self.fixed and self._device.type == "cuda":
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            self._loaded[index % _BUFFERS] = event

    def loaded_from(self, view: torch.Tensor) -> torch.Tensor:
        """What a loader may keep of a bucket: layers are put together from tensors of several buckets."""
        return view.clone() if self.fixed else view

    def _empty(self, num_bytes: int) -> torch.Tensor:
        return torch.empty(num_bytes, dtype=torch.uint8, device=self._device)

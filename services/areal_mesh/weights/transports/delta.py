"""Only what changed since the version before, over any other transport; exact to the bit.

Both ends keep the bytes of the publish before, in host memory: one more model in the publishing dtype at the learner
and at each engine worker. A group's first publish is whole, as is every `full_every`-th one, and a bucket of which too
much changed. So a newcomer, for whom another group is formed, costs its members one whole publish.

Each bucket is announced by a header: what follows, which bucket of the publish it is, and on which publish of the group
the changes build. A member that does not hold that one refuses it, and is published to anew in another group.
"""

import struct
from dataclasses import dataclass, field

import torch

from areal_mesh.runtime.settings.weights import DeltaSettings
from areal_mesh.weights.changes import apply_changes, changes
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transport import Meeting, Transport, Wire

_HEADER = struct.Struct("<IIIIQ")
"""Kind, bucket, publish, publish that it builds on, bytes that follow."""
_WHOLE, _CHANGES = 0, 1
_PLAIN_BYTES = 64
"""What is no longer (a manifest's fingerprint) travels as it is."""


@dataclass(frozen=True)
class Delta:
    """The transport that sends over `over` what changed."""

    settings: DeltaSettings
    over: Transport

    def host(self, address: str) -> Meeting:
        """See `Transport`."""
        return self.over.host(address)

    def join(self, group: Group, rank: int) -> "DeltaWire":
        """See `Transport`."""
        return DeltaWire(self.over.join(group, rank), self.settings.full_every)

    def await_arrival(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        self.over.await_arrival(group, ranks)

    def await_joined(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        self.over.await_joined(group, ranks)


@dataclass
class _Held:
    """The buckets of the last publish, in host memory."""

    publish: int = 0
    """From 1 up, of the group; 0 before the first."""
    buckets: list[torch.Tensor] = field(default_factory=list)
    of_publish: list[int] = field(default_factory=list)
    """By bucket: the publish that its bytes are of."""

    def builds_on(self, bucket: int, length: int) -> int:
        """The publish whose bytes of this bucket are held; 0 where none are, or of another length."""
        known = bucket < len(self.buckets) and self.buckets[bucket].numel() == length
        return self.of_publish[bucket] if known else 0

    def keep(self, bucket: int, buffer: torch.Tensor) -> None:
        if bucket == len(self.buckets):
            self.buckets.append(torch.empty(0, dtype=torch.uint8))
            self.of_publish.append(0)
        if self.buckets[bucket].numel() != buffer.numel():
            self.buckets[bucket] = torch.empty(buffer.numel(), dtype=torch.uint8)
        self.buckets[bucket].copy_(buffer)
        self.of_publish[bucket] = self.publish


class DeltaWire(Wire):
    """Buffers lie where those of `over` lie; changes are found and applied on the host."""

    def __init__(self, over: Wire, full_every: int) -> None:
        self.device = over.device
        self._over, self._full_every = over, full_every
        self._held, self._bucket = _Held(), 0

    def begin(self, num_bytes: int) -> None:
        self._over.begin(num_bytes)
        self._held.publish += 1
        self._bucket = 0

    def broadcast(self, buffer: torch.Tensor) -> int:
        if buffer.numel() <= _PLAIN_BYTES:
            return self._over.broadcast(buffer)
        bucket, held = self._bucket, self._held
        new = buffer.cpu()
        base = held.builds_on(bucket, new.numel()) if (held.publish - 1) % self._full_every else 0
        changed = changes(held.buckets[bucket], new) if base else None
        if changed is None:
            sent = self._send(_HEADER.pack(_WHOLE, bucket, held.publish, 0, new.numel()), buffer)
            held.keep(bucket, new)
        else:
            header = _HEADER.pack(_CHANGES, bucket, held.publish, base, changed.numel())
            sent = self._send(header, changed.to(self.device))
            apply_changes(held.buckets[bucket], changed)
            held.of_publish[bucket] = held.publish
        self._bucket += 1
        return sent

    def receive(self, buffer: torch.Tensor) -> None:
        if buffer.numel() <= _PLAIN_BYTES:
            self._over.receive(buffer)
            return
        kind, bucket, publish, base, length = _HEADER.unpack(self._receive(_HEADER.size).numpy().tobytes())
        held = self._held
        held.publish = publish
        if bucket > len(held.buckets) or (kind == _CHANGES and base != held.builds_on(bucket, buffer.numel())):
            raise TransferError(f"bucket {bucket} builds on publish {base} of the group, which is not held here")
        if kind == _CHANGES:
            try:
                apply_changes(held.buckets[bucket], self._receive(length))
            except ValueError as error:
                raise TransferError(f"bucket {bucket} of publish {publish}: {error}") from error
            held.of_publish[bucket] = publish
            buffer.copy_(held.buckets[bucket])
        elif length == buffer.numel():
            self._over.receive(buffer)
            held.keep(bucket, buffer)
        else:
            raise TransferError(f"bucket {bucket} of publish {publish} has not the bytes of the manifest")

    def finish(self) -> None:
        self._over.finish()

    def release(self) -> None:
        self._over.release()

    def close(self) -> None:
        self._over.close()

    def _send(self, header: bytes, payload: torch.Tensor) -> int:
        announced = torch.frombuffer(bytearray(header), dtype=torch.uint8).to(self.device)
        return self._over.broadcast(announced) + self._over.broadcast(payload)

    def _receive(self, length: int) -> torch.Tensor:
        """So many bytes, in host memory."""
        arrived = torch.empty(length, dtype=torch.uint8, device=self.device)
        self._over.receive(arrived)
        return arrived.cpu()

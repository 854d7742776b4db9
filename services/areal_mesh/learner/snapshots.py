"""Snapshots of the learner's weights: one is taken with each version, and publishes are made from the last.

There are two: one is lent to a transfer, or holds the newest version; the other is free for the next. So training
waits for no transfer, and a transfer for no update: a generator that comes in the middle of a long step is served at
once with the version before it. (A transfer that is given up while its bytes are on their way keeps what it was lent
until its deadline; a further snapshot is made then.)
"""

import asyncio
from collections.abc import Callable
from contextlib import closing

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.errors import unavailable
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.weights.manifest import TensorSpec, WeightManifest
from areal_mesh.weights.snapshot import Snapshot


class WeightSnapshots:
    """Belongs to one event loop; the copying is the torch thread's.

    Args:
        leader: whose weights they are.
        bucket_bytes: how they are cut for the transport.
        shared: whether engines of this host are to load from them.
    """

    def __init__(
        self, leader: Callable[[], RankLeader], torch: TorchThread, bucket_bytes: int, shared: bool = False
    ) -> None:
        self._leader = leader
        self._torch = torch
        self._bucket_bytes = bucket_bytes
        self._shared = shared
        self._held: list[Snapshot] = []
        self._newest: Snapshot | None = None
        self._lent: list[Snapshot] = []
        self._taken = asyncio.Event()

    async def take(self) -> None:
        """Copies the weights as they are now, which are the newest from then on."""
        target = self._free()
        if self._newest is target:
            self._newest = None
            self._taken.clear()
        await self._torch.run(lambda: self._fill(target))
        self._newest = target
        self._taken.set()

    async def lend(self, seconds: float) -> Snapshot:
        """The newest snapshot, which stays as it is until it is given back.

        Raises:
            MeshError: UNAVAILABLE, none was taken in `seconds`.
        """
        if self._newest is None:
            await wait_until(self._taken, seconds)
        if self._newest is None:
            raise unavailable(f"the learner has had no weights to publish for {seconds:.0f} s")
        self._lent.append(self._newest)
        return self._newest

    def give_back(self, snapshot: Snapshot) -> None:
        """What was lent may be filled anew. Called on any thread."""
        self._lent.remove(snapshot)

    def _free(self) -> Snapshot:
        """One that is not lent, and where there is a choice not the newest."""
        free = [snapshot for snapshot in self._held if snapshot not in self._lent]
        older = [snapshot for snapshot in free if snapshot is not self._newest]
        if older or (free and len(self._held) > 1):
            return (older or free)[0]
        self._held.append(Snapshot(self._shared))
        return self._held[-1]

    def _fill(self, target: Snapshot) -> None:
        leader = self._leader()
        specs = (
            TensorSpec(name, str(dtype).removeprefix("torch."), tuple(shape))
            for name, dtype, shape in leader.tensor_specs()
        )
        manifest = WeightManifest(leader.policy_version, tuple(specs), self._bucket_bytes)
        with closing(leader.named_tensors()) as tensors:
            target.fill(manifest, tensors)

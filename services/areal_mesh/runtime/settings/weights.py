"""Settings of publishing: how weights travel from the learner to the generators, how often, with which deadlines."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from areal_mesh.runtime.addresses import parse_host
from areal_mesh.runtime.settings.base import Seconds, Settings, SettingsPath


class GlooSettings(Settings):
    """Broadcast over Gloo, from CPU to CPU."""

    needs_gpus: ClassVar[bool] = False
    lends: ClassVar[bool] = False
    type: Literal["gloo"] = "gloo"
    interface: str | None = None
    """Network interface of the broadcast; left out, the one that has the learner's address."""
    bucket_mib: int = Field(default=8, gt=0, le=16384)
    """Longest piece of the broadcast. Longer ones leave the processor's cache, and are slower over loopback."""


class NcclSettings(Settings):
    """Broadcast over NCCL, from GPU to GPU."""

    needs_gpus: ClassVar[bool] = True
    lends: ClassVar[bool] = False
    type: Literal["nccl"] = "nccl"
    bucket_mib: int = Field(default=256, gt=0, le=16384)
    """Longest piece of the broadcast; learner and generators have two such buffers each, on the GPU."""


class DiskSettings(Settings):
    """Through a folder that the learner and all generators share; needs no network between them."""

    needs_gpus: ClassVar[bool] = False
    lends: ClassVar[bool] = False
    type: Literal["disk"] = "disk"
    folder: SettingsPath = Path("runs/.weights")
    """The folder as each of them reaches it; it holds the last version while the learner lives."""
    bucket_mib: int = Field(default=64, gt=0, le=16384)
    """Longest file."""


class IpcSettings(Settings):
    """Through memory that the learner and the generators of one host share: the way between two on one GPU."""

    needs_gpus: ClassVar[bool] = False
    lends: ClassVar[bool] = True
    type: Literal["ipc"] = "ipc"
    folder: SettingsPath = Path("runs/.ipc")
    """Where they meet; of one user, and the same file system for all of them."""
    bucket_mib: int = Field(default=64, gt=0, le=16384)
    """Longest piece."""


CarrierSettings = Annotated[GlooSettings | NcclSettings | DiskSettings | IpcSettings, Field(discriminator="type")]


class DeltaSettings(Settings):
    """Only what changed since the version before, over another transport; exact to the bit."""

    type: Literal["delta"] = "delta"
    over: CarrierSettings = GlooSettings()
    """The transport that carries it, of any other kind; its own settings stand under `over`."""
    full_every: int = Field(default=100, gt=0)
    """Every n-th publish is whole, as is the first after each change of the members."""

    @property
    def needs_gpus(self) -> bool:
        """Whether its carrier does."""
        return self.over.needs_gpus

    @property
    def lends(self) -> bool:
        """Whether its carrier does."""
        return self.over.lends

    @property
    def bucket_mib(self) -> int:
        """Its carrier's longest piece."""
        return self.over.bucket_mib


TransportSettings = Annotated[
    GlooSettings | NcclSettings | DiskSettings | IpcSettings | DeltaSettings, Field(discriminator="type")
]
"""Each says whether it needs GPUs (its buffers lie on them, at both ends), and whether it lends the learner's memory to
the engines, so that the snapshot has to lie where they can read it."""


class WeightSettings(Settings):
    """Publishing."""

    transport: TransportSettings = NcclSettings()
    """How weights travel."""
    meeting_host: str | None = None
    """Host of the learner at which members meet for a transfer, for a network of their own; left out, the one under
    which others reach the learner. Beyond loopback whoever comes there has to know the group's token."""
    sync_every: int = Field(default=1, gt=0)
    """Pacing: every n-th version is published."""
    prepare_seconds: Seconds = 30.0
    """Deadline for all members to get ready for a transfer."""
    transfer_seconds: Seconds = 60.0
    """Deadline of the transfer."""
    attempts: int = Field(default=3, gt=0)
    """How often a publish is tried before everyone who failed is left out of it for a while."""
    digests: Literal["always", "never"] = "always"
    """Whether digests of learner and generators are compared after each publish."""

    @field_validator("meeting_host")
    @classmethod
    def _is_a_host(cls, value: str | None) -> str | None:
        return parse_host(value) if value else None

    @property
    def compares_digests(self) -> bool:
        """Whether generators hold a version only once its digests agree with the learner's."""
        return self.digests == "always"

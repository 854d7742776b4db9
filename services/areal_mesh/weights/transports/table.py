"""Every transport, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.runtime.settings.weights import DeltaSettings, TransportSettings
from areal_mesh.weights.transport import Transport
from areal_mesh.weights.transports.delta import Delta
from areal_mesh.weights.transports.disk import Disk
from areal_mesh.weights.transports.gloo import Gloo
from areal_mesh.weights.transports.ipc import Ipc
from areal_mesh.weights.transports.nccl import Nccl


def build_transport(settings: TransportSettings) -> Transport:
    """The transport that the settings name; for NCCL on the CUDA device of the calling thread."""
    return TRANSPORTS[settings.type](settings)


def _delta(settings: DeltaSettings) -> Delta:
    return Delta(settings, build_transport(settings.over))


TRANSPORTS: Mapping[str, Callable[[Any], Transport]] = {
    "gloo": Gloo,
    "nccl": Nccl,
    "disk": Disk,
    "ipc": Ipc,
    "delta": _delta,
}

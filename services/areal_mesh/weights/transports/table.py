"""Every transport, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.runtime.settings.weights import TransportSettings
from areal_mesh.weights.transport import Transport
from areal_mesh.weights.transports.disk import Disk
from areal_mesh.weights.transports.gloo import Gloo
from areal_mesh.weights.transports.nccl import Nccl

TRANSPORTS: Mapping[str, Callable[[Any], Transport]] = {
    "gloo": Gloo,
    "nccl": Nccl,
    "disk": Disk,
}


def build_transport(settings: TransportSettings) -> Transport:
    """The transport that the settings name; for NCCL on the CUDA device of the calling thread."""
    return TRANSPORTS[settings.type](settings)

"""Weights over Gloo, for engines and learners on CPUs."""

import os
import socket
from dataclasses import dataclass

import torch
from torch.distributed.distributed_c10d import PrefixStore, ProcessGroupGloo

from areal_mesh.runtime.settings.weights import GlooSettings
from areal_mesh.weights.group import Group
from areal_mesh.weights.transports.process_group import ProcessGroupWire
from areal_mesh.weights.transports.store import StoreMeeting, store_address, wait_for_arrival, wait_until_joined


@dataclass(frozen=True)
class Gloo:
    """The Gloo transport."""

    settings: GlooSettings

    def host(self, address: str) -> StoreMeeting:
        """See `Transport`."""
        return StoreMeeting(address)

    def join(self, group: Group, rank: int) -> "GlooWire":
        """See `Transport`."""
        return GlooWire(group, rank, self.settings.interface)

    def await_arrival(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_for_arrival(group, ranks)

    def await_joined(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_until_joined(group, ranks)


class GlooWire(ProcessGroupWire):
    """Buffers lie in host memory.

    Gloo listens on `interface` where one is given, else on `GLOO_SOCKET_IFNAME`, else on the address from which the
    store is reached: for the learner, who hosts it, the store's own address. (Left alone it would listen on what the
    host's name resolves to, often 127.0.0.1.)
    """

    device = torch.device("cpu")

    def __init__(self, group: Group, rank: int, interface: str | None = None) -> None:
        self._interface = interface or os.environ.get("GLOO_SOCKET_IFNAME")
        super().__init__(group, rank)

    def _open(self, store: PrefixStore, rank: int) -> ProcessGroupGloo:
        # Options and the group's constructor are missing from torch's type stubs.
        options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        options._timeout = self._timeout
        options._devices = [self._device()]
        return ProcessGroupGloo(store, rank, self._group.world_size, options)

    def _device(self) -> ProcessGroupGloo.Device:
        if self._interface:
            return ProcessGroupGloo.create_device(interface=self._interface)
        address = store_address(self._group)
        return ProcessGroupGloo.create_device(hostname=local_address(address.host, address.port))


def local_address(host: str, port: int) -> str:
    """Address of this machine on the route to `host`, loopback where that is loopback; nothing is sent."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])

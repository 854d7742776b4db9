"""Weights over Gloo, for engines and learners on CPUs."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch.distributed import BroadcastOptions, PrefixStore, ProcessGroupGloo

from areal_mesh.weights.rendezvous import Rendezvous
from areal_mesh.weights.store import connect_store
from areal_mesh.weights.transport import SENDER_RANK, TransferError, Transport


class GlooTransport(Transport):
    """A process group of its own: the default group of the learner's ranks or of vLLM's workers is never touched.

    Gloo listens on `interface` where one is given, else on `GLOO_SOCKET_IFNAME`, else on the address from which the
    store is reached. (Left alone it would listen on what the host's name resolves to, often 127.0.0.1.)
    """

    def __init__(self, rendezvous: Rendezvous, rank: int, interface: str | None = None) -> None:
        self.device = torch.device("cpu")
        self._rendezvous = rendezvous
        self._group: ProcessGroupGloo | None = None
        store = connect_store(rendezvous)
        with self._explained("joining"):
            store.set(rendezvous.arrival_key(rank), "")
            options = ProcessGroupGloo._Options()
            options._timeout = timedelta(seconds=rendezvous.timeout_seconds)
            options._devices = [_device(rendezvous, interface or os.environ.get("GLOO_SOCKET_IFNAME"))]
            self._group = ProcessGroupGloo(
                PrefixStore(rendezvous.group_id, store), rank, rendezvous.world_size, options
            )

    def broadcast(self, buffer: torch.Tensor) -> None:
        self._broadcast(buffer, "broadcasting to")

    def receive(self, buffer: torch.Tensor) -> None:
        self._broadcast(buffer, "receiving from")

    def close(self) -> None:
        self._group = None

    def _broadcast(self, buffer: torch.Tensor, doing: str) -> None:
        if self._group is None:
            raise TransferError(f"{doing} group {self._rendezvous.group_id!r}: this member has left it")
        options = BroadcastOptions()
        options.rootRank = SENDER_RANK
        options.timeout = timedelta(seconds=self._rendezvous.timeout_seconds)
        with self._explained(doing):
            self._group.broadcast([buffer], options).wait(options.timeout)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Gloo reports a lost peer and a timeout as RuntimeError; say which group it was."""
        try:
            yield
        except RuntimeError as error:
            group = self._rendezvous
            raise TransferError(
                f"{doing} group {group.group_id!r} of {group.world_size} failed (timeout {group.timeout_seconds:g} s): "
                f"{error}"
            ) from error


def _device(rendezvous: Rendezvous, interface: str | None) -> ProcessGroupGloo.Device:
    if interface:
        return ProcessGroupGloo.create_device(interface=interface)
    return ProcessGroupGloo.create_device(hostname=_local_address(rendezvous.host, rendezvous.port))


def _local_address(host: str, port: int) -> str:
    """Address of this machine on the route to `host`; nothing is sent."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])
